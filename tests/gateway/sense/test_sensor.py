"""What a gateway counts reaches watch: real files, and the sensor that reads them (MON-1, SR-6)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offswitch.clock import Clock, SystemClock
from offswitch.control.canary import Canaries
from offswitch.control.place import Place
from offswitch.gateway.exchange import Asked, Cause, Shape, Why
from offswitch.gateway.sense import Sense, prepared
from offswitch.testing import SensorSuite
from offswitch.watch.detectors.call import call_of
from offswitch.watch.sensors.contract import CellFacts, Glance, Sensor, SensorContext
from offswitch.watch.sensors.gateway import Gateway, GatewaySection
from speaking_models import PROSE, chat, chat_calls, words

TARGET = "suite/target"


def placed(folder: Path) -> Place:
    """An installation whose memory lies in the test's folder, too."""
    place = Place(f"{folder}/home", f"{folder}/run")
    place._memory = place.run
    os.makedirs(place.home, exist_ok=True)
    os.makedirs(place.run, exist_ok=True)
    return place


class Front:
    """A gateway's workers, as far as they sense, and the sensor."""

    def __init__(self, folder: Path, *targets: str, workers: int = 1) -> None:
        self.place = placed(folder)
        self.targets = targets or (TARGET, "suite/other")
        self.ready = prepared(self.place, "models", self.targets, workers)
        assert not self.ready.problems
        self.workers = [Sense(fd, self.ready.canaries) for fd in self.ready.fds]
        self.sensors: list[Gateway] = []

    def sensor(self, target: str = TARGET, **keys: Any) -> Gateway:  # noqa: ANN401 - its own
        section = GatewaySection(name="model", target=target, kind="gateway", **keys)
        one = Gateway(section, SensorContext(SystemClock(), {}), self.place.senses)
        self.sensors.append(one)
        return one

    def passes(
        self,
        chunks: Iterable[bytes],
        target: str = TARGET,
        worker: int = 0,
        body: object = None,
    ) -> None:
        sense = self.workers[worker]
        tap = sense.tap(target, Asked(Shape.CHAT, "m", body=body), time.monotonic_ns())
        assert tap is not None
        for chunk in chunks:
            tap.data(chunk)
        tap.end("complete")
        sense.tick()

    def close(self) -> None:
        for each in [*self.sensors, *self.workers]:
            each.close()
        for fd in self.ready.fds:
            os.close(fd)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    one = Front(tmp_path)
    yield one
    one.close()


def numbers(glance: Glance) -> dict[str, float]:
    assert not glance.problem
    return {".".join([one.what, *one.labels.values()]): one.value for one in glance.samples}


def events(glance: Glance, what: str) -> list[dict[str, str]]:
    return [dict(one.detail) for one in glance.samples if one.what == what and one.value]


class TestGatewaySuite(SensorSuite):
    kind = "gateway"

    def keys(self, folder: str) -> dict[str, Any]:
        return {}

    def make(self, folder: str, cells: dict[str, CellFacts], clock: Clock | None = None) -> Sensor:
        section = GatewaySection(name="suite", target=TARGET, kind="gateway")
        context = SensorContext(clock or SystemClock(), cells)
        return Gateway(section, context, f"{folder}/run/senses")

    def source(self, folder: str) -> CellFacts | None:
        one = Front(Path(folder))
        one.close()
        return None

    def stir(self, folder: str) -> None:
        fd = os.open(f"{folder}/run/senses/models.0", os.O_RDWR)
        sense = Sense(fd)
        tap = sense.tap(TARGET, Asked(Shape.CHAT), time.monotonic_ns())
        assert tap is not None
        for chunk in chat(words(PROSE, 300)):
            tap.data(chunk)
        tap.end("complete")
        sense.close()
        os.close(fd)


def test_MON_1_requests_tokens_and_times_are_each_since_the_last_look(front: Front) -> None:
    sensor = front.sensor()
    front.passes(chat(words(PROSE, 5)))
    assert numbers(sensor.look())["requests"] == 0, "what was before it began is no news"
    front.passes(chat(words(PROSE, 7), usage={"prompt_tokens": 9, "completion_tokens": 7}))
    front.workers[0].refused(TARGET, Why(Cause.STOPPED))
    seen = numbers(sensor.look())
    assert seen["requests"] == seen["requests.chat"] == seen["answers"] == 1
    assert (seen["tokens.input"], seen["tokens.output"]) == (9, 7)
    assert seen["turned_away"] == seen["turned_away.stopped"] == 1
    assert seen["ended.complete"] == seen["finished.stop"] == 1
    assert 0 < seen["first_token_p50"] < 0.1
    assert seen["open"] == seen["silent_seconds"] == seen["repetition"] == 0
    again = numbers(sensor.look())
    assert again["requests"] == again["tokens.output"] == 0
    assert again["first_token_p50"] == seen["first_token_p50"], "as it was"


def test_MON_1_what_passes_several_workers_is_summed_and_of_another_target_nothing_is_seen(
    tmp_path: Path,
) -> None:
    front = Front(tmp_path, workers=2)
    sensor, other = front.sensor(), front.sensor("suite/other")
    sensor.look()
    other.look()
    for worker in (0, 1):
        front.passes(chat(["a", "b"]), worker=worker)
    assert numbers(sensor.look())["tokens.output"] == 4
    assert numbers(other.look())["tokens.output"] == 0
    front.close()


def test_MON_1_an_answer_under_way_is_told_and_how_long_it_is_silent(front: Front) -> None:
    sensor = front.sensor()
    sensor.look()
    tap = front.workers[0].tap(TARGET, Asked(Shape.CHAT), time.monotonic_ns() - 3_000_000_000)
    front.workers[0].tick()
    front.workers[0].tick()
    seen = numbers(sensor.look())
    assert seen["open"] == 1
    assert 3 <= seen["silent_seconds"] < 4
    assert tap is not None
    tap.end("client")
    front.workers[0].tick()
    front.workers[0].tick()
    assert numbers(sensor.look())["open"] == 0


def test_MON_1_words_come_as_readings_for_detectors_of_events(front: Front) -> None:
    sensor = front.sensor()
    sensor.look()
    said = {"messages": [{"role": "user", "content": [{"type": "text", "text": "delete it"}]}]}
    front.passes(chat(["I'm sorry, but I can't"]), body=said)
    front.passes(chat_calls("rm", ['{"path": "/srv/x", "deep": {"a": [1]}', ', "force": true}']))
    front.passes(chat(words(PROSE, 600)))
    glance = sensor.look()
    assert events(glance, "prompt") == [{"text": "delete it"}]
    assert {"text": "I'm sorry, but I can't"} in events(glance, "answer")
    assert {"text": "I'm sorry, but I can't"} in events(glance, "text")
    assert len(events(glance, "text")) > 2
    assert numbers(glance)["refusals"] == 1
    [call] = events(glance, "tool")
    assert call_of(call).args == {"path": "/srv/x", "deep": '{"a": [1]}', "force": "true"}
    quiet = sensor.look()
    for what in ("prompt", "answer", "text", "tool"):
        assert [one.value for one in quiet.samples if one.what == what] == [0.0]


def test_DET_2_a_canary_that_is_leaked_is_found_by_name(tmp_path: Path) -> None:
    os.makedirs(f"{tmp_path}/home")
    Path(tmp_path, "home", "canaries").write_text("zebra: Zebra-7431-quiet-Harbour\n")
    front = Front(tmp_path)
    sensor = front.sensor()
    sensor.look()
    front.passes(chat(["the key is ", *"Zebra-7431-quiet-Harbour", " as you said"]))
    glance = sensor.look()
    assert numbers(glance)["canary.zebra"] == 1
    assert numbers(glance)["prompt_canary.zebra"] == 0
    front.close()


def test_SR_6_a_gateway_that_is_gone_or_silent_is_a_source_that_failed(front: Front) -> None:
    sensor = front.sensor()
    assert not sensor.look().problem
    words = front.workers[0]._file.words
    words[9] -= 3_000_000_000  # the worker's last sign of life
    assert "models.0" in sensor.look().problem
    front.workers[0].tick()
    assert not sensor.look().problem
    os.unlink(f"{front.place.senses}/models.0")
    assert "no gateway serves" in sensor.look().problem
    assert "no gateway serves" in front.sensor("suite/unknown").look().problem


def test_a_gateway_that_is_started_anew_is_followed_from_its_begin(front: Front) -> None:
    sensor = front.sensor()
    sensor.look()
    again = prepared(front.place, "models", front.targets, 1)
    front.workers.append(Sense(again.fds[0]))
    front.passes(chat(["a", "b", "c"]), worker=1)
    glance = sensor.look()
    assert numbers(glance)["tokens.output"] == 3
    assert events(glance, "answer") == [{"text": "abc"}]
    os.close(again.fds[0])


def test_only_the_gateway_that_is_named_is_read(front: Front) -> None:
    assert not front.sensor(gateway="models").look().problem
    assert front.sensor(gateway="others").look().problem


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, 5, 17])
def test_SR_6_a_file_that_was_spoilt_gives_a_problem_or_numbers_and_never_a_crash(
    front: Front, at: int
) -> None:
    sensor = front.sensor()
    sensor.look()
    front.workers[0]._file.words[at] = 1 << 63
    for one in (sensor, front.sensor()):
        glance = one.look()
        assert glance.problem or glance.samples
    os.truncate(f"{front.place.senses}/models.0", 0)
    front.workers.clear()  # its own mapping is gone, as it would be in a worker that did that
    for one in (sensor, front.sensor()):
        glance = one.look()
        assert glance.problem or glance.samples


def test_what_cannot_be_made_is_told_and_nothing_is_sensed(tmp_path: Path) -> None:
    place = placed(tmp_path)
    Path(place.senses).touch()
    Path(place.home, "canaries").write_text("short\n")
    ready = prepared(place, "models", [TARGET], 1)
    assert not ready.fds
    assert len(ready.problems) == 2
    assert ready.canaries.names == Canaries({}).names


def test_files_of_workers_that_are_no_more_are_removed(tmp_path: Path) -> None:
    place = placed(tmp_path)
    for count in (3, 1):
        for fd in prepared(place, "models", [TARGET], count).fds:
            os.close(fd)
    assert os.listdir(place.senses) == ["models.0"]

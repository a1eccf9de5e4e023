"""A language model is one voter, and whatever talks it over stops nothing and hides nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from gullible_model import GullibleModel, chat
from installation import until
from offswitch.clock import SimulatedClock, SystemClock
from offswitch.config.load import Loaded, installed_kinds, parse
from offswitch.control.place import Place
from offswitch.decide.arbiter import FRESH
from offswitch.decide.votes import Channel
from offswitch.errors import BadConfig
from offswitch.testing import SensorSuite
from offswitch.watch.loop import Watch
from offswitch.watch.sensors.contract import CellFacts, Sample, SensorContext
from offswitch.watch.sensors.llm_monitor import LlmMonitor, LlmMonitorSection, risk_in
from watch.injections import CALMING, STOPPING


@pytest.fixture
def model() -> Iterator[GullibleModel]:
    with GullibleModel() as one:
        yield one


class TestLlmMonitorSuite(SensorSuite):
    kind = "llm_monitor"
    url: ClassVar[str]

    @pytest.fixture(autouse=True)
    def served(self, model: GullibleModel) -> None:
        type(self).url = model.url

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"url": self.url, "model": "m", "deadline": "90ms"}

    def source(self, folder: str) -> CellFacts | None:
        Path(folder, "log").write_text("good morning\n")
        return CellFacts(None, (), f"{folder}/log", "running")

    def stir(self, folder: str) -> None:
        with Path(folder, "log").open("a") as log:
            log.write("and good night\n")

    def test_it_closes_twice_and_leaves_no_descriptor(self, tmp_path: os.PathLike[str]) -> None:
        """The server of this test lives in this process, and lets go a moment later."""
        sensor, _cells = self.opened(os.fspath(tmp_path))
        before = set(os.listdir("/proc/self/fd"))
        self.looks(sensor, 3)
        sensor.close()
        sensor.close()
        until(lambda: set(os.listdir("/proc/self/fd")) <= before, "all are closed")


class Asked:
    """A monitor of a log that this test writes."""

    def __init__(self, model: GullibleModel, folder: Path, **keys: object) -> None:
        self.log = folder / "log"
        raw = {"name": "opinion", "target": "a", "kind": "llm_monitor", "url": model.url}
        section = LlmMonitorSection.model_validate({**raw, "model": "m", **keys})
        cells = {"a": CellFacts(None, (), str(self.log), "running")}
        context = SensorContext(SystemClock(), cells, secrets={"api_key_file": "k3y"})
        self.sensor = LlmMonitor(section, context)

    def about(self, text: str) -> Sample:
        self.log.write_text(text)
        glance = self.sensor.look()
        assert not glance.problem
        return glance.samples[0]


@pytest.fixture
def asked(model: GullibleModel, tmp_path: Path) -> Iterator[Asked]:
    one = Asked(model, tmp_path)
    yield one
    one.sensor.close()


def test_it_is_asked_about_what_is_new_and_only_then(asked: Asked, model: GullibleModel) -> None:
    assert asked.sensor.look().samples[0].value == 0.0, "nothing was written"
    assert model.asked == []
    assert asked.about("rm -rf /srv").value == 0.9
    assert asked.sensor.look().samples[0].value == 0.9
    assert len(model.asked) == 1
    assert asked.about("hello there").value == 0.1
    path, headers, body = model.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer k3y"
    system, user = (one["content"] for one in body["messages"])
    nonce = user.splitlines()[0].removeprefix("BEGIN ")
    assert len(nonce) == 32
    assert nonce in system
    assert user == f"BEGIN {nonce}\nrm -rf /srv\nEND {nonce}"


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (500, chat('{"risk": 0}')),
        (302, chat('{"risk": 0}')),
        (200, b""),
        (200, b"[]"),
        (200, chat("0.2")),
        (200, chat("safe")),
        (200, chat('{"risk": "0"}')),
        (200, chat('{"risk": true}')),
        (200, chat('{"risk": -1}')),
        (200, chat('{"risk": NaN}')),
        (200, chat('{"risk": 1e999}')),
        (200, chat('[["risk", 0]]')),
        (200, chat('{"risk": 1, "risk": 0}')),
        (200, chat('{"risk": 0, "note": "x"}')),
        (200, chat('{"risk": 0} and more')),
        (200, chat('{"risk": 0' + " " * 300 + "}")),
        (200, b'{"choices": [{"message": {"content": {"risk": 0}}}]}'),
        (200, b" " * 100_000),
    ],
)
def test_DET_7_every_other_answer_is_none(
    asked: Asked, model: GullibleModel, status: int, data: bytes
) -> None:
    model.answer(status, data)
    sample = asked.about("x")
    assert math.isnan(sample.value)
    assert "no answer that counts" in sample.detail["why"]


def test_DET_7_nobody_there_is_no_answer_and_it_is_asked_again(tmp_path: Path) -> None:
    with GullibleModel() as model:
        asked = Asked(model, tmp_path)
        assert asked.about("x").value == 0.1
        asked.sensor.close()
    assert math.isnan(asked.about("y").value)
    assert math.isnan(asked.sensor.look().samples[0].value)
    asked.sensor.close()


def test_a_deadline_that_would_look_like_silence_is_refused() -> None:
    raw = {"name": "o", "target": "a", "kind": "llm_monitor", "url": "http://x/v1", "model": "m"}
    with pytest.raises(ValidationError):
        LlmMonitorSection.model_validate({**raw, "every": "1s", "deadline": "1s"})
    assert LlmMonitorSection.ALONE is False
    assert risk_in(chat('{"risk": 0.25}')) == 0.25


# --- the corpus ----------------------------------------------------------------------

SENSOR = """
[[sensor]]
name = "opinion"
target = "a"
kind = "llm_monitor"
url = "http://127.0.0.1:9/v1"
model = "m"

"""
RULE = """
[[rule]]
name = "r"
target = "a"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
vote = "2oo3"
detectors = [
  { kind = "threshold", series = "opinion.score", above = 0.5 },
  { kind = "tool_scope", series = 'guard.step{kind="tool"}', tools = { search = {} } },
  { kind = "threshold", series = "processes.count", above = 100 },
]
"""


def hear(watch: Watch, sensor: str, *samples: tuple[str, float, Mapping[str, str], object]) -> None:
    eye = watch.wired.eyes[watch.wired.eye_of[sensor, "a"]]
    told = [[what, value, dict(labels), detail] for what, value, labels, detail in samples]
    watch._hear_from(eye, {"sensor": sensor, "target": "a", "samples": told, "problem": ""})


@cache
def loaded() -> Loaded:
    kinds = installed_kinds()
    return Loaded(parse((SENSOR + RULE).encode(), "x", kinds), kinds, "x", "")


class Court:
    """A rule with the opinion and two deterministic channels, judged anew each time."""

    def __init__(self, folder: Path) -> None:
        place = Place(str(folder), str(folder))
        self.watch = Watch(place, loaded(), SimulatedClock(1_000_000_000))
        [self.bench] = self.watch.wired.benches

    def votes(self, opinion: Sample, *, bad: bool) -> tuple[bool, list[Channel]]:
        """Tell whether it stops, and its two deterministic channels."""
        for judge in self.bench.judges:
            judge.rearm()
        self.bench._standing = FRESH
        tool = {"name": "delete_all" if bad else "search"}
        hear(self.watch, "guard", ("step", 1.0, {"kind": "tool"}, tool))
        hear(self.watch, "processes", ("count", 500.0 if bad else 3.0, {}, {}))
        hear(self.watch, "opinion", ("score", opinion.value, {}, dict(opinion.detail)))
        mono_us, wall_us = self.watch._clock.mono_us(), self.watch._clock.wall_us()
        states = [judge.state(mono_us, wall_us).channel for judge in self.bench.judges]
        return self.bench.tripped, states[1:]


def test_DET_7_fifty_injections_flip_no_deterministic_trip_and_stop_nothing_alone(
    asked: Asked, tmp_path: Path
) -> None:
    assert len({*CALMING, *STOPPING}) == 50
    court = Court(tmp_path)
    plain = {bad: court.votes(Sample("score", 0.1), bad=bad) for bad in (False, True)}
    assert plain == {False: (False, [Channel.OK] * 2), True: (True, [Channel.TRIP] * 2)}
    believed = 0
    for text in (*CALMING, *STOPPING):
        opinion = asked.about(text)
        usual = 0.1 if text in STOPPING else 0.9
        believed += opinion.value != usual
        for bad in (False, True):
            assert court.votes(opinion, bad=bad) == plain[bad], (text, json.dumps(bad))
    print(f"the gullible model was talked over by {believed} of 50")
    assert believed >= 45
    court.watch.close()


def test_DET_7_its_opinion_stops_nothing_where_the_other_channels_are_lost(tmp_path: Path) -> None:
    court = Court(tmp_path)
    for what in ("guard", "processes"):
        eye = court.watch.wired.eyes[court.watch.wired.eye_of[what, "a"]]
        told = {"sensor": what, "target": "a", "samples": [], "problem": "it cannot be seen"}
        court.watch._hear_from(eye, told)
    hear(court.watch, "opinion", ("score", 1.0, {}, {}))
    assert court.bench.rule.dependent == {"opinion.score"}
    assert not court.bench.tripped
    court.watch.close()


@pytest.mark.parametrize("kind", ["threshold", "rate"])
def test_DET_7_a_rule_that_rests_on_it_alone_is_refused_whoever_judges_it(kind: str) -> None:
    one = f'{{ kind = "{kind}", series = "opinion.score", above = 0.5 }}'
    rule = RULE[: RULE.index("vote")] + f"detectors = [{one}]\n"
    with pytest.raises(BadConfig, match="opinion alone must not stop anything"):
        parse((SENSOR + rule).encode(), "x", installed_kinds())
    assert parse((SENSOR + rule.replace("auto", "shadow")).encode(), "x", installed_kinds())

"""The picture: whole, frozen, and honest about its age; and whoever is told that it changed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation
from offswitch.clock import SystemClock
from offswitch.errors import Busy
from offswitch.ledger.reader import ShownEntry
from offswitch.station.picture.desk import DeskReader
from offswitch.station.picture.follower import Follower
from offswitch.station.picture.hub import RELOAD, Event, Hub
from offswitch.station.picture.picture import Picture
from offswitch.station.picture.proofs import Proofs
from offswitch.station.picture.sentence import Gravity

NOW = 1_800_000_000_000_000
MIN = 60_000_000


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path).start()
    yield installation
    installation.close()


def declare(one: Installation, *names: str) -> None:
    one.ask({"op": "declare", "targets": [{"name": name} for name in names]})


async def soon(true: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "in vain"
        await asyncio.sleep(0.005)


def following(
    one: Installation, story: Callable[[Hub], Coroutine[Any, Any, None]], path: str | None = None
) -> None:
    """Live a story beside a follower of `one`."""

    async def live() -> None:
        hub = Hub()
        follower = Follower(path or one.place.warden_socket, hub, SystemClock())
        task = asyncio.create_task(follower.run())
        try:
            await story(hub)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(live())


# --- following --------------------------------------------------------------------------


def test_the_picture_is_what_the_warden_says_and_changes_with_it(one: Installation) -> None:
    declare(one, "shop/a", "shop/b")

    async def story(hub: Hub) -> None:
        assert not hub.picture.live
        await soon(lambda: hub.picture.live)
        first = hub.picture
        assert list(first.targets) == ["shop/a", "shop/b"]
        with hub.subscribe() as pages:
            order = (await asyncio.to_thread(one.press, "shop/a"))["order"]
            await soon(lambda: order in hub.picture.stops)
            await soon(lambda: hub.picture.targets["shop/a"].latched)
            events = {event.kind: event for event in await pages.next(1.0)}
            assert events["targets"].names == ("shop/a",)
            assert events["stops"].names == (order,)
        assert first.targets["shop/a"].level is None, "a picture that somebody holds stays as it is"
        assert hub.picture.targets["shop/a"].version > hub.picture.targets["shop/b"].version
        assert [stop.digest for stop in hub.picture.stops_over("shop/a")] == [order]

    following(one, story)


def test_a_picture_whose_warden_is_gone_or_silent_is_not_live(one: Installation) -> None:
    declare(one, "shop/a")

    async def story(hub: Hub) -> None:
        await soon(lambda: hub.picture.live)
        with hub.subscribe() as pages:
            assert one.warden is not None
            began = time.monotonic()
            os.kill(one.warden.pid, signal.SIGSTOP)
            await soon(lambda: not hub.picture.live)
            took = time.monotonic() - began
            assert took < 2.0, "silence is news within two seconds"
            assert "live" in {event.kind for event in await pages.next(1.0)}
            assert hub.picture.targets["shop/a"].state == "unknown"
            said = hub.picture.sentence(NOW)
            assert said.gravity is Gravity.LOST
            assert "NOT LIVE" in said.text
            assert not hub.picture.can_stop().everything
            os.kill(one.warden.pid, signal.SIGCONT)
            await soon(lambda: hub.picture.live)
            assert hub.picture.targets["shop/a"].state == "idle"
            await soon(lambda: pages._pending)
            assert [event.kind for event in await pages.next(1.0)] == [RELOAD]
            one.kill_warden()
            began = time.monotonic()
            await soon(lambda: not hub.picture.live)
            assert time.monotonic() - began < 0.5, "an end is news at once"

    following(one, story)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"[]", "not an object"),
        (b"", "not JSON"),
        (b'{"event":"picture","targets":[{"x":1}]}', "cannot be understood"),
        (b'{"error":{"kind":"refused","message":"no rights","hint":""}}', "no rights"),
    ],
)
def test_a_warden_that_speaks_nonsense_is_not_believed(
    tmp_path: Path, said: bytes, word: str
) -> None:
    path = str(tmp_path / "warden")

    async def live() -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(len(said).to_bytes(4, "big") + said)
            await reader.read()
            writer.close()

        server = await asyncio.start_unix_server(speak, path)
        hub = Hub()
        task = asyncio.create_task(Follower(path, hub, SystemClock()).run())
        await soon(lambda: word in hub.picture.why)
        assert not hub.picture.live
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
        await server.wait_closed()

    asyncio.run(live())


def test_watch_that_has_no_desk_is_said_and_one_that_has_is_heard(tmp_path: Path) -> None:
    path = str(tmp_path / "watch")
    question = {"decision": "d" * 64, "rule": "r", "left_ms": 5000}
    answers: dict[str, Any] = {
        "alarms": {"alarms": [{"rule": "r", "acked_by": None}], "near": []},
        "decisions": {"decisions": [question]},
        "rules": {"rules": [], "lowered": [], "waiting": []},
        "sensors": {"sensors": [{"sensor": "s", "age_ms": 1}], "left_out": 0},
    }

    async def live() -> None:
        hub = Hub()
        reader = DeskReader(path, hub, SystemClock())
        task = asyncio.create_task(reader.run())
        await soon(lambda: "no watch" in hub.picture.desk.why)
        server = await asyncio.start_unix_server(_desk(answers), path)
        hub.tell("watch")
        await soon(lambda: hub.picture.desk.live)
        first = hub.picture.desk
        assert first.alarms[0]["rule"] == "r"
        assert first.sensors[0]["sensor"] == "s"
        question["left_ms"] = 4000
        version = hub.picture.version
        hub.tell("watch")
        await soon(lambda: hub.picture.desk is not first)
        assert hub.picture.desk.decisions[0]["due_us"] == first.decisions[0]["due_us"]
        assert hub.picture.version == version, "time that passes is no news"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
        await server.wait_closed()

    asyncio.run(live())


def _desk(answers: dict[str, Any]) -> Any:  # noqa: ANN401 - what asyncio calls
    from offswitch.control import frames  # noqa: PLC0415 - the desk's alone

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = frames.Decoder()
        while data := await reader.read(65536):
            for message in decoder.feed(data):
                writer.write(frames.encode(answers[message["op"]]))
        writer.close()

    return serve


# --- what it comes to -------------------------------------------------------------------


def pictured(*rows: dict[str, Any], **said: Any) -> Picture:  # noqa: ANN401
    frame = {
        "event": "picture",
        "targets": [{"state": "running", "readiness": READY, **row} for row in rows],
        "processes": {"keeper": True, "observer": True, "recorder": True},
        "warden": {"mode": "act"},
        **said,
    }
    return Picture().told([frame], NOW)[0]


READY = {"guard": "ready", "network": "ready", "process": "ready"}
A, B = {"target": "shop/a", "labels": {"tenant": "acme"}}, {"target": "shop/b"}


def test_all_well_is_one_grey_sentence() -> None:
    hub = Hub()
    hub.picture = pictured(A, B)
    for layer, age in (("process", 14), ("network", 5)):
        entry = {"kind": "drill", "what": "layer", "via": "journal", "layer": layer,
                 "time_us": NOW - age * MIN, "passed": True, "seen": True, "confirmed": True,
                 "drill": "canary-3"}  # fmt: skip
        Proofs(hub).hear(ShownEntry(1, entry, {}, intact=True))
    said = hub.picture.sentence(NOW)
    assert said.text == (
        "All 2 targets running, nothing latched; everything here can be stopped"
        " (proven 14 min ago)."
    )
    assert said.gravity is Gravity.CALM
    assert hub.picture.can_stop().oldest_us == NOW - 14 * MIN


@pytest.mark.parametrize(
    ("rows", "more", "words", "about"),
    [
        (
            [A | {"level": "kill", "state": "stopping", "layers": {"process": False}}, B],
            {"alarms": [{"rule": "r", "scope": "shop", "asks": "12", "due_us": 5}]},
            "shop/a: stop commanded, NOT CONFIRMED; it may still act. Not seen yet: process.",
            "shop/a",
        ),
        (
            [A, B],
            {"alarms": [{"rule": "r", "scope": "shop", "asks": "12", "due_us": 5, "harm": "fire"}]},
            "Rule r asks: stop shop? Else: fire.",
            "shop",
        ),
        ([A | {"state": "unknown"}, B], {}, "shop/a: state unknown.", "shop/a"),
        ([A | {"blind": True}, B | {"blind": True}], {}, "shop/a and shop/b: BLIND", "shop/a"),
        (
            [A, B | {"readiness": READY | {"network": "unproven"}}],
            {},
            "Not everything here can be stopped: the layer network is unproven: shop/b.",
            "",
        ),
        ([A], {"processes": {"observer": True}}, "no keeper: no stop can be confirmed", ""),
        (
            [A, B | {"readiness": {"gateway": "unproven"}}],
            {},
            "a stop cuts what goes through a gateway, but shop/b may go round it.",
            "",
        ),
        (
            [A, B | {"readiness": {"gateway": "absent"}}],
            {},
            "Not everything here can be stopped: no gateway serves shop/b now.",
            "",
        ),
        (
            [A | {"level": "kill", "state": "stopped", "confirmed": True}, B],
            {},
            "shop/a: stopped and confirmed; latched until reset. 1 target running.",
            "",
        ),
        ([A, B | {"state": "exited"}], {}, "1 target running, 1 exited, nothing latched", ""),
        ([], {}, "No targets here yet.", ""),
    ],
)
def test_the_sentence_says_the_most_important_thing(
    rows: list[dict[str, Any]], more: dict[str, Any], words: str, about: str
) -> None:
    said = pictured(*rows, **more).sentence(NOW)
    assert words in said.text
    assert said.about == about


def test_a_picture_is_asked_by_scope() -> None:
    picture = pictured(A | {"level": "restrict"}, B, {"target": "shopping/c"})
    assert [row.name for row in picture.under("shop")] == ["shop/a", "shop/b"]
    assert [row.name for row in picture.under("tenant=acme")] == ["shop/a"]
    assert picture.under("no scope!") == []
    assert picture.counts("shop") == {
        "running": 2, "all": 2, "latched": 1, "blind": 0, "unproven": 0,
    }  # fmt: skip
    assert "1 target running in shopping" in picture.sentence(NOW, "shopping").text


@pytest.mark.parametrize("state", ["unproven", "absent"])
def test_HMI_3_a_declared_layer_that_cannot_act_is_a_no_though_nothing_runs(state: str) -> None:
    """It stands ready before its target starts, or a stop of it will be less than it should be."""
    waits = {"target": "shop/new", "state": "idle", "readiness": {"guard": "ready", "data": state}}
    able = pictured(A, waits | {"readiness_since": {"data": NOW - 5}}).can_stop()
    assert not able.everything
    assert able.why == f"the layer data is {state}: shop/new"
    data = able.layer("data")
    assert data is not None
    assert (data.state, data.of, data.since_us) == (state, 1, NOW - 5), "no other target lacks it"
    ready = waits | {"readiness": {"guard": "ready", "data": "ready"}}
    assert pictured(A, ready).can_stop().everything
    less = pictured(A, waits | {"readiness": {"guard": "ready", "data": "degraded"}})
    assert less.can_stop().everything, "it can act; that it is less than it should be is named"


def test_HMI_3_what_a_layer_cannot_do_is_said_with_whom_and_why() -> None:
    picture = pictured(
        A | {"readiness": READY | {"network": "degraded"}},
        B,
        {"target": "new", "readiness": {}},
        doubts={"network": ["it was not seen to act", NOW]},
    )
    able = picture.can_stop()
    network = able.layer("network")
    assert network is not None
    assert (network.state, network.ready, network.of) == ("degraded", 1, 2)
    assert network.why == "degraded: shop/a; the last drill: it was not seen to act"
    assert able.everything, "degraded is said, and stops all the same"
    assert able.oldest_us is None, "a layer that no drill has tried has no date"
    bare = pictured(A | {"readiness": {"network": "ready"}}).can_stop()
    assert not bare.everything
    assert "no way to end the processes of shop/a" in bare.why


def test_SR_26_what_lives_behind_a_gateway_has_no_process_to_end_and_is_in_doubt() -> None:
    behind = {"target": "shop/far", "readiness": {"gateway": "unproven"}}
    picture = pictured(A | {"readiness": READY | {"gateway": "ready"}}, B, behind)
    able = picture.can_stop()
    process, gateway = able.layer("process"), able.layer("gateway")
    assert process is not None
    assert gateway is not None
    assert (process.state, process.ready, process.of) == ("ready", 2, 2)
    assert (gateway.state, gateway.ready, gateway.of) == ("unproven", 1, 2)
    assert able.doubt == able.why == "shop/far may go round it"
    assert not able.everything, "what nobody has tried is no YES"
    far = pictured(A, behind | {"readiness": {"gateway": "degraded"}})
    assert far.can_stop().everything
    assert "but shop/far may go round it" in far.sentence(NOW).text
    held = pictured(A | {"level": "kill", "state": "stopped", "confirmed": True}, behind)
    assert "stopped and confirmed" in held.sentence(NOW).text, "what lasts hides nothing"


def test_SR_26_what_a_gateway_served_that_has_ended_keeps_nobody_from_saying_yes() -> None:
    gone = {"target": "shop/far", "state": "idle", "readiness": {"gateway": "absent"}}
    able = pictured(A, gone).can_stop()
    assert able.everything, able.why
    assert (able.targets, able.layer("gateway")) == (1, None)
    for still in ({"state": "running"}, {"readiness": {"gateway": "degraded"}}):
        assert pictured(A, gone | still).can_stop().targets == 2
    assert not pictured(A, gone | {"state": "running"}).can_stop().everything


# --- who is told ------------------------------------------------------------------------


def test_a_slow_page_is_told_to_reload_and_costs_no_memory() -> None:
    async def story() -> None:
        hub = Hub()
        slow, quick = hub.subscribe(), hub.subscribe()
        for number in range(3000):
            hub.tell("targets", [f"t{number}"])
            if number % 500 == 0:
                assert await quick.next()
        assert await slow.next() == [Event(RELOAD, (), 0)]
        hub.tell("targets", ["a"])
        hub.tell("incident", ["inc-1"])
        assert [(event.kind, event.names) for event in await slow.next()] == [
            ("targets", ("a",)),
            ("incident", ("inc-1",)),
        ]
        assert await slow.next(0.01) == []
        slow.close()
        hub.tell("targets", ["b"])
        assert await slow.next(0.01) == []

    asyncio.run(story())


def test_many_pages_and_no_more() -> None:
    async def story() -> None:
        hub = Hub()
        held = [hub.subscribe() for _ in range(500)]
        with pytest.raises(Busy):
            hub.subscribe()
        held.pop().close()
        hub.subscribe()

    asyncio.run(story())


def test_a_row_that_has_not_changed_is_the_same_object() -> None:
    """Whoever draws for fifty pages can so tell what is drawn already."""
    picture = pictured(A, B)
    told = {"event": "changes", "targets": [{**A, "state": "exited"}]}
    after, changed = picture.told([told], NOW)
    assert after.targets["shop/b"] is picture.targets["shop/b"]
    assert after.targets["shop/a"].state == "exited"
    assert changed == {"targets": {"shop/a"}}

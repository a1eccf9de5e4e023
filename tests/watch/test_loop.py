"""The loop of watch by itself: nothing that it is told, and no size of a fleet, ends it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import until
from offswitch.clock import SimulatedClock
from offswitch.config.load import Loaded, installed_kinds, parse
from offswitch.control import frames
from offswitch.control.line import Line
from offswitch.control.place import Place
from offswitch.model.entry import missing_fields
from offswitch.warden.door.watch_report import WatchReport
from offswitch.watch.eyes import EyeLink
from offswitch.watch.loop import Watch
from offswitch.watch.report import report
from scale import LONG

TABLES = """
[[sensor]]
name = "db"
target = "shop/agent"
kind = "sqlite"
path = "/nowhere/x.db"
tables = ["t"]
"""
RULE = """
[[rule]]
name = "NAME"
target = "TARGET"
harm = "HARM"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
detectors = [{ kind = "threshold", series = 'db.rows{table="t"}', above = 10 }]
"""


def made(folder: Path, tables: str) -> Watch:
    """Make a watch of these tables, its eyes not started."""
    kinds = installed_kinds()
    loaded = Loaded(parse(tables.encode(), "x", kinds), kinds, "x", "")
    return Watch(Place(str(folder), str(folder)), loaded, SimulatedClock(1_000_000_000))


def rule(name: str = "r", target: str = "shop/agent", harm: str = "h") -> str:
    return RULE.replace("NAME", name).replace("TARGET", target).replace("HARM", harm)


def entries(watch: Watch) -> list[dict[str, Any]]:
    """Take what waits to be recorded."""
    told = [{**one["sealed"], **one["public"]} for one in watch._scribe._waiting]
    watch._scribe._waiting.clear()
    return told


class Eye:
    """The eye of the data set, which never lives: what it would say is given to the loop."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.link = watch.wired.eyes["sensor db"]

    def say(self, **more: object) -> None:
        usual = {"sensor": "db", "target": "shop/agent", "samples": [], "problem": ""}
        self.watch._hear_from(self.link, {**usual, **more})

    def rows(self, value: object) -> None:
        self.say(samples=[["rows", value, {"table": "t"}, {}]])


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    one = made(tmp_path, TABLES + rule())
    yield one
    one.close()


def _deep() -> object:
    value: object = "x"
    for _ in range(900):
        value = {"x": [value]}
    return value


@pytest.mark.parametrize(
    "said",
    [
        {"samples": None},
        {"samples": [7]},
        {"samples": [["rows", 10**400, {"table": "t"}, {}]]},
        {"samples": [["rows", "x", {"table": "t"}, {}]]},
        {"samples": [["rows", 99, {"table": ["t"]}, {}]]},
        {"samples": [["rows", 99, {"table": "t"}, "x"]]},
        {"samples": [["rows", 99, {"table": "t"}, {"x": _deep()}]]},
        {"samples": [[_deep(), 99, {"table": "t"}, {}]]},
        {"memory": [1]},
        {"problem": _deep()},
    ],
)
def test_SR_4_whoever_took_an_eye_over_can_say_what_he_likes(
    watch: Watch, said: dict[str, object]
) -> None:
    Eye(watch).say(**said)
    watch._pump()
    told = entries(watch)
    assert watch.wired.eyes["sensor db"].lost, "it is replaced"
    assert any("nonsense" in one["what"] for one in told)


def test_a_defect_of_ours_is_told_once_and_the_loop_goes_on(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = []

    def turn() -> None:
        turns.append(1)
        watch.running = len(turns) < 5
        raise RuntimeError("one of ours")

    monkeypatch.setattr(watch, "_turn", turn)
    monkeypatch.setattr(EyeLink, "start", lambda _self: None)
    watch.run()
    assert len(turns) == 5
    told = [one for one in entries(watch) if one["what"] == "defect"]
    assert [one["why"] for one in told] == ["RuntimeError: one of ours"]
    assert "one of ours" in capsys.readouterr().err


def test_a_detector_that_cannot_be_rearmed_is_a_failed_channel(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    eye = Eye(watch)
    watch._targets, watch._cells = {}, {}
    eye.rows(99)
    [bench] = watch.wired.benches
    assert bench.tripped
    [judge] = bench.judges

    def rearm(_self: object) -> None:
        raise RuntimeError("a plugin's")

    monkeypatch.setattr(type(judge._detector), "rearm", rearm)
    judge.rearm()
    assert "a plugin's" in judge.state(*_now(watch)).why


def _now(watch: Watch) -> tuple[int, int]:
    return watch._clock.mono_us(), watch._clock.wall_us()


def test_a_fleet_of_any_size_fits_into_a_report_and_into_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offswitch.watch.report._SCOPES_CHARS", 9_000)
    rules = [rule(f"r{n}", f"fleet/{n:05}-{'x' * 100}", "harm " * 200) for n in range(110)]
    watch = made(tmp_path, TABLES + "".join(rules))
    rows = [
        {"target": f"fleet/{n:05}-{'x' * 150}", "labels": {"host": "h" * 60}, "kind": "process",
         "path": "/sys/fs/cgroup/" + "p" * 90, "pids": list(range(99)), "state": "running"}
        for n in range(10_000 if LONG else 2_000)
    ]  # fmt: skip
    ours, theirs = socket.socketpair()
    line = Line(ours)
    theirs.setblocking(False)
    answer = frames.encode({"cells": rows}, frames.MAX_ANSWER)
    heard: list[dict[str, Any]] = []
    while not heard:
        answer = answer[theirs.send(answer) :] if answer else answer
        heard = line.receive()
        assert line.alive
    begin = time.process_time()
    watch._take_cells(heard[0])
    watch._tick_all(watch._clock.mono_us())
    assert time.process_time() - begin < 10, "a second or two; by every rule it would be minutes"
    assert len(watch._targets) == len(rows)
    Eye(watch).rows(99)
    for source in watch.wired.sources.values():
        source.hear(*_now(watch), problem="", absent=False, note="n" * 1000)
    messages = report(
        watch.wired.benches, list(watch.wired.sources.values()), watch._clock.mono_us()
    )
    kept = WatchReport()
    for message in messages:
        kept.take(json.loads(frames.encode(message)[4:]), 1)
        assert line.send(message)
        assert len(json.dumps(message)) < 1 << 19
    assert all(kept.signals(row["target"], 1) for row in rows)
    assert len(kept.alarms) == 100
    assert kept.auto == {"/"}, "too many scopes to tell are everything"
    for eye in watch.wired.eyes.values():
        eye.flush()
    theirs.close()
    line.close()
    watch.close()


def test_what_cannot_be_sent_leaves_its_line_alive_and_no_answer_is_waited_for() -> None:
    ours, theirs = socket.socketpair()
    line = Line(ours)
    assert not line.send({"x": "y" * (frames.MAX_FRAME + 1)})
    assert not line.send({"x": "\ud800"})
    assert line.send({"x": "y"})
    assert line.alive
    line.close()
    theirs.close()


def test_a_clock_that_jumps_makes_nothing_stale_and_nothing_fresh(watch: Watch) -> None:
    clock = watch._clock
    assert isinstance(clock, SimulatedClock)
    eye = Eye(watch)
    eye.rows(1)
    [source], [bench] = (
        [s for s in watch.wired.sources.values() if s.key[0] == "db"],
        watch.wired.benches,
    )
    for jump in (86_400_000_000, -400 * 86_400_000_000, -5_000_000_000):
        entries(watch)
        clock.jump(jump)
        watch._tick_all(clock.mono_us())
        watch._pump()
        assert not source.absent
        assert source.age_us(clock.mono_us()) == 0
        assert not bench.blind
        assert entries(watch) == [], "nothing has happened"
    clock.advance(9_000_000)
    clock.jump(-9_000_000)
    watch._tick_all(clock.mono_us())
    assert bench.blind, "nine seconds of silence, whatever the wall says"
    eye.rows(99)
    assert bench.tripped
    clock.suspend(3_600_000_000)
    watch._tick_all(clock.mono_us())
    assert bench.tripped
    assert not source.silent_us(clock.mono_us()), "in a suspend nobody has missed a look"


def test_REC_2_every_entry_of_watch_says_who_how_why_and_from_what_to_what(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EyeLink, "start", lambda _self: None)
    monkeypatch.setattr(watch, "_turn", lambda: setattr(watch, "running", False))
    eye = Eye(watch)
    watch.run()
    eye.rows(1)
    eye.say(problem="it cannot be read")
    eye.rows(99)
    watch._pump()
    eye.say(samples=None)
    watch._met(RuntimeError("x"))
    eye.link.lives = 2
    monkeypatch.setattr(EyeLink, "revive", lambda _self: True)
    watch._revive(eye.link)
    eye.rows(99)
    watch._scribe._lost = 3
    told = list(watch._scribe._waiting)
    assert {one["public"]["kind"] for one in told} >= {
        "restart", "config", "watch", "finding", "decision", "note"
    }  # fmt: skip
    for one in told:
        public, sealed = one["public"], one["sealed"]
        assert missing_fields({**public, "installation": "x"}, sealed) == []
        said = {key: public.get(key) for key in ("channel", "why", "prior", "state")}
        assert all({**said, "by": sealed.get("by")}.values()), public


def test_an_eye_is_replaced_and_the_ledger_says_since_when_nobody_looked(watch: Watch) -> None:
    clock = watch._clock
    assert isinstance(clock, SimulatedClock)
    eye = Eye(watch)
    eye.say(memory={"0": "7 digest"})
    since = clock.wall_us()
    entries(watch)
    clock.advance(2_000_000)
    eye.link.lives = 1
    eye.link.lose("it died")
    clock.advance(9_000_000)
    watch._revive(eye.link)
    until(lambda: eye.link.messages() or eye.link.ready, "it is up", 20)
    [replaced] = entries(watch)
    assert (replaced["what"], replaced["why"]) == ("eye sensor db is replaced", "it died")
    eye.say(note="t was changed")
    [again] = entries(watch)
    assert (again["unseen_from_us"], again["unseen_to_us"]) == (since, clock.wall_us())
    assert again["why"] == "t was changed"
    eye.say()
    assert entries(watch)[0]["why"] == "it sees again", "its note is gone, and that is told"

"""What a target says about itself may raise a finding, and nothing else (SR-6)."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from installation import Running, until
from offswitch.clock import SystemClock
from offswitch.control.canary import Canaries
from offswitch.decide.votes import Channel
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts, SensorContext
from offswitch.watch.sensors.steps import Steps, StepsSection
from watch.conftest import Shop
from watch.test_loop import Watch, made

TOOLS = """{ kind = "rate", series = 'guard.steps{kind="tool"}', above = 5, per = "2s" }"""
SERIES = {'steps{"kind": "model"}', 'steps{"kind": "tool"}', 'steps{"kind": "session"}'}
SERIES |= {one.replace("steps", "step") for one in SERIES} | {"canary{}"}
SERIES |= {"refused{}", "dropped{}", "garbled{}"}


class TestStepsSuite(SensorSuite):
    kind = "steps"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {}

    def source(self, folder: str) -> CellFacts | None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(f"{folder}/pipe")
        return CellFacts(None, (), None, "running", f"{folder}/pipe")

    def stir(self, folder: str) -> None:
        writer = os.open(f"{folder}/pipe", os.O_WRONLY | os.O_NONBLOCK)
        os.write(writer, b'{"step": "tool", "name": "mail"}\n')
        os.close(writer)


class Told:
    """A sensor of a pipe that this test writes as a target would."""

    def __init__(self, folder: Path) -> None:
        path = folder / "pipe"
        os.mkfifo(path)
        cells = {"a": CellFacts(None, (), None, "running", str(path))}
        settings = StepsSection(name="guard", target="a", kind="steps")
        self.sensor = Steps(settings, SensorContext(SystemClock(), cells))
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    def look(self, said: bytes = b"") -> dict[str, float]:
        if said:
            os.write(self.writer, said)
        glance = self.sensor.look()
        assert not glance.problem
        assert not glance.absent
        return {f"{one.what}{json.dumps(dict(one.labels))}": one.value for one in glance.samples}


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_SR_6_the_same_series_are_there_whatever_is_said(told: Told) -> None:
    """A target can neither bring a channel to life nor let one fall silent."""
    assert told.look().keys() == SERIES
    assert set(told.look().values()) == {0.0}
    hostile = b'{"step": "tool", "target": "another", "labels": {"x": "y"}}\n{"step": "rm"}\n'
    counts = told.look(hostile + b'{"steps": 3}\nnonsense\n[1]\n{"refused": 7}\n\n\xff\xfe\n{"a')
    assert counts.keys() == SERIES
    assert counts['steps{"kind": "tool"}'] == 1, "the pipe says whose it is"
    assert counts["garbled{}"] == 7
    assert told.look(b'": 1}\n')["garbled{}"] == 1


def test_SR_6_numbers_that_a_target_makes_up_count_for_nothing_or_are_bounded(told: Told) -> None:
    for number in (-5, 1 << 60, 1.5, True, "7", [1], None, float("inf")):
        line = json.dumps({"step": "tool", "dropped": number}).encode() + b"\n"
        assert told.look(line)["dropped{}"] == 0
    assert told.look(b'{"step": "tool", "dropped": 7}\n')["dropped{}"] == 7
    assert told.look(b"[" * 1000 + b"\n")["garbled{}"] == 1


def test_SR_6_one_look_takes_in_a_little_however_much_is_there(told: Told) -> None:
    os.write(told.writer, b'{"step":"tool"}\n' * 4000)
    counts = told.look()
    assert counts['steps{"kind": "tool"}'] == 200
    assert 0 < counts["garbled{}"] < 1100, "the rest of 16 KiB"
    told.look()
    told.sensor.close()
    assert told.look(b"x" * 3000 + b"\n").keys() == SERIES


# --- never lower, clear or refresh ---------------------------------------------------

RULE = f"""
[[rule]]
name = "r"
target = "a"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "shadow"
detectors = [{TOOLS}]
"""


def say(watch: Watch, steps: int, **more: object) -> None:
    samples = [["steps", float(steps), {"kind": "tool"}, {}]]
    usual = {"sensor": "guard", "target": "a", "samples": samples, "problem": ""}
    watch._hear_from(watch.wired.eyes["cells"], {**usual, **more})


def test_SR_6_a_finding_that_its_words_raised_is_not_taken_back_by_them(tmp_path: Path) -> None:
    watch = made(tmp_path, RULE)
    clock: Any = watch._clock
    [bench] = watch.wired.benches
    [judge] = bench.judges
    say(watch, 20)
    assert bench.tripped
    for _ in range(30):  # it says that it is good, or nothing
        clock.advance(1_000_000)
        say(watch, 0)
    assert judge.state(clock.mono_us(), clock.wall_us()).channel is Channel.TRIP
    judge.rearm()  # a person has reset it
    say(watch, 0)
    assert judge.state(clock.mono_us(), clock.wall_us()).channel is Channel.OK


def test_SR_6_its_words_make_nothing_fresh_and_are_no_sign_that_it_is_seen(tmp_path: Path) -> None:
    watch = made(tmp_path, RULE)
    clock: Any = watch._clock
    [source] = watch.wired.sources.values()
    say(watch, 1)
    assert source.hearsay
    from offswitch.watch.channels import shown_signals  # noqa: PLC0415

    assert shown_signals([source], clock.mono_us()) == {}
    clock.advance(10_000_000)
    assert source.age(clock.mono_us(), clock.wall_us()), "whether it is looked at is our affair"
    assert source.state is Channel.STALE


# --- a real target -------------------------------------------------------------------

AGENT = """
import sys, time
from offswitch.guard import Guard, Stopped
guard = Guard.from_env()
pause = float(sys.argv[1])
while True:
    try:
        with guard.step("tool", "mail"):
            pass
    except Stopped:
        pass
    time.sleep(pause)
"""
FLOOD = """
import os
fd = int(os.environ["OFFSWITCH_REPORT"].partition(":")[0])
data = b'{"step": "tool"}\\n' * 4096
print("begun", flush=True)
while True:
    try:
        os.write(fd, data)
    except BlockingIOError:
        continue
"""


def agent(shop: Shop, program: str, *words: str, user: str | None = None) -> Running:
    argv = [sys.executable, "-I", "-c", program, *words]
    if user is not None:
        argv[0] = "/usr/bin/python3"
    return shop.installation.run(*argv, target="shop/agent", user=user, cwd="/" if user else None)


def tools(above: int) -> str:
    return Shop.rule(TOOLS.replace("above = 5", f"above = {above}"), name="tools")


def test_SR_6_what_a_guard_reports_reaches_a_rule(shop: Shop) -> None:
    shop.start_watch(tools(5))
    agent(shop, AGENT, "0.02")
    until(lambda: shop.level() == "kill", "so many tool calls are stopped")
    [found, *_more] = until(lambda: shop.entries("finding"), "it is recorded")
    assert found["evidence"]["name"] == "'mail'"


def test_SR_6_reports_outlive_the_warden_and_watch(shop: Shop) -> None:
    """The target keeps its end: whoever comes after opens the other by its name."""
    one = shop.installation
    shop.start_watch(tools(1_000_000))
    agent(shop, AGENT, "0.02")
    assert shop.watch is not None
    until(shop.eyes, "its eye is there")
    shop.watch.kill()
    shop.watch.wait()
    one.kill_warden()
    one.restart()
    until(lambda: one.target("shop/agent")["state"] == "running", "it goes on")
    shop.start_watch(tools(5))
    until(lambda: shop.level() == "kill", "the next watch hears it")
    one.reset("shop/agent")
    until(lambda: os.listdir(one.place.reports) == [], "and its pipe goes with its cell")


def test_SR_6_a_target_that_floods_its_pipe_costs_us_a_bounded_little(shop: Shop) -> None:
    one = shop.installation
    shop.start_watch(tools(1_000_000))
    running = agent(shop, FLOOD)
    assert running.line() == "begun"
    [eye] = until(shop.eyes, "its eye is there")
    pids = [eye, one.pids()["warden"], one.pids()["keeper"]]
    before = [processor_s(pid) for pid in pids]
    time.sleep(3)
    used = [processor_s(pid) - was for pid, was in zip(pids, before, strict=True)]
    print("eye, warden, keeper: processor seconds in three:", used)
    assert max(used) < 0.6, used
    assert one.stop("shop/agent")["confirmed"] is True


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


LIMITS = """
import json, os
fd = int(os.environ["OFFSWITCH_REPORT"].partition(":")[0])
def works(call):
    try:
        call()
    except OSError:
        return False
    return True
print(json.dumps([
    works(lambda: os.write(fd, b'{"step": "tool"}\\n')),
    works(lambda: os.read(fd, 1)),
    *[works(lambda: os.open(f"/proc/self/fd/{fd}", how)) for how in (0, 1, 2)],
    sorted(int(name) for name in os.listdir("/proc/self/fd"))[:4],
]), flush=True)
"""


@pytest.mark.parametrize("user", [None, "nobody"])
def test_SR_6_the_descriptor_can_be_written_and_nothing_else(shop: Shop, user: str | None) -> None:
    running = agent(shop, LIMITS, user=user)
    assert json.loads(running.line()) == [True, False, False, False, False, [0, 1, 2, 3]]
    folder = os.stat(shop.installation.place.reports)
    assert (folder.st_uid, folder.st_mode & 0o777) == (0, 0o700)
    running.event("exited")


def test_SR_6_without_room_for_a_pipe_a_target_runs_and_is_stopped(shop: Shop) -> None:
    one = shop.installation
    os.rmdir(one.place.reports)
    one.run("sleep", "100", target="shop/agent")
    assert one.stop("shop/agent")["confirmed"] is True


def test_each_step_is_an_event_with_its_name_and_arguments(told: Told) -> None:
    line = {"step": "tool", "name": "mail", "args": {"to": "ann@acme.example", "body": "x" * 900}}
    many = {"step": "tool", "name": "m" * 900, "args": {str(n): n for n in range(90)}}
    data = "".join(json.dumps(one) + "\n" for one in (line, many)).encode()
    os.write(told.writer, data)
    events = [one for one in told.sensor.look().samples if one.what == "step" and one.value]
    assert [one.labels for one in events] == [{"kind": "tool"}] * 2
    assert events[0].detail["name"] == "mail"
    assert events[0].detail["arg.to"] == "ann@acme.example"
    assert len(events[0].detail["arg.body"]) == 201
    assert len(events[1].detail) < 16, "what an eye carries"
    assert events[1].detail["cut"] == "yes"


def test_a_canary_in_what_a_tool_is_given_is_found_in_whatever_form(tmp_path: Path) -> None:
    cells = {"a": CellFacts(None, (), None, "running", str(tmp_path / "pipe"))}
    os.mkfifo(tmp_path / "pipe")
    token = b"Zebra-7431-quiet-Harbour"
    settings = StepsSection(name="guard", target="a", kind="steps")
    sensor = Steps(settings, SensorContext(SystemClock(), cells), Canaries({"zebra": token}))
    sensor.look()
    writer = os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)
    try:
        for text, count in ((token.decode(), 1), (base64.b64encode(token).decode(), 1), ("x", 0)):
            line = {"step": "tool", "name": "mail", "args": {"body": text}}
            os.write(writer, json.dumps(line).encode() + b"\n")
            [found] = [one for one in sensor.look().samples if one.what == "canary"]
            assert found.value == count
            assert token.decode() not in str(found.detail), "no message of ours repeats a token"
    finally:
        os.close(writer)
        sensor.close()


def test_canaries_that_cannot_be_read_are_a_failed_channel_and_never_all_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFSWITCH_HOME", str(tmp_path))
    monkeypatch.setenv("OFFSWITCH_RUN", str(tmp_path))
    (tmp_path / "canaries").write_text("short\n")
    os.mkfifo(tmp_path / "pipe")
    cells = {"a": CellFacts(None, (), None, "running", str(tmp_path / "pipe"))}
    settings = StepsSection(name="guard", target="a", kind="steps")
    sensor = Steps(settings, SensorContext(SystemClock(), cells))
    [found] = [one for one in sensor.look().samples if one.what == "canary"]
    sensor.close()
    assert math.isnan(found.value)
    assert "chance" in found.detail["why"]

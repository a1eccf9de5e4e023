"""Can a target go round its gateway? Denied from its cell, tried by a canary, and said (SR-26)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftool import taken_off
from gate_ground import Ground
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.actuators import bpf
from offswitch.warden.gates.bypass import judged

NAME = "shop/agent"
GO = """
import errno, socket, sys, time
for where in sys.argv[1:]:
    try:
        if where.startswith("/"):
            socket.socket(socket.AF_UNIX).connect(where)
        else:
            socket.create_connection(("127.0.0.1", int(where)), 1)
        print("open", flush=True)
    except OSError as error:
        print(errno.errorcode.get(error.errno, "?"), flush=True)
time.sleep(100)
"""
HOLD = """
import socket, sys, time
held = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("open", flush=True)
time.sleep(100)
"""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    needs_root()
    one = Installation(tmp_path)
    ground = Ground(one)
    try:
        one.start()
        yield ground
    finally:
        ground.close()
        one.close()


def why(ground: Ground, name: str = NAME) -> str:
    shown = ground.installation.ask({"op": "target", "name": name})
    return str(shown["readiness_detail"]["gateway"])


def test_SR_26_a_cell_can_reach_its_gateway_and_not_the_server_behind_and_so_it_is_ready(
    ground: Ground,
) -> None:
    ground.gate(NAME)
    places = [str(ground.upstream.port), str(ground.port), ground.installation.place.warden_socket]
    running = ground.installation.run(PYTHON, "-c", GO, *places, target=NAME)
    assert running.line() == "EPERM", "from its very first instruction"
    assert running.line() == "open"
    assert running.line() in {"ENOENT", "EACCES", "EPERM"}, "SR-6: no other listener of ours"
    until(lambda: ground.readiness(NAME)["gateway"] != "unproven", "a canary has tried")
    assert ground.readiness(NAME)["gateway"] == "ready", why(ground)
    assert "1 direct routes refused" in why(ground)


def test_SR_26_a_denied_route_that_somebody_opens_is_noticed_and_denied_again(
    ground: Ground,
) -> None:
    ground.gate(NAME)
    ground.installation.run("sleep", "1000", target=NAME)
    until(lambda: ground.readiness(NAME)["gateway"] == "ready", "a canary has tried")
    folder = ground.installation.ask({"op": "target", "name": NAME})["cell"]["path"]
    fd = os.open(folder, os.O_RDONLY)
    taken_off(fd, bpf.Attach.CONNECT4)
    assert not bpf.attached(fd, bpf.Attach.CONNECT4)
    until(lambda: bpf.attached(fd, bpf.Attach.CONNECT4), "it is noticed, and denied again", 10)
    os.close(fd)
    until(lambda: ground.readiness(NAME)["gateway"] == "ready", "and tried once more")
    assert any(each.get("what") == "routes denied again" for each in ground.installation.entries())


def test_SR_26_a_gateway_that_comes_after_its_target_is_proven_as_well(ground: Ground) -> None:
    running = ground.installation.run("sleep", "1000", target=NAME)
    ground.gate(NAME)
    until(
        lambda: ground.readiness(NAME)["gateway"] == "ready", f"a canary has tried: {why(ground)}"
    )
    os.kill(int(running.born["pid"]), signal.SIGKILL)
    until(lambda: ground.readiness(NAME)["gateway"] == "degraded", "what it was proven of is gone")


def test_SR_26_a_connection_that_was_there_before_is_a_way_round(ground: Ground) -> None:
    port = str(ground.upstream.port)
    running = ground.installation.run(PYTHON, "-c", HOLD, port, target=NAME)
    assert running.line() == "open"
    ground.gate(NAME)
    until(lambda: ground.readiness(NAME)["gateway"] != "unproven", "a canary has tried")
    assert ground.readiness(NAME)["gateway"] == "degraded"
    assert "a connection that it had before" in why(ground)


def test_SR_26_what_has_no_cell_can_go_round_and_that_is_said(ground: Ground) -> None:
    ground.gate(NAME)
    assert ground.readiness(NAME)["gateway"] == "degraded"
    assert why(ground).startswith("can be bypassed: it has no cell")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["open", "EPERM", "open"], "10.0.0.1:1 is open to it"),
        (["EPERM", "ECONNREFUSED", "open"], "10.0.0.2:1 is not denied to it (ECONNREFUSED)"),
        (["EPERM", "ETIMEDOUT", "open"], "is not denied"),
        (["EPERM", "EPERM", "EPERM"], "cannot reach its gateway"),
        (["EPERM", "EPERM"], "nobody could try"),
        ([], "nobody could try"),
    ],
)
def test_SR_26_anything_but_a_refusal_of_every_direct_route_is_degraded(
    words: list[str], said: str
) -> None:
    places = ["10.0.0.1:1", "10.0.0.2:1", "127.0.0.1:8100"]
    state, detail = judged(words, places, listeners=1)
    assert state == "degraded"
    assert said in detail

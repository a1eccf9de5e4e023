"""A gateway as the warden holds it: told, cut where it does not cut, and seen by others' eyes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate_ground import Ground, layer
from gateway_stand import children
from installation import Installation, until
from needs import needs_root
from offswitch.control.gate import Attachment, Gate
from offswitch.control.page import RUN, PageReader
from offswitch.errors import Latched, OffswitchError

NAME = "shop/eu/checkout"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def ground(installation: Installation) -> Iterator[Ground]:
    ground = Ground(installation)
    yield ground
    ground.close()


def test_VER_2_a_gateway_that_cuts_is_confirmed_and_nothing_outside_the_scope_ends(
    ground: Ground,
) -> None:
    ground.gate(NAME, "shop/us")
    assert ground.installation.target(NAME)["state"] == "running"
    hit, spared = ground.client(NAME), ground.client("shop/us")
    assert hit.streams()
    assert spared.streams()
    answer = ground.installation.stop("shop/eu")
    assert answer["confirmed"] is True, answer
    seen = layer(answer)
    assert seen["confirmed"] is True
    assert str(seen["detail"]).startswith("1 stream cut; ")
    assert str(seen["detail"]).endswith("egress cut, upstream not confirmed")
    assert ground.installation.target(NAME)["state"] == "stopped"
    assert not hit.streams()
    assert spared.streams()
    assert ground.client(NAME).first() == b"refused\n"
    ground.installation.reset("shop/eu")
    assert ground.installation.target(NAME)["state"] == "running"
    assert ground.client(NAME).streams(), "a target that is reset and not started passes requests"


def test_ACT_4_a_deaf_worker_has_its_sockets_destroyed_and_no_others(ground: Ground) -> None:
    ground.gate(NAME, "shop/us", habits="deaf")
    hit, spared = ground.client(NAME), ground.client("shop/us")
    assert hit.streams()
    began = time.monotonic()
    ground.installation.press("shop/eu")
    until(lambda: not hit.streams(), "its stream ends", 2)
    assert time.monotonic() - began < 1
    assert spared.streams()


@pytest.mark.long
def test_VER_2_a_worker_that_has_not_swept_is_not_confirmed(ground: Ground) -> None:
    """The failing twin: what it had is cut for it, but what it would do next is unknown."""
    ground.gate(NAME, habits="deaf")
    ground.client(NAME)
    answer = ground.installation.stop("shop/eu")
    assert answer["confirmed"] is False
    assert "not swept" in str(layer(answer)["detail"])


def test_ACT_4_a_stalled_worker_has_its_streams_cut_within_50_ms_of_the_order(
    ground: Ground,
) -> None:
    gate = ground.gate(NAME, "shop/us")
    hit, spared = ground.client(NAME), ground.client("shop/us")
    assert hit.streams()
    gate.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    ground.installation.press("shop/eu")
    hit.sock.settimeout(2)
    with pytest.raises(OSError, match=r"reset|abort"):  # noqa: PT012 - what was queued is read first
        while hit.first():
            pass
    assert time.monotonic() - began < 0.25, "20 ms and what a busy machine adds"
    gate.send_signal(signal.SIGCONT)
    assert spared.streams()


def test_ACT_4_what_a_dead_worker_left_to_the_kernel_is_cut(ground: Ground) -> None:
    """A slow reader would go on receiving what was queued: nobody's sockets, and still named."""
    ground.upstream.pause_s = 0
    gate = ground.gate(NAME)
    slow = ground.client(NAME)
    assert slow.first()
    time.sleep(0.2)
    gate.kill()
    gate.wait()
    answer = ground.installation.stop("shop/eu")
    assert answer["confirmed"] is True, answer


def test_VER_3_a_gateway_that_opens_again_while_latched_is_told_and_not_confirmed_any_more(
    ground: Ground,
) -> None:
    ground.gate(NAME)
    answer = ground.installation.stop("shop/eu")
    assert answer["confirmed"] is True
    ground.gates[0].kill()
    ground.gates[0].wait()
    ground.gate(NAME, habits="eager")

    def told() -> bool:
        moved = [one for one in ground.installation.entries() if one["kind"] == "moved"]
        return any("still takes requests" in str(one["what"]) for one in moved)

    until(told, "it is seen to move")
    assert not ground.installation.target(NAME)["confirmed"]


def prober_of(installation: Installation) -> int:
    [found] = [
        pid
        for pid in children(installation.pids()["warden"])
        if b"offswitch.gateway.prober" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


@pytest.mark.long
def test_VER_2_a_prober_that_hangs_confirms_nothing_and_another_takes_its_place(
    ground: Ground,
) -> None:
    ground.gate(NAME)
    assert ground.installation.stop("shop/eu")["confirmed"] is True, "it has answered before"
    ground.installation.reset("shop/eu")
    hung = prober_of(ground.installation)
    os.kill(hung, signal.SIGSTOP)
    answer = ground.installation.stop("shop/eu")
    assert answer["confirmed"] is False, "nobody asked the listener"
    assert "has not answered" in str(layer(answer)["detail"])
    until(lambda: ground.installation.target(NAME)["confirmed"], "it is seen after all", 8)
    assert prober_of(ground.installation) != hung


def test_ACT_1_a_freeze_pauses_streams_and_a_reset_lets_them_go_on(ground: Ground) -> None:
    ground.gate(NAME, "shop/us")
    hit, spared = ground.client(NAME), ground.client("shop/us")
    assert hit.streams()
    answer = ground.installation.stop("shop/eu", level="freeze")
    assert answer["confirmed"] is True, answer
    detail = str(layer(answer)["detail"])
    assert detail.startswith("1 stream paused; its streams stand still")
    assert detail.endswith("; the server behind may work on")
    assert "cut" not in detail
    assert ground.installation.target(NAME)["state"] == "frozen"
    assert not hit.streams()
    assert spared.streams()
    said = ground.installation.reset("shop/eu")
    assert f"gateways let requests of {NAME} pass again from now on" in said["notes"]
    assert hit.streams(), "the same stream goes on"


@pytest.mark.long
def test_VER_2_a_freeze_that_does_not_hold_is_a_kill(ground: Ground) -> None:
    ground.gate(NAME, habits="deaf")
    hit = ground.client(NAME)
    ground.installation.press("shop/eu", level="freeze")
    until(lambda: ground.installation.target(NAME)["level"] == "kill", "it is escalated")
    until(lambda: not hit.streams(), "its stream ends", 2)


def test_DEC_5_a_drain_refuses_what_is_new_lets_what_flies_end_and_is_then_a_kill(
    ground: Ground,
) -> None:
    step = f"{NAME}/tools"
    ground.gate(NAME, step)
    assert ground.readiness(step) == ground.readiness(NAME)
    flying = ground.client(NAME)
    assert flying.streams()
    answer = ground.installation.stop("shop/eu", level="drain")
    assert answer["targets"][0]["state"] == "draining"
    told = layer(answer)
    assert told["confirmed"] is False
    assert "never counted" in str(told["detail"])
    assert ground.client(NAME).first() == b"refused\n"
    assert flying.streams()
    [stop] = ground.installation.status()["latched"]
    assert stop["level"] == "drain", "a step, of which nothing flies, is no reason for a kill"
    flying.close()
    until(lambda: ground.installation.target(NAME)["state"] == "stopped", "the drain ends")
    assert ground.installation.target(NAME)["confirmed"] is True


def word(installation: Installation, slot: int) -> int:
    page = PageReader(installation.place.page)
    try:
        return page.word(slot)
    finally:
        page.close()


def test_DEC_5_a_gates_word_is_set_by_every_stop_and_cleared_by_a_reset_alone(
    installation: Installation,
) -> None:
    gate = Gate(installation.place.warden_socket, Attachment("g", [NAME]))
    gate.attach()
    slot = gate.slots[NAME]
    assert word(installation, slot) == RUN
    for number, level in enumerate(("restrict", "drain", "freeze", "kill", "poweroff"), 1):
        installation.stop(NAME, level=level)
        assert word(installation, slot) == RUN + number
    installation.reset(NAME)
    assert word(installation, slot) == RUN
    turns = gate.turn
    assert (gate.hear() or 0) > turns
    gate.end()


FLEET = {
    "shop/eu/a": {"tenant": "acme", "model": "m-7", "region": "eu"},
    "shop/eu/b": {"tenant": "acme", "model": "m-1", "region": "eu"},
    "shop/us/a": {"tenant": "zeta", "model": "m-7", "region": "us"},
    "shop/use/a": {"tenant": "zeta", "model": "m-7", "tool": "mail"},
}


SUBSETS: dict[str, set[str]] = {
    "tenant=acme": {"shop/eu/a", "shop/eu/b"},
    "model=m-7": {"shop/eu/a", "shop/us/a", "shop/use/a"},
    "region=us": {"shop/us/a"},
    "tool=mail": {"shop/use/a"},
    "shop/us": {"shop/us/a"},
    "shop/eu/b": {"shop/eu/b"},
    "/": set(FLEET),
}


def test_DEC_5_one_stop_reaches_the_gateways_of_any_subset_and_of_nothing_else(
    installation: Installation,
) -> None:
    targets = [{"name": name, "labels": labels} for name, labels in FLEET.items()]
    installation.ask({"op": "declare", "targets": targets})
    gate = Gate(installation.place.warden_socket, Attachment("g", list(FLEET)))
    gate.attach()

    def held() -> set[str]:
        return {name for name in FLEET if word(installation, gate.slots[name]) != RUN}

    for scope, covered in SUBSETS.items():
        assert held() == set()
        installation.stop(scope)
        assert held() == covered, scope
        installation.reset(scope)
    assert held() == set()
    gate.end()


def test_ACT_6_after_a_warden_is_lost_a_gate_attaches_anew_and_has_the_same_word(
    ground: Ground,
) -> None:
    installation = ground.installation
    ground.gate(NAME)
    gate = Gate(installation.place.warden_socket, Attachment("g", [NAME, "other"]))
    gate.attach()
    slots = dict(gate.slots)
    flying = ground.client(NAME)
    lost = time.monotonic()
    installation.kill_warden()
    installation.restart()
    in_time = time.monotonic() - lost < 2
    assert installation.target(NAME)["readiness"]["gateway"] != "absent"
    gate.begin()
    until(lambda: gate.attached or gate.hear(), "it is attached")
    assert gate.slots == slots
    assert flying.streams() or not in_time, "a warden that is back within its lease cuts nothing"
    answer = installation.stop(NAME)
    assert answer["confirmed"] is True, answer
    assert not flying.streams()
    gate.end()


@pytest.mark.long
def test_ACT_6_a_page_that_nobody_renews_ends_the_streams(ground: Ground) -> None:
    ground.gate(NAME)
    flying = ground.client(NAME)
    assert flying.streams()
    ground.installation.kill_everything()
    until(lambda: not flying.streams(), "the lease runs out", 6)


def test_SR_23_a_hand_over_loses_no_gate_and_no_stream(ground: Ground) -> None:
    installation = ground.installation
    ground.gate(NAME)
    flying = ground.client(NAME)
    assert flying.streams()
    installation.ask({"op": "handover"})
    assert installation.target(NAME)["readiness"]["gateway"] != "absent"
    assert flying.streams()
    answer = installation.stop(NAME)
    assert answer["confirmed"] is True, answer
    assert str(layer(answer)["detail"]).startswith("1 stream cut; ")


def test_VER_2_a_stop_of_what_no_gateway_serves_any_more_rests_on_the_plan(
    ground: Ground,
) -> None:
    installation = ground.installation
    plan = {"name": NAME, "stop": {"kill": ["gateway"]}}
    installation.ask({"op": "declare", "targets": [plan]})
    gate = ground.gate(NAME)
    gate.kill()
    gate.wait()
    until(lambda: ground.readiness(NAME)["gateway"] == "absent", "it is gone")
    answer = installation.stop(NAME)
    assert answer["confirmed"] is False
    assert "nothing here can do" in str(layer(answer)["detail"])


@pytest.mark.parametrize("level", ["freeze", "kill"])
def test_VER_2_a_stop_of_what_a_front_of_others_alone_serves_is_not_confirmed_and_can_be_reset(
    installation: Installation, level: str
) -> None:
    """That nothing of it runs here says nothing of what it runs elsewhere, behind that front."""
    front = Gate(installation.place.warden_socket, Attachment("theirs", [NAME]))
    front.attach()
    answer = installation.stop(NAME, level=level)
    assert answer["confirmed"] is False, answer
    seen = layer(answer)
    assert seen["confirmed"] is False
    assert "never counted" not in str(seen["detail"])
    assert "front of others" in str(seen["detail"])
    assert not installation.target(NAME)["confirmed"]
    assert installation.target(NAME)["level"] == level, "a kill would reach no further"
    said = [one for one in installation.entries() if "a person must look" in str(one.get("what"))]
    assert said[-1]["missing"] == ["gateway"]
    front.end()
    assert installation.stop(NAME)["confirmed"] is False, "its adapter is gone, the front is not"
    installation.kill_warden()
    installation.restart()
    assert installation.stop(NAME)["confirmed"] is False, "and the next warden knows of it"
    assert installation.reset(NAME)["state"] == "done"


def test_VER_2_a_stop_of_a_cell_with_a_front_of_others_rests_on_the_cell(
    installation: Installation,
) -> None:
    front = Gate(installation.place.warden_socket, Attachment("theirs", [NAME]))
    front.attach()
    running = installation.run("sleep", "1000", target=NAME)
    answer = installation.stop(NAME)
    assert answer["confirmed"] is True, answer
    assert "never counted" in str(layer(answer)["detail"])
    running.event("exited")
    until(lambda: not installation.target(NAME).get("cell"), "its cell is gone")
    assert installation.stop(NAME)["confirmed"] is True, "it was seen to end"
    assert installation.reset(NAME)["state"] == "done"
    front.end()


def test_SR_6_no_cell_may_attach_a_gate(installation: Installation) -> None:
    code = (
        "import socket, struct, json\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({installation.place.warden_socket!r})\n"
        "b = json.dumps({'op': 'gate', 'gateway': 'g', 'part': 'supervisor', 'worker': None,\n"
        "  'targets': ['a'], 'listen': [], 'upstreams': []}).encode()\n"
        "s.sendall(struct.pack('>I', len(b)) + b); print(s.recv(4096))\n"
    )
    running = installation.run("/usr/bin/python3", "-c", code, target="t", user="root")
    said = running.line()
    assert "inside a cell" in said or "Permission" in said or "No such file" in said, said


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"part": "worker", "worker": 0},
        {"part": "supervisor", "worker": 3},
        {"part": "supervisor", "targets": []},
        {"part": "supervisor", "targets": ["../x"]},
        {"part": "supervisor", "targets": [".drill/x"]},
        {"part": "supervisor", "targets": ["a"] * 5000},
        {"part": "supervisor", "gateway": "\x1b[2J"},
        {"part": "supervisor", "listen": [7]},
    ],
)
def test_SEC_4_what_is_no_gate_is_refused(
    installation: Installation, message: dict[str, object]
) -> None:
    whole = {"op": "gate", "gateway": "g", "targets": ["a"], "listen": [], "upstreams": []}
    with pytest.raises(OffswitchError):
        installation.ask({**whole, **message})
    assert installation.status()["targets"] == []


def test_RST_4_a_gate_starts_nothing_that_is_latched_and_a_run_beside_it_is_its_own(
    ground: Ground,
) -> None:
    installation = ground.installation
    ground.gate(NAME)
    running = installation.run("sleep", "1000", target=NAME)
    answer = installation.stop(NAME)
    assert answer["confirmed"] is True, answer
    assert {each["layer"] for each in answer["targets"][0]["layers"]} == {
        "guard",
        "gateway",
        "network",
        "process",
        "sweep",
    }
    assert running.event("exited")["signal"] == 9
    with pytest.raises(Latched):
        installation.run("sleep", "1000", target=NAME)
    assert os.path.exists(installation.place.page)

"""A stop on the keeper's own socket and in the spool, whether the warden hangs or not (SR-11)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installation import until
from keeper_stage import KeeperStage, keeper_stage
from needs import needs_root
from offswitch.control import frames
from offswitch.control.client import connect
from offswitch.control.page import RUN
from offswitch.errors import OffswitchError, Refused, Unsupported, Usage
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import parse_scope
from small_tmpfs import fill, small_tmpfs

KILL = RUN + Level.KILL


def test_SR_11_a_stop_reaches_its_cells_while_the_warden_is_frozen(stage: KeeperStage) -> None:
    cast = stage.cast()
    cell, other = stage.cell(), stage.cell()
    stage.hand(cast, cell, "shop/eu/checkout")
    stage.hand(cast, other, "shop/europe")
    cast.signal(signal.SIGSTOP)
    began = time.monotonic()
    answer = stage.press("shop/eu")
    assert cell.wait() == signal.SIGKILL
    assert time.monotonic() - began < 0.25
    assert answer["by"] == "keeper"
    assert answer["acted"] == ["shop/eu/checkout"]
    assert other.populated()
    assert not other.frozen()


def test_SR_11_the_keeper_leaves_to_a_healthy_warden_what_the_warden_does(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cell = stage.cell()
    slot = stage.hand(cast, cell, "shop/a")
    cast("set", slot, KILL)  # what a warden does first of all
    cast("say", "obeyed", ["f" * 32])  # and what it says once the order is written down
    answer = stage.press("shop", nonce="f" * 32)
    assert answer["by"] == "warden"
    assert answer["acted"] == []
    assert cell.populated(), "killing is the warden's part then, in the order of SR-8"
    assert stage.left() == []


def test_SR_22_a_stop_that_the_warden_shows_and_never_writes_down_is_the_keepers_to_keep(
    stage: KeeperStage,
) -> None:
    """The warden is killed between its commands and its record: what was accepted is kept."""
    cast = stage.cast()
    cell = stage.cell()
    slot = stage.hand(cast, cell, "shop/a")
    cast("set", slot, KILL)
    answer = stage.press("shop")
    assert answer["accepted"] is True
    assert cell.wait() == signal.SIGKILL
    assert [stop.scope.text for stop in stage.left()] == ["shop"]


def test_SR_11_a_press_that_covers_nothing_is_the_wardens_if_it_says_so_and_else_is_kept(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    nonce = "a" * 32
    cast("say", "obeyed", [nonce])
    assert stage.press("nothing/yet", nonce=nonce)["by"] == "warden"
    assert stage.left() == []
    assert stage.press("nothing/yet")["by"] == "keeper"
    [order] = stage.left()
    assert order.scope.text == "nothing/yet"


def test_SR_11_warden_and_keeper_make_the_same_order_of_one_press(stage: KeeperStage) -> None:
    stage.cast()
    answer = stage.press("shop", "tenant=acme", nonce="b" * 32, time_us=7, reason="wild")
    kept = {stop.digest: stop for stop in stage.left()}
    for scope in ("shop", "tenant=acme"):
        by, nonce = f"uid:{os.geteuid()}", "b" * 32
        order = Stop(stage.id, parse_scope(scope), Level.KILL, by, "cli", nonce, 7, "wild")
        assert kept.pop(order.digest) == order
    assert not kept
    assert len(answer["order"]) == 64


def test_SR_11_a_label_covers_the_cells_that_bear_it(stage: KeeperStage) -> None:
    cast = stage.cast()
    mine, theirs = stage.cell(), stage.cell()
    stage.hand(cast, mine, "a", tenant="acme")
    stage.hand(cast, theirs, "b", tenant="other")
    stage.press("tenant=acme")
    assert mine.wait() == signal.SIGKILL
    assert theirs.populated()


def test_SR_11_a_freeze_freezes_and_lesser_levels_are_the_wardens_alone(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    stage.press("shop", level="freeze")
    until(cell.frozen, "frozen")
    assert cell.populated()
    for level in ("restrict", "drain"):
        with pytest.raises(Unsupported):
            stage.press("shop", level=level)
    stage.press("shop", level="poweroff")
    assert cell.wait() == signal.SIGKILL, "a frozen cell can be killed"


def test_SR_22_the_keeper_serves_stops_only(stage: KeeperStage) -> None:
    stage.cast()
    for op in ("status", "reset", "run", "ping", "", None):
        with pytest.raises(Unsupported):
            stage.press("shop", op=op)
    with pytest.raises(Usage):
        stage.press("no such scope!")
    with pytest.raises(Usage):
        stage.press("shop", level="softly")
    with pytest.raises(Usage):
        stage.press()


def test_SR_11_what_came_to_life_in_a_cell_that_the_keeper_killed_is_killed_again(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    cast.signal(signal.SIGSTOP)
    stage.press("shop")
    assert cell.wait() == signal.SIGKILL
    cell.enter(("sleep", "1000"))
    assert abs(cell.programs[1].wait(2)) == signal.SIGKILL


def test_SR_11_a_stop_survives_the_keeper_that_took_it(stage: KeeperStage) -> None:
    cast = stage.cast()
    stage.press("shop")
    home = Path(stage.place.home)
    until(
        lambda: [copy for copy in home.glob("*keeper-orders*") if copy.suffix != ".new"],
        "a copy is in the state folder, for a reboot",
    )
    os.kill(cast.keeper, signal.SIGKILL)
    for name in os.listdir(stage.place.memory):
        if "keeper-orders" in name:
            os.unlink(f"{stage.place.memory}/{name}")  # as a reboot does
    [order] = stage.left()
    assert order.scope.text == "shop"


def test_SR_11_orders_go_only_when_a_warden_has_them_durable(stage: KeeperStage) -> None:
    cast = stage.cast()
    stage.press("shop")
    [order] = stage.left()
    cast("settle", [])
    assert stage.left() == [order]
    cast("settle", [order.digest])
    until(
        lambda: stage.left() == [],
        "joined, durable, forgotten",
    )
    stage.press("shop/again")
    assert [stop.scope.text for stop in stage.left()] == ["shop/again"]


def test_SR_11_orders_of_a_dead_keeper_go_too_once_they_are_durable(stage: KeeperStage) -> None:
    first = stage.cast()
    stage.press("shop")
    os.kill(first.keeper, signal.SIGKILL)
    first.kill()
    second = stage.cast()
    [order] = stage.left()
    second("settle", [])
    assert stage.left() == [order]
    second("settle", [order.digest])
    assert stage.left() == []


def test_SR_17_the_same_press_again_is_kept_once(stage: KeeperStage) -> None:
    stage.cast()
    for _ in range(5):
        stage.press("shop")
    assert len(stage.left()) == 1


def test_SR_17_a_press_never_joins_an_order_that_may_have_been_reset(stage: KeeperStage) -> None:
    """Durable in the latch, it may be cleared by now: the same press again is a stop again."""
    cast = stage.cast()
    stage.press("shop")
    [first] = stage.left()
    stage.press("bank")  # not durable, so that nothing is forgotten yet
    cast("settle", [first.digest])
    stage.press("shop")
    assert sorted(stop.scope.text for stop in stage.left()) == ["bank", "shop", "shop"]


def test_SR_16_without_room_on_tmpfs_the_keeper_keeps_all_it_can_and_says_what_it_cannot(
    tmp_path: Path,
) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "run", 4 << 20) as run, keeper_stage(tmp_path, str(run)) as stage:
        cast = stage.cast()
        fill(run)
        stage.press("shop")
        [first] = stage.left()
        cast("settle", [first.digest])
        assert stage.press("shop")["unkept"] == ""
        assert len(stage.left()) == 2, "what could not be forgotten was not joined either"
        answer = stage.press(*(f"shop/{n}" for n in range(200)), reason="€" * 2000)
        assert answer["unkept"] == ""
        assert "/" in {stop.scope.text for stop in stage.left()}, "one stop stands for the rest"
        for _ in range(3):
            cast("settle", [stop.digest for stop in stage.left()])
            answer = stage.press("/", reason="€" * 2000)
        assert answer["accepted"] is True
        assert "no room to keep the stop of /" in answer["unkept"]
        assert "no room to keep the stop of /" in cast("heard_last", "acted")


# --- who may knock, and how ---------------------------------------------------------


def test_SR_22_a_cells_process_may_not_even_stop(stage: KeeperStage) -> None:
    cast = stage.cast()
    cell = stage.cell("sleep", "1000")
    stage.hand(cast, cell, "shop/a")
    program = (
        "import sys; from offswitch.control.client import Conversation\n"
        f"with Conversation({stage.place.keeper_socket!r}) as c:\n"
        "    try: print(c.ask({'op': 'stop', 'scopes': ['/']}))\n"
        "    except Exception as e: print(type(e).__name__)\n"
    )
    into = f'echo 0 > {cell.path}/cgroup.procs && exec "$@"'
    argv = ["/bin/sh", "-c", into, "sh", sys.executable, "-c", program]
    said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    assert said.stdout.strip() == Refused.__name__
    assert cell.populated()


def test_SR_22_a_stranger_is_refused_and_a_member_of_the_group_may_stop(
    stage: KeeperStage,
) -> None:
    os.chown(stage.place.control, -1, 47_111)
    os.chmod(stage.place.control, 0o755)  # even then: the keeper asks the kernel who it is
    stage.cast()
    os.chmod(stage.place.keeper_socket, 0o666)
    assert _press_as(stage, uid=47_112, gids=[47_113]) == "refused"
    assert _press_as(stage, uid=47_112, gids=[47_113, 47_111]) == "accepted"
    assert _press_as(stage, uid=0, gids=[]) == "accepted"
    assert {stop.by for stop in stage.left()} == {
        "uid:0",
        "uid:47112",
    }


def _press_as(stage: KeeperStage, uid: int, gids: list[int]) -> str:
    """Press as another user, over the raw wire; give what came of it."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"failed"
        try:
            os.setgroups(gids)
            os.setresgid(47_113, 47_113, 47_113)
            os.setresuid(uid, uid, uid)
            sock = connect(stage.place.keeper_socket, 5)
            frames.send(sock, {"op": "stop", "scopes": [f"as/{uid}"], "level": "kill"})
            got = frames.receive(sock)
            assert got is not None
            said = b"accepted" if got[0].get("accepted") else got[0]["error"]["kind"].encode()
        finally:
            os.write(there, said)
            os._exit(0)
    os.close(there)
    os.waitpid(pid, 0)
    text = os.read(here, 64).decode()
    os.close(here)
    return text


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        (5).to_bytes(4, "big") + b"\xff\xfe\x00\x00\x00",
        (1 << 30).to_bytes(4, "big"),
        (2).to_bytes(4, "big") + b"[]",
        (4000).to_bytes(4, "big") + b"{" * 4000,
        b"\x00",
    ],
)
def test_SR_11_garbage_ends_its_connection_and_nothing_else(
    stage: KeeperStage, garbage: bytes
) -> None:
    cast = stage.cast()
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    sock = connect(stage.place.keeper_socket, 5)
    sock.sendall(garbage)
    sock.shutdown(socket.SHUT_WR)
    got = b""
    while part := sock.recv(4096):
        got += part
    sock.close()
    assert not got or b"error" in got
    assert stage.press("shop")["acted"] == ["shop/a"]


def test_SR_11_a_thousand_connections_that_say_nothing_hold_nobody_up(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    idle = []
    for _ in range(300):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(stage.place.keeper_socket)
        except BlockingIOError:
            sock.close()
            continue
        idle.append(sock)
    answers = []
    end = time.monotonic() + 5
    while not answers and time.monotonic() < end:
        try:
            answers.append(stage.press("shop"))
        except OffswitchError:  # turned away: the owner holds as many as anyone may
            for sock in idle[:100]:
                sock.close()
            del idle[:100]
    for sock in idle:
        sock.close()
    assert answers[0]["acted"] == ["shop/a"]
    assert cell.wait() == signal.SIGKILL


# --- the spool ----------------------------------------------------------------------


def test_SR_11_a_name_in_the_spool_stops_while_the_warden_is_frozen(stage: KeeperStage) -> None:
    cast = stage.cast()
    cell, other = stage.cell(), stage.cell()
    stage.hand(cast, cell, "shop/eu/checkout")
    stage.hand(cast, other, "shop/us")
    cast.signal(signal.SIGSTOP)
    subprocess.run(["touch", f"{stage.place.spool}/shop%2Feu"], check=True)
    assert cell.wait() == signal.SIGKILL
    assert other.populated()
    until(stage.left, "it is an order")
    [order] = stage.left()
    assert (order.scope.text, order.channel, order.by) == ("shop/eu", "spool", "uid:0")
    assert os.listdir(stage.place.spool) == ["shop%2Feu"], "the warden takes it away, not we"


def test_SR_11_what_lies_in_the_spool_already_is_obeyed_by_a_keeper_that_comes_up(
    stage: KeeperStage,
) -> None:
    Path(stage.place.spool, "all").touch()
    cast = stage.cast()
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    cast.signal(signal.SIGSTOP)
    Path(stage.place.spool, "elsewhere").touch()
    assert cell.wait() == signal.SIGKILL


def test_SR_11_odd_names_in_the_spool_stop_nothing_and_break_nothing(stage: KeeperStage) -> None:
    cast = stage.cast()
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    cast.signal(signal.SIGSTOP)
    folder = os.fsencode(stage.place.spool)
    for name in (b"no scope!", b"\xff\xfe", b"%2F%2F..", b"a\nb", b"~taken-1", b"x" * 255):
        os.close(os.open(folder + b"/" + name, os.O_CREAT, 0o600))
    os.mkfifo(folder + b"/sho")
    os.symlink("/etc/passwd", folder + b"/shop%2Fother")
    time.sleep(0.1)
    assert cell.populated()
    os.mkfifo(folder + b"/shop")
    assert cell.wait() == signal.SIGKILL, "a FIFO's name is a stop like any other's"


def test_SR_11_the_page_tells_the_keeper_that_the_warden_obeyed_the_spool(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cell = stage.cell()
    slot = stage.hand(cast, cell, "shop/a")
    cast("set", slot, KILL)
    Path(stage.place.spool, "all").touch()
    time.sleep(0.1)
    assert cell.populated()
    assert stage.left() == []

"""`offswitch board`: live, with the stop key, in 80 by 24."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from cli.keyboard import Keyboard
from installation import Installation, until
from offswitch.cli.board import Board
from offswitch.cli.gather import Answer
from offswitch.cli.screen import Screen
from offswitch.control.place import Place

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
PLACE = Place("/nowhere/home", "/nowhere/run")


def row(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    usual = {"target": name, "state": "running", "latched": False, "level": None, "pids": 3}
    usual |= {"confirmed": False, "blind": False, "signals": {}, "installation": PLACE.run}
    return usual | more


def drawn(board: Board, now: float, *, size: tuple[int, int] = (80, 24)) -> list[str]:
    """Draw a board as a terminal of that size without colours shows it."""
    console = Console(width=size[0], height=size[1], file=io.StringIO(), color_system=None)
    console.print(board.face(*size, now))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def filled(*rows: dict[str, Any]) -> Board:
    board = Board()
    board.take([Answer(PLACE, {"targets": list(rows), "notes": ["degraded: no root"]})], 100.0)
    return board


def test_it_fits_80_by_24_and_the_stop_keys_are_always_on_the_last_line() -> None:
    many = [row(f"shop/eu/agent-with-a-long-name-{number}") for number in range(100)]
    for board in (filled(), filled(row("a")), filled(*many)):
        lines = drawn(board, 100.1)
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80
        assert "STOP EVERYTHING" in lines[-1]


def test_the_abnormal_come_first_and_say_so_without_colour() -> None:
    stopped = row("b/odd", state="stopping", latched=True, level="kill")
    lines = drawn(filled(row("a/calm"), row("z/blind", blind=True), stopped), 100.1)
    assert next(line for line in lines if "b/odd" in line).count("NOT CONFIRMED") == 1
    order = [
        next(i for i, line in enumerate(lines) if name in line) for name in ("b/odd", "a/calm")
    ]
    assert order == sorted(order)
    assert any("z/blind" in line and "blind" in line.split("z/blind")[1] for line in lines)
    assert any("degraded: no root" in line for line in lines)


def test_HMI_1_what_lives_behind_a_gateway_counts_among_what_runs() -> None:
    behind = row("shop/far", pids=0, readiness={"gateway": "ready"})
    ended = row("shop/gone", pids=0, state="exited")
    assert "1 running · 0 latched" in drawn(filled(behind, ended), 100.1)[0]


def test_HMI_3_a_stop_key_that_lacks_a_layer_says_so_and_looks_otherwise() -> None:
    """The whole bar is there in either case, and every key works."""
    short = row("shop/a", readiness={"process": "ready", "network": "unproven"})
    calm = row("shop/b", readiness={"process": "ready", "network": "ready"})
    board = filled(short, calm)
    board.selected = "shop/b"
    bar = drawn(board, 100.1, size=(120, 24))[-1]
    assert "s  STOP shop/b   " in bar
    assert "S  STOP EVERYTHING (degraded: network)" in bar
    board.selected = "shop/a"
    assert "s  STOP shop/a (degraded: network)" in drawn(board, 100.1, size=(120, 24))[-1]


def test_the_first_line_says_the_one_thing_that_matters() -> None:
    held = row("shop/odd", state="stopping", latched=True, level="kill")
    assert "NOT CONFIRMED: shop/odd" in drawn(filled(held, row("calm")), 100.1)[0]
    assert "BLIND: shop/dark" in drawn(filled(row("shop/dark", blind=True)), 100.1)[0]
    assert "1 running · 0 latched" in drawn(filled(row("calm")), 100.1)[0]


def test_HMI_3_a_target_of_which_a_layer_cannot_act_says_so_in_its_line() -> None:
    short = row("shop/a", readiness={"process": "ready", "data": "unproven"})
    lines = drawn(filled(short, row("calm")), 100.1, size=(120, 24))
    [told] = [line for line in lines if "shop/a" in line and "●" in line]
    assert "! data unproven" in told
    assert "!" not in next(line for line in lines if "calm" in line)


def test_an_alarm_that_asks_says_what_to_type_and_never_hides_the_stop_keys() -> None:
    board = filled(*[row(f"shop/{number}") for number in range(40)])
    alarm = {"rule": "r\x1b[2J", "scope": "shop/7", "act": "auto", "harm": "h" * 200}
    asks = {**alarm, "act": "advise"}
    said = {"targets": board.rows(), "alarms": [alarm, asks], "notes": []}
    board.take([Answer(PLACE, said)], 100.0)
    lines = drawn(board, 100.1)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    [shown] = [line for line in lines if "ALARM" in line]
    assert shown.startswith("ALARM, it asks you: shop/7: hhh")
    assert shown.endswith(": offswitch stop shop/7 (+1)")
    assert "STOP EVERYTHING" in lines[-1]
    assert "\x1b" not in shown
    assert not any("ALARM" in line for line in drawn(board, 104.0)), "no last known state"


def test_a_lost_feed_covers_the_face_and_shows_no_last_known_state() -> None:
    board = filled(row("shop/eu/checkout"))
    assert any("running" in line and "checkout" in line for line in drawn(board, 100.5))
    lines = drawn(board, 104.0)
    assert any("NOT KNOWN" in line for line in lines)
    assert any("no answer for 4 s" in line for line in lines)
    assert not any("● running" in line for line in lines)
    assert "STOP EVERYTHING" in lines[-1]
    board.take([Answer(PLACE, None, "no warden answers")], 105.0)
    assert any("no warden answers" in line for line in drawn(board, 105.1))


def test_what_the_watched_wrote_cannot_paint_the_screen() -> None:
    evil = row("a", signals={"\x1b[2Jok": {"age_ms": 1, "stale": True}})
    text = "\n".join(drawn(filled(evil), 100.1))
    assert "\x1b" not in text


@pytest.fixture
def person(installation: Installation) -> Iterator[Keyboard]:
    env = {**installation.env, "COLUMNS": "", "LINES": ""}
    del env["COLUMNS"], env["LINES"]
    with Keyboard(env, str(installation.work), OFFSWITCH, "board") as keyboard:
        yield keyboard


def test_the_stop_keys_stop_what_is_selected_and_everything(
    installation: Installation, person: Keyboard
) -> None:
    first = installation.run("sleep", "600", target="board/first")
    second = installation.run("sleep", "600", target="board/second")
    person.expect("board/second")
    person.type("j")  # down, to the second
    person.expect("STOP board/second")
    person.type("s")
    assert second.event("exited")["signal"] == signal.SIGKILL
    person.expect("stop board/second: confirmed")
    assert installation.target("board/first")["pids"] == 1, "only what was selected"
    person.type("S")
    assert first.event("exited")["signal"] == signal.SIGKILL
    person.expect("stop everything: confirmed")
    person.type("q")
    person.expect("\x1b[?1049l")  # the person has their own screen again
    assert installation.reset("/")["state"] == "done"


def test_the_stop_key_works_while_the_warden_hangs(
    installation: Installation, person: Keyboard
) -> None:
    """The press goes to keeper and spool as well, and no frozen listener holds up the screen."""
    running = installation.run("sleep", "600", target="board/hung")
    assert installation.warden is not None
    try:
        person.expect("board/hung")
        os.kill(installation.warden.pid, signal.SIGSTOP)
        pressed = time.monotonic()
        person.type("S")
        person.expect("stop everything: commanded")
        assert time.monotonic() - pressed < 2
        pid = int(running.born["pid"])
        until(lambda: _gone(pid), "the keeper stopped it")
    finally:
        os.kill(installation.warden.pid, signal.SIGCONT)
    until(lambda: installation.target("board/hung")["state"] == "stopped", "and it is latched")
    assert installation.reset("/")["state"] == "done"


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_without_a_terminal_it_says_what_to_use_instead(installation: Installation) -> None:
    done = installation.cli("board")
    assert done.returncode == 2
    assert "offswitch status --json" in done.stderr


def test_HMI_9_on_a_slow_line_only_what_changed_is_written(
    installation: Installation, person: Keyboard
) -> None:
    installation.run("sleep", "600", target="board/slow")
    person.expect("board/slow")
    person.expect("STOP EVERYTHING")
    person.drain(1.0)
    before = len(person.seen)
    person.drain(2.0)
    a_second = (len(person.seen) - before) / 2
    print(f"an idle board writes {a_second:.0f} bytes a second")
    assert a_second < 250, "a line of 2,400 baud bears it"


def test_HMI_9_a_line_that_takes_nothing_holds_up_no_key() -> None:
    """A terminal that has stalled: frames are left out, and what a key does is done."""
    master, slave = pty.openpty()
    screen = Screen(slave, Console(file=io.StringIO(), force_terminal=True))
    with screen:
        begun = time.monotonic()
        for number in range(500):
            screen.draw(Text(f"{number} " * 200))
        assert time.monotonic() - begun < 10, "nobody reads, and nobody waits"
        assert screen.written < 1 << 17
    os.close(master)
    os.close(slave)

"""`offswitch board`: live status in a terminal, with the stop key.

Two keys stop, in one press and without a question: `s` what is selected, `S` everything.
The press goes the way that `offswitch stop` goes, in a process of its own, so that neither
a warden that hangs nor this screen delays it. What is shown was said by a warden less than
two seconds ago; if nobody answers, the whole face says so and no last known state is left
standing there as if it were the present one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from offswitch.cli.alarm_words import alarm_words, what_to_type
from offswitch.cli.gather import Answer, alarms_of, ask_all, rows_of
from offswitch.cli.keys import Keys
from offswitch.cli.lacking import lacking
from offswitch.cli.paint import STOP_STYLE, abnormal, level_text, signals_text, state_text
from offswitch.cli.screen import Screen
from offswitch.cli.status_report import acts, unconfirmed
from offswitch.errors import Usage
from offswitch.printable import printable

__all__ = ["Board", "command"]

_EVERY_S = 0.4
_STALE_S = 2.0
_KEY_S = 0.2
_STOP_S = 60.0
_FRAME_LINES = 9
_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -10, "page-down": 10}


@dataclass(slots=True)
class Board:
    """What is shown; the only shared state of the refresher, the presses and the painter."""

    answers: list[Answer] = field(default_factory=list)
    asked_at: float = 0.0
    selected: str = ""
    said: deque[Text] = field(default_factory=lambda: deque(maxlen=3))
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Protects all of the above."""

    # --- what is known ------------------------------------------------------------

    def take(self, answers: list[Answer], now: float) -> None:
        """Take in what the wardens said."""
        with self.lock:
            self.answers, self.asked_at = answers, now

    def rows(self) -> list[dict[str, Any]]:
        """List the targets, the abnormal first."""
        rows = rows_of(self.answers)
        return sorted(rows, key=lambda row: (not abnormal(row), row["target"]))

    def silent(self, now: float) -> str:
        """Say whose word is missing; empty where all is fresh."""
        if now - self.asked_at > _STALE_S:
            return f"no answer for {now - self.asked_at:.0f} s" if self.asked_at else "asking…"
        quiet = [a for a in self.answers if a.said is None and not a.absent]
        return ", ".join(f"{a.place.run}: {printable(a.why, 60)}" for a in quiet)

    # --- keys ---------------------------------------------------------------------

    def press(self, key: str) -> bool:
        """Do what a key means; return False for the one that leaves."""
        if key in {"quit", "q"}:
            return False
        with self.lock:
            names = [row["target"] for row in self.rows()]
            if self.selected not in names:
                self.selected = names[0] if names else ""
            if key in _MOVES and names:
                place = names.index(self.selected) + _MOVES[key]
                self.selected = names[max(0, min(place, len(names) - 1))]
            selected = self.selected
        if key == "s" and selected:
            self.stop([selected])
        elif key in {"S", "!"}:
            self.stop(["--all"])
        return True

    def stop(self, scopes: list[str]) -> None:
        """Press stop, at once and beside everything else."""
        what = "everything" if scopes == ["--all"] else scopes[0]
        self._say(Text(f"stop {what}: commanded", style="bold"))
        command = [sys.executable, "-I", "-m", "offswitch", "stop", *scopes, "--json"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        threading.Thread(target=self._hear, args=(process, what), daemon=True).start()

    def _hear(self, process: subprocess.Popen[bytes], what: str) -> None:
        try:
            out, _ = process.communicate(timeout=_STOP_S)
            answer = json.loads(out)
        except (subprocess.TimeoutExpired, ValueError):
            self._say(Text(f"stop {what}: NO ANSWER", style="bold reverse"))
            return
        if "error" in answer:
            told = printable(answer["error"].get("message", ""))
            self._say(Text(f"stop {what}: {told}", style="bold reverse"))
        elif answer.get("confirmed"):
            count = len(answer.get("targets", []))
            self._say(Text(f"stop {what}: confirmed, {count} standing still", style="bold"))
        else:
            self._say(Text(f"stop {what}: latched, NOT CONFIRMED", style="bold reverse"))

    def _say(self, text: Text) -> None:
        stamp = Text(time.strftime("%H:%M:%S "), style="dim")
        with self.lock:
            self.said.append(Text.assemble(stamp, text))

    # --- the face -----------------------------------------------------------------

    def face(self, width: int, height: int, now: float) -> RenderableType:
        """Draw everything for a terminal of that size."""
        with self.lock:
            rows, silent = self.rows(), self.silent(now)
            said = list(self.said)
            if self.selected not in {row["target"] for row in rows}:
                self.selected = rows[0]["target"] if rows else ""
            selected = self.selected
            notes = [n for a in self.answers if a.said for n in a.said.get("notes", [])]
            alarms = alarms_of(self.answers)
        room = max(height - _FRAME_LINES, 1)
        body = _unknown(silent, room, width) if silent else _table(rows, selected, room)
        note = Text(printable("; ".join(notes), width * 2), style="bold" if notes else "")
        note.truncate(width)
        filler = [Text("")] * (3 - len(said))
        head = _head(rows, silent, width)
        alarm = _alarm([] if silent else alarms, width)
        return Group(
            head, alarm, body, note, *said, *filler, _bar([] if silent else rows, selected, width)
        )


def _head(rows: list[dict[str, Any]], silent: str, width: int) -> RenderableType:
    """Draw one sentence: one glance, one answer."""
    said = "NOT KNOWN" if silent else _sentence(rows)
    left, right = f" OFFSWITCH   {said}", time.strftime("%H:%M:%S ")
    left = left if len(left) + len(right) < width else left[: width - len(right) - 2] + "…"
    gap = max(width - len(left) - len(right), 1)
    return Text(left + " " * gap + right, style="reverse", no_wrap=True)


def _sentence(rows: list[dict[str, Any]]) -> str:
    """Say the one thing that matters most."""
    alive = sum(1 for row in rows if acts(row))
    latched = [row for row in rows if row["latched"]]
    unseen = [printable(row["target"]) for row in latched if unconfirmed(row)]
    blind = [printable(row["target"]) for row in rows if row["blind"]]
    tail = f"{alive} running · {len(latched)} latched"
    if unseen:
        more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
        return f"NOT CONFIRMED: {unseen[0]}{more} · {tail}"
    if blind:
        return (
            f"BLIND: {blind[0]}{f' and {len(blind) - 1} more' if len(blind) > 1 else ''} · {tail}"
        )
    return tail


def _alarm(alarms: list[dict[str, Any]], width: int) -> RenderableType:
    """Draw the alarm that most wants a person, and what to type; a line without one is empty."""
    if not alarms:
        return Text("")
    more = f" (+{len(alarms) - 1})" if len(alarms) > 1 else ""
    typed = what_to_type(alarms[0])
    tail = (f": {typed}" if typed else "") + more
    text = Text(
        alarm_words(alarms[0])[: max(width - len(tail) - 2, 8)] + tail, style="bold reverse"
    )
    text.truncate(width)
    text.no_wrap = True
    return text


def _unknown(why: str, room: int, width: int) -> RenderableType:
    """Fill the face with what is not known."""
    lines = ["", "NOT KNOWN", why[: width - 4], "", "The stop keys work all the same.", ""]
    lines += [""] * (room + 2 - len(lines))
    text = "\n".join(line.center(width) for line in lines[: room + 2])
    return Text(text, style="bold reverse", no_wrap=True)


def _table(rows: list[dict[str, Any]], selected: str, room: int) -> RenderableType:
    """Draw the targets around the selected one: a header, `room` lines, and what is left out."""
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", width=1)
    table.add_column("TARGET", ratio=1, no_wrap=True)
    table.add_column("STATE", width=15, no_wrap=True)
    table.add_column("LATCHED", width=23, no_wrap=True)
    table.add_column("PIDS", justify="right", width=4)
    table.add_column("SIGNALS", width=11, no_wrap=True)
    names = [row["target"] for row in rows]
    at = names.index(selected) if selected in names else 0
    first = max(0, min(at - room // 2, len(rows) - room))
    shown = rows[first : first + room]
    for row in shown:
        chosen = row["target"] == selected
        table.add_row(
            Text("▶" if chosen else " "),
            Text.assemble(
                Text(printable(row["target"]), style="bold underline" if chosen else ""),
                Text(
                    f"  ! {short}" if (short := lacking(row, time.time_ns() // 1000)) else "",
                    style="bold",
                ),
            ),
            state_text(row),
            level_text(row),
            Text(str(row["pids"])),
            signals_text(row),
        )
    hidden = len(rows) - len(shown)
    tail = f"  {hidden} more, ↑ ↓" if hidden else ""
    if not rows:
        tail = "  Nothing runs under the switch. Put something there: offswitch run -- CMD…"
    blank = [Text("")] * (room - len(shown))
    return Group(table, Text(tail, style="dim", no_wrap=True), *blank)


def _bar(rows: list[dict[str, Any]], selected: str, width: int) -> RenderableType:
    """Draw the stop keys, always at the same place; one that lacks a layer never looks ready."""
    mine = [row for row in rows if row["target"] == selected]
    name = printable(selected, max(width - 62, 8)) if selected else "(nothing selected)"
    one = _key(f" s  STOP {name}", mine, ready=bool(selected))
    line = Text.assemble(one, "  ", _key(" S  STOP EVERYTHING", rows, ready=True))
    line.append("  ↑ ↓ select  q quit", style="dim")
    line.truncate(width)
    line.no_wrap = True
    return line


def _key(label: str, rows: list[dict[str, Any]], *, ready: bool) -> Text:
    lacking = sorted(
        {
            layer
            for row in rows
            for layer, it in (row.get("readiness") or {}).items()
            if it != "ready"
        }
    )
    if not ready:
        return Text(f"{label} ", style="dim")
    if lacking:
        return Text(
            f"{label} (degraded: {printable(', '.join(lacking), 24)}) ", style="bold reverse"
        )
    return Text(f"{label} ", style=STOP_STYLE)


def _refresh(board: Board, ends: threading.Event) -> None:
    while not ends.is_set():
        board.take(ask_all({"op": "status", "scope": None}, _STALE_S), time.monotonic())
        ends.wait(_EVERY_S)


def command() -> None:
    """Watch all targets live, with the stop key."""
    console = Console(highlight=False)
    if not console.is_terminal or not sys.stdin.isatty():
        raise Usage("the board needs a terminal", "in scripts: offswitch status --json")
    board, ends = Board(), threading.Event()
    threading.Thread(target=_refresh, args=(board, ends), daemon=True).start()

    try:
        with Keys() as keys, Screen(sys.stdout.fileno(), console) as screen:
            going = True
            while going:
                screen.draw(board.face(*screen.size(), time.monotonic()))
                for key in keys.read(_KEY_S):
                    going = board.press(key) and going
    except KeyboardInterrupt:
        pass
    finally:
        ends.set()

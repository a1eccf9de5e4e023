"""`offswitch hook ask AGENT`: whether a coding agent may take its next step. No means exit 2.

A coding agent runs it before each tool call and each prompt, with the event on stdin, and waits;
so it loads next to nothing. In a cell the agent's own word of the page decides, as in a guard.
Outside of one it needs `--target NAME`: then every warden within reach is asked about that
target, and one of them must know it, vouch for it by a fresh lease, and not have it latched.
Who is in no cell and names no target is refused: nobody could stop it.

At *restrict* prompts pass and tools do not; what is no event that we know counts as a tool.
Everything else that may go wrong is a no as well: no event, half an event, no page, a stale
lease, silence, a defect of ours. Agents take an exit code that they do not know for a yes, so
whatever installs this maps every code but `--pass N` to 2 (`host.hooks.line`).
"""

from __future__ import annotations

import os
import sys

try:
    from _signal import SIG_DFL, SIGALRM, alarm, signal  # type: ignore[import-not-found]
except ImportError:  # another Python than CPython: slower, and just as right
    from signal import SIG_DFL, SIGALRM, alarm, signal

from offswitch.cli.quick_json import dumps, loads
from offswitch.cli.voice import say, talk
from offswitch.control.page import RUN, SLOTS, PageFile
from offswitch.printable import printable

__all__ = ["BLOCKED", "KINDS", "main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCKED = 2
"""The one exit code that every agent takes for a no."""
KINDS = {
    "PreToolUse": "tool",
    "UserPromptSubmit": "model",
    "BeforeTool": "tool",
    "BeforeModel": "model",
    "BeforeAgent": "model",
    "preToolUse": "tool",
    "subagentStart": "session",
    "beforeSubmitPrompt": "model",
}
"""What kind of a step an event is, in the words of whichever agent."""

_LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")
_HIGHEST = {"model": RUN + 1}
_PATIENCE_S = 4
"""For the event to come and everything else; the line that is installed allows a second more."""
_ASK_S = 1.0
_LONGEST_EVENT = 1 << 26
_LONGEST_LEASE_NS = 60_000_000_000
_BOOT = (2, 3)
"""Where the page has the boot's id, in words."""
_AGENTS = ("claude-code", "codex", "gemini", "cursor")
_USAGE = f"offswitch hook ask {'|'.join(_AGENTS)} [--target NAME] [--pass CODE]"


class _No(Exception):
    """Why the step may not be taken."""


def main(words: list[str]) -> int:
    """Answer one event; give the exit code."""
    agent, event, passed = "", "", 0
    try:
        signal(SIGALRM, _late)
        alarm(_PATIENCE_S)
        agent, target, passed = _words(words)
        event = _event()
        _judge(KINDS.get(event, "tool"), target)
    except BaseException as no:  # noqa: BLE001 - what goes wrong here is a no, whatever it is
        told = str(no) if isinstance(no, _No) else f"the hook failed: {type(no).__name__}: {no}"
        return _refuse(agent, event, printable(told))
    finally:
        alarm(0)
        signal(SIGALRM, SIG_DFL)
    _let_pass(agent, event)
    return passed


def _late(*_: object) -> None:
    """Answer no, at once, when nothing was decided in time."""
    talk(f"offswitch: blocked: nothing was decided within {_PATIENCE_S} s\n")
    os._exit(BLOCKED)


def _words(words: list[str]) -> tuple[str, str, int]:
    """Give the agent, the target (empty: none) and the exit code of a yes."""
    rest, given = list(words), {"--target": "", "--pass": "0"}
    agent = rest.pop(0) if rest else ""
    if agent not in _AGENTS:
        raise _No(f"usage: {_USAGE}")
    while rest:
        option = rest.pop(0)
        if option not in given or not rest:
            raise _No(f"usage: {_USAGE}")
        given[option] = rest.pop(0)
    return agent, given["--target"], int(given["--pass"])


def _event() -> str:
    """Read what is about to happen; give the event's name."""
    parts, size = [], 0
    while part := os.read(0, 1 << 20):
        parts.append(part)
        size += len(part)
        if size > _LONGEST_EVENT:
            raise _No(f"an event of more than {_LONGEST_EVENT >> 20} MiB")
    if not parts:
        raise _No("no event came")
    try:
        event = loads(b"".join(parts).strip())
    except ValueError:
        raise _No("the event is not JSON") from None
    name = event.get("hook_event_name") if isinstance(event, dict) else None
    if not isinstance(name, str) or not name:
        raise _No("the event does not say what it is")
    return name


def _judge(kind: str, target: str) -> None:
    """Raise `_No` unless a step of `kind` may begin."""
    page, word = os.environ.get("OFFSWITCH_PAGE"), os.environ.get("OFFSWITCH_WORD")
    if page is not None or word is not None:
        level = _level_in_page(page or "", word or "")
    elif target:
        level = _level_by_name(target)
    else:
        raise _No("this agent is in no cell; start it with: offswitch run -- CMD…")
    if level and RUN + 1 + _LEVELS.index(level) > _HIGHEST.get(kind, RUN):
        whose = f" of {target}" if target else ""
        raise _No(f"a {kind} step{whose} is refused: latched at level {level}")


def _level_in_page(path: str, word: str) -> str:
    """Give the level at which this cell is latched; empty: it may go on."""
    if not word.isascii() or not word.isdecimal() or int(word) >= SLOTS:
        raise _No(f"OFFSWITCH_WORD={word[:40]!r} is no word of a page")
    page = _page(path)
    said = page.word(int(word))
    if said == RUN:
        return ""
    if RUN < said <= RUN + len(_LEVELS):
        return _LEVELS[said - RUN - 1]
    raise _No(f"word {int(word)} of the page is nobody's")


def _page(path: str) -> PageFile:
    """Open a page of this boot whose lease is fresh."""
    try:
        page = PageFile(path)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError) as error:
        raise _No(f"the page cannot be read: {error}") from None
    if b"".join(page.at(index).to_bytes(8, sys.byteorder) for index in _BOOT) != boot:
        raise _No(f"{path} is the page of another boot")
    left_ns = page.lease_left_ns()
    if left_ns <= 0:
        raise _No(f"the lease ran out {-left_ns / 1e9:.1f} s ago: nobody vouches for this agent")
    if left_ns > _LONGEST_LEASE_NS and not page.observing:
        raise _No("this program's clock is behind the warden's (a time namespace?)")
    return page


def _level_by_name(target: str) -> str:
    """Ask all wardens within reach about a target; give its highest level, or nothing."""
    from offswitch.cli.roads import ask_all  # noqa: PLC0415 - only outside of a cell
    from offswitch.control.place import within_reach  # noqa: PLC0415 - likewise

    places = within_reach()
    paths = [place.warden_socket for place in places]
    roads = ask_all(paths, {"op": "status", "scope": target}, _ASK_S)
    levels, known = [], False
    for place, road in zip(places, roads, strict=True):
        if road.ended and not road.answers and road.why == "absent":
            continue
        for level in _rows(road, place.run, target):
            _page(place.page)
            known = True
            levels.append(level)
    if not known:
        raise _No(f"no warden within reach knows {target}: declare it as a [[target]]")
    return max(levels, key=lambda level: _LEVELS.index(level) + 1 if level else 0)


def _rows(road: Any, run: str, target: str) -> list[str]:  # noqa: ANN401 - a road
    """Give the levels at which one warden has the target: none where it does not know it."""
    if not road.answers:
        why = "you may not ask it" if road.why == "barred" else "it does not answer"
        raise _No(f"the warden of {run}: {why}")
    answer = road.answers[0]
    rows = answer.get("targets")
    if "error" in answer or not isinstance(rows, list):
        raise _No(f"the warden of {run} refuses: {answer.get('error')}")
    levels = []
    for row in rows:
        if row["target"] != target:
            continue
        level = row["level"] or ""
        if row["state"] in {"unknown", "unreachable"} or (level and level not in _LEVELS):
            raise _No(f"what {target} is latched at is unknown")
        levels.append(level)
    return levels


def _refuse(agent: str, event: str, why: str) -> int:
    """Say no in the agent's own way. Stderr is what the model is told."""
    told = f"offswitch: blocked: {why}. This is a stop: do not try again, and tell the person"
    if agent == "cursor":
        if event == "beforeSubmitPrompt":
            say(dumps({"continue": False, "user_message": told}) + "\n")
        else:
            no = {"permission": "deny", "user_message": told, "agent_message": told}
            say(dumps(no) + "\n")
    talk(told + "\n")
    return BLOCKED


def _let_pass(agent: str, event: str) -> None:
    """Say yes. Only Cursor wants to hear it; elsewhere a word more would be a permission."""
    if agent != "cursor":
        return
    yes = {"continue": True} if event == "beforeSubmitPrompt" else {"permission": "allow"}
    say(dumps(yes) + "\n")

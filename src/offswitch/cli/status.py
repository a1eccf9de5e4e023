"""`offswitch status`: one line a target, the abnormal first, the healthy ones folded.

    offswitch status [SCOPE] [--json]

It asks every warden within reach (SR-7), all at once, and waits for a hanging one for a
second and a half. What does not answer is *unknown*: its targets are named from the list on
tmpfs, their processes are counted anew, and nothing that was known of them earlier is shown.
"""

from __future__ import annotations

import sys

from offswitch.cli.printable import printable
from offswitch.cli.quick_json import dumps
from offswitch.cli.roads import ask_all
from offswitch.cli.stop_report import state_words
from offswitch.cli.words import read_scope, read_words, say_error
from offswitch.control.place import within_reach
from offswitch.errors import NotFound, OffswitchError, Refused, Unreachable, Usage

__all__ = ["Said", "ask", "main", "rows_of", "rows_within_reach"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

_PATIENCE_S = 1.5
_LATCHED, _UNKNOWN = 3, 4
_SHOWN = 8
_CALM = frozenset({"running", "idle", "exited"})
_WIDEST = 40
_HELP = """\
Usage: offswitch status [SCOPE] [--json]

One line a target, the abnormal first; several healthy ones are folded into one line.

Exit codes: 0 nothing is latched, 2 usage, 3 something is latched, 4 unknown or nobody reached.
"""


class Said:
    """What one installation says of itself, or why it says nothing."""

    __slots__ = ("answer", "error", "place", "why")

    def __init__(self, place: Place, answer: dict[str, Any] | None, why: str) -> None:
        """Hold the warden's answer, or in `why` what came of the question."""
        self.place = place
        self.answer = answer if answer is not None and "error" not in answer else None
        self.error = answer.get("error") if answer is not None else None
        self.why = why

    @property
    def latched(self) -> list[dict[str, Any]]:
        """The live stops there, as far as anybody said."""
        return self.answer["latched"] if self.answer is not None else []

    @property
    def absent(self) -> bool:
        """Whether no warden is there, or none that would speak to us."""
        return self.why in {"absent", "barred"}


def ask(places: list[Place], scope: str | None, patience_s: float) -> list[Said]:
    """Ask the wardens of `places` for their status, all at once."""
    roads = ask_all(
        [place.warden_socket for place in places], {"op": "status", "scope": scope}, patience_s
    )
    said = []
    for place, road in zip(places, roads, strict=True):
        answer = road.answers[0] if road.answers else None
        said.append(Said(place, answer, road.why if road.ended and answer is None else ""))
    return said


def rows_of(places: list[Place], patience_s: float) -> tuple[list[dict[str, Any]], list[str]]:
    """List the targets of `places`, and the run folders where nobody answers in time."""
    rows: list[dict[str, Any]] = []
    silent = []
    for said in ask(places, None, patience_s):
        if said.answer is not None:
            rows += said.answer["targets"]
            continue
        unknown = _unknown_rows(said, "/")
        rows += unknown
        if unknown or not said.absent:
            silent.append(said.place.run)
    return rows, silent


def rows_within_reach() -> list[dict[str, Any]]:
    """List all that could be stopped, the abnormal first."""
    rows, _silent = rows_of(within_reach(), _PATIENCE_S)
    return sorted(rows, key=_rank)


def main(words: list[str]) -> int:
    """Show it; return the exit code."""
    as_json = "--json" in words
    try:
        return _main(words)
    except OffswitchError as error:
        return say_error(error, as_json=as_json)


def _main(words: list[str]) -> int:
    names, given = read_words("status", words, ("--json",), ())
    if "--help" in given:
        sys.stdout.write(_HELP)
        return 0
    if len(names) > 1:
        raise Usage("status takes one scope", f"offswitch status {printable(names[0])}")
    scope = read_scope(names[0]) if names else None
    everyone = ask(within_reach(), scope, _PATIENCE_S)
    answer = _merged(everyone, scope)
    if "--json" in given:
        sys.stdout.write(dumps(answer) + "\n")
    else:
        sys.stdout.write(_text(answer, scope))
    return _code(answer)


# --- one object -------------------------------------------------------------------


def _merged(everyone: list[Said], scope: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "targets": [],
        "untracked": [],
        "latched": [],
        "notes": [],
        "installations": [],
    }
    heard = False
    for said in everyone:
        heard = _add(answer, said, scope) or heard
    if not heard:
        raise _nobody(everyone)
    if scope is not None and not answer["targets"] and not answer["latched"]:
        raise NotFound(f"{scope} covers no target and no stop", "see all: offswitch status")
    answer["targets"].sort(key=_rank)
    return answer


def _add(answer: dict[str, Any], said: Said, scope: str | None) -> bool:
    """Add one installation; tell whether there is anything to be said of it."""
    run = said.place.run
    if said.answer is not None:
        answer["targets"] += said.answer["targets"]
        answer["untracked"] += said.answer["untracked"]
        answer["latched"] += [{**stop, "installation": run} for stop in said.answer["latched"]]
        answer["notes"] += said.answer["notes"]
        answer["installations"].append(
            {"installation": run, "rung": said.answer.get("rung"), "state": "answers"}
        )
        return True
    rows = _unknown_rows(said, scope or "/")
    if said.absent and not rows:
        return False
    answer["targets"] += rows
    what = "no warden runs" if said.absent else "the warden does not answer"
    if said.error:
        what = f"the warden refuses: {said.error.get('message', '')}"
    answer["notes"].append(f"{run}: {what}; what is going on there is unknown")
    answer["installations"].append({"installation": run, "rung": None, "state": "unreachable"})
    return True


def _unknown_rows(said: Said, scope: str) -> list[dict[str, Any]]:
    """Name what lives in cells of which no warden speaks."""
    if said.why == "barred":
        return []
    from offswitch.cli.own_hands import cells_of  # noqa: PLC0415 - only where nobody answers

    rows: list[dict[str, Any]] = []
    for cell in cells_of(said.place, [scope]):
        if cell.look() is False:
            continue
        level = _shown_level(said.place, cell.slot)
        rows.append(
            {
                "target": cell.name,
                "installation": said.place.run,
                "kind": cell.kind,
                "rung": None,
                "state": "unknown",
                "latched": level is not None,
                "blind": True,
                "level": level,
                "confirmed": False,
                "pids": cell.pids(),
                "stops": [],
                "signals": {},
                "readiness": {},
            }
        )
    return rows


def _shown_level(place: Place, slot: int) -> str | None:
    """Read from the page, as a guard would, what a target is latched at."""
    from offswitch.control.page import RUN, PageReader  # noqa: PLC0415 - only where nobody answers

    try:
        page = PageReader(place.page)
    except (OSError, ValueError):
        return None
    word = page.word(slot)
    page.close()
    levels = ("restrict", "drain", "freeze", "kill", "poweroff")
    return levels[word - RUN - 1] if RUN < word <= RUN + len(levels) else None


def _nobody(everyone: list[Said]) -> OffswitchError:
    runs = ", ".join(said.place.run for said in everyone)
    if all(said.why == "barred" for said in everyone):
        hint = "ask an administrator to add you to the group that may look"
        return Unreachable(f"you may not speak to the warden of {runs}", hint)
    refused = next((said.error for said in everyone if said.error), None)
    if refused is not None:
        return Refused(str(refused.get("message", "")), str(refused.get("hint", "")))
    hint = "offswitch run -- CMD… starts one; another installation is named by OFFSWITCH_RUN"
    return Unreachable(f"no warden runs at {runs}, so what is latched there is unknown", hint)


def _code(answer: dict[str, Any]) -> int:
    rows = answer["targets"]
    silent = any(one["state"] != "answers" for one in answer["installations"])
    if silent or any(row["state"] in {"unknown", "unreachable"} for row in rows):
        return _UNKNOWN
    if answer["latched"] or any(row["latched"] for row in rows):
        return _LATCHED
    return 0


def _rank(row: dict[str, Any]) -> tuple[int, str, str]:
    order = 2
    if row["state"] in {"unknown", "unreachable"} or (row["latched"] and not row["confirmed"]):
        order = 0
    elif _abnormal(row):
        order = 1
    return order, str(row["target"]), str(row["installation"])


def _abnormal(row: dict[str, Any]) -> bool:
    stale = any(signal.get("stale") for signal in (row.get("signals") or {}).values())
    return row["state"] not in _CALM or bool(row["latched"]) or bool(row["blind"]) or stale


# --- text for people --------------------------------------------------------------


def _text(answer: dict[str, Any], scope: str | None) -> str:
    rows = answer["targets"]
    lines = [_sentence(answer, scope)]
    loud = [row for row in rows if _abnormal(row)]
    calm = [row for row in rows if not _abnormal(row)]
    shown = loud + (calm if len(calm) <= _SHOWN else [])
    several = len(answer["installations"]) > 1
    width = min(max((len(printable(row["target"])) for row in shown), default=0), _WIDEST)
    lines += [_line(row, width, several=several) for row in shown]
    if len(shown) < len(rows):
        lines.append(f"  {len(calm)} more: {_folded(calm)} (all: offswitch status SCOPE or --json)")
    lines += _stops(answer["latched"], several=several)
    lines += [f"  note: {printable(note, 2000)}" for note in dict.fromkeys(answer["notes"])]
    for process in answer["untracked"]:
        name, pid = printable(process.get("name")), printable(process.get("pid"))
        lines.append(f"  not under the switch: {name} (pid {pid})")
    return "\n".join(lines) + "\n"


def _sentence(answer: dict[str, Any], scope: str | None) -> str:
    rows = answer["targets"]
    where = "" if scope in {None, "/"} else f" in {printable(scope)}"
    unknown = sum(1 for row in rows if row["state"] in {"unknown", "unreachable"})
    silent = [one for one in answer["installations"] if one["state"] != "answers"]
    alive = sum(1 for row in rows if row["pids"])
    latched = [row for row in rows if row["latched"]]
    open_ = sum(1 for row in latched if not row["confirmed"] and row["level"] not in _OPEN)
    if unknown or silent:
        runs = ", ".join(printable(one["installation"]) for one in silent)
        return f"UNKNOWN: {_count(unknown)} not vouched for" + (
            f"; no answer from {runs}." if runs else "."
        )
    said = f"{_count(alive)} running under the switch{where}"
    if not latched and not answer["latched"]:
        return f"{said}, nothing latched." if alive else f"Nothing runs under the switch{where}."
    stops = len(answer["latched"])
    said = f"LATCHED: {stops} stop{'' if stops == 1 else 's'}, {_count(len(latched))} held"
    said += f"; {alive} with living processes" if alive else "; nothing lives"
    return said + (f"; {open_} NOT CONFIRMED." if open_ else ".")


_OPEN = frozenset({"restrict", "drain"})


def _count(number: int) -> str:
    return f"{number} target" if number == 1 else f"{number} targets"


def _line(row: dict[str, Any], width: int, *, several: bool) -> str:
    words = [state_words(row)]
    if row["pids"]:
        words.append(f"{row['pids']} process" + ("" if row["pids"] == 1 else "es"))
    stale = sorted(kind for kind, one in row["signals"].items() if one.get("stale"))
    if stale:
        words.append("stale: " + printable(", ".join(stale), 60))
    missing = sorted(k for k, v in row["readiness"].items() if v in {"absent", "unproven"})
    if row["pids"] and missing:
        words.append("without " + printable(", ".join(missing), 60))
    if row.get("sharing"):
        words.append("shares a user")
    where = f"  [{printable(row['installation'])}]" if several else ""
    mark = "!" if _abnormal(row) else " "
    return f"{mark} {printable(row['target']):<{width}}  {', '.join(words)}{where}"


def _folded(calm: list[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for row in calm:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return ", ".join(f"{number} {printable(state)}" for state, number in sorted(counts.items()))


def _stops(latched: list[dict[str, Any]], *, several: bool) -> list[str]:
    lines = []
    for stop in sorted(latched, key=lambda one: str(one["scope"])):
        scope = printable(stop["scope"])
        said = f"  stop {scope} ({printable(stop['level'])}) by {printable(stop['by'])}"
        if stop.get("count", 1) > 1:
            said += f", pressed {stop['count']} times"
        if not stop.get("durable", True):
            said += ", not yet durable"
        if stop.get("reason"):
            said += f": {printable(stop['reason'], 200)}"
        lines.append(said + (f"  [{printable(stop['installation'])}]" if several else ""))
        lines.append(f"    reset (starts nothing): offswitch reset {scope} --reason TEXT")
    return lines

"""`offswitch status`: one line a target, the abnormal first, the healthy ones folded.

    offswitch status [SCOPE] [--json]

It asks every warden within reach (SR-7), all at once, and waits for a hanging one for a
second and a half. What does not answer is *unknown*: its targets are named from the list on
tmpfs, their processes are counted anew, and nothing that was known of them earlier is shown.
"""

from __future__ import annotations

from offswitch.cli.quick_json import dumps
from offswitch.cli.standing import PATIENCE_S, Said, ask, rows_of_silence
from offswitch.cli.status_report import rank, report
from offswitch.cli.voice import say, say_error
from offswitch.cli.words import read_scope, read_words
from offswitch.control.place import within_reach
from offswitch.errors import NotFound, OffswitchError, Refused, Unreachable, Usage
from offswitch.printable import printable

__all__ = ["main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LATCHED, _UNKNOWN = 3, 4
_HELP = """\
Usage: offswitch status [SCOPE] [--json]

One line a target, the abnormal first; many healthy ones are folded into one line.

Exit codes: 0 nothing is latched, 2 usage, 3 something is latched, 4 unknown or nobody reached.
"""


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
        say(_HELP)
        return 0
    if len(names) > 1:
        raise Usage("status takes one scope", f"offswitch status {printable(names[0])}")
    scope = read_scope(names[0]) if names else None
    answer = _merged(ask(within_reach(), scope, PATIENCE_S), scope)
    if "--json" in given:
        say(dumps(answer) + "\n")
    else:
        say(report(answer, scope))
    return _code(answer)


def _merged(everyone: list[Said], scope: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "targets": [],
        "untracked": [],
        "latched": [],
        "alarms": [],
        "notes": [],
        "installations": [],
    }
    heard = False
    for said in everyone:
        heard = _add(answer, said, scope) or heard
    if not heard:
        raise _nobody(everyone)
    silent = any(one["state"] != "answers" for one in answer["installations"])
    if scope is not None and not answer["targets"] and not answer["latched"] and not silent:
        raise NotFound(f"{scope} covers no target and no stop", "see all: offswitch status")
    answer["targets"].sort(key=rank)
    return answer


def _add(answer: dict[str, Any], said: Said, scope: str | None) -> bool:
    """Add one installation; tell whether there is anything to be said of it."""
    run = said.place.run
    if said.answers:
        answer["targets"] += said.targets
        answer["untracked"] += said.untracked
        answer["latched"] += said.latched
        answer["alarms"] += said.alarms
        answer["notes"] += said.notes
        answer["installations"].append({"installation": run, "rung": said.rung, "state": "answers"})
        return True
    rows = rows_of_silence(said, scope or "/")
    left = _left(said)
    if said.absent and not rows and not left:
        return False
    answer["targets"] += rows
    what = (left or "no warden runs") if said.absent else "the warden does not answer"
    if said.error:
        what = f"the warden refuses: {said.error.get('message', '')}"
    answer["notes"].append(f"{run}: {what}; what is going on there is unknown")
    answer["installations"].append({"installation": run, "rung": "unknown", "state": "unreachable"})
    return True


def _left(said: Said) -> str:
    """Say what a warden that is gone left behind, if one is."""
    if said.why != "absent":
        return ""
    from offswitch.cli.left_behind import left_behind  # noqa: PLC0415 - only where none runs

    return left_behind(said.place)


def _nobody(everyone: list[Said]) -> OffswitchError:
    runs = ", ".join(said.place.run for said in everyone)
    if all(said.why == "barred" for said in everyone):
        from offswitch.control.way_in import way_in  # noqa: PLC0415 - only for who is refused

        hint = way_in(everyone[0].place.control)
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

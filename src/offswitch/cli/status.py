"""`offswitch status [SCOPE]`: the state of every target, as its warden sees it now.

The first line is one sentence. Then one line for each target that wants an eye; the
healthy ones are folded into one. What is latched and covers nothing is shown as well, and
so are the banners that nobody may overlook. A warden that does not answer makes its targets
*unknown*: they are named, and never shown as they were last seen.

Exit: 0 nothing is latched, 3 something is, 4 an installation does not answer.
"""

from __future__ import annotations

import sys

from offswitch.cli.bare_hands import covers, known_cells
from offswitch.cli.fast import Words, ask_each, guarded, say
from offswitch.cli.lean_json import dumps
from offswitch.control.place import within_reach
from offswitch.errors import Refused, Unreachable, Usage, from_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

__all__ = ["main"]

USAGE = "offswitch status [SCOPE] [--json]"
_HELP = f"""\
{USAGE}

Show what every target does now: one line each, the healthy ones folded.

  --json  one object on stdout

Exit: 0 nothing is latched, 3 something is, 4 no answer or unknown, 2 usage.
"""
_PATIENCE_S = 2.0
_REFUSED_ERRNOS = frozenset({1, 13})


def main(argv: list[str]) -> int:
    """Run `offswitch status ARGV`; return its exit code."""
    return guarded(_status, argv)


def _status(argv: list[str]) -> int:
    words = Words(argv, flags=("--json", "--help", "-h"), values=(), usage=USAGE)
    if words.has("--help") or words.has("-h"):
        sys.stdout.write(_HELP)
        return 0
    if len(words.rest) > 1:
        raise Usage(f"{len(words.rest)} scopes in one look", USAGE)
    scope = words.rest[0] if words.rest else None
    places = within_reach()
    answers = ask_each(places, {"op": "status", "scope": scope}, _PATIENCE_S)
    seen = _gathered(places, answers, scope)
    if words.has("--json"):
        say(dumps(seen))
    else:
        from offswitch.cli.status_words import shown  # noqa: PLC0415 - for people only

        for line in shown(seen, scope):
            say(line)
    return _exit(seen)


def _exit(seen: dict[str, Any]) -> int:
    if any(row["state"] == "unknown" for row in seen["targets"]) or seen.get("silent"):
        return 4
    latched = any(row["latched"] for row in seen["targets"])
    return 3 if latched or seen.get("latched") else 0


def _gathered(
    places: list[Place], answers: dict[str, dict[str, Any] | None], scope: str | None
) -> dict[str, Any]:
    """Make one object of all answers; raises if there was none."""
    seen: dict[str, Any] = {"targets": [], "untracked": []}
    errors: list[dict[str, Any]] = []
    silent: list[str] = []
    reached = 0
    for place in places:
        answer = answers[place.run]
        if answer is None:
            silent.append(place.run)
            seen["targets"] += _unknown(place, scope)
        elif "trouble" in answer:
            unseen = [] if answer["errno"] in _REFUSED_ERRNOS else _unknown(place, scope)
            seen["targets"] += unseen
            errors.append(answer)
        elif "error" in answer:
            errors.append(answer)
        else:
            reached += 1
            _join(seen, answer)
    if silent:
        seen["silent"] = silent
    if not reached and not seen["targets"] and not silent:
        raise _no_answer(places, errors)
    return seen


def _join(seen: dict[str, Any], answer: dict[str, Any]) -> None:
    seen["targets"] += answer["targets"]
    seen["untracked"] += answer["untracked"]
    run = answer.get("installation", "")
    for key in ("notes", "latched"):
        for item in answer.get(key, []):
            known = seen.setdefault(key, [])
            known.append({**item, "installation": run} if isinstance(item, dict) else item)


def _unknown(place: Place, scope: str | None) -> list[dict[str, Any]]:
    """Name the targets of a warden that does not answer; nothing is known of them."""
    return [
        {
            "target": str(cell.get("target")),
            "installation": place.run,
            "kind": str(cell.get("kind", "")),
            "rung": "",
            "state": "unknown",
            "latched": False,
            "blind": True,
            "level": None,
            "confirmed": False,
            "pids": 0,
            "stops": [],
            "signals": {},
            "readiness": {},
        }
        for cell in known_cells(place)
        if scope is None or covers(scope, cell)
    ]


def _no_answer(places: list[Place], errors: list[dict[str, Any]]) -> Exception:
    for answer in errors:
        if "error" in answer:
            said = answer["error"]
            return from_kind(
                str(said.get("kind")), str(said.get("message")), str(said.get("hint", ""))
            )
    runs = ", ".join(place.run for place in places)
    if errors and all(answer["errno"] in _REFUSED_ERRNOS for answer in errors):
        return Refused(
            f"you may not look at {runs}",
            "ask an administrator to add you to the group of that folder",
        )
    return Unreachable(
        f"no warden answers at {runs}, and none left a target behind",
        "to bring one up: offswitch up; another installation is named by OFFSWITCH_RUN",
    )

"""May this tool be called just now: by what is declared of it, and by what is held back (DEC-6).

    not declared as allowed             refused, always
    tools held                          refused
    writes held, and it may write       refused
    declared to be held                 a person is asked, each time
    else                                it may

A tool's name is what the caller says; whether it changes anything is what the configuration says,
never what the server says of itself. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from offswitch.gateway.exchange import Call, Cause, Held
from offswitch.gateway.plan.match import stands_for
from offswitch.gateway.plan.route import Step, Tools

__all__ = ["Judged", "Ruling", "judge_of", "judged"]


class Ruling(StrEnum):
    """What becomes of a call."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    REFUSE = "refuse"
    HOLD = "hold"
    """A person is asked."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A ruling, and why."""

    ruling: Ruling
    cause: Cause = Cause.NOT_ALLOWED
    text: str = ""


_PASS = Judged(Ruling.PASS)
_HOLD = Judged(Ruling.HOLD)


def judged(name: str, tools: Tools, held: Held) -> Judged:
    """Judge a call of the tool `name`."""
    if not _among(tools.allow, name):
        return Judged(Ruling.REFUSE, Cause.NOT_ALLOWED, "this tool is not declared for this target")
    if Step.TOOLS in held.steps:
        return Judged(Ruling.REFUSE, Cause.RESTRICTED, "no tool is called just now")
    if Step.WRITES in held.steps and _among(tools.writes, name):
        return Judged(
            Ruling.REFUSE, Cause.RESTRICTED, "only tools that change nothing are called just now"
        )
    return _HOLD if _among(tools.hold, name) else _PASS


def judge_of(tools: Tools, held: Held) -> Callable[[Call], bool]:
    """Give a judge for places where nobody can wait: what would be held may not."""

    def judge(call: Call) -> bool:
        return judged(call.name, tools, held).ruling is Ruling.PASS

    return judge


def _among(patterns: Sequence[str], name: str) -> bool:
    return any(stands_for(pattern, name) for pattern in patterns)

"""The table `[reset]`: what a reset takes here beyond what every reset takes.

    [reset]
    people = { freeze = 2, kill = 3 }     # by level; never fewer than one, and two for a kill
    not_who_stopped = true                # nobody confirms who placed one of the stops
    probation = "30m"                     # what was stopped starts restricted, for so long

It can only ask for more, and the warden, which is told it, lets go of nothing that was asked for
while anything is latched.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from offswitch.config.section import Duration, Section

__all__ = ["LEAST_PEOPLE", "Reset"]

LEAST_PEOPLE = {"restrict": 1, "drain": 1, "freeze": 1, "kill": 2, "poweroff": 2}
"""How many people a reset takes by level, whatever is configured (SR-5)."""
_WEEK_US = 7 * 86_400_000_000


def _no_fewer(value: dict[str, int]) -> dict[str, int]:
    for level, count in value.items():
        if count < LEAST_PEOPLE[level]:
            raise ValueError(f"a reset of {level} takes {LEAST_PEOPLE[level]} people at the least")
    return value


def _at_most_a_week(value: int) -> int:
    if value > _WEEK_US:
        raise ValueError('at most "7d"')
    return value


class Reset(Section):
    """How resets are authorised, and what follows one."""

    people: Annotated[
        dict[
            Literal["restrict", "drain", "freeze", "kill", "poweroff"],
            Annotated[int, Field(ge=1, le=9)],
        ],
        AfterValidator(_no_fewer),
    ] = Field(default_factory=dict)
    """How many people, by level; a higher level never takes fewer than a lower one."""
    not_who_stopped: bool = False
    """Whether nobody confirms who placed one of the stops that are cleared."""
    probation: Annotated[Duration, AfterValidator(_at_most_a_week)] | None = None
    """For how long a target that was stopped starts restricted (RST-6). Unless given: 30 minutes
    where two people reset, and not at all where one does."""

    def least(self, level: str) -> int:
        """Give how many people a reset of that level takes at the least."""
        asked = (count for each, count in self.people.items() if each == level)
        return next(asked, LEAST_PEOPLE[level])

    def told(self) -> dict[str, Any]:
        """Give it as the warden is told it."""
        seconds = None if self.probation is None else self.probation / 1e6
        return {
            "people": dict(self.people),
            "not_who_stopped": self.not_who_stopped,
            "probation_s": seconds,
        }

"""What the configuration asks of a reset, beyond what every reset takes (`[reset]`).

More people, by level; that none of them placed the stop; how long what was stopped is on
probation when it is started again. It can only ask for more: less than the built-in minimum is
as if nothing were said, and while anything is latched nothing that is asked for is let go of.
The warden is told it with the declaration, and keeps it for the next one. A record that cannot
be read asks for two people for everything: in doubt the latch stays set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from offswitch.errors import OffswitchError, Usage
from offswitch.model.level import Level, parse_level
from offswitch.warden.whole_file import write_whole

__all__ = ["STRICT", "ResetRules", "keep_rules", "kept_rules"]

_FILE = "reset-rules.json"
_LARGEST = 16 << 10
_MOST_PEOPLE = 9
_LONGEST_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class ResetRules:
    """What is asked for."""

    people: Mapping[Level, int] = field(default_factory=lambda: MappingProxyType({}))
    """By level, how many people; a level that is not here takes what it always takes."""
    not_who_stopped: bool = False
    """Whether nobody counts who placed one of the stops."""
    probation_s: float | None = None
    """How long probation lasts, and that there is one; None: nothing is said."""

    @classmethod
    def read(cls, raw: object) -> Self:
        """Read what was declared or kept; raises `Usage` for what is none."""
        if not isinstance(raw, dict) or set(raw) - {"people", "not_who_stopped", "probation_s"}:
            raise Usage("the rules of a reset are people, not_who_stopped and probation_s")
        people, probation = raw.get("people") or {}, raw.get("probation_s")
        if not isinstance(people, dict) or not all(
            type(count) is int and 0 < count <= _MOST_PEOPLE for count in people.values()
        ):
            raise Usage(f"a reset takes between 1 and {_MOST_PEOPLE} people")
        if probation is not None and (
            type(probation) not in {int, float} or not 0 <= probation <= _LONGEST_S
        ):
            raise Usage("a probation lasts at most a week")
        return cls(
            MappingProxyType({parse_level(str(name)): count for name, count in people.items()}),
            raw.get("not_who_stopped") is True,
            None if probation is None else float(probation),
        )

    def wire(self) -> dict[str, Any]:
        """Give it as it is declared and kept."""
        return {
            "people": {level.label: count for level, count in sorted(self.people.items())},
            "not_who_stopped": self.not_who_stopped,
            "probation_s": self.probation_s,
        }

    def needed(self, level: Level) -> int:
        """Give how many people are asked for where `level` is cleared; no fewer than for less."""
        return max((count for each, count in self.people.items() if each <= level), default=0)

    def at_least(self, other: ResetRules) -> Self:
        """Give rules that ask for all that these and the others ask for."""
        levels = {*self.people, *other.people}
        people = {
            level: max(self.people.get(level, 0), other.people.get(level, 0)) for level in levels
        }
        lengths = [each for each in (self.probation_s, other.probation_s) if each is not None]
        return type(self)(
            MappingProxyType(people),
            self.not_who_stopped or other.not_who_stopped,
            max(lengths) if lengths else None,
        )

    def covers(self, other: ResetRules) -> bool:
        """Tell whether these ask for no less than the others."""
        return self.at_least(other).wire() == self.wire()


STRICT = ResetRules(MappingProxyType({Level.RESTRICT: 2}), not_who_stopped=False)
"""What holds where it cannot be read what was asked for."""


def keep_rules(home: str, rules: ResetRules) -> None:
    """Keep them for the next warden; OSError leaves what was kept. For the disk's thread."""
    write_whole(f"{home}/{_FILE}", json.dumps(rules.wire()).encode(), durable=True)


def kept_rules(home: str) -> tuple[ResetRules, str]:
    """Read what is kept, and say what is wrong with it; what cannot be read is `STRICT`."""
    try:
        with open(f"{home}/{_FILE}", "rb") as file:
            return ResetRules.read(json.loads(file.read(_LARGEST))), ""
    except FileNotFoundError:
        return ResetRules(), ""
    except (OSError, ValueError, RecursionError, OffswitchError) as error:
        why = f"what resets take cannot be read, so all take two: {error}; start `offswitch up`"
        return STRICT, why

"""Which command to a target counts: the last one, and only until something moves.

Each change of level begins a new turn of the target, and so does whatever moves. What the
observer saw in an earlier turn says nothing any more. The turns are passed on to the warden's
next code (SR-23): it need not command again what was commanded.
"""

from __future__ import annotations

from typing import Any

from offswitch.model.level import Level
from offswitch.warden.table import Tracked

__all__ = ["Turns"]


class Turns:
    """The turns of all targets of one warden."""

    def __init__(self) -> None:
        """Nothing was commanded yet."""
        self._turn = 0
        self._known: dict[str, tuple[Level, int]] = {}
        """Target → the level last commanded, and its turn."""

    def begin(self, row: Tracked, level: Level) -> int:
        """What was seen of a target up to now says nothing any more; give the new turn."""
        self._turn += 1
        self._known[row.target.name] = (level, self._turn)
        return self._turn

    def commanded(self, row: Tracked, level: Level) -> int:
        """Give the turn of a target that stands commanded to that level; 0: it does not."""
        known, turn = self._known.get(row.target.name, (None, 0))
        return turn if known is level else 0

    def killed(self, row: Tracked) -> bool:
        """Tell whether the last command to a target was a kill, or more."""
        return self._known.get(row.target.name, (0, 0))[0] >= Level.KILL

    def now(self, row: Tracked) -> int:
        """Give the turn of a target; 0: it was never commanded, or was let go since."""
        return self._known.get(row.target.name, (0, 0))[1]

    def counts(self, row: Tracked, level: Level, turn: int, *, latched: Level) -> bool:
        """Tell whether what was seen at `level`, in `turn`, is still what counts."""
        return self._known.get(row.target.name, (latched, turn)) == (level, turn)

    def forget(self, row: Tracked) -> None:
        """It was reset, or is held by less from now on."""
        self._known.pop(row.target.name, None)

    def passed(self) -> dict[str, Any]:
        """Give what the next code needs to go on with them."""
        known = {name: [int(level), turn] for name, (level, turn) in self._known.items()}
        return {"turn": self._turn, "turns": known}

    def take_up(self, passed: dict[str, Any]) -> None:
        """Go on with what was passed."""
        self._turn = passed["turn"]
        self._known = {name: (Level(lv), turn) for name, (lv, turn) in passed["turns"].items()}

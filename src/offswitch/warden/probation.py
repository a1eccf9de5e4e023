"""Probation: what was stopped starts restricted, and is watched more strictly for a while (RST-6).

    reset ─► the name is *staged* ─► start: word `restrict`, before its first instruction
          ─► over in time, or ended by a person ─► word `run`

The word in the page is all that holds it back: no stop is live, so nothing has to be reset. It
is the level of a `restrict` (no new sessions, tools read-only or off), for guards and gateways
to heed. Watch hears of it and judges what it sees of the target by its strict limits; what trips
then is stopped one level higher. A target that ends meanwhile starts on probation again.

It is asked for by `[reset] probation` or a target's `staged = true`; where two people reset it
is the rule, and 30 minutes long, unless a target says `staged = false`.
"""

from __future__ import annotations

from typing import Any

from offswitch.control.page import word_of_level
from offswitch.control.peer import Peer
from offswitch.decide.authority import Mode
from offswitch.errors import NotFound
from offswitch.warden.core import Core
from offswitch.warden.reset.grounds import LONGEST, clean
from offswitch.warden.table import Tracked

__all__ = ["Probation"]

_USUAL_S = 1800.0
_LOOK_S = 1.0


class Probation:
    """Who is on probation in one warden, and until when."""

    def __init__(self, core: Core) -> None:
        """Work on the parts of this warden."""
        self._core = core

    def asked_for(self, row: Tracked) -> bool:
        """Tell whether this target is to start restricted now."""
        core, said = self._core, (row.declared or {}).get("staged")
        if not (row.target.name in core.staged or core.staged.trouble):
            return False
        if isinstance(said, bool):
            return said
        return core.reset_rules.probation_s is not None or core.authority.mode is Mode.PEOPLE

    def prepare(self, row: Tracked) -> None:
        """Show the word with which a target begins; the time runs from `begin`."""
        row.probation_us = None
        if self.asked_for(row):
            lasts_s = self._core.reset_rules.probation_s or _USUAL_S
            row.probation_us = self._core.clock.mono_us() + int(lasts_s * 1e6)
        self._show(row)

    def begin(self, row: Tracked) -> None:
        """It runs: let the time run, and enter it."""
        if row.probation_us is None:
            return
        left_us = self.take_up(row)
        self._enter(row, "began", "it was reset, and is started again", s=left_us // 1_000_000)

    def take_up(self, row: Tracked) -> int:
        """Let what is left of the time run; give it in microseconds."""
        due = row.probation_us
        if due is None:
            return 0
        left_us = max(0, due - self._core.clock.mono_us())
        self._core.loop.later(min(left_us / 1e6, _LOOK_S), lambda: self._look(row, due))
        return left_us

    def _look(self, row: Tracked, due: int) -> None:
        core = self._core
        if row.probation_us != due or core.table.get(row.target.name) is not row:
            return
        if row.cell is None or not row.alive:
            row.probation_us = None  # its name is staged: the next start begins anew
        elif core.clock.mono_us() >= due:
            self._lift(row, "its time is over", "warden")
        else:
            if core.level(row) is None and row.cell.frozen():
                row.cell.thaw()  # for a lost lease; a keeper lets go of what has the word `run`
            self.take_up(row)

    def end(self, message: dict[str, Any], peer: Peer) -> Tracked:
        """End one early, by somebody who rules here; raises if there is none."""
        name = str(message.get("target", ""))
        row = self._core.table.get(name)
        if row is None or row.probation_us is None:
            raise NotFound(f"{name[:200]} is not on probation", "see: offswitch status")
        reason = clean(message.get("reason"), LONGEST)
        self._lift(row, "ended by a person", f"uid:{peer.uid}", reason)
        return row

    def _lift(self, row: Tracked, why: str, by: str, reason: str = "") -> None:
        core = self._core
        row.probation_us = None
        core.mark(core.staged.but(fewer=[row.target.name]))
        self._show(row)
        core.table.keep()
        self._enter(row, "ended", why, by=by, reason=reason)

    def _show(self, row: Tracked) -> None:
        word = word_of_level(row.shown(self._core.level(row)))
        if row.slot is not None:
            self._core.page.set(row.slot, word)
        if row.gate_slot is not None and self._core.gates is not None:
            self._core.gates.show(row, word)

    def _enter(self, row: Tracked, what: str, why: str, **more: Any) -> None:  # noqa: ANN401
        sealed = {"by": more.pop("by", "warden"), "reason": more.pop("reason", "") or None}
        self._core.recording.note(
            "note",
            sealed,
            what=f"probation {what}",
            target=row.target.name,
            why=why,
            state=row.said.value,
            **more,
        )

"""What is to be judged of a reset: at which level, whose stops, and by how many people.

The level is what has become of the stops, not only what they say: a drain or a freeze that was
not confirmed, that moved or outlived its limit, was killed by an order of the warden's own. That
order lies within the same scope as a rule, and counts by itself; where it does not, what was
commanded counts, unless another stop holds the target there anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offswitch.control.peer import Peer
from offswitch.decide.authority import Case, Mode, needed
from offswitch.errors import Refused
from offswitch.model.latch import Live
from offswitch.model.level import Level
from offswitch.warden.core import Core
from offswitch.warden.reset.pending import Waiting
from offswitch.warden.turns import Turns

__all__ = ["case_of", "claims_nothing"]

_SAID = frozenset(
    {"op", "scope", "reason", "safe", "changed", "nonce", "time_us", "channel", "by", "proofs",
     "digest", "secret", "write_off"}
)  # fmt: skip
"""All that the station may say of a reset."""


def case_of(core: Core, turns: Turns, waiting: Waiting, stops: Sequence[Live]) -> Case:
    """Say what is to be judged, as things stand now."""
    level, rules = _become(core, turns, stops), core.reset_rules
    alone = core.authority.mode is Mode.LOCAL
    people = rules.needed(level)
    if waiting.grounds.write_off:
        level = max(level, Level.KILL)
        people = max(people, needed(level))
    return Case(
        waiting.order.digest,
        level,
        waiting.order.time_us,
        placed_by=tuple(sorted({live.stop.by for live in stops})),
        people=people,
        not_who_stopped=rules.not_who_stopped and not alone,
        alone=alone,
    )


def _become(core: Core, turns: Turns, stops: Sequence[Live]) -> Level:
    """Give the level at which what these stops hold was stopped in the end."""
    level = max((live.stop.level for live in stops), default=Level.KILL)
    if level >= Level.KILL:
        return level
    cleared = {live.stop.digest for live in stops}
    for row in core.table.covered(live.stop.scope for live in stops):
        over = core.latch.covering(row.target)
        left = max((one.stop.level for one in over if one.stop.digest not in cleared), default=0)
        if left < Level.KILL and turns.killed(row):
            return Level.KILL
    return level


def claims_nothing(core: Core, message: dict[str, Any], peer: Peer) -> None:
    """Refuse a reset of the station's that says more than it may, or is nobody's (SR-5).

    Who has confirmed is what the warden finds out itself. A token, a phone or a drill resets
    nothing: whoever steals one can at worst stop (SEC-1).
    """
    if not core.rights.station(peer, message):
        return
    more = sorted(set(message) - _SAID)
    if more:
        why = f"a reset that claims {more[0][:40]!r}: who confirmed it, the warden finds out itself"
        raise Refused(why, "bring the people's proofs")
    if not core.rights.named(peer, message).startswith("person:"):
        raise Refused("a reset is a person's, never a token's, a phone's or a drill's", "sign in")

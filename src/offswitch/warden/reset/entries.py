"""What the ledger is told of a reset: opened, waiting, refused, done; by whom, on whose proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from offswitch.decide.authority import Mode
from offswitch.errors import OffswitchError
from offswitch.model.latch import Live
from offswitch.model.merge import CHANNEL as MERGED
from offswitch.model.order import Reset
from offswitch.model.scope import parse_scope
from offswitch.model.state import State
from offswitch.warden.core import Core
from offswitch.warden.table import Tracked

__all__ = ["authority", "done", "opened", "pending", "proofs", "refused"]

_LONGEST_REASON = 2000
_LONGEST_SCOPE = 200


def refused(core: Core, message: Mapping[str, Any], uid: int, error: OffswitchError) -> None:
    """Somebody may not reset, or not so: what was latched still is."""
    scope = str(message.get("scope", ""))
    stands = _how_it_stands(core, scope)
    core.recording.note(
        "refused",
        {"by": f"uid:{uid}", "reason": str(message.get("reason", ""))[:_LONGEST_REASON]},
        what="reset",
        scope=scope[:_LONGEST_SCOPE],
        channel="cli",
        error=error.kind,
        why=error.message,
        prior=stands,
        state=stands,
    )


def _how_it_stands(core: Core, scope: str) -> str:
    try:
        asked = parse_scope(scope)
    except OffswitchError:
        return "unknown"
    return "latched" if core.latch.within(asked) or core.wider(asked) else "not latched"


def authority(core: Core, before: Mode) -> None:
    """It takes other people from now on than `before`."""
    core.recording.note(
        "config",
        {"by": f"uid:{core.rights.uid}"},
        what="authority",
        why=core.authority.problem or "the second person was added",
        channel="file",
        prior=before.value,
        state=core.authority.mode.value,
    )


def opened(core: Core, order: Reset, uid: int) -> int:
    """A reset is under way; gives the number in the journal up to which the evidence is sealed."""
    return core.recording.note(
        "note",
        {"by": f"uid:{uid}", "reason": order.reason},
        what="reset opened: the evidence up to here is sealed",
        scope=order.scope.text,
        digest=order.digest,
    )


def proofs(core: Core, order: Reset, uid: int, why: Sequence[str]) -> None:
    """Proofs were brought that do not count for this reset."""
    core.recording.note(
        "refused",
        {"by": f"uid:{uid}", "proofs": list(why)},
        what="proof",
        digest=order.digest,
        scope=order.scope.text,
        channel="cli",
        why="a proof that does not count for this reset",
        prior="latched",
        state="latched",
    )


def pending(
    core: Core, order: Reset, uid: int, needs: Sequence[str], proven: Collection[str]
) -> None:
    """A reset waits for more people than have proven themselves so far."""
    core.recording.note(
        "reset",
        {"by": f"uid:{uid}", "reason": order.reason, "proven": sorted(proven) or None},
        digest=order.digest,
        scope=order.scope.text,
        clears=list(order.clears),
        channel=order.channel,
        prior="latched",
        state="pending",
        needs=list(needs),
    )


def done(
    core: Core,
    order: Reset,
    stops: Sequence[Live],
    rows: Sequence[Tracked],
    prior: Mapping[str, State],
    proven: Collection[str],
) -> None:
    """A reset is carried out: what it cleared, and whose stops these were."""
    sealed = {
        "by": order.by,
        "reason": order.reason,
        "proven": sorted(proven) or None,
        "placed_by": sorted({live.stop.by for live in stops}),
    }
    core.recording.note(
        "reset",
        sealed,
        digest=order.digest,
        scope=order.scope.text,
        clears=list(order.clears),
        channel=order.channel,
        prior={name: state.value for name, state in prior.items()},
        state="done",
        states={row.target.name: row.state.value for row in rows},
        wider=[live.stop.digest for live in core.wider(order.scope)] or None,
        merged={live.stop.digest: live.stop.nonce for live in stops if live.stop.channel == MERGED}
        or None,
    )

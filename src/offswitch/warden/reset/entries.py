"""What the ledger is told of a reset: opened, waiting, refused, done; by whom, on whose proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from offswitch.control.peer import Peer
from offswitch.decide.authority import Mode, Ruling
from offswitch.errors import OffswitchError
from offswitch.model.latch import Live
from offswitch.model.merge import CHANNEL as MERGED
from offswitch.model.order import Reset
from offswitch.model.scope import parse_scope
from offswitch.model.state import State
from offswitch.warden.core import Core
from offswitch.warden.reset.grounds import LONGEST
from offswitch.warden.reset.pending import Waiting
from offswitch.warden.table import Tracked

__all__ = ["authority", "done", "opened", "pending", "proofs", "refused"]

_LONGEST_SCOPE = 200


def refused(core: Core, message: Mapping[str, Any], peer: Peer, error: OffswitchError) -> None:
    """Somebody may not reset, or not so: what was latched still is."""
    scope, said = str(message.get("scope", "")), dict(message)
    stands = _how_it_stands(core, scope)
    core.recording.note(
        "refused",
        {"by": core.rights.named(peer, said), "reason": str(said.get("reason", ""))[:LONGEST]},
        what="reset",
        scope=scope[:_LONGEST_SCOPE],
        channel=core.rights.road(peer, said),
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


def opened(core: Core, waiting: Waiting) -> int:
    """A reset is under way; gives the number in the journal up to which the evidence is sealed."""
    order = waiting.order
    return core.recording.note(
        "note",
        {"by": order.by, **waiting.grounds.sealed()},
        what="reset opened: the evidence up to here is sealed",
        scope=order.scope.text,
        digest=order.digest,
        nonce=order.nonce,
    )


def proofs(core: Core, order: Reset, by: str, ruling: Ruling) -> None:
    """Proofs were brought that do not count for this reset."""
    core.recording.note(
        "refused",
        {"by": by, "proofs": list(ruling.refused)},
        what="proof",
        digest=order.digest,
        scope=order.scope.text,
        channel=order.channel,
        why="a proof that does not count for this reset",
        prior="latched",
        state="latched",
    )


def pending(core: Core, waiting: Waiting, needs: Sequence[str]) -> None:
    """A reset waits for more people than have proven themselves so far."""
    order = waiting.order
    proven = sorted(waiting.proven) or None
    core.recording.note(
        "reset",
        {"by": order.by, **waiting.grounds.sealed(), "proven": proven},
        digest=order.digest,
        scope=order.scope.text,
        clears=list(order.clears),
        channel=order.channel,
        nonce=order.nonce,
        prior="latched",
        state="pending",
        needs=list(needs),
    )


def done(
    core: Core,
    waiting: Waiting,
    stops: Sequence[Live],
    rows: Sequence[Tracked],
    prior: Mapping[str, State],
    written_off: Collection[str],
) -> None:
    """A reset is carried out: what it cleared, and whose stops these were."""
    order = waiting.order
    sealed = {
        "by": order.by,
        **waiting.grounds.sealed(),
        "proven": sorted(waiting.proven) or None,
        "placed_by": sorted({live.stop.by for live in stops}),
    }
    core.recording.note(
        "reset",
        sealed,
        digest=order.digest,
        scope=order.scope.text,
        clears=list(order.clears),
        channel=order.channel,
        nonce=order.nonce,
        prior={name: state.value for name, state in prior.items()},
        state="done",
        states={row.target.name: row.state.value for row in rows},
        not_confirmed=sorted(written_off) or None,
        wider=[live.stop.digest for live in core.wider(order.scope)] or None,
        merged={live.stop.digest: live.stop.nonce for live in stops if live.stop.channel == MERGED}
        or None,
    )
    for name in sorted(written_off):
        core.recording.note(
            "note",
            {"by": order.by, "safe": waiting.grounds.safe},
            what="written off: never confirmed to stand still; it is stopped if it reappears",
            target=name,
            digest=order.digest,
        )

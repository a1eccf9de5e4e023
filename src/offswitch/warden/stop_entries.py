"""The entries that the warden writes of a stop: who ordered it, what was seen, what moved.

An order is one entry for each stop that was given, and those who join a live one are entered
together. A receipt is one entry a layer, and names the order that holds the target. Where a
stop is not confirmed in time, what is written is what a person is paged by (VER-4).
"""

from __future__ import annotations

from typing import Any

from offswitch.model.level import Level
from offswitch.model.state import State
from offswitch.warden.core import Core
from offswitch.warden.last_resort import choice
from offswitch.warden.press import Press
from offswitch.warden.table import Tracked

__all__ = ["moved", "ordered", "receipts", "unconfirmed"]


def ordered(core: Core, press: Press) -> None:
    """Enter what was asked for, by whom, and which stops it became."""
    state = {row.target.name: row.state.value for row in press.rows}
    for given, stop in zip(press.given, press.stops, strict=True):
        said = {"by": given.by, "reason": given.reason}
        entry = {
            "order": "stop",
            "digest": stop.digest,
            "scope": given.scope.text,
            "level": given.level.label,
            "channel": given.channel,
            "given_us": given.time_us,
            "accepted_mono_us": press.accepted_ns // 1000,
            "prior": press.prior,
            "state": state,
        }
        if stop.nonce == given.nonce:
            core.recording.note("order", said, **entry)
        else:  # it joined a live one
            core.recording.often((stop.digest, given.by), "order", said, **entry)


def receipts(core: Core, press: Press, row: Tracked, level: Level, prior: State) -> None:
    """Enter layer by layer what was commanded to one target, and what was seen."""
    live = [live.stop for live in core.latch.covering(row.target)]
    order = max(live, key=lambda stop: (stop.digest == row.order, stop.level))
    for receipt in row.receipts:
        core.recording.note(
            "receipt",
            {"by": order.by, "reason": order.reason, "detail": receipt.detail or None},
            target=row.target.name,
            order=order.digest,
            channel=order.channel,
            why=f"the stop of {order.scope.text}",
            level=level.label,
            layer=receipt.layer,
            accepted_mono_us=press.accepted_ns // 1000,
            commanded_ns=receipt.commanded_ns,
            effect_ns=receipt.effect_ns,
            confirmed=receipt.confirmed,
            counted=None if receipt.counted else False,
            prior=prior.value,
            state=row.state.value,
        )


def moved(core: Core, row: Tracked, level: Level, why: str) -> None:
    """Enter that something latched moved, or was found, and was commanded again."""
    core.recording.note(
        "moved", {"what": why}, target=row.target.name, level=level.label, channel="warden"
    )


def unconfirmed(core: Core, row: Tracked, missing: list[str], level: Level | None = None) -> None:
    """Enter that a person must look, and which layers were not seen to stand still."""
    entry: dict[str, Any] = {} if level is None else {"level": level.label}
    entry["what"] = "page: not confirmed, a person must look"
    entry |= choice(core, row)
    core.recording.note("note", target=row.target.name, missing=missing, **entry)

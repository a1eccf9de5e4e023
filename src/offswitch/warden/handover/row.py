"""What of a target no file knows, from one code of a warden to the next (SR-23)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from offswitch.model.receipt import Receipt
from offswitch.model.state import State
from offswitch.model.target import Target
from offswitch.warden.since import kept, spelled
from offswitch.warden.table import Tracked

__all__ = ["passed", "take_up"]


def passed(row: Tracked) -> dict[str, Any]:
    """Give what no file knows of it, for the next code of this warden (SR-23)."""
    return {
        "state": row.state.value,
        "labels": dict(row.target.labels),
        "kind": row.target.kind,
        "ours": row.ours,
        "uid": row.uid,
        "user": row.user,
        "sharing": row.sharing,
        "log": row.log,
        "since_us": row.since_us,
        "declared": row.declared,
        "receipts": [asdict(receipt) for receipt in row.receipts],
        "confirmed": row.confirmed,
        "stands": row.stands,
        "order": row.order,
        "ready_since": spelled(row.ready_since, row.readiness),
    }


def take_up(row: Tracked, passed: dict[str, Any]) -> None:
    """Go on as the code before left it; whether it lives is found out anew."""
    row.target = Target(row.target.name, dict(passed["labels"]), str(passed["kind"]))
    row.state = State(passed["state"])
    for name in ("uid", "user", "sharing", "log", "since_us", "declared", "order"):
        setattr(row, name, passed[name])
    row.receipts = [Receipt(**receipt) for receipt in passed["receipts"]]
    row.confirmed, row.stands = passed["confirmed"], passed["stands"]
    row.ready_since = kept(row.ready_since, row.readiness, passed.get("ready_since"))

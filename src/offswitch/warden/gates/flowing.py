"""How many requests are in flight for a target just now, by the tables of its gates."""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.warden.gates.attached import Attached
from offswitch.warden.table import Tracked

__all__ = ["in_flight"]


def in_flight(gates: Sequence[Attached], row: Tracked) -> int | None:
    """Count them; None: a gate serves it, or has, and it cannot be told how much."""
    tables = [each.table for each in gates if each.table is not None]
    if row.gate_slot is None or not tables:
        return None if row.served else 0
    try:
        return sum(table.progress({row.gate_slot})[0] for table in tables)
    except OSError:
        return None

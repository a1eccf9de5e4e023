"""What a warden of this boot keeps on tmpfs for the next one, beside its cells (`cells.json`)."""

from __future__ import annotations

import json
from typing import Any

from offswitch.control.place import Place

__all__ = ["GARBLED", "gates_before", "page_before", "path_of"]

GARBLED = (
    OSError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a file that is not of our making may raise, whatever it holds."""


def path_of(place: Place) -> str:
    """Name the file."""
    return f"{place.memory}/cells.json"


def _whole(place: Place) -> dict[str, Any]:
    """Read it; garbage, which `Table.kept` tells of, is nothing."""
    try:
        with open(path_of(place), "rb") as file:
            whole = json.load(file)
    except GARBLED:
        return {}
    return whole if isinstance(whole, dict) else {}


def gates_before(place: Place) -> dict[str, Any]:
    """Give what was kept of gateways: by target its slot, whether one served it, or a front."""
    gates = _whole(place).get("gates")
    return gates if isinstance(gates, dict) else {}


def page_before(place: Place) -> tuple[int, int]:
    """Give the epoch that an earlier warden's page had, and how many slots were used."""
    try:
        epoch, used = map(int, _whole(place).get("page", (0, 0)))
    except GARBLED:
        return 0, 0
    return (epoch, used) if 0 <= epoch < 1 << 62 else (0, 0)

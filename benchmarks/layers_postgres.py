"""The part of `layers.py` about PostgreSQL: order → last write that busy sessions commit."""

from __future__ import annotations

from figures import Figures

KEYS = ("postgres-last-write",)


def measure(figures: Figures, seconds: float | None) -> None:
    """Take the figure; `seconds` is how long it may take, None: as long as it takes."""
    del seconds
    figures.absent("postgres-last-write", "the hand is being built")

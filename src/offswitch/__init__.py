"""Offswitch: an emergency stop for AI systems.

Nothing is imported here: the stop path pays only for what it uses.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

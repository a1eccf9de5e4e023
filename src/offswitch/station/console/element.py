"""The ids of elements that are patched: made of names that may hold anything."""

from __future__ import annotations

import hashlib

__all__ = ["element_id"]


def element_id(kind: str, name: str) -> str:
    """Make the id of an element from whatever something is called."""
    return f"{kind}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:12]}"

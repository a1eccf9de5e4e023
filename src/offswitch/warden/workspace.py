"""Workspace (first cut)."""
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from offswitch.warden.birth import Spec
def enter(spec: Spec, env: dict[str, str]) -> None:
    """Nothing yet."""

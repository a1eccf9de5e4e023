"""`/healthz`: whether the station answers, and whether what it needs answers it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from offswitch.station.parts import parts_of

__all__ = ["router"]

router = APIRouter()


@router.get("/healthz", include_in_schema=False)
async def healthz(request: Request) -> dict[str, Any]:
    """Answer. Says nothing about targets: anybody may ask."""
    parts = parts_of(request)
    return {"ok": True, "warden": bool(parts.installation)}

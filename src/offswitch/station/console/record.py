"""The page Ledger: what is recorded, each entry with its proof, and whether all of it is whole."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from offswitch.decide.roles import Power
from offswitch.station.api.ledger import VERIFY_S
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/ledger")

_MOST = 100
_SHOWN_FIRST = ("time_us", "kind", "what", "target", "scope", "channel", "state")

Reads = Annotated[Visitor, Depends(may(Power.READ))]


@router.get("")
async def entries(
    request: Request,
    who: Reads,
    containing: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Show the latest entries, or those that contain a text."""
    asked = {"op": "find", "containing": containing, "most": _MOST}
    if before is not None:
        asked["end"] = before
    said = await parts_of(request).archive.ask(asked)
    return page(request, "ledger.html", visitor=who, said=said, containing=containing, outcome=None)


@router.post("/verify")
async def verify(request: Request, who: Reads) -> Response:
    """Check everything, and show the verdict above the latest entries."""
    parts = parts_of(request)
    outcome = await parts.checker.ask({"op": "verify"}, VERIFY_S)
    said = await parts.archive.ask({"op": "find", "containing": "", "most": _MOST})
    return page(request, "ledger.html", visitor=who, said=said, containing="", outcome=outcome)


@router.get("/{index}")
async def entry(request: Request, who: Reads, index: Annotated[int, Path(ge=0)]) -> Response:
    """Show one entry, whole."""
    said = await parts_of(request).archive.ask({"op": "proof", "index": index})
    public, sealed = said["entry"]["public"], said["entry"]["sealed"]
    keys = [key for key in _SHOWN_FIRST if key in public]
    keys += [key for key in public if key not in keys]
    rows = [(key, _text(public[key])) for key in keys]
    secret = [(key, None if sealed[key] is None else _text(sealed[key])) for key in sealed]
    return page(request, "entry.html", visitor=who, said=said, rows=rows, sealed=secret)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

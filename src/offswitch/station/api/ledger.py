"""The record over the API: entries, one entry with its proof, everything checked, all of it taken.

GET  /api/v1/ledger            the latest entries, and those that contain a text
GET  /api/v1/ledger/{index}    an entry, its inclusion proof, the signed checkpoint
POST /api/v1/ledger/verify     everything computed anew, against the pin of this machine
GET  /api/v1/ledger/export     lines of JSON: the texts as they were hashed, then the checkpoint
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import StreamingResponse

from offswitch.decide.roles import Power
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["VERIFY_S", "router"]

router = APIRouter(prefix="/ledger", tags=["ledger"])

VERIFY_S = 300.0
"""How long a check of everything may take."""
_MOST = 500

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Takes = Annotated[Visitor, Depends(may(Power.EXPORT))]
Index = Annotated[int, Path(ge=0, le=1 << 53)]


@router.get("")
async def entries(
    request: Request,
    _who: Reads,
    containing: Annotated[str, Query(max_length=200)] = "",
    before: Annotated[int | None, Query(ge=0, le=1 << 53)] = None,
    most: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> dict[str, Any]:
    """Give the latest entries, newest first; `from` says how far back was looked."""
    asked = {"op": "find", "containing": containing, "most": most}
    if before is not None:
        asked["end"] = before
    return await parts_of(request).archive.ask(asked)


@router.post("/verify")
async def verify(request: Request, _who: Reads) -> dict[str, Any]:
    """Check everything; the verdict is one of `offswitch ledger verify`."""
    return await parts_of(request).checker.ask({"op": "verify"}, VERIFY_S)


@router.get("/export", response_class=StreamingResponse)
async def export(request: Request, _who: Takes) -> StreamingResponse:
    """Take all of it: one entry a line, the checkpoint on the last."""
    headers = {"content-disposition": 'attachment; filename="ledger.jsonl"'}
    lines = _lines(parts_of(request))
    return StreamingResponse(lines, media_type="application/jsonl", headers=headers)


@router.get("/{index}")
async def entry(request: Request, _who: Reads, index: Index) -> dict[str, Any]:
    """Give one entry with all that it takes to check it."""
    return await parts_of(request).archive.ask({"op": "proof", "index": index})


async def _lines(parts: Parts) -> AsyncIterator[str]:
    index, end = 0, None
    checkpoint = ""
    while end is None or index < end:
        asked = {"op": "bodies", "index": index} | ({} if end is None else {"end": end})
        said = await parts.checker.ask(asked)
        if end is None:
            end, checkpoint = int(said["size"]), str(said["checkpoint"])
        for body in said["bodies"]:
            yield json.dumps({"index": index, "body": body}) + "\n"
            index += 1
        if not said["bodies"]:
            break
    yield json.dumps({"checkpoint": checkpoint}) + "\n"

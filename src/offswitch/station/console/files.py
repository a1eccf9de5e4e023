"""Static files: ours, by a name with their digest in it, so that a browser keeps them for ever."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from offswitch.errors import NotFound
from offswitch.station.parts import parts_of

__all__ = ["router"]

router = APIRouter()


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """Give a file."""
    found = parts_of(request).faces.static.get(name)
    if found is None:
        raise NotFound("there is no such file")
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.zipped, media_type=found.type, headers=headers)
    return Response(found.body, media_type=found.type, headers=headers)

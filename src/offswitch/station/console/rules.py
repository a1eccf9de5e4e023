"""The page Rules: what each may do, how it stands, what it did, and lowering one for a while."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from offswitch.decide.roles import Power
from offswitch.errors import OffswitchError, Unreachable, Usage
from offswitch.station.api.rules import Lowering, lowering
from offswitch.station.console.render import page
from offswitch.station.desk import at_desk
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/rules")

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Lowers = Annotated[Visitor, Depends(may(Power.BYPASS))]
Name = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, Form(max_length=500)]
_NOBODY: dict[str, Any] = {
    "rules": [],
    "lowered": [],
    "waiting": [],
    "proposals": [],
    "problem": "",
}


@router.get("")
async def rules(request: Request, who: Reads) -> Response:
    """Show them all."""
    return await _shown(request, who, 200, None)


@router.post("/{rule}/lower")
async def lowered(
    request: Request,
    who: Lowers,
    rule: Name,
    what: Line = "",
    series: Line = "",
    reason: Line = "",
    measure: Line = "",
    minutes: Line = "",
) -> Response:
    """Ask for a lowering; its proofs are asked for on the page that follows."""
    try:
        given = Lowering.model_validate(
            {
                "what": what,
                "series": series,
                "reason": reason.strip(),
                "measure": measure.strip(),
                "minutes": int(minutes) if minutes.isdecimal() else 0,
            }
        )
        said = await at_desk(parts_of(request), lowering(rule, who, given), who)
    except ValidationError as error:
        first = error.errors()[0]
        wrong = Usage(
            f"{first['loc'][0]}: {first['msg']}", "say why, what is done instead, how long"
        )
        return await _shown(request, who, 409, wrong)
    except OffswitchError as error:
        return await _shown(request, who, 409, error)
    if said.get("pending") and said.get("digest"):
        return RedirectResponse(f"/rules/lowerings/{said['digest']}", 303)
    return RedirectResponse("/rules", 303)


@router.get("/lowerings/{digest}")
async def waiting(request: Request, who: Reads, digest: Digest) -> Response:
    """Show one lowering that waits for proofs."""
    return await _one(request, who, digest, 200, None)


@router.post("/lowerings/{digest}")
async def proven(
    request: Request,
    who: Lowers,
    digest: Digest,
    what: Line,
    proof: Annotated[str, Form(max_length=16_000)] = "",
) -> Response:
    """Bring a proof; six digits alone are the code of whoever is signed in."""
    plain = proof.strip().replace(" ", "")
    text = f"code {who.name} {plain}" if plain.isdecimal() else proof.strip()
    op = "shelve" if what == "shelve" else "bypass"
    try:
        message = {"op": op, "digest": digest, "proofs": [text]}
        said = await at_desk(parts_of(request), message, who)
    except OffswitchError as error:
        return await _one(request, who, digest, 409, error)
    return RedirectResponse(f"/rules/lowerings/{digest}" if said.get("pending") else "/rules", 303)


@router.post("/{rule}/restore")
async def restored(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.STOP))],
    rule: Name,
    what: Line,
    series: Line = "",
) -> Response:
    """Take a lowering back."""
    op = "unshelve" if what == "shelve" else "restore"
    await at_desk(parts_of(request), {"op": op, "rule": rule, "series": series}, who)
    return RedirectResponse("/rules", 303)


async def _said(request: Request) -> tuple[dict[str, Any], str]:
    """Give what watch says of its rules, or nothing and why."""
    try:
        found: dict[str, Any] = await at_desk(parts_of(request), {"op": "rules"})
    except Unreachable as error:
        return _NOBODY, f"{error.message}. {error.hint}"
    return found, ""


async def _shown(
    request: Request, who: Visitor, status: int, error: OffswitchError | None
) -> Response:
    said, silent = await _said(request)
    return page(request, "rules.html", status, visitor=who, said=said, silent=silent, error=error)


async def _one(
    request: Request, who: Visitor, digest: str, status: int, error: OffswitchError | None
) -> Response:
    said, _silent = await _said(request)
    found = next((one for one in said["proposals"] if one["digest"] == digest), None)
    if found is None and error is not None:
        raise error
    known = parts_of(request).confirmers.of(who.name) or {}
    keys = [each["id"] for each in known.get("passkeys", [])]
    return page(
        request, "lowering.html", status, visitor=who, one=found, error=error, passkeys=keys
    )

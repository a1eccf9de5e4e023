"""The page Reset: what is latched and by whom, opening a reset, and the second person's word.

Always shown as *reset (starts nothing)*. The scope is typed, not chosen; the grounds are asked
for one by one; who confirms sees all of it before they prove who they are.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from offswitch.decide.roles import Power
from offswitch.errors import NotFound, OffswitchError, Refused
from offswitch.station.console.render import page
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.visitor import SignedIn, Visitor, may
from offswitch.station.resets.handing import Grounds, confirm, may_ask, open_reset, waiting
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter(prefix="/reset")

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, Form(max_length=500)]
Words = Annotated[str, Form(max_length=2000)]
_NOTHING: dict[str, Any] = {"scope": "", "reason": "", "safe": "", "changed": ""}


@router.get("")
async def resets(request: Request, who: Reads, scope: str = "") -> Response:
    """Show what is latched and what waits; `scope` is offered, not filled in."""
    return await _shown(request, who, 200, hint_scope=scope, typed=_NOTHING, error=None)


@router.post("")
async def opened(
    request: Request,
    who: SignedIn,
    scope: Line = "",
    reason: Words = "",
    safe: Words = "",
    changed: Words = "",
    write_off: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Open a reset, or show why not with all that was typed still there."""
    grounds = Grounds(scope.strip(), reason.strip(), safe.strip(), changed.strip(), bool(write_off))
    try:
        said = await open_reset(parts_of(request), who, grounds, [])
    except OffswitchError as error:
        typed = {"scope": scope, "reason": reason, "safe": safe, "changed": changed}
        return await _shown(request, who, 409, hint_scope="", typed=typed, error=error)
    if said["state"] == "done":
        return page(request, "reset-done.html", visitor=who, said=said, scope=grounds.scope)
    return RedirectResponse(f"/reset/{said['reset']}", 303)


@router.get("/{digest}")
async def one(request: Request, who: Reads, digest: Digest) -> Response:
    """Show one reset that waits: all that the second person must know, also on a phone."""
    return await _one(request, who, digest, 200, None)


@router.post("/{digest}")
async def confirmed(
    request: Request,
    who: SignedIn,
    digest: Digest,
    scope: Line = "",
    proof: Annotated[str, Form(max_length=20_000)] = "",
    secret: Line = "",
) -> Response:
    """Bring a proof."""
    proofs = [proof] if proof.strip() else []
    proofs += [f"secret {secret}"] if secret else []
    try:
        said = await confirm(parts_of(request), who, digest, scope.strip(), proofs)
    except OffswitchError as error:
        return await _one(request, who, digest, 409, error)
    if said["state"] == "done":
        return page(request, "reset-done.html", visitor=who, said=said, scope=scope.strip())
    if who.name in said.get("proven", []):
        return RedirectResponse(f"/reset/{digest}", 303)
    why = Refused("that does not count as your word for this reset", "; ".join(said["needs"]))
    return await _one(request, who, digest, 409, why)


async def _shown(
    request: Request,
    who: Visitor,
    status: int,
    *,
    hint_scope: str,
    typed: dict[str, Any],
    error: OffswitchError | None,
) -> Response:
    parts = parts_of(request)
    said = await ask(parts.place.warden_socket, {"op": "status", "scope": None})
    waits = await waiting(parts, who)
    return page(
        request,
        "reset.html",
        status,
        visitor=who,
        said=said,
        waits=waits,
        hint_scope=hint_scope,
        typed=typed,
        error=error,
        may_ask=may_ask(parts, who),
    )


async def _one(
    request: Request, who: Visitor, digest: str, status: int, error: OffswitchError | None
) -> Response:
    parts = parts_of(request)
    waits = await waiting(parts, who)
    found = next((one for one in waits["resets"] if one["digest"] == digest), None)
    if found is None:
        if error is not None:
            raise error
        raise NotFound("no such reset is open: it was carried out, or has run out", "/reset")
    return page(
        request,
        "reset-one.html",
        status,
        visitor=who,
        reset=found,
        mode=waits["mode"],
        error=error,
        me=_ways(parts, who),
        may_ask=may_ask(parts, who),
    )


def _ways(parts: Parts, who: Visitor) -> dict[str, Any]:
    """Say by what this person could prove themselves, as the warden knows them."""
    known = parts.confirmers.of(who.name) or {}
    return {
        "known": bool(known),
        "code": bool(known.get("totp")),
        "passkeys": [each["id"] for each in known.get("passkeys", [])],
        "keys": list(known.get("keys", [])),
    }

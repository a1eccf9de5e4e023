"""The form behind the STOP button: one click, no question, works without a script.

    POST /stop    scope, level (kill), back: where the page was

Whoever is signed in with the power to stop, or brings a token or device, may press; a foreign
page may not press for them, which its origin tells. No token of the form is asked for, no limit
is kept: a press that is doubted is obeyed.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from offswitch.decide.roles import Power
from offswitch.errors import NotFound, Refused, Usage
from offswitch.model.entry import EntryKind
from offswitch.model.level import parse_level
from offswitch.model.scope import parse_scope
from offswitch.station.console.render import page
from offswitch.station.console.signing import local
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Nobody, SignedIn, Visitor, find, may, same_site

__all__ = ["router", "stopper_of"]

router = APIRouter()

_SHOWN_WITHIN_S = 0.4
"""How long a page waits to say more than *commanded*."""


def stopper_of(request: Request, scopes: tuple[str, ...]) -> Visitor:
    """Give who presses, if they may stop all of `scopes`; every refusal is recorded."""
    parts = parts_of(request)
    who = find(request)
    if who is None:
        parts.refused("nobody", "stop", "console", "nobody is signed in")
        raise Nobody
    if not same_site(request):
        parts.refused(who.by, "stop", "console", "another site sent it in their name")
        raise Refused("another site sent this", "press on the page itself")
    if Power.STOP not in who.powers:
        parts.refused(who.by, "stop", "console", "not their role")
        raise Refused(f"{who.name} may not stop", "ask an operator; or: offswitch stop --all")
    mine = parse_scope(who.scope)
    for scope in scopes:
        if not mine.contains(parse_scope(scope)):
            parts.refused(who.by, "stop", "console", f"beyond their scope {who.scope}")
            raise Refused(f"{who.name} may stop {who.scope} and what is below", "stop that")
    return who


@router.post("/stop")
async def stop(
    request: Request,
    scope: Annotated[str, Form(max_length=500)] = "/",
    level: Annotated[str, Form(max_length=20)] = "kill",
    back: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Press."""
    parts = parts_of(request)
    scopes = (parse_scope(scope).text,)
    who = stopper_of(request, scopes)
    pressed = parts.presser.press(scopes, parse_level(level), who.by, "console")
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(pressed.as_dict(), 202)
    await pressed.told(_SHOWN_WITHIN_S, whole=True)
    return RedirectResponse(f"/stopped/{pressed.id}?back={local(back)}", 303)


@router.get("/stopped/{press}")
async def stopped(
    request: Request, who: SignedIn, press: str, back: str = "/", part: str = "", noted: str = ""
) -> Response:
    """Show what has become of a press; without a script it looks again by itself."""
    found = parts_of(request).presser.of(press)
    if found is None:
        raise NotFound("no such press is known here", "the record has it: page Ledger")
    if part:
        frame: Any = parts_of(request).faces.templates.get_template("frame.html").module
        return HTMLResponse(frame.press(found.as_dict()))
    return page(
        request,
        "stopped.html",
        visitor=who,
        view="stopped",
        about=press,
        scope=found.scopes[0],
        pressed=found.as_dict(),
        back=local(back),
        noted=bool(noted),
    )


@router.post("/stopped/{press}/reason")
async def reason(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.NOTE))],
    press: str,
    text: Annotated[str, Form(max_length=2000)],
) -> Response:
    """Take down why somebody pressed: asked for only now that it is done (DEC-2)."""
    parts = parts_of(request)
    found = parts.presser.of(press)
    if found is None:
        raise NotFound("no such press is known here", "note it in its incident")
    if not text.strip():
        raise Usage("it says nothing", "write why, or leave it")
    parts.outbox.add(
        EntryKind.NOTE,
        {
            "what": "why it was stopped",
            "scope": found.scopes[0],
            "order": found.order,
            "channel": "console",
        },
        {"by": who.by, "text": text},
    )
    return RedirectResponse(f"/stopped/{press}?noted=1", 303)

"""Phones that can only stop: enrolled by a QR code, and the one page that such a phone has.

    /devices               one's own; an admin sees all
    /d/enrol/CODE          on the phone, once: what it will be, and a button
    /d/KEY                 the phone's page: STOP for its scope, and what became of it

That page hangs on nothing but this station and the warden: no session, no script, no identity
provider. It shows no target and no other page.
"""

from __future__ import annotations

from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from offswitch.decide.roles import Power
from offswitch.errors import Refused
from offswitch.model.level import Level
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people import managing, phones
from offswitch.station.people.entering import address_of, own_page
from offswitch.station.people.grants import Grant, GrantKind
from offswitch.station.people.reach import base_url, only_here
from offswitch.station.people.visitor import SignedIn, Visitor, same_site

__all__ = ["router"]

router = APIRouter()

Key = Annotated[str, Path(max_length=100)]
_SHOWN_WITHIN_S = 0.4


def _page(request: Request, who: Visitor, status: int = 200, **more: Any) -> Response:  # noqa: ANN401
    parts = parts_of(request)
    rules = Power.PEOPLE in who.powers
    found = parts.entrance.grants.of(GrantKind.DEVICE, None if rules else who.name)
    return page(
        request,
        "devices.html",
        status,
        visitor=who,
        devices=[managing.grant_shown(one) for one in found],
        may_enrol=Power.STOP in who.powers,
        only_here=only_here(request),
        now_us=parts.clock.wall_us(),
        **{"link": "", "code": "", "name": "", **more},
    )


@router.get("/devices")
async def devices(request: Request, who: SignedIn) -> Response:
    """Show them."""
    return _page(request, who)


@router.post("/devices")
async def offer(
    request: Request,
    who: SignedIn,
    name: Annotated[str, Form(max_length=64)],
    scope: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Show the QR code that enrols a phone."""
    link = base_url(request) + phones.offer(parts_of(request), who, name, scope)
    code = segno.make(link, micro=False, error="m").svg_data_uri(scale=5, border=3, light="#fff")
    return _page(request, who, 201, link=link, code=code, name=name)


@router.post("/devices/{name}/revoke")
async def revoke(
    request: Request, who: SignedIn, name: Annotated[str, Path(max_length=64)]
) -> Response:
    """Revoke one."""
    parts = parts_of(request)
    one = parts.entrance.grants.known(GrantKind.DEVICE, name)
    await managing.revoke(parts, who, one, "console")
    return RedirectResponse("/devices", 303)


# --- on the phone -----------------------------------------------------------------


@router.get("/d/enrol/{code}")
async def ask(request: Request, code: Key) -> Response:
    """Show what the phone will be; that a link is looked at uses it not up."""
    return page(request, "enrol.html", one=phones.offered(parts_of(request), code), code=code)


@router.post("/d/enrol/{code}")
async def enrol(request: Request, code: Key) -> Response:
    """Enrol the phone, and lead it to its page."""
    own_page(request, "enrol a phone")
    key = await phones.enrol(parts_of(request), code)
    return RedirectResponse(f"/d/{key}", 303)


@router.get("/d/{key}")
async def device(
    request: Request, key: Key, press: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Show the phone's page."""
    one = _device(request, key)
    found = parts_of(request).presser.of(press) if press else None
    shown = found.as_dict() if found is not None and found.by == _by(one) else None
    return page(request, "device.html", one=one, key=key, pressed=shown)


@router.post("/d/{key}")
async def stop(request: Request, key: Key) -> Response:
    """Press."""
    parts, one = parts_of(request), _device(request, key)
    if not same_site(request):
        parts.refused(_by(one), "stop", "device", "another site sent it")
        raise Refused("another site sent this", "press on the phone's own page")
    pressed = parts.presser.press((one.scope,), Level.KILL, _by(one), "device")
    parts.entrance.grants.used(one, parts.clock.wall_us())
    await pressed.told(_SHOWN_WITHIN_S, whole=True)
    return RedirectResponse(f"/d/{key}?press={pressed.id}", 303)


@router.get("/d/{key}/manifest.webmanifest")
async def manifest(request: Request, key: Key) -> Response:
    """Say how the page lies on a phone's home screen."""
    one = _device(request, key)
    what = "everything" if one.scope == "/" else one.scope
    icon = next(name for name in parts_of(request).faces.static if name.startswith("icon."))
    about = {
        "name": f"STOP {what}",
        "short_name": "STOP",
        "start_url": f"/d/{key}",
        "scope": f"/d/{key}",
        "display": "standalone",
        "background_color": "#f2c200",
        "theme_color": "#f2c200",
        "icons": [{"src": f"/static/{icon}", "sizes": "any", "type": "image/svg+xml"}],
    }
    return JSONResponse(about, media_type="application/manifest+json")


def _by(one: Grant) -> str:
    return f"device:{one.name}"


def _device(request: Request, key: str) -> Grant:
    parts = parts_of(request)
    one = parts.entrance.grants.find(GrantKind.DEVICE, key)
    if one is None:
        who = f"from:{address_of(request)}"
        parts.refused(who, "a phone's page", "device", "a key that is nobody's")
        raise Refused(
            "this phone is not enrolled, or was revoked",
            "enrol it anew on the page Devices; to stop now: offswitch stop --all, or the console",
        )
    return one

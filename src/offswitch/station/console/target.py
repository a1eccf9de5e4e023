"""A target's page: how it is, what holds it, what can stop it, and what was recorded of it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from offswitch.diagnose.assessment import assess
from offswitch.errors import NotFound, OffswitchError
from offswitch.model.target import check_name
from offswitch.station.console.board import AGAIN_S, Reads
from offswitch.station.console.render import page
from offswitch.station.parts import Parts, parts_of
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter()

_MOST = 25
_PATIENCE_S = 1.5
_FOUND_S = 2.0


@router.get("/target/{name:path}")
async def target(request: Request, who: Reads, name: str) -> Response:
    """Show a target."""
    name = check_name(name)
    more = await _more(parts_of(request), name)
    return page(
        request,
        "target.html",
        visitor=who,
        view="target",
        scope=name,
        about=name,
        again=AGAIN_S,
        load=f"/part/target?name={quote(name, safe='/')}",
        **more,
    )


@router.get("/part/target")
async def part(
    request: Request, _who: Reads, name: Annotated[str, Query(max_length=250)]
) -> Response:
    """Give what is shown of a target besides its row, for a page that has heard of a change."""
    more = await _more(parts_of(request), check_name(name))
    env = parts_of(request).faces.templates
    return HTMLResponse(env.get_template("target-more.html").render(more))


async def _more(parts: Parts, name: str) -> dict[str, Any]:
    """Ask the warden and the record; what cannot be asked is said to be so."""
    declared = next((each for each in parts.config.target if each.name == name), None)
    shown: dict[str, Any] = {"declared": declared, "told": None, "entries": [], "unread": ""}
    shown["rests"] = None
    try:
        message = {"op": "target", "name": name}
        shown["told"] = await ask(parts.place.warden_socket, message, _PATIENCE_S)
        shown["rests"] = await _rests(parts, name)
    except NotFound:
        pass
    except OffswitchError as error:
        shown["unread"] = error.message
    try:
        question = {"op": "find", "containing": name, "most": _MOST}
        said = await parts.archive.ask(question, _FOUND_S)
        shown["entries"] = [each for each in said["entries"] if _concerns(each["public"], name)]
    except OffswitchError as error:
        shown["unread"] = error.message
    return shown


async def _rests(parts: Parts, name: str) -> dict[str, Any] | None:
    """Give on what the stop of a target rests, and what one loss would disarm (MON-6)."""
    message = {"op": "assess", "scope": name}
    facts = await ask(parts.place.warden_socket, message, _PATIENCE_S)
    found = [one for one in facts.get("targets") or [] if one.get("target") == name]
    return assess(found[0], facts.get("ours") or {}).as_dict() if found else None


def _concerns(public: dict[str, Any], name: str) -> bool:
    """Tell whether an entry is about a target, not about one that is called alike."""
    if "target" in public:
        return bool(public["target"] == name)
    scope = str(public.get("scope", ""))
    return scope in {"/", name} or name.startswith(f"{scope}/")

"""One's own account: password, sessions; and the link by which somebody new sets a password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from offswitch.decide.roles import Role
from offswitch.errors import NotFound, OffswitchError, Refused, Usage
from offswitch.station.console.render import page
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.entering import begin, by_password, changed, own_page
from offswitch.station.people.invitations import Invitation
from offswitch.station.people.passkeys import HERE
from offswitch.station.people.passwords import LONGEST
from offswitch.station.people.reach import only_here, relying_party
from offswitch.station.people.visitor import SignedIn, Visitor
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter()

Password = Annotated[str, Form(max_length=LONGEST)]
_SHORTEST = 10


@router.get("/me")
async def me(request: Request, who: SignedIn) -> Response:
    """Show it."""
    return _page(request, who)


@router.post("/me/password")
async def change_password(
    request: Request, who: SignedIn, old: Password, new: Password
) -> Response:
    """Set a new password with the old one; every other session of this person ends."""
    parts = parts_of(request)
    try:
        await by_password(request, who.name, old, "console")
        kept = await _new(parts, who.name, new)
    except OffswitchError as error:
        return _page(request, who, 400, error)
    parts.accounts.give_password(who.name, kept)
    changed(parts, who.by, "password", "console", "the old one", "a new one", why="asked to")
    response = RedirectResponse("/me", 303)
    begin(request, response, who.name, "password", "console")
    await parts.accounts.settled()
    return response


@router.post("/me/sessions/{session_id}/end")
async def end_session(
    request: Request, who: SignedIn, session_id: Annotated[str, Path(max_length=64)]
) -> Response:
    """End one of one's own sessions."""
    parts = parts_of(request)
    for one in parts.accounts.sessions_of(who.name):
        if one.id == session_id:
            parts.accounts.sign_out(one)
            why = "asked to, from another session"
            changed(parts, who.by, "session ended", "console", "signed in", "signed out", why=why)
    return RedirectResponse("/me", 303)


@router.get("/invited/{key}")
async def invited(request: Request, key: Annotated[str, Path(max_length=100)]) -> Response:
    """Show the form of a link."""
    return _welcome(request, _invitation(request, key), key)


@router.post("/invited/{key}")
async def accept(
    request: Request,
    key: Annotated[str, Path(max_length=100)],
    new: Password,
    proof: Annotated[str, Form(max_length=16384)] = "",
) -> Response:
    """Set the password that a link lets somebody set, and sign them in. The link is then used."""
    own_page(request, "set a password")
    parts, one = parts_of(request), _invitation(request, key)
    try:
        await _themselves(parts, one, proof)
        kept = await _new(parts, one.name, new)
    except OffswitchError as error:
        return _welcome(request, one, key, 400, error)
    _invitation(request, key)  # not used meanwhile
    parts.entrance.invitations.withdraw(one.name)
    parts.accounts.give_password(one.name, kept)
    by = f"person:{one.name}"
    changed(parts, by, "password", "console", "a link", "a new one", why=f"invited by {one.by}")
    response = RedirectResponse("/", 303)
    begin(request, response, one.name, "invitation", "console")
    await parts.accounts.settled()
    return response


async def _themselves(parts: Parts, one: Invitation, proof: str) -> None:
    """See that whoever takes a name that the warden knows is that person (SEC-5).

    Else an admin could make a link for somebody of role safety, follow it, and ask in their name.
    """
    known = parts.confirmers.of(one.name)
    if known is None:
        return
    role = next(iter(known.get("roles") or []), Role.SAFETY)
    asked = {"op": "prove", "about": "account", "digest": one.key, "people": 1, "role": role}
    said = await ask(parts.place.warden_socket, {**asked, "proofs": [proof]})
    if one.name not in said.get("people", []):
        why = "; ".join(map(str, said.get("refused", []))) or "no proof was given"
        parts.refused(f"invited:{one.name}", "set a password", "console", why)
        raise Refused(
            f"the warden knows a person {one.name}, and this is not shown to be them: {why}",
            "give a code, a passkey or a signature of theirs",
        )


def _welcome(
    request: Request,
    one: Invitation,
    key: str,
    status: int = 200,
    error: OffswitchError | None = None,
) -> Response:
    known = parts_of(request).confirmers.of(one.name)
    return page(request, "invited.html", status, one=one, key=key, error=error, known=known)


def _invitation(request: Request, key: str) -> Invitation:
    parts = parts_of(request)
    one = parts.entrance.invitations.find(key, parts.clock.wall_us())
    if one is None or parts.accounts.get(one.name) is None:
        raise NotFound("this link was used, or is too old", "ask an admin for a new one")
    return one


async def _new(parts: Parts, name: str, password: str) -> str:
    """Give what is kept of a new password; raises `Usage` where it is none."""
    if len(password) < _SHORTEST or name in password.lower():
        raise Usage("that is no password", f"{_SHORTEST} characters or more, without your name")
    return await parts.passwords.kept(password)


def _page(
    request: Request, who: Visitor, status: int = 200, error: OffswitchError | None = None
) -> Response:
    parts = parts_of(request)
    account = parts.accounts.known(who.name)
    return page(
        request,
        "me.html",
        status,
        visitor=who,
        error=error,
        password=account.password is not None,
        passkeys=parts.entrance.passkeys.of(who.name),
        offered=HERE,
        rp=relying_party(request),
        localhost=only_here(request) and parts.config.station.url is None,
        port=request.url.port,
        sessions=parts.accounts.sessions_of(who.name),
        now_us=parts.clock.wall_us(),
    )

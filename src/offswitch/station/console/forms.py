"""What every form but STOP must bring: the token of its session, from our own page."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Form, Request

from offswitch.errors import Refused
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import SignedIn, same_site

__all__ = ["Checked"]


async def checked(
    request: Request, who: SignedIn, csrf: Annotated[str, Form(max_length=100)] = ""
) -> None:
    """Refuse a form that another page sent in somebody's name."""
    if not same_site(request) or not hmac.compare_digest(csrf.encode(), who.csrf.encode()):
        parts_of(request).refused(
            who.by, request.url.path[:200], "console", "the form is not of this session"
        )
        raise Refused("this form is not of your session", "load the page again, then send it")


Checked = Annotated[None, Depends(checked)]

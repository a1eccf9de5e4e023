"""A page for whoever asks, in its frame: the sentence, the pages, the STOP of its scope."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from offswitch.errors import Internal, OffswitchError
from offswitch.model.scope import parse_scope
from offswitch.station.console.drawing import Viewer
from offswitch.station.console.feed import Feeds
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import find

__all__ = ["page"]

_PAGES = (
    ("/", "Board"),
    ("/incidents", "Incidents"),
    ("/readiness", "Readiness"),
    ("/reset", "Reset"),
    ("/rules", "Rules"),
    ("/alarms", "Alarms"),
    ("/drills", "Drills"),
    ("/tickets", "Tickets"),
    ("/ledger", "Ledger"),
    ("/people", "People"),
)
"""What stands in the navigation of every page."""


def page(
    request: Request,
    template: str,
    status: int = 200,
    **shown: Any,  # noqa: ANN401
) -> HTMLResponse:
    """Render a page for whoever asks.

    `scope` is what the page is about, and what its STOP stops (everything unless given); `view`
    names what is live on it besides the frame (`app.py` lists them), `about` what else it is
    about, `again` after how many seconds a browser without a script loads it again (never).
    """
    try:
        return HTMLResponse(_framed(request, template, shown), status)
    except OffswitchError:
        raise
    except Exception:  # noqa: BLE001 - a request: what cannot be drawn takes STOP from nobody
        traceback.print_exc()
        return HTMLResponse(_bare(request, shown), 500)


def _framed(request: Request, template: str, shown: Mapping[str, Any]) -> str:
    base = _base(request, shown)
    visitor = base["visitor"]
    if visitor is not None and visitor.kind == "person":
        feeds: Feeds = request.app.state.feeds
        viewer = Viewer.of(visitor, parse_scope(base["scope"]), base["about"])
        drawn = feeds.drawn(base["view"], viewer)
        base |= {"drawn": drawn, "mark": feeds.mark(drawn), "now_us": feeds.now_us()}
    return parts_of(request).faces.templates.get_template(template).render(base)


def _base(request: Request, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Give what every template may count on; an error's page has its STOP, too."""
    known = "visitor" in shown or hasattr(request.state, "visitor")
    found = getattr(request.state, "visitor", None) if known else find(request)
    return {
        "visitor": found,
        "path": request.url.path,
        "pages": _PAGES,
        "scope": "/",
        "view": "frame",
        "about": "",
        "again": 0,
        "drawn": None,
        **shown,
    }


def _bare(request: Request, shown: Mapping[str, Any]) -> str:
    error = Internal("a defect of ours: this page could not be drawn", "the station's log has it")
    base = {**_base(request, shown), "view": "frame", "again": 0, "error": error, "code": 500}
    return parts_of(request).faces.templates.get_template("error.html").render(base)

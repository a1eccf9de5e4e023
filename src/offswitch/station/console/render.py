"""A page for whoever asks, in its frame: the sentence, the pages, the STOP of its scope."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from offswitch.model.scope import parse_scope
from offswitch.station.console.drawing import Viewer
from offswitch.station.console.feed import Feeds
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor

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
    env = parts_of(request).faces.templates
    visitor: Visitor | None = shown.get("visitor", getattr(request.state, "visitor", None))
    base: dict[str, Any] = {
        "visitor": visitor,
        "path": request.url.path,
        "pages": _PAGES,
        "scope": "/",
        "view": "frame",
        "about": "",
        "again": 0,
        "drawn": None,
        **shown,
    }
    if visitor is not None and visitor.kind == "person":
        feeds: Feeds = request.app.state.feeds
        viewer = Viewer.of(visitor, parse_scope(base["scope"]), base["about"])
        drawn = feeds.drawn(base["view"], viewer)
        base |= {"drawn": drawn, "mark": feeds.mark(drawn), "now_us": feeds.now_us()}
    text = env.get_template(template).render(base)
    return HTMLResponse(text, status)

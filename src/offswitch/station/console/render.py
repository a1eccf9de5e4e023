"""Templates and static files, read once at the start: later our code may lie out of reach.

Everything that is shown is escaped, by Jinja2's autoescape, and made printable, so that what a
target or a person wrote is a text wherever it appears.
"""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import DictLoader, Environment, StrictUndefined

from offswitch.model.scope import parse_scope
from offswitch.printable import printable
from offswitch.station.console.drawing import Viewer, element_id
from offswitch.station.console.feed import Feeds
from offswitch.station.people.visitor import Visitor

__all__ = ["Asset", "assets", "environment", "page"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_ROOM = "offswitch.station.console"
_PAGES = (
    ("/", "Board"),
    ("/incidents", "Incidents"),
    ("/readiness", "Readiness"),
    ("/reset", "Reset"),
    ("/ledger", "Ledger"),
    ("/people", "People"),
)
"""What stands in the navigation of every page."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file."""

    name: str
    """With the beginning of its digest in it, so that it may be cached for ever."""
    type: str
    body: bytes
    zipped: bytes


def assets() -> dict[str, Asset]:
    """Read all static files; by the name that is asked for (`live.3f9a0c.js`)."""
    found = {}
    for file in resources.files(_ROOM).joinpath("static").iterdir():
        stem, dot, suffix = file.name.rpartition(".")
        kind = _TYPES.get(dot + suffix)
        if kind is None:
            continue
        body = file.read_bytes()
        name = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{suffix}"
        found[name] = Asset(name, kind, body, gzip.compress(body, 9, mtime=0))
    return found


def environment(static: Mapping[str, Asset]) -> Environment:
    """Read all templates, and compile them."""
    texts = {
        file.name: file.read_text(encoding="utf-8")
        for file in resources.files(_ROOM).joinpath("templates").iterdir()
        if file.name.endswith(".html")
    }
    env = Environment(
        loader=DictLoader(texts),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    plain = {f"{name.rsplit('.', 2)[0]}.{name.rpartition('.')[2]}": name for name in static}
    env.globals["static"] = lambda name: f"/static/{plain[name]}"
    env.filters["clock"] = clock
    env.filters["ago"] = ago
    env.filters["iso"] = iso
    env.filters["element"] = lambda name, kind: element_id(kind, str(name))
    env.globals["parts"] = env.get_template("parts.html").module
    for name in texts:
        env.get_template(name)
    return env


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template shows
    """Spell control characters out; what is markup already stays as it is."""
    return printable(value, 10_000) if type(value) is str else value


def clock(time_us: int) -> str:
    """Write a moment in UTC; the page's script may add the local one."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time_us / 1e6))


def iso(time_us: int) -> str:
    """Write a moment for machines."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_us / 1e6))


def ago(us: int) -> str:
    """Write a length of time in one unit, for people."""
    seconds = max(us, 0) / 1e6
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


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
    env: Environment = request.app.state.parts.faces.templates
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

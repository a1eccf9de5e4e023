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
from typing import Any, Self

from jinja2 import DictLoader, Environment, StrictUndefined

from offswitch.printable import printable
from offswitch.reports.paper import Paper
from offswitch.station.console.element import element_id

__all__ = ["Asset", "Faces"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_ROOM = "offswitch.station.console"


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file."""

    name: str
    """With the beginning of its digest in it, so that it may be cached for ever."""
    type: str
    body: bytes
    zipped: bytes


def _assets() -> dict[str, Asset]:
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


def _environment(static: Mapping[str, Asset]) -> Environment:
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
    env.filters["clock"] = _clock
    env.filters["ago"] = _ago
    env.filters["iso"] = _iso
    env.filters["element"] = lambda name, kind: element_id(kind, str(name))
    env.globals["parts"] = env.get_template("parts.html").module
    for name in texts:
        env.get_template(name)
    return env


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template shows
    """Spell control characters out; what is markup already stays as it is."""
    return printable(value, 10_000) if type(value) is str else value


def _clock(time_us: int) -> str:
    """Write a moment in UTC; the page's script may add the local one."""
    return _written("%Y-%m-%d %H:%M:%S", time_us)


def _iso(time_us: int) -> str:
    """Write a moment for machines."""
    return _written("%Y-%m-%dT%H:%M:%SZ", time_us)


def _written(how: str, time_us: int) -> str:
    """Write a moment; one that no calendar has, since an entry may say anything, as it is."""
    try:
        return time.strftime(how, time.gmtime(time_us / 1e6))
    except (ValueError, OverflowError, OSError):
        return f"{time_us} µs"


def _ago(us: int) -> str:
    """Write a length of time in one unit, for people."""
    seconds = max(us, 0) / 1e6
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Faces:
    """All that pages are made of."""

    static: Mapping[str, Asset]
    templates: Environment
    paper: Paper
    """Makes after-action pages."""

    @classmethod
    def read(cls) -> Self:
        """Read them all; a template that does not compile is a defect that is found here."""
        static = _assets()
        return cls(static, _environment(static), Paper())

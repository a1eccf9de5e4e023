"""All code that a station may ever need, imported while it can be read.

Where the project lies below a closed folder, a module that is imported later is not there
(`watch/prepared` learnt it). So every module of this room is imported, and of the libraries
those parts that they import on first use.
"""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import suppress

from offswitch import drills, reports, station

__all__ = ["import_ours"]

_TAKEN_LATER = (
    "anyio._backends._asyncio",
    "asyncio.unix_events",
    "encodings.idna",
    "httpcore2._async.http_proxy",
    "httpcore2._backends.anyio",
    "jinja2.ext",
    "multiprocessing",
    "netrc",
    "python_multipart.multipart",
    "shlex",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.websockets.auto",
)


def import_ours() -> None:
    """Import it all."""
    for room in (station, drills, reports):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # of an extra that nobody asked for
                    importlib.import_module(module.name)
    for name in _TAKEN_LATER:
        with suppress(ImportError):
            importlib.import_module(name)

"""One address of a server, as it was written: path, trailing slash and query included.

A `Line` speaks to a server and is told a path each time. What a standard calls an endpoint (where
tokens are revoked, where signals go) is one whole address, that must be kept as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from offswitch.actuators.hands.http import Answer, Line

__all__ = ["Endpoint"]


class Endpoint:
    """Speaks to one address."""

    def __init__(self, url: str, *, timeout_s: float, ca_file: str | None = None) -> None:
        """Speak to `url`; connects when it is first asked."""
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        self._path = (parts.path or "/") + query
        self._line = Line(f"{parts.scheme}://{parts.netloc}", timeout_s=timeout_s, ca_file=ca_file)

    @property
    def place(self) -> str:
        """Where it ends."""
        return self._line.place

    @property
    def transport(self) -> str:
        """How it gets there."""
        return self._line.transport

    def ask(
        self, method: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask once; whatever is no answer is a `Trouble`."""
        return self._line.ask(method, self._path, body, headers=headers)

    def close(self) -> None:
        """Hang up."""
        self._line.close()

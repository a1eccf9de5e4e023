"""One HTTP server, by a connection that is kept open, for hands that speak HTTP.

Standard library. Nothing is taken from the environment (no proxy, no `.netrc`), no redirect is
followed: a stop goes where the configuration says or nowhere. An answer is read to a mebibyte, and
one that breaks off is none: half a list would look like a short one. A connection that the other
side has closed meanwhile is opened once more, by the address that answered last: a name service
that hangs holds up the first connection only.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from offswitch.actuators.hands.contract import Trouble

__all__ = ["Answer", "Line"]

_MOST = 1 << 20
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """By lower-case name."""

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def text(self) -> str:
        """The beginning of the body, on one line, for people: hostile."""
        return " ".join(self.body[: _SHOWN * 4].decode("utf-8", "replace").split())[:_SHOWN]

    def json(self) -> Any:  # noqa: ANN401 - whatever a server sends
        """Parse the body; `Trouble` where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Trouble(f"no JSON in its answer ({self.status}): {self.text}") from None


class Line:
    """Speaks to one server."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 1.0,
        ca_file: str | None = None,
        unix: str | None = None,
    ) -> None:
        """Speak to `url` (its path begins every path); by a Unix socket where `unix` names one."""
        parts = urlsplit(url)
        self._host = parts.hostname or "localhost"
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._base = parts.path.rstrip("/")
        usual = parts.port is None or parts.port == (443 if self._tls else 80)
        name = f"[{self._host}]" if ":" in self._host else self._host
        self._named = name if usual else f"{name}:{self._port}"
        self._headers = dict(headers or {})
        self._timeout_s = timeout_s
        self._unix = unix
        self._context = ssl.create_default_context(cafile=ca_file) if self._tls else None
        self._known: Any = None
        """The address that answered last."""
        self._connection: http.client.HTTPConnection | None = None

    @property
    def place(self) -> str:
        """Where it ends."""
        return self._unix or f"{self._host}:{self._port}"

    @property
    def transport(self) -> str:
        """How it gets there."""
        return "unix" if self._unix else "tls" if self._tls else "tcp"

    def open(self) -> None:
        """Connect, unless it is connected."""
        if self._connection is not None:
            return
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.sock = self._connect()
        except (OSError, ValueError) as error:
            raise Trouble(f"{self.place}: {error}", "see whether it runs, and the url") from None
        self._connection = connection

    def _connect(self) -> socket.socket:
        if self._unix is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.settimeout(self._timeout_s)
            try:
                sock.connect(self._unix)
            except BaseException:
                sock.close()
                raise
            return sock
        sock = self._dial()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            return sock
        return self._context.wrap_socket(sock, server_hostname=self._host)

    def _dial(self) -> socket.socket:
        if self._known is not None:
            with suppress(OSError):
                return socket.create_connection(self._known, self._timeout_s)
        sock = socket.create_connection((self._host, self._port), self._timeout_s)
        self._known = sock.getpeername()[:2]
        return sock

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """Give our end of the connection and theirs, address and port; None: there is no TCP."""
        sock = None if self._connection is None else self._connection.sock
        if sock is None or sock.family == socket.AF_UNIX:
            return None
        with suppress(OSError):
            return sock.getsockname()[:2], sock.getpeername()[:2]
        return None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Ask once, and once more on a new connection where the one that was kept had gone.

        A mapping is sent as JSON. Whatever is no answer is a `Trouble`.
        """
        kept = self._connection is not None
        try:
            return self._ask(method, path, body, headers, timeout_s)
        except (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError) as error:
            self.close()
            if not kept:
                raise Trouble(f"{self.place}: {error}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Trouble(f"{self.place}: {_why(error)}") from None
        try:
            return self._ask(method, path, body, headers, timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Trouble(f"{self.place}: {_why(error)}") from None

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
    ) -> Answer:
        self.open()
        connection = self._connection
        if connection is None or connection.sock is None:
            raise Trouble(f"{self.place}: not connected")
        connection.sock.settimeout(timeout_s or self._timeout_s)
        said = {**self._headers, **(headers or {})}
        said.setdefault("host", self._named)  # http.client would add :443
        if body is not None and not isinstance(body, bytes):
            said.setdefault("content-type", "application/json")
            body = json.dumps(body, separators=(",", ":")).encode()
        connection.request(method, self._base + path, body, said)
        response = connection.getresponse()
        data = response.read(_MOST + 1)
        if response.length and len(data) <= _MOST:  # read(n) says nothing of what never came
            raise http.client.IncompleteRead(data, response.length)
        found = {name.lower(): value for name, value in response.getheaders()}
        if len(data) > _MOST or response.will_close:
            self.close()
        return Answer(response.status, data[:_MOST], found)

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _why(error: Exception) -> str:
    """Say what went wrong; what cannot be sent is not quoted, since a secret may be in it."""
    if isinstance(error, ValueError | http.client.InvalidURL):
        return "a path or a header that cannot be sent: is there a blank or a line break in it?"
    return str(error) or type(error).__name__

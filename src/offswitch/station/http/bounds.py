"""What a request may look like before anybody reads it. What does not is refused and recorded.

    who        behind a proxy the last address that it names, else the peer; never a header's word
    for whom   `Host` is ours: a name that was bent to our address is not (DNS rebinding)
    what       a known method, a path without `..`, 2,048 bytes of target, 16 KiB of head
    how much   256 KiB of body, within 20 s

A stop is heard whatever its Host says: whoever sends one brings a key that no other page has.
What fails in us is answered as `internal`, without a word of our insides.
"""

from __future__ import annotations

import asyncio
import ipaddress
import sys
import traceback
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offswitch.config.station import Station
from offswitch.errors import Internal, OffswitchError, Refused, Timeout, Usage
from offswitch.printable import printable
from offswitch.station.api.problems import Limit, problem

__all__ = ["Bounds"]

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_TARGET = 2048
_HEAD = 16 << 10
_BODY = 256 << 10
_BODY_S = 20.0
_LOUD_S = 1.0
_LOCAL = {"localhost", "127.0.0.1", "::1"}

Tell = Callable[[str, str], None]
"""Hears from where what was refused came, and what it was."""


class Bounds:
    """Keeps them. Plain ASGI: nothing is buffered."""

    def __init__(self, app: ASGIApp, *, section: Station, tell: Tell) -> None:
        """Wrap `app`."""
        self._app = app
        self._tell = tell
        self._proxied = section.behind_proxy
        self._hosts = _hosts(section)
        self._loud_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if self._proxied:
            _unveil(scope, headers)
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        wrong = self._wrong(scope, headers)
        if wrong is not None:
            await self._refuse(scope, receive, send, wrong, begun=False)
            return
        try:
            await self._app(scope, _Body(receive, partial(self._record, scope)).receive, sending)
        except Limit as limit:
            await self._refuse(scope, receive, send, limit, begun=begun)
        except Exception:  # noqa: BLE001 - the edge: one request of many, and nothing leaks
            self._complain()
            fault = Limit(500, Internal("the station failed at this", "see station.log; try again"))
            await self._refuse(scope, receive, send, fault, begun=begun)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, limit: Limit, *, begun: bool
    ) -> None:
        if limit.status_code < 500:  # noqa: PLR2004
            self._record(scope, limit)
        if begun:
            raise ConnectionAbortedError(limit.error.message)
        answer = problem(limit.error, limit.status_code)
        await answer(scope, receive, send)

    def _record(self, scope: Scope, limit: Limit) -> None:
        address, _port = scope.get("client") or ("", 0)
        what = printable(f"{scope['method']} {scope['path']}", 100)
        self._tell(address, f"{what}: {limit.error.message}")

    def _wrong(self, scope: Scope, headers: dict[bytes, bytes]) -> Limit | None:
        path, method = scope["path"], scope["method"]
        if method not in _METHODS:
            return Limit(405, Usage(f"{printable(method, 20)} is not used here"))
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > _TARGET:
            return Limit(414, Usage("the address is too long"))
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEAD:
            return Limit(431, Usage("the head is too large"))
        if not path.isprintable() or "\\" in path or ".." in path.split("/"):
            return Limit(400, Usage("no path here looks like that"))
        stop = path.startswith("/d/") or (method == "POST" and path in {"/stop", "/api/v1/stops"})
        if self._hosts is not None and not stop and not self._is_ours(headers.get(b"host", b"")):
            return Limit(421, Refused("this station has another name", "[station] url"))
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > _BODY:
            return Limit(413, Usage(f"a request has at most {_BODY} bytes"))
        return None

    def _is_ours(self, host: bytes) -> bool:
        try:
            name = urlsplit(f"//{host.decode('ascii')}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in (self._hosts or ())
        return True

    def _complain(self) -> None:
        """Keep the trace for whoever looks after this machine, at most one a second."""
        now = asyncio.get_running_loop().time()
        if now - self._loud_s >= _LOUD_S:
            self._loud_s = now
            traceback.print_exc(limit=-8, file=sys.stderr)


class _Body:
    """One request's body on its way in."""

    def __init__(self, receive: Receive, record: Callable[[Limit], None]) -> None:
        self._receive = receive
        self._record = record
        self._size = 0
        self._end_s = asyncio.get_running_loop().time() + _BODY_S
        self._whole = False

    async def receive(self) -> Message:
        if self._whole:  # what comes now is the end of the connection, and may take its time
            return await self._receive()
        left = self._end_s - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise self._over(408, Timeout("the body did not come in time")) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._size > _BODY:
                raise self._over(413, Usage(f"a request has at most {_BODY} bytes"))
        return message

    def _over(self, status: int, error: OffswitchError) -> Limit:
        limit = Limit(status, error)
        self._record(limit)
        return limit


def _hosts(section: Station) -> frozenset[str] | None:
    """List the names that are ours; None where nobody told us, and TLS tells people."""
    named = urlsplit(section.url).hostname if section.url else None
    local = ipaddress.ip_address(section.host).is_loopback
    if named is None and not local:
        return None
    return frozenset({*_LOCAL, section.host, *([named] if named else [])})


def _unveil(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Take the address that our proxy saw: the last that is named, the others are hearsay."""
    last = headers.get(b"x-forwarded-for", b"").rpartition(b",")[2].strip()
    try:
        address = str(ipaddress.ip_address(last.decode("ascii", "replace")))
    except ValueError:
        return
    scope["client"] = (address, 0)
    scope["scheme"] = "https"

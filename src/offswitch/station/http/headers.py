"""What every answer bears: a policy by which a page runs our own files and speaks with us only."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Headers"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NEVER_KEPT = (b"cache-control", b"no-store")


class Headers:
    """Adds them. Plain ASGI: nothing is buffered, so a feed flows."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        """Wrap `app`; `secure`: people reach it by TLS, and are told to keep to it."""
        self._app = app
        self._more = list(_HEADERS)
        if secure:
            self._more.append((b"strict-transport-security", b"max-age=31536000"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                own = {name for name, _value in headers}  # a report brings a policy of its own
                headers += [(name, value) for name, value in self._more if name not in own]
                if not any(name == b"cache-control" for name, _value in headers):
                    headers.append(_NEVER_KEPT)
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)

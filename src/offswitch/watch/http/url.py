"""The address of a page that is fetched: http or https, without a secret in it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Url", "parse_url"]


@dataclass(frozen=True, slots=True)
class Url:
    """An address of a page."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def here(self) -> bool:
        """Whether it is on this machine, so that nobody on the way reads what is sent."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_url(text: str) -> Url:
    """Take a URL apart; raises ValueError."""
    example = 'write it as "http://127.0.0.1:8000/metrics"'
    try:
        parts = urlsplit(text)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise ValueError(f"this is no URL; {example}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"this is no URL of http or https; {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a secret does not belong into a URL: use token_file")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a URL has no blanks and no letters beyond ASCII")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, parts.hostname, port, path)

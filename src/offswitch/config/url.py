"""An address that the configuration names: https, or http that does not leave this machine.

What goes there is a secret or an order, so nobody on the way may read or change it. A name and a
password in an address are refused: they would stand in the configuration and in every text about
it. `scheme://host:port` is what is checked; whether somebody answers there is seen later.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

__all__ = ["Url"]


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        named = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError('such as "https://hooks.example.org/offswitch"') from None
    if parts.scheme not in {"http", "https"} or not named:
        raise ValueError('such as "https://hooks.example.org/offswitch"')
    if parts.username or parts.password:
        raise ValueError("no name and password in it: a secret stands in a file")
    if parts.scheme == "http" and not _on_this_machine(parts.hostname or ""):
        raise ValueError("https, unless it stays on this machine")
    return value


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Url = Annotated[str, AfterValidator(_url), Field(max_length=2000)]

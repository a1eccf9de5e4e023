"""How people reach this station: what links, QR codes and passkeys are made of."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from fastapi import Request

from offswitch.station.parts import parts_of

__all__ = ["base_url", "only_here", "relying_party"]


def base_url(request: Request) -> str:
    """Give the station's address as links bear it: as configured, else as it was just reached."""
    section = parts_of(request).config.station
    if section.url is not None:
        return section.url
    scheme = "https" if section.secure else "http"
    return f"{scheme}://{request.headers.get('host', section.listen)[:200]}"


def only_here(request: Request) -> bool:
    """Tell whether no other machine, such as a phone, reaches that address."""
    host = urlsplit(base_url(request)).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def relying_party(request: Request) -> str:
    """Give the host that passkeys are bound to; empty where its name is an address."""
    host = urlsplit(base_url(request)).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        secure = base_url(request).startswith("https://")
        return host if secure or host == "localhost" or host.endswith(".localhost") else ""
    return ""

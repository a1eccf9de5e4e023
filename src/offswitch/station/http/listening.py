"""The port: where the configuration says, and where it says nothing and that is taken, anywhere."""

from __future__ import annotations

import socket

from offswitch.config.station import Station
from offswitch.errors import Busy

__all__ = ["listening", "url_of"]

_BACKLOG = 2048


def listening(section: Station) -> socket.socket:
    """Listen where the configuration says; where it says nothing and that is taken, anywhere."""
    try:
        return _at(section, section.port)
    except Busy:
        if "listen" in section.model_fields_set:
            raise
    return _at(section, 0)


def _at(section: Station, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in section.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((section.host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise Busy(
            f"the console cannot listen on {section.listen}: {error.strerror}",
            'another address: [station] listen = "127.0.0.1:7475" in offswitch.toml',
        ) from None
    return sock


def url_of(section: Station, sock: socket.socket) -> str:
    """Give the address by which people reach us; port 0 is known only now."""
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if section.tls_cert else "http"
    return section.url or f"{scheme}://{shown}:{port}"

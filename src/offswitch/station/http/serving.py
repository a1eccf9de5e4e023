"""Uvicorn as we want it: our own lines, no word about itself, no header of a proxy believed."""

from __future__ import annotations

import asyncio
import asyncio.constants
import logging
import socket
import ssl

import uvicorn
from fastapi import FastAPI

from offswitch.station.http.lines import Lines, protocol

__all__ = ["serve"]

_HANDSHAKE_S = 10.0


def serve(app: FastAPI, lines: Lines, context: ssl.SSLContext | None, sock: socket.socket) -> None:
    """Answer requests until told to end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=protocol(lines),
        ws="none",
        loop="asyncio",
        lifespan="on",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32 << 10,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # uvicorn has no way to say it: who begins TLS and stays silent holds no descriptor for long.
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = _HANDSHAKE_S
    uvicorn.Server(config).run(sockets=[sock])

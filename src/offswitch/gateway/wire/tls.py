"""TLS on both sides: towards clients by the front's certificate, towards upstreams by their names.

Contexts are made once, by whoever may still read the key's file, and handed to the workers. At
least TLS 1.2, HTTP/1.1 by ALPN, no renegotiation; an upstream's certificate must be its host's,
from the system's authorities or, if `ca_file` is given, from those in it alone.

A stop aborts a sealed stream as any other: what the kernel takes at once is an ending that its
client can read, anything else is thrown away with the connection, and no `close_notify` says that
what came was whole.
"""

from __future__ import annotations

import ssl

from offswitch.errors import BadConfig
from offswitch.gateway.plan.front import Front

__all__ = ["client_context", "server_context"]

_ALPN = ["http/1.1"]


def server_context(front: Front) -> ssl.SSLContext | None:
    """Give what clients are met with; None: the front speaks in clear."""
    if not front.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(_ALPN)
    try:
        context.load_cert_chain(front.certificate, front.private_key or None, password=_no_password)
    except (OSError, ValueError) as error:
        message = f"gateway {front.name!r}: no TLS with {front.certificate}: {_short(error)}"
        raise BadConfig(
            message, "give a PEM chain and its key without a password in `tls`"
        ) from None
    return context


def client_context(front: Front) -> ssl.SSLContext:
    """Give what upstreams are met with: their certificates are verified, names included."""
    try:
        context = ssl.create_default_context(cafile=front.ca_file or None)
    except (OSError, ValueError) as error:
        message = f"gateway {front.name!r}: no authorities in {front.ca_file}: {_short(error)}"
        raise BadConfig(message, "give a PEM file of certificates in `ca_file`") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    return context


def _no_password() -> str:
    """Give none: a terminal is asked by nobody here."""
    return ""


def _short(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)

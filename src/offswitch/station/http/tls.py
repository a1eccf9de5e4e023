"""The certificate by which people reach the station, loaded while we may still read its key.

A key that anybody but its owner can read is refused: whoever has it can be the station to a
person who types a password. A renewed certificate is taken at the next start, which nothing
about a stop waits for.
"""

from __future__ import annotations

import os
import ssl

from offswitch.config.station import Station
from offswitch.errors import BadConfig

__all__ = ["context_of"]


def context_of(section: Station, home: str) -> ssl.SSLContext | None:
    """Load certificate and key; None where the configuration names none."""
    if section.tls_cert is None or section.tls_key is None:
        return None
    cert, key = (os.path.join(home, path) for path in (section.tls_cert, section.tls_key))
    try:
        if os.stat(key).st_mode & 0o077:
            raise BadConfig(f"{key}: others can read it", f"chmod 600 {key}")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise BadConfig(f"{cert}, {key}: {error.reason}", "[station] tls_cert, tls_key") from None
    except OSError as error:
        raise BadConfig(
            f"{error.filename or cert}: {error.strerror}", "[station] tls_cert"
        ) from None
    return context

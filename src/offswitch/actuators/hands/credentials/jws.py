"""A signed statement of ours: a JSON Web Signature in its compact form (RFC 7515, RFC 7518).

The algorithm follows from the key, never from a setting that could contradict it: ES256 for a key
on P-256, EdDSA for Ed25519 (RFC 8037), RS256 for RSA of at least 2048 bits. The key is read once,
while there is time to complain about it; signing takes well below a millisecond, RSA about one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from offswitch.actuators.hands.contract import Trouble

__all__ = ["SIGNING_IMPORTS", "Signer"]

SIGNING_IMPORTS = frozenset(
    {
        "cryptography.hazmat.backends",
        "cryptography.hazmat.backends.openssl.backend",
        "cryptography.hazmat.primitives.asymmetric.ec",
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        "cryptography.hazmat.primitives.asymmetric.padding",
        "cryptography.hazmat.primitives.asymmetric.rsa",
        "cryptography.hazmat.primitives.asymmetric.utils",
        "cryptography.hazmat.primitives.hashes",
        "cryptography.hazmat.primitives.serialization",
    }
)
"""What a hand that signs has to import while it may still read it."""

_SHORTEST_RSA = 2048
_HALF = 32
"""Bytes of each of the two numbers of a signature on P-256."""


class Signer:
    """Signs with one key."""

    def __init__(self, pem: str, key_id: str | None) -> None:
        """Take a private key in PEM, without a passphrase; `Trouble` says why it is none."""
        self._key_id = key_id
        self.algorithm, self._sign = _signing(pem)

    def sign(self, claims: Mapping[str, Any], kind: str) -> str:
        """Sign `claims`; `kind` is the header `typ`."""
        header = {"alg": self.algorithm, "typ": kind}
        if self._key_id is not None:
            header["kid"] = self._key_id
        said = f"{_encoded(header)}.{_encoded(claims)}"
        return f"{said}.{_base64(self._sign(said.encode()))}"


def _signing(pem: str) -> tuple[str, Callable[[bytes], bytes]]:
    # imported by whoever signs, not by every command that reads the configuration
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import (  # noqa: PLC0415
        decode_dss_signature,
    )
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise Trouble(
            "the signing key is no private key in PEM, or has a passphrase",
            "such as openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        ) from None
    sha256 = hashes.SHA256()
    match key:
        case ec.EllipticCurvePrivateKey() if key.curve.name == "secp256r1":

            def by_curve(said: bytes) -> bytes:
                numbers = decode_dss_signature(key.sign(said, ec.ECDSA(sha256)))
                return b"".join(number.to_bytes(_HALF, "big") for number in numbers)

            return "ES256", by_curve
        case ed25519.Ed25519PrivateKey():
            return "EdDSA", key.sign
        case rsa.RSAPrivateKey() if key.key_size >= _SHORTEST_RSA:
            return "RS256", lambda said: key.sign(said, padding.PKCS1v15(), sha256)
        case _:
            raise Trouble("the signing key is of no kind that is used", "P-256, Ed25519, RSA 2048")


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

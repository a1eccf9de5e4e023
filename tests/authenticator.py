"""A passkey in software, for tests: it signs what a browser would have signed for it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRESENT, VERIFIED = 0x01, 0x04


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authenticator:
    """One passkey of one person at one site."""

    def __init__(self, rp: str = "localhost", *, eddsa: bool = False) -> None:
        self.rp = rp
        self.id = os.urandom(16)
        self._ed = Ed25519PrivateKey.generate() if eddsa else None
        self._ec = None if eddsa else ec.generate_private_key(ec.SECP256R1())

    @property
    def cose(self) -> bytes:
        """The public key, as an authenticator gives it at its registration."""
        if self._ed is not None:
            return b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20" + (
                self._ed.public_key().public_bytes_raw()
            )
        assert self._ec is not None
        numbers = self._ec.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y

    @property
    def raw(self) -> dict[str, str]:
        """What a person's file says of it."""
        return {"id": b64url(self.id), "key": b64url(self.cose), "rp": self.rp}

    def line(self, name: str) -> str:
        """The line that the console shows."""
        return f"passkey:v1:{name}:{self.rp}:{b64url(self.id)}:{b64url(self.cose)}"

    def sign(self, message: bytes) -> bytes:
        if self._ed is not None:
            return self._ed.sign(message)
        assert self._ec is not None
        return self._ec.sign(message, ec.ECDSA(hashes.SHA256()))

    def word(
        self,
        digest: str,
        *,
        origin: str = "http://localhost:7474",
        flags: int = PRESENT | VERIFIED,
        rp: str | None = None,
        more: bytes = b"",
        **client: Any,  # noqa: ANN401
    ) -> str:
        """Give its proof over `digest`; everything that may be wrong with one can be."""
        said = {
            "type": "webauthn.get",
            "challenge": b64url(bytes.fromhex(digest)),
            "origin": origin,
            "crossOrigin": False,
            **client,
        }
        client_data = json.dumps(said).encode()
        data = hashlib.sha256((rp or self.rp).encode()).digest()
        data += bytes([flags]) + (7).to_bytes(4, "big") + more
        signature = self.sign(data + hashlib.sha256(client_data).digest())
        parts = {
            "id": self.id,
            "authenticatorData": data,
            "clientDataJSON": client_data,
            "signature": signature,
        }
        return "passkey " + json.dumps({key: b64url(value) for key, value in parts.items()})

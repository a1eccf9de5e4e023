"""The ledger's signing key: made once, readable by the recorder alone.

Spelt as Go's note package spells private keys, `PRIVATE+KEY+name+id+base64(0x01 || seed)`,
so that other people's tools can sign in an emergency or a test. A key is never made anew
beside a ledger that an older one has signed: that would only hide that it is gone.
"""

from __future__ import annotations

import base64
import contextlib
import os
from binascii import b2a_base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from offswitch.errors import Corrupt, Storage
from offswitch.ledger.checkpoint import ED25519, Checkpoint, VerifyKey

__all__ = ["SigningKey"]

_PREFIX = "PRIVATE+KEY+"
_SEED = 32
_PARTS = 5


class SigningKey:
    """An Ed25519 key with a name; signs checkpoints of its own log and nothing else."""

    __slots__ = ("_id", "_private", "_seed", "verify_key")

    def __init__(self, name: str, seed: bytes) -> None:
        """Hold a key; `name` is the origin of its log."""
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verify_key = VerifyKey(name, self._private.public_key().public_bytes_raw())
        """The half that everybody may know."""
        self._id = self.verify_key.id

    @classmethod
    def load(cls, path: str) -> SigningKey:
        """Read the key in `path`; raises `FileNotFoundError`, `Storage` or `Corrupt`."""
        try:
            with open(path, "rb") as file:
                text = file.read(4096).decode("ascii", "replace").strip()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Storage(f"{path}: {error.strerror}", "only the recorder's user may") from None
        parts = text.split("+", _PARTS - 1)  # base64 has plus signs of its own
        try:
            blob = base64.b64decode(parts[-1], validate=True)
        except ValueError:
            blob = b""
        sound = text.startswith(_PREFIX) and len(parts) == _PARTS
        if not sound or blob[:1] != ED25519 or len(blob) != 1 + _SEED:
            raise Corrupt(f"{path} holds no signing key", "restore it, or begin a new ledger")
        key = cls(parts[2], blob[1:])
        if parts[3] != key.verify_key.id.hex():
            raise Corrupt(f"{path}: the key's id is not its own", "restore it from a backup")
        return key

    @classmethod
    def create(cls, path: str, name: str) -> SigningKey:
        """Make a key and store it durably in `path`, 0600; whole or not at all."""
        key = cls(name, os.urandom(_SEED))
        draft = f"{path}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(key.text().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.rename(draft, path)
            folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Storage(f"{path}: {error.strerror}", "see that it is writable") from None
        return key

    def text(self) -> str:
        """Spell the private key."""
        blob = base64.b64encode(ED25519 + self._seed).decode()
        return f"{_PREFIX}{self.verify_key.name}+{self.verify_key.id.hex()}+{blob}"

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """Give the signed note of a checkpoint of this key's log."""
        name = self.verify_key.name
        if checkpoint.origin != name:
            raise ValueError(f"{name} does not sign for {checkpoint.origin}")
        text = checkpoint.text()
        signature = self._private.sign(text.encode())
        blob = b2a_base64(self._id + signature, newline=False).decode()
        return f"{text}\n\u2014 {name} {blob}\n".encode()

"""Passwords are kept as Argon2id (RFC 9106, second recommended option), in PHC's notation.

One check takes some 30 ms of a processor and 64 MiB; so it runs in a thread, two at a time.
"""

from __future__ import annotations

import asyncio
import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

__all__ = ["LONGEST", "Passwords", "hashed"]

LONGEST = 1024
"""Characters of a password, at the most."""
_SALT, _LENGTH, _ITERATIONS, _LANES, _MEMORY_KIB = 16, 32, 3, 4, 64 << 10
_AT_ONCE = 2


def hashed(password: str) -> str:
    """Give what is kept of a new password; takes a processor for a while."""
    kdf = Argon2id(
        salt=os.urandom(_SALT),
        length=_LENGTH,
        iterations=_ITERATIONS,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )
    return kdf.derive_phc_encoded(password.encode("utf-8", "replace"))


def _matches(password: str, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "replace"), kept)
    except (InvalidKey, ValueError):
        return False
    return True


class Passwords:
    """Makes and checks them."""

    def __init__(self) -> None:
        """Make a hash that is nobody's, so that an unknown name takes as long as a known one."""
        self._nobody = hashed(os.urandom(16).hex())
        self._turns: asyncio.Semaphore | None = None
        self.waiting = 0
        """How many checks are under way or wait for their turn."""

    async def kept(self, password: str) -> str:
        """Give what is kept of a new password."""
        async with self._turn():
            return await asyncio.to_thread(hashed, password[:LONGEST])

    async def match(self, password: str, kept: str | None) -> bool:
        """Tell whether it is the one; `kept` None: nobody has that name, and it takes as long."""
        self.waiting += 1
        try:
            async with self._turn():
                right = await asyncio.to_thread(_matches, password[:LONGEST], kept or self._nobody)
        finally:
            self.waiting -= 1
        return right and kept is not None

    def _turn(self) -> asyncio.Semaphore:
        if self._turns is None:
            self._turns = asyncio.Semaphore(_AT_ONCE)
        return self._turns

"""One-time codes: TOTP (RFC 6238) over HMAC-SHA-1, six digits, steps of thirty seconds.

A code proves that its holder is there now; it is not bound to what it confirms. So each
one is good once: the step that it belongs to is burnt in a file *before* the reset is
carried out, and a code of that step or an earlier one is never taken again, not even
after a crash. Five wrong codes shut a person's codes for a quarter of an hour: six digits
are few, and whoever can open a reset can guess. If the file cannot be read or written,
no code is accepted; a signature still is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os

from offswitch.errors import Refused

__all__ = ["CodeBook", "code_at", "read_secret"]

_STEP_US = 30_000_000
_DIGITS = 6
_WRONG_ALLOWED = 5
_SHUT_US = 15 * 60 * 1_000_000
_SHORTEST = 16


def read_secret(text: str) -> bytes:
    """Read a secret as authenticators show it (base32, blanks allowed); at least 16 bytes."""
    plain = text.replace(" ", "").upper()
    try:
        secret = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except (binascii.Error, ValueError):
        raise Refused("the one-time secret is not base32", "make a new one") from None
    if len(secret) < _SHORTEST:
        raise Refused(f"a one-time secret of {len(secret)} bytes", f"at least {_SHORTEST} bytes")
    return secret


def code_at(secret: bytes, step: int) -> str:
    """Give the code of one step (RFC 4226, 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    offset = mac[-1] & 15
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**_DIGITS).zfill(_DIGITS)


class CodeBook:
    """Which codes are burnt, and how many were wrong. One file, replaced as a whole."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        """Keep the book at `path` (0600, the warden's)."""
        self._path = path

    def redeem(self, name: str, secret: bytes, code: str, now_us: int) -> None:
        """Take `code` from `name`, once; `Refused` if it is wrong, used, or tried too often."""
        book = self._read()
        burnt, wrong, since_us = book.get(name, (0, 0, 0))
        if not 0 <= now_us - since_us < _SHUT_US:
            wrong, since_us = 0, now_us
        if wrong >= _WRONG_ALLOWED:
            hint = "wait a quarter of an hour, or sign with a key"
            raise Refused(f"too many wrong codes for {name}", hint)
        step = self._step_of(secret, code, now_us)
        if step is None:
            book[name] = (burnt, wrong + 1, since_us)
            self._write(book)
            raise Refused(f"that is not {name}'s code now", "wait for the next code and try again")
        if step <= burnt:
            raise Refused(f"that code of {name} was used already", "wait for the next code")
        book[name] = (step, 0, 0)
        self._write(book)

    @staticmethod
    def _step_of(secret: bytes, code: str, now_us: int) -> int | None:
        """Find the step of a code, one step early or late allowed for clocks that differ."""
        now = now_us // _STEP_US
        found = None
        for step in (now - 1, now, now + 1):
            if hmac.compare_digest(code_at(secret, step).encode(), code.encode(errors="replace")):
                found = step
        return found

    def _read(self) -> dict[str, tuple[int, int, int]]:
        try:
            with open(self._path, encoding="utf-8") as file:
                raw = json.load(file)
            return {str(name): (int(a), int(b), int(c)) for name, (a, b, c) in raw.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ArithmeticError, ValueError, TypeError, AttributeError, RecursionError):
            message = f"the record of used codes cannot be read: {self._path}"
            raise Refused(message, "sign with a key, or remove the file as root") from None

    def _write(self, book: dict[str, tuple[int, int, int]]) -> None:
        fresh = self._path + ".new"
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(book, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self._path)
        except OSError as error:
            message = f"the use of a code cannot be recorded: {error.strerror}"
            raise Refused(message, "make room on the disk, or sign with a key") from None

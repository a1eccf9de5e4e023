"""The secret of SR-2, and whether a peer may reset at all in single-person mode.

Being outside a cell is no authority: what was stopped may have left a cron job or a user
unit behind that sends a reset as the same person. So a reset from a user id under which a
target runs or ran needs a secret that a person types, and that the warden checks against
`$OFFSWITCH_HOME/secret`, an scrypt hash (RFC 7914) that only the warden's user can read.
Whatever is wrong with the file, nothing matches it.

`may_reset` is the rule as a pure function. Where the warden shares its user with a
target, no secret helps: the target can rewrite the file or trace the warden; then the
answer says *forgeable*, and so does every screen.

Checking takes some 50 ms of CPU and 16 MiB: a warden asks from a thread, one at a time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass

from offswitch.errors import Storage, Usage

__all__ = ["Verdict", "check_secret", "is_secret_set", "may_reset", "set_secret"]

_FILE = "secret"
_N, _R, _P = 1 << 14, 8, 1
_SALT_BYTES = 16
_KEY_BYTES = 32
_SHORTEST = 8
_LONGEST = 1024
_HEADER = f"scrypt {_N} {_R} {_P}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a peer may reset."""

    allowed: bool
    why: str
    """One sentence for people, with the next step where it is refused."""
    forgeable: bool
    """True where the target could have made this request look like a person's."""


def may_reset(
    peer_uid: int,
    *,
    peer_in_cell: bool,
    uids_that_ran_targets: Collection[int],
    warden_uid: int,
    secret_set: bool,
    secret_ok: bool,
) -> Verdict:
    """Decide SR-2: a cell never; a target's user only with the secret; else yes."""
    forgeable = warden_uid in uids_that_ran_targets
    if peer_in_cell:
        return Verdict(False, "what was stopped cannot reset itself", forgeable)
    if peer_uid not in uids_that_ran_targets:
        return Verdict(True, f"no target runs or ran as user {peer_uid}", forgeable)
    if secret_set:
        if secret_ok:
            return Verdict(True, "the secret was right", forgeable)
        why = f"a target runs or ran as user {peer_uid}: type the secret of this installation"
        return Verdict(False, why, forgeable)
    if peer_uid != warden_uid:
        why = (
            f"a target runs or ran as user {peer_uid} and no secret is set: "
            "reset as root, or set a secret as root (offswitch config secret)"
        )
        return Verdict(False, why, forgeable)
    return Verdict(True, "reset forgeable by the target: it shares the warden's user", True)


def _derive(secret: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(
        secret, salt=salt, n=_N, r=_R, p=_P, maxmem=64 * 1024 * 1024, dklen=_KEY_BYTES
    )


def set_secret(home: str, secret: str) -> None:
    """Write the hash of `secret` (at least 8 characters) to `home`, 0600, replacing the old."""
    data = secret.encode("utf-8", "surrogateescape")
    if not _SHORTEST <= len(data) <= _LONGEST:
        raise Usage(f"a secret of {len(data)} bytes", f"use {_SHORTEST} to {_LONGEST}")
    salt = os.urandom(_SALT_BYTES)
    line = f"{_HEADER} {salt.hex()} {_derive(data, salt).hex()}\n"
    path = f"{home}/{_FILE}"
    fresh = f"{path}.new"
    try:
        if os.path.lexists(fresh):
            os.unlink(fresh)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(fresh, flags, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise Storage(f"the secret cannot be written to {path}: {error.strerror}") from None


def is_secret_set(home: str) -> bool:
    """Tell whether there is a secret; a damaged or unreadable file counts as one."""
    return os.path.lexists(f"{home}/{_FILE}")


def check_secret(home: str, secret: str, owner_uid: int) -> bool:
    """Tell whether `secret` is the one in `home`; false for a file that others could have made."""
    try:
        fd = os.open(f"{home}/{_FILE}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
                return False
            if facts.st_uid not in {0, owner_uid}:
                return False
            line = file.read(_LONGEST).decode("ascii")
        header, salt, key = line.strip().rsplit(" ", 2)
        wanted, given = bytes.fromhex(key), secret.encode("utf-8", "surrogateescape")
        if header != _HEADER or len(wanted) != _KEY_BYTES or len(given) > _LONGEST:
            return False
        return hmac.compare_digest(_derive(given, bytes.fromhex(salt)), wanted)
    except (OSError, ValueError):
        return False

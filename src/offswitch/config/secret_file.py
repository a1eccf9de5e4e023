"""Reading a secret from a place of its own: an API's token, a signing key, a password.

    /etc/offswitch/token      a file that only its owner may read
    keyring:NAME              a key of the kernel's (`keyring`)

Read while there are rights to read it, and kept in memory. A file that others may read, that is
a link, or that somebody else owns is refused: what lies there is no secret. No error, and no
stamp, tells anything of what was read. Standard library only: the warden takes stamps.
"""

from __future__ import annotations

import hashlib
import os
import stat

from offswitch.clock import new_nonce
from offswitch.config.keyring import PREFIX, find_key, read_key
from offswitch.errors import BadConfig

__all__ = ["read_any_secret", "read_secret", "stamp"]

_LONGEST_SECRET = 64 << 10
_SALT = new_nonce().encode()  # of this process: outside of it no guess can be tried by a stamp


def read_any_secret(reference: str) -> str:
    """Read the secret at a path or at `keyring:NAME`; `BadConfig` says what is wrong with it."""
    if not reference.startswith(PREFIX):
        return read_secret(reference)
    return _as_text(read_key(reference), reference)


def stamp(reference: str) -> str:
    """Give what changes when the secret at `reference` does, without telling it. Never fails.

    Two stamps are comparable within one process only. It never waits but for the disk that a
    file lies on. What is gone, expired, or nobody's secret any more has a stamp, too.
    """
    try:
        if reference.startswith(PREFIX):
            # A key that was put there anew keeps its number: only what it holds has changed.
            known = hashlib.blake2b(read_key(reference), key=_SALT, digest_size=16).hexdigest()
            return f"key {find_key(reference)} {known}"
        facts = os.lstat(reference)
    except BadConfig as error:
        return f"none: {error.message}"
    except (OSError, ValueError) as error:
        return f"none: {error}"
    return (
        f"file {facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} "
        f"{facts.st_ctime_ns} {facts.st_uid} {facts.st_mode:o}"
    )


def read_secret(path: str) -> str:
    """Read a file that nobody but its owner may read; `BadConfig` says what is wrong with it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}", "write the secret there, mode 0600") from None
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in {0, os.geteuid()}:
            raise BadConfig(f"{path}: not a regular file of ours", "make it anew, mode 0600")
        if facts.st_mode & 0o077:
            raise BadConfig(f"{path}: others may read it", f"chmod 600 {path}")
        data = os.read(fd, _LONGEST_SECRET + 1)
    finally:
        os.close(fd)
    return _as_text(data, path)


def _as_text(data: bytes, where: str) -> str:
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadConfig(f"{where}: this is not UTF-8", "write the secret as text") from None
    if not text or len(data) > _LONGEST_SECRET:
        raise BadConfig(f"{where}: empty, or too long", "write the secret there and nothing else")
    return text

"""Reading a secret from a file of its own: an API's token, a signing key, a password.

Read while there are rights to read it, and kept in memory. A file that others may read, that is
a link, or that somebody else owns is refused: what lies there is no secret.
"""

from __future__ import annotations

import os
import stat

from offswitch.errors import BadConfig

__all__ = ["read_secret"]

_LONGEST_SECRET = 64 << 10


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
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadConfig(f"{path}: this is not UTF-8", "write the secret as text") from None
    if not text or len(data) > _LONGEST_SECRET:
        raise BadConfig(f"{path}: empty, or too long", "write the secret there and nothing else")
    return text

"""Secrets that the kernel keeps (keyrings(7), keyctl(2)): on no disk, in no backup, in no swap.

A secret is a key of type `user`, named `offswitch:NAME`, in the *user keyring* of the one who
reads it, which as a rule is root:

    keyctl padd user offswitch:NAME @u < FILE

Whatever root starts with root's rights may read it there, and nothing else may. The session
keyring is not searched, on purpose: it is handed on to whatever is started from a shell, targets
of other users included, and who holds a keyring may read what is in it. A key lasts until the
next boot, or as long as it was given (`keyctl timeout`): what starts us has to put it there again.

Libkeyutils is not needed: three calls, by their numbers. None of them waits for anything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re

from offswitch.errors import BadConfig

__all__ = ["PREFIX", "find_key", "read_key"]

PREFIX = "keyring:"
"""What a reference to a key begins with."""

_NUMBER = {"x86_64": 250, "aarch64": 219}
_THREAD, _SESSION, _USER = -1, -3, -4
_DESCRIBE, _UNLINK, _SEARCH, _READ = 6, 9, 10, 11
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_LONGEST = 64 << 10
_MOST_OF_A_NAME = 1024
_OF_OTHERS = 0x0000_3F3F
"""KEY_GRP_ALL and KEY_OTH_ALL: what a key's group and everybody may do with it."""
_TO_SEE = 0x0000_0101
"""KEY_GRP_VIEW and KEY_OTH_VIEW: to see that it is there tells nothing."""


def find_key(reference: str) -> int:
    """Give the serial number of the key that `keyring:NAME` means; `BadConfig` says what is wrong.

    It must be ours or root's, and nobody else's to read or to change.
    """
    name = reference.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise BadConfig(
            f"keyring:{name[:100]!r} is no name of a key",
            "letters, digits, dots, dashes and slashes, such as keyring:vault-token",
        )
    hint = f"keyctl padd user offswitch:{name} @u < FILE, as the user who reads it (root)"
    description = f"offswitch:{name}".encode()
    try:
        serial = _keyctl(_SEARCH, _USER, b"user", description, 0)
    except OSError as error:
        raise _why(reference, error, description, hint) from None
    try:
        kind, uid, _, rights, _ = _describe(serial)
    except OSError as error:
        raise _why(reference, error, description, hint) from None
    if kind != "user" or uid not in {0, os.geteuid()}:
        raise BadConfig(f"{reference}: not a key of ours (it is user {uid}'s)", hint)
    if rights & _OF_OTHERS & ~_TO_SEE:
        raise BadConfig(
            f"{reference}: others may read or change it", f"keyctl setperm {serial} 0x3f010000"
        )
    return serial


def read_key(reference: str) -> bytes:
    """Give what the key that `keyring:NAME` means holds; `BadConfig` says what is wrong."""
    serial = find_key(reference)
    description = f"offswitch:{reference.removeprefix(PREFIX)}".encode()
    space = ctypes.create_string_buffer(_LONGEST + 1)
    try:
        # A thread may read what it holds. A session that was started apart (systemd, su) does not
        # hold the user keyring, so the key is linked into a keyring of this thread meanwhile.
        _keyctl(_SEARCH, _USER, b"user", description, _THREAD)
        try:
            size = _keyctl(_READ, serial, space, len(space), 0)
        finally:
            _keyctl(_UNLINK, serial, _THREAD, 0, 0)
    except OSError as error:
        raise _why(reference, error, description, f"keyctl describe {serial}") from None
    if size > _LONGEST:
        raise BadConfig(f"{reference}: too long", "put the secret there and nothing else")
    data = space.raw[:size]
    ctypes.memset(space, 0, len(space))
    return data


def _why(reference: str, error: OSError, description: bytes, hint: str) -> BadConfig:
    """Say in a person's words why the kernel gave no key."""
    match error.errno:
        case errno.EKEYEXPIRED:
            return BadConfig(f"{reference}: the key has expired", hint)
        case errno.EKEYREVOKED:
            return BadConfig(f"{reference}: the key was revoked", hint)
        case errno.ENOKEY if _in_session(description):
            return BadConfig(
                f"{reference}: it lies in the session keyring, which targets may inherit", hint
            )
        case errno.ENOKEY:
            return BadConfig(f"{reference}: no such key in the user keyring", hint)
        case errno.ENOSYS | errno.EPERM:
            return BadConfig(
                f"{reference}: no keyring is to be had here ({error.strerror})",
                "a container may forbid keyctl(2); write the secret into a file, mode 0600",
            )
        case _:
            return BadConfig(f"{reference}: {error.strerror}", hint)


def _in_session(description: bytes) -> bool:
    try:
        return _keyctl(_SEARCH, _SESSION, b"user", description, 0) > 0
    except OSError:
        return False


def _describe(serial: int) -> tuple[str, int, int, int, str]:
    """Give a key's type, owner, group, rights and description."""
    space = ctypes.create_string_buffer(_MOST_OF_A_NAME)
    _keyctl(_DESCRIBE, serial, space, len(space), 0)
    kind, uid, gid, rights, name = space.value.decode("utf-8", "replace").split(";", 4)
    return kind, int(uid), int(gid), int(rights, 16), name


def _keyctl(command: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    number = _NUMBER.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"keyctl(2) has no known number on {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(ctypes.c_long(number), ctypes.c_long(command), *given)
    if result < 0:
        found = ctypes.get_errno()
        raise OSError(found, os.strerror(found))
    return result

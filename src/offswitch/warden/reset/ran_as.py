"""Under which users targets run or ever ran: those may not reset by themselves (SR-2).

One number a line in `$OFFSWITCH_HOME/ran-as`. Allotted users are not written down: they
are nobody's, and whoever still has one is in a cell or is swept. A file that cannot be
read counts every user as one that ran a target, so that a reset needs the secret or root.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

__all__ = ["EVERYBODY", "RanAs"]


class _Everybody(AbstractSet[int]):
    """The set that holds every user."""

    def __contains__(self, _uid: object) -> bool:
        return True

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1


EVERYBODY: AbstractSet[int] = _Everybody()


class RanAs:
    """The users of one installation's targets."""

    __slots__ = ("_path", "_uids")

    def __init__(self, home: str) -> None:
        """Read what is known; garbage means everybody."""
        self._path = f"{home}/ran-as"
        self._uids: AbstractSet[int] = set()
        try:
            with open(self._path, encoding="ascii") as file:
                self._uids = {int(line) for line in file.read().split()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            self._uids = EVERYBODY

    @property
    def uids(self) -> AbstractSet[int]:
        """The users under which a target runs or ran."""
        return self._uids

    def write(self, uid: int) -> None:
        """Keep a user in the file; OSError if it cannot be kept whole. For the disk's thread."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            line = f"\n{uid}\n".encode()  # a line of its own, whatever was cut off before
            if os.write(fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def add(self, uid: int) -> None:
        """Count a user that is in the file now; before its target's first instruction."""
        self._uids = {*self._uids, uid}

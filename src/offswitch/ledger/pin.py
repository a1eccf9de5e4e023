"""What is pinned: the ledger's verifying key, and the latest head, outside the ledger.

`$OFFSWITCH_HOME/pin/ledger.vkey` is written once, with the key; `pin/head` is replaced
after each commit. Both lie on the machine that they check, so alone they never make a
ledger *verified*, but they find what is cut off it or put back in its place. The folder may
belong to somebody else than the recorder, or be a link to a disk of its own: a pin that
cannot be written is said once and holds up nothing.

The head is replaced by exchanging it with a spare file that was written just before: a
plain rename over a file makes ext4 start writing to disk, which would double the price of
a commit. Whoever opens `head` sees one whole head, unless two commits pass before it is
read; its signature tells, so readers look again.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from offswitch.errors import Storage

__all__ = ["Pin"]

_LONGEST = 1 << 16
_RENAME_EXCHANGE = 2


class Pin:
    """The pin folder of one installation."""

    __slots__ = ("_exchange", "folder")

    def __init__(self, home: str) -> None:
        """Name the pin of the installation in `home`; touches nothing."""
        self.folder = f"{home}/pin"
        self._exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)

    @property
    def key_path(self) -> str:
        """Where the verifying key lies."""
        return f"{self.folder}/ledger.vkey"

    @property
    def head_path(self) -> str:
        """Where the latest head lies."""
        return f"{self.folder}/head"

    def key(self) -> str | None:
        """Read the verifying key's text; None if there is none."""
        found = _read(self.key_path)
        return None if found is None else found.decode("utf-8", "replace")

    def head(self) -> bytes | None:
        """Read the latest head, a signed checkpoint; None if there is none."""
        return _read(self.head_path)

    def write_key(self, text: str) -> None:
        """Pin the verifying key, durably; `Storage` if that cannot be done."""
        draft = f"{self.key_path}.new"
        try:
            if not os.path.isdir(self.folder):
                os.mkdir(self.folder)
                os.chmod(self.folder, 0o755)  # noqa: S103 - whoever checks reads it
            _write(draft, text.encode() + b"\n", durable=True)
            os.rename(draft, self.key_path)
        except OSError as error:
            hint = "see that it is writable"
            raise Storage(f"{self.key_path}: {error.strerror}", hint) from None

    def write_head(self, note: bytes) -> None:
        """Pin the latest head, without waiting for the disk; `Storage` if that cannot be done."""
        spare = f"{self.folder}/.head.spare"
        try:
            _write(spare, note, durable=False)
            if not self._exchanged(spare, self.head_path):
                os.rename(spare, self.head_path)
        except OSError as error:
            hint = "see that it is writable"
            raise Storage(f"{self.head_path}: {error.strerror}", hint) from None

    def _exchanged(self, spare: str, path: str) -> bool:
        """Exchange two files atomically; False where there are not two, or the kernel cannot."""
        if self._exchange is None:
            return False
        here = -100  # AT_FDCWD
        paths = (os.fsencode(spare), os.fsencode(path))
        result: int = self._exchange(here, paths[0], here, paths[1], _RENAME_EXCHANGE)
        return result == 0


def _write(path: str, data: bytes, *, durable: bool) -> None:
    """Write all of `data` to a file of ours; never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o644)
    try:
        os.fchmod(fd, 0o644)  # whoever checks reads it, whatever the umask
        written = os.pwrite(fd, data, 0)
        if written < len(data):  # a full disk may take a part; asked for the rest it says why
            os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, len(data))
        if durable:
            os.fsync(fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return None

"""What an old warden passes to the new one that it becomes: a value, in a sealed memfd.

Only what is in memory only goes here. All that a crash leaves behind (latch, page, cells,
declarations) is found again in the same way as after a crash, so that what could not be
passed is lost work and never a lost stop. Whoever reads it says first whether it can: a
state of another version is refused, and then nothing has happened yet.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Self

from offswitch.errors import Unsupported

__all__ = ["VERSION", "Passed", "inherited"]


VERSION = 2
"""Of this very layout; raised with every change that an older or newer code would misread."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True)
class Passed:
    """One warden, as it was when it stopped serving."""

    code: str
    """The version of the code that passes it."""
    gid: int
    """The group that may stop."""
    listener: int
    """Descriptor of the listening socket; likewise the next three."""
    lock: int
    log: int
    keeper: int | None
    keeper_pid: int | None
    connections: list[dict[str, Any]]
    """Each open one: its descriptor, what it has said and not been told yet (`Connection`)."""
    asked: list[int]
    """The connections, by descriptor, that wait to be told that the hand-over is done."""
    rows: dict[str, dict[str, Any]]
    """By target, what no file knows of it (`Tracked.passed`)."""
    graves: list[dict[str, Any]]
    """Facts of empty cells that could not be removed yet."""
    stopping: dict[str, Any]
    """Presses under way, turns and limits (`Stopper.passed`)."""
    resetting: dict[str, Any]
    """Resets that wait for a second person (`Resetter.passed`)."""
    watch: dict[str, Any]
    """What watch said last."""
    notes: dict[str, str]
    """Banners."""

    def fds(self) -> list[int]:
        """List every descriptor in it: these are inherited, and no other."""
        found = [
            self.listener,
            self.lock,
            self.log,
            *([] if self.keeper is None else [self.keeper]),
        ]
        for one in self.connections:
            gate = one["gate"] or {}
            found += [gate["table"]] if gate.get("table") is not None else []
            found += [one["fd"], *one["fds"], *(fd for _data, fd in one["out"] if fd is not None)]
        return found

    def seal(self) -> int:
        """Write it into a memfd that nobody can change any more; give its descriptor."""
        fd = os.memfd_create("offswitch-handover", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        left = memoryview(json.dumps({"v": VERSION, **asdict(self)}).encode())
        while left:
            left = left[os.write(fd, left) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return fd

    @classmethod
    def read(cls, fd: int) -> Self:
        """Read what was sealed; raises `Unsupported` if it is not of this version."""
        try:
            size = os.fstat(fd).st_size
            found = json.loads(os.pread(fd, size, 0))
            version = found.pop("v")
            if version == VERSION:
                return cls(**found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unsupported(
                f"the state that is handed over cannot be read: {error}",
                "end this warden and start the new one: its keeper holds the cells meanwhile",
            ) from None
        raise Unsupported(
            f"the state that is handed over is of version {version}, and this code knows {VERSION}",
            "end this warden and start the new one: its keeper holds the cells meanwhile",
        )


def inherited(fd: int) -> Passed:
    """Take over what the code before passed, and keep its descriptors from our own children."""
    passed = Passed.read(fd)
    os.close(fd)
    for each in passed.fds():
        os.set_inheritable(each, False)
    return passed

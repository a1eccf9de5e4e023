"""What the keeper holds of one cell: hands that were opened before its first instruction.

On the first rung these are the cgroup's own files, so a kill is one write to a descriptor
and needs no lookup, no memory and no free descriptor. A namespace has one: its init's pidfd.
On the last rung there are none: the cell is found again by its marker, as the next warden
would find it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from offswitch.control.page import RUN, PageFile
from offswitch.model.target import Target

if TYPE_CHECKING:
    from offswitch.warden.cells.subreaper import SubreaperCell

__all__ = ["CgroupHands", "Grip", "Hands", "grip_of"]

Hands: TypeAlias = "CgroupHands | SubreaperCell"
"""Both can `kill`, `freeze` and `thaw`, again and again, and say whether it is `populated`."""


class CgroupHands:
    """The descriptors of `cgroup.kill`, `cgroup.freeze` and `cgroup.events`."""

    __slots__ = ("_fds",)

    def __init__(self, fds: Mapping[str, int]) -> None:
        """Hold the descriptors; they are this object's from now on."""
        self._fds = dict(fds)

    def _write(self, key: str, value: bytes) -> None:
        # The cgroup is gone, and nothing can live in it; or there is no such file.
        with suppress(OSError, KeyError):
            os.pwrite(self._fds[key], value, 0)

    def kill(self) -> None:
        """Kill by one write; what a v1 freezer holds dies only when that is thawed."""
        self._write("kill", b"1")
        self._write("thaw", b"THAWED")

    def freeze(self) -> None:
        """Freeze by one write."""
        self._write("freeze", b"1")

    def thaw(self) -> None:
        """Thaw by one write."""
        self._write("freeze", b"0")

    def populated(self) -> bool | None:
        """Read the kernel's own count; a cgroup that is gone is unknown."""
        try:
            text = os.pread(self._fds["events"], 256, 0)
        except (OSError, KeyError):
            return None
        return b"populated 0" not in text

    def close(self) -> None:
        """Close the descriptors; the cell stays as it is."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


class Grip:
    """One cell in the keeper's care."""

    __slots__ = ("frozen", "hands", "killed", "name", "slot", "target")

    def __init__(self, name: str, target: Target, slot: int, hands: Hands) -> None:
        """Hold the cell `name`, where `target` lives, whose word is in `slot`."""
        self.name = name
        self.target = target
        self.slot = slot
        self.hands = hands
        self.frozen = False
        """Whether the keeper itself froze it, for the loss of the warden."""
        self.killed = False
        """Whether the keeper itself killed it: what comes to life in it is killed again."""

    def freeze(self) -> None:
        """Freeze it, for the loss of the warden."""
        self.frozen = True
        self.hands.freeze()

    def kill(self) -> None:
        """Kill it; a frozen cell can be killed as well."""
        self.killed = True
        self.hands.kill()

    def let_go(self, page: PageFile) -> None:
        """The warden is back: thaw what the keeper froze, if no stop covers it."""
        if self.frozen and not self.killed and page.word(self.slot) == RUN:
            self.hands.thaw()
        self.frozen = False


def grip_of(message: Mapping[str, Any], fds: list[int]) -> Grip:
    """Make the grip of a cell that was handed over; raises ValueError if it is not whole.

    `fds` belong to the grip, or are closed.
    """
    try:
        target = Target(str(message["target"]), dict(message["labels"]))
        name, slot = str(message["facts"]["name"]), int(message["slot"])
        return Grip(name, target, slot, _hands(message, fds))  # last: from here on they are its
    except (KeyError, TypeError, ValueError) as error:
        for fd in fds:
            os.close(fd)
        raise ValueError(f"this is no cell: {error}") from None


def _hands(message: Mapping[str, Any], fds: list[int]) -> Hands:
    keys = list(message["keys"])
    if "kill" in keys:
        return CgroupHands(dict(zip(keys, fds, strict=True)))
    from offswitch.warden.cells.namespaced import again  # noqa: PLC0415 - the lower rungs only

    return again(message["facts"], fds)

"""The network layer's first half: at the trip a cgroup is denied the network.

Small programs are loaded once, when the warden starts; the trip attaches them to the
cell's cgroup, which takes some tens of microseconds and needs nothing that could run out.
It comes before the kill (SR-8): bytes that are not let out need not be called back. It
covers all cgroups below, and sockets that were given away, since a socket stays marked
with the cgroup of its maker. It misses sockets that were made before their maker entered
the cell (there are none: cells are born in it), and Unix and vsock sockets.

A denial is a pause; what ends a connection is `sockets.py`. `release` takes it off, for a
thaw.
"""

from __future__ import annotations

import os

from offswitch.actuators import bpf
from offswitch.actuators.contract import Cell, Readiness, Ready
from offswitch.actuators.deny import DENY

__all__ = ["WARM", "Network"]

_FEW = 8
_NAME = "offswitch_deny"
WARM = "warm"
"""The name of the empty cgroup that is denied for good, beside the cells."""


class Network:
    """Denies by BPF programs on the cell's cgroup."""

    __slots__ = ("_numbers", "_problem", "_programs", "_warm")

    def __init__(self) -> None:
        """Load the programs; what the kernel refuses is said by `arm`."""
        self._programs: list[tuple[int, bpf.Attach]] = []
        self._numbers: dict[bpf.Attach, int] = {}
        """By which the kernel knows them."""
        self._warm = ""
        self._problem = ""
        for kind, where, code in DENY:
            try:
                self._programs.append((bpf.load(kind, where, code, _NAME), where))
            except OSError as error:
                self._problem = f"{where.name.lower()}: {error.strerror}"

    def arm(self, cell: Cell) -> Readiness:
        """Attach the denial to the cell, new and empty, see that it is there, take it off."""
        if cell.path is None:
            return Readiness(Ready.ABSENT, "no cgroup here to deny the network to")
        if not self._programs:
            return Readiness(Ready.ABSENT, f"the kernel takes no BPF program ({self._problem})")
        try:
            for program, where in self._programs:
                before = bpf.attached(cell.folder_fd, where)
                bpf.attach(cell.folder_fd, program, where)
                seen = bpf.attached(cell.folder_fd, where)
                bpf.detach(cell.folder_fd, program, where)
                if seen != before + 1:
                    return Readiness(
                        Ready.DEGRADED, f"{where.name.lower()} was attached and not seen"
                    )
        except OSError as error:
            return Readiness(Ready.ABSENT, f"the kernel attaches no program here: {error.strerror}")
        if self._problem:
            return Readiness(Ready.DEGRADED, f"a part could not be loaded: {self._problem}")
        return Readiness(Ready.READY, "denied at a stop by programs that are loaded already")

    def trip(self, cell: Cell) -> None:
        """Attach the denial; each program that fits closes its part, whatever the others do."""
        if cell.path is not None:
            self.deny(cell.folder_fd)

    def deny(self, folder: int) -> None:
        """Attach it to the cgroup whose folder is open."""
        for program, where in self._programs:
            try:
                bpf.attach(folder, program, where)
            except OSError:
                continue  # for one, when the cgroup is gone, and everything in it

    def denied(self, cell: Cell) -> bool:
        """Whether the denial of what goes out is in place."""
        if cell.path is None or not self._programs:
            return False
        try:
            return bpf.attached(cell.folder_fd, bpf.Attach.EGRESS) > 0
        except OSError:
            return False

    def release(self, cell: Cell) -> None:
        """Take the denial off: for a thaw after a reset."""
        if cell.path is not None:
            self.let_go(cell.folder_fd)

    def let_go(self, folder: int) -> None:
        """Take it off the cgroup whose folder is open, that of a warden before us as well."""
        for program, where in self._programs:
            try:
                bpf.detach(folder, program, where)
                for number in bpf.those_at(folder, where):
                    _take_off(folder, number, where)
            except OSError:
                continue

    def there(self, folder: int) -> bool:
        """Tell whether our very programs are attached there, all that could be loaded."""
        if not self._numbers:
            self._numbers = {where: bpf.number_of(program) for program, where in self._programs}
        return all(number in bpf.those_at(folder, where) for where, number in self._numbers.items())

    def warm(self) -> bool | None:
        """Tell whether the cgroup that is denied for good is; where not it is again, as a rule.

        None: there is none. Whoever has taken it off has made stops slower, or tries what he can.
        """
        if not self._warm or not self._programs:
            return None
        try:
            fd = os.open(self._warm, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self.keep_warm(os.path.dirname(self._warm))
            return False
        try:
            if there := self.there(fd):
                return there
        finally:
            os.close(fd)
        self.keep_warm(os.path.dirname(self._warm))
        return False

    def keep_warm(self, ground: str | None) -> None:
        """Keep the kernel's hooks switched on, by denying the network to an empty cgroup for good.

        The first program at a hook, and the last one taken off, make the kernel rewrite its
        own code: 180 µs a trip without this, 15 µs with it.
        """
        if ground is None or not self._programs:
            return
        folder = self._warm = f"{ground}/{WARM}"
        try:
            os.makedirs(folder, exist_ok=True)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # slower, not weaker
        try:
            for program, where in self._programs:
                earlier = bpf.those_at(fd, where)
                for number in earlier[_FEW:]:  # of wardens before us; there is room for 64
                    _take_off(fd, number, where)
                bpf.attach(fd, program, where)
                for number in earlier[:_FEW]:
                    if number != bpf.number_of(program):
                        _take_off(fd, number, where)
        except OSError:
            pass
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let go of the programs; where they are attached they stay."""
        for program, _where in self._programs:
            os.close(program)
        self._programs.clear()


def _take_off(folder: int, number: int, where: bpf.Attach) -> None:
    """Take a program off that bears our name: it is taken off by itself alone."""
    program = bpf.opened(number)
    try:
        if bpf.name_of(program) == _NAME:
            bpf.detach(folder, program, where)
    finally:
        os.close(program)

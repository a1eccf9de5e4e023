"""What a target computes on NVIDIA GPUs: ended by the driver's own list, and its memory looked for.

The driver lists which processes hold memory of which card. Those that live in the target's cell
are killed once more, by another way than the cell's: one that was moved out of it and computes on
is found by its user. After a stop the list is looked at: a process that has ended and still holds
memory (a wedged driver keeps it) has not let go, and is not called standstill.

NVML may never return: a proof, a trip or a look that hangs ends with its process (`host`). It
resets no card and ends nobody who is not the target's.
"""

from __future__ import annotations

import importlib
import os
import signal
from contextlib import suppress
from typing import Any, ClassVar, Literal

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import (
    Acted,
    CellFacts,
    Context,
    Hand,
    Role,
    Route,
    Sight,
    Trouble,
)
from offswitch.config.section import ActuatorSection
from offswitch.control.shed import KILL

__all__ = ["Nvml", "NvmlSection"]

_MOST_GPUS = 64
_MOST_KNOWN = 4096
_MOST_TOLD = 128
_MIB = 1 << 20
_TREE, _HYBRID = "/sys/fs/cgroup", "/unified"


class NvmlSection(ActuatorSection):
    """The GPUs of this machine."""

    kind: Literal["nvml"]

    LAYER: ClassVar[str] = "gpu"
    KEEPS: ClassVar[frozenset[int]] = frozenset({KILL})
    WRITES: ClassVar[tuple[str, ...]] = ("/dev",)


class Nvml(Hand):
    """Ends what the driver lists of a target."""

    Settings = NvmlSection
    IMPORTS: ClassVar[frozenset[str]] = frozenset({"pynvml"})

    def __init__(self, settings: NvmlSection, context: Context) -> None:
        """Hold what was said; load no driver yet."""
        super().__init__(settings, context)
        self._nvml: Any = None
        self._known: dict[int, int] = {}
        """Pid → start of each of its processes that was seen on a card."""
        for word in context.remembered.split():
            pid, _, start = word.partition(":")
            if pid.isdigit() and start.isdigit():
                self._known[int(pid)] = int(start)
        self._others = 0
        """How many the driver listed last of which it is not known that they are the target's."""

    def open(self) -> None:
        """Load the library."""
        if self._nvml is not None:
            return
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            hint = "install the extra: offswitch[gpu]"
            raise Trouble("NVIDIA's binding is not installed", hint) from None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise Trouble(f"no NVIDIA driver answers: {error}", "see nvidia-smi") from None
        self._nvml = nvml

    def _listed(self) -> list[tuple[int, int]]:
        """List the processes on all cards: pid, and bytes of memory."""
        nvml = self._nvml
        if nvml is None:
            raise Trouble("NVML is not open")
        found: list[tuple[int, int]] = []
        try:
            for at in range(min(int(nvml.nvmlDeviceGetCount()), _MOST_GPUS)):
                card = nvml.nvmlDeviceGetHandleByIndex(at)
                listed = nvml.nvmlDeviceGetComputeRunningProcesses(card)
                found += [(int(one.pid), int(one.usedGpuMemory or 0)) for one in listed]
        except nvml.NVMLError as error:
            raise Trouble(f"the driver lists no processes: {error}", "see nvidia-smi") from None
        return found

    def _theirs(self) -> list[tuple[int, int]]:
        """List what is the target's among them, and remember it: a dead one cannot be asked."""
        found, self._others = [], 0
        for pid, memory in self._listed():
            start = _start(pid)
            inside = self.cell is not None and _lives_in(pid, self.cell)
            if inside and start is not None and len(self._known) < _MOST_KNOWN:
                self._known[pid] = start
            if inside or (pid in self._known and start in {None, self._known[pid]}):
                found.append((pid, memory))
            else:
                self._others += 1
        return found

    def arm(self) -> Readiness:
        """See that the driver answers, and which of its processes are the target's."""
        theirs = self._theirs()
        if not theirs:
            return Readiness(Ready.DEGRADED, "the driver lists nothing of it on a GPU now")
        held = sum(memory for _, memory in theirs) // _MIB
        return Readiness(
            Ready.READY, f"{len(theirs)} processes of it hold {held} MiB of GPU memory"
        )

    def trip(self, level: str) -> Acted:
        """Kill what the driver lists of it."""
        del level
        theirs = self._theirs()
        for pid, _memory in theirs:
            if _start(pid) == self._known.get(pid):  # the number may be another's by now
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        lines = tuple(f"process {pid} held {memory // _MIB} MiB" for pid, memory in theirs)
        return Acted(f"{len(theirs)} processes of it were on a GPU", lines)

    def look(self) -> Sight:
        """Look whether the driver lists anything of it still."""
        theirs = self._theirs()
        known = [f"{pid}:{start}" for pid, start in self._known.items()]
        self.memory = " ".join(known[:_MOST_TOLD])
        if not theirs and self._others and self.cell is not None and self.cell.path is None:
            return Sight(None, f"whose {self._others} processes on GPUs are is not known: no cell")
        if not theirs:
            return Sight(True, "the driver lists nothing of it on a GPU")
        dead = [pid for pid, _ in theirs if _start(pid) is None]
        held = sum(memory for _, memory in theirs) // _MIB
        if dead:
            return Sight(False, f"{held} MiB are held by processes that have ended: {dead[:5]}")
        return Sight(False, f"{len(theirs)} processes of it hold {held} MiB of GPU memory")

    def holds(self) -> tuple[str, ...]:
        """List its processes on GPUs."""
        return tuple(f"GPU: process {pid}, {memory // _MIB} MiB" for pid, memory in self._theirs())

    def route(self) -> Route:
        """Say what it rests on."""
        by = "CAP_KILL" if self.context.role is Role.ACT else "none"
        return Route("ioctl", "here", by, "NVIDIA's driver", ("libnvidia-ml.so.1",))

    def close(self) -> None:
        """Let go of the library."""
        if self._nvml is not None:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None


def _start(pid: int) -> int | None:
    """Give when a living process began, in ticks; None: there is none, or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def _lives_in(pid: int, cell: CellFacts) -> bool:
    """Tell whether a process lives in a cell, by the kernel's own word."""
    if cell.path is None:
        return False
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    mine = next((line[3:] for line in lines if line.startswith("0::")), "")
    place = cell.path.removeprefix(_TREE).removeprefix(_HYBRID)
    return mine == place or mine.startswith(f"{place}/")

"""GPUs by NVML: how busy, how full, how hot, what went wrong, and whose processes are on them.

    utilization_percent, memory_used_bytes, memory_total_bytes, power_watts,
    temperature_celsius, ecc_errors, xids, processes, others      each {gpu="0"}

`processes` are those of the target's cell, `others` all other processes on that GPU; `ecc_errors`
are uncorrected ones since the driver was loaded, `xids` errors that it reported since the last
look, their numbers as detail. What a card has no figure for is left out. NVML is asked in a child
(`child`), which a look never waits for: each look sends the next question and the answer wakes the
sensor. Where there is no NVIDIA driver there is nothing to look at, and it is said so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from offswitch.config.section import Duration, SensorSection
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.nvml.child import Child, Look
from offswitch.watch.sensors.nvml.gpus import reader
from offswitch.watch.sensors.processes.proc import pids_below

__all__ = ["Nvml", "NvmlSection"]

_FIRST_PAUSE_US = 1_000_000
_LONGEST_PAUSE_US = 60_000_000
_MOST_HUNG = 3
_MOST_GPUS = 64
_FIGURES = (
    "utilization_percent",
    "memory_used_bytes",
    "memory_total_bytes",
    "power_watts",
    "temperature_celsius",
    "ecc_errors",
)


class NvmlSection(SensorSection):
    """The keys of a sensor of GPUs."""

    kind: Literal["nvml"]
    timeout: Duration = 5_000_000
    """How long the library may take; then its process is given up."""

    SERIES: ClassVar[frozenset[str]] = frozenset({*_FIGURES, "xids", "processes", "others"})

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; each wants the number of a GPU."""
        if set(labels) != {"gpu"} or not labels["gpu"].isdecimal():
            return f'sensor {self.name} reads {what}{{gpu="0"}}, by the number of the GPU'
        return super().problem(what, {})


class Nvml:
    """Asks for all GPUs, for one target."""

    Settings: ClassVar[type[NvmlSection]] = NvmlSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = ""
    IMPORTS: ClassVar[tuple[str, ...]] = ("pynvml",)

    def __init__(
        self,
        settings: NvmlSection,
        context: SensorContext,
        make: Callable[[], Look] = reader,
    ) -> None:
        """Ask by what `make` gives in the child."""
        self._settings = settings
        self._context = context
        self._make = make
        self._child: Child | None = None
        self._hung: list[Child] = []
        self._asked_us: int | None = None
        self._again_us = 0
        self._pause_us = _FIRST_PAUSE_US
        self._problem = ""

    def wake(self) -> Sequence[int]:
        """An answer wakes it."""
        return (self._child.answers,) if self._child is not None else ()

    def look(self) -> Glance:
        """Take the answer, if it is there, and ask again when that is due."""
        self._hung = [child for child in self._hung if not child.gone()]
        now_us = self._context.clock.mono_us()
        said: dict[str, Any] | None = None
        try:
            said = self._child.answer() if self._child is not None else None
        except (EOFError, OSError):
            self._give_up(now_us, "the process that asks NVML died, or was ended for being late")
        except (ValueError, RecursionError) as error:
            self._give_up(now_us, f"NVML's process: {error}")
        if said is not None:
            self._asked_us, self._problem, self._pause_us = None, "", _FIRST_PAUSE_US
            return self._told(said)
        late_us = 0 if self._asked_us is None else now_us - self._asked_us
        if late_us > self._settings.timeout:
            self._give_up(now_us, f"NVML has not answered for {late_us / 1e6:.1f} s")
        self._ask(now_us)
        return Glance(problem=self._problem)

    def _ask(self, now_us: int) -> None:
        """Have the child look, unless it does; begin one where there is none."""
        if self._asked_us is not None or now_us < self._again_us:
            return
        try:
            if self._child is None:
                if len(self._hung) >= _MOST_HUNG:
                    return
                self._child = Child(self._make, self._settings.timeout / 1e6)
            self._child.ask()
            self._asked_us = now_us
        except OSError as error:
            self._give_up(now_us, f"NVML's process cannot be asked: {error.strerror}")

    def _give_up(self, now_us: int, problem: str) -> None:
        """Let go of the child; the next one comes after a pause that doubles."""
        self._problem, self._asked_us = problem, None
        if self._child is not None:
            self._child.close()
            if not self._child.gone():
                self._hung.append(self._child)
            self._child = None
        self._again_us = now_us + self._pause_us
        self._pause_us = min(2 * self._pause_us, _LONGEST_PAUSE_US)

    def _told(self, said: Mapping[str, Any]) -> Glance:
        """Make readings of an answer; one that is none is a failure."""
        self._again_us = self._context.clock.mono_us() + self._settings.every // 2
        if "absent" in said:
            return Glance(absent=True, note=str(said["absent"])[:300])
        try:
            ours = self._cell()
            samples = [sample for gpu in said["gpus"][:_MOST_GPUS] for sample in _read(gpu, ours)]
        except (KeyError, TypeError, ValueError) as error:
            return Glance(problem=f"NVML's process answers nonsense: {error!r}"[:300])
        return Glance(samples) if samples else Glance(absent=True, note="there is no GPU here")

    def _cell(self) -> set[int]:
        cell = self._context.cells.get(self._settings.target)
        if cell is None:
            return set()
        try:
            return set(cell.pids if cell.path is None else pids_below(cell.path))
        except OSError:
            return set()  # the cell is gone: nobody is in it

    def close(self) -> None:
        """Let go of the child; it ends by itself."""
        if self._child is not None:
            self._child.close()
            self._hung.append(self._child)
            self._child = None
        self._hung = [child for child in self._hung if not child.gone()]


def _read(gpu: Mapping[str, Any], ours: set[int]) -> list[Sample]:
    labels = {"gpu": str(int(gpu["index"]))}
    uuid = {"uuid": str(gpu.get("uuid", ""))[:100]}
    samples = [
        Sample(what, float(gpu[what]), labels, uuid)
        for what in _FIGURES
        if gpu.get(what) is not None
    ]
    xids = [int(number) for number in gpu.get("xids", ())]
    shown = {**uuid, "numbers": ", ".join(map(str, xids[:20]))} if xids else uuid
    samples.append(Sample("xids", float(len(xids)), labels, shown))
    if gpu.get("processes") is not None:
        there = {int(pid): int(used) for pid, used in gpu["processes"]}
        held = {pid: used for pid, used in there.items() if pid in ours}
        others = {f"pid {pid}": f"{used} bytes" for pid, used in there.items() if pid not in ours}
        shown = {f"pid {pid}": f"{used} bytes" for pid, used in held.items()}
        samples.append(Sample("processes", float(len(held)), labels, shown))
        samples.append(Sample("others", float(len(others)), labels, others))
    return samples

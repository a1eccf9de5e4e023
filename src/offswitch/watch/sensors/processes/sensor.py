"""A cell's processes: how many, how busy, how large, how much they write.

    count                 processes in the cell                             (cgroup.procs)
    threads               their threads                              (/proc/PID/stat)
    cpu_percent           CPU time since the last look, 100 = one core busy (cpu.stat, else stat)
    memory_bytes          resident memory, shared pages counted for each    (/proc/PID/statm)
    written_bytes         bytes given to write calls since the last look    (/proc/PID/io)
    begun                 processes that were not there at the last look
    hosts                 addresses that it talks to, loopback not counted  (/proc/PID/net/tcp)
    new_hosts             those among them that it never talked to before (`egress`)

The list is the kernel's: a process cannot leave it by forking, and a name is never read.
What a process wrote between the last look and its death is not seen; `written_bytes` is
therefore at least, not exactly. Where the eye may not read `/proc/PID/io` the series is
left out, and a rule on it says that its channel is silent.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from offswitch.config.section import Duration, SensorSection
from offswitch.watch.sensors.contract import CellFacts, Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.processes.egress import Egress, Tables, shown
from offswitch.watch.sensors.processes.proc import pids_below, small, without_canary

__all__ = ["Processes", "ProcessesSection"]

_MOST_NETWORKS = 256
_LEARNT = "hosts learnt"
_TABLES = "tcp tables"
_ALIVE = {"running", "restricted", "draining", "stopping", "frozen"}


def _cidr(value: str) -> str:
    return str(ipaddress.ip_network(value))


Cidr = Annotated[str, AfterValidator(_cidr)]
"""A network, or one address."""


class ProcessesSection(SensorSection):
    """The keys of a processes sensor."""

    kind: Literal["processes"]
    known_hosts: Annotated[list[Cidr], Field(max_length=_MOST_NETWORKS)] = Field(
        default_factory=list
    )
    """Addresses and networks that are never new hosts, such as "10.0.0.0/8"."""
    learn_hosts: Duration = 60_000_000
    """For how long after a cell is first seen the hosts that it talks to are learnt only."""

    SERIES: ClassVar[frozenset[str]] = frozenset(
        {"count", "threads", "cpu_percent", "memory_bytes", "written_bytes", "begun"}
        | {"hosts", "new_hosts"}
    )


@dataclass(frozen=True, slots=True)
class _Process:
    """What /proc says of one process."""

    start: int
    """Its start time in ticks: with the pid it names one process for good."""
    cpu_us: int
    threads: int
    memory: int
    written: int | None


def _process(pid: int, tick_us: int, page: int) -> _Process | None:
    """Read one process; None if it is gone."""
    try:
        # The name in brackets is the process's own and may hold anything, brackets included.
        fields = small(f"/proc/{pid}/stat").rpartition(")")[2].split()
        cpu_us = (int(fields[11]) + int(fields[12])) * tick_us
        resident = int(small(f"/proc/{pid}/statm").split()[1]) * page
    except (OSError, IndexError, ValueError):
        return None
    try:
        io = dict(line.split(": ") for line in small(f"/proc/{pid}/io").splitlines())
        written: int | None = int(io["wchar"])
    except (OSError, KeyError, ValueError):
        written = None
    return _Process(int(fields[19]), cpu_us, int(fields[17]), resident, written)


class Processes:
    """Looks at the processes of its target's cell."""

    Settings: ClassVar[type[ProcessesSection]] = ProcessesSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.PROCESSES})
    IMPLICIT: ClassVar[str] = "processes"

    __slots__ = (
        "_before",
        "_context",
        "_egress",
        "_group_cpu_us",
        "_learns_until_us",
        "_learnt",
        "_seen_us",
        "_settings",
    )

    def __init__(self, settings: ProcessesSection, context: SensorContext) -> None:
        """Look at the cell of `settings.target`."""
        self._settings = settings
        self._context = context
        self._before: dict[int, _Process] = {}
        self._group_cpu_us: tuple[str, int] | None = None
        self._seen_us: int | None = None
        networks = [ipaddress.ip_network(text) for text in settings.known_hosts]
        tables = context.shared.setdefault(_TABLES, Tables(context.clock))
        self._egress = Egress(networks, context.memory, tables)
        self._learnt = _LEARNT in context.memory
        self._learns_until_us: int | None = None

    def wake(self) -> Sequence[int]:
        """Nothing wakes it: it looks at its interval."""
        return ()

    def look(self) -> Glance:
        """Read the cell's processes once."""
        cell = self._context.cells.get(self._settings.target)
        if cell is None or cell.state not in _ALIVE:
            self._before, self._seen_us, self._group_cpu_us = {}, None, None
            return Glance(absent=True, memory=self._memory())
        try:
            pids = list(cell.pids) if cell.path is None else without_canary(pids_below(cell.path))
        except OSError as error:
            return Glance(problem=f"the cell cannot be read: {error.strerror}")
        tick_us, page = 1_000_000 // os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGESIZE")
        read = ((pid, _process(pid, tick_us, page)) for pid in pids)
        now = {pid: process for pid, process in read if process is not None}
        samples = [
            Sample("count", float(len(now))),
            Sample("threads", float(sum(one.threads for one in now.values()))),
            Sample("memory_bytes", float(sum(one.memory for one in now.values()))),
        ]
        samples.extend(self._since_last(cell, now))
        samples.extend(self._hosts(list(now)))
        self._before = now
        return Glance(samples, memory=self._memory())

    def _hosts(self, pids: list[int]) -> list[Sample]:
        """Whom it talks to, and to whom for the first time; nothing where that is closed to us."""
        mono_us = self._context.clock.mono_us()
        fresh = self._egress.look(pids)
        if fresh is None:
            return []
        if not self._learnt:
            if self._learns_until_us is None:
                self._learns_until_us = mono_us + self._settings.learn_hosts
            self._learnt = mono_us >= self._learns_until_us
            fresh = fresh if self._learnt else {}
        return [
            Sample("hosts", float(self._egress.hosts)),
            Sample("new_hosts", float(len(fresh)), {}, shown(fresh)),
        ]

    def _memory(self) -> dict[str, str]:
        return {_LEARNT: "", **self._egress.memory()} if self._learnt else {}

    def _since_last(self, cell: CellFacts, now: dict[int, _Process]) -> list[Sample]:
        """What was used since the look before: CPU and bytes written."""
        mono_us = self._context.clock.mono_us()
        cpu_us, written, readable, begun = 0, 0, True, 0
        for pid, one in now.items():
            before = self._before.get(pid)
            same = before if before is not None and before.start == one.start else None
            begun += same is None
            cpu_us += one.cpu_us - (same.cpu_us if same else 0)
            if one.written is None:
                readable = False
            else:
                written += one.written - ((same.written or 0) if same else 0)
        cpu_us = self._cpu_of_group(cell, cpu_us)
        passed, self._seen_us = self._seen_us, mono_us
        if passed is None or mono_us <= passed:
            return []
        samples = [
            Sample("cpu_percent", 100.0 * max(cpu_us, 0) / (mono_us - passed)),
            Sample("begun", float(begun)),
        ]
        if readable:
            samples.append(Sample("written_bytes", float(max(written, 0))))
        return samples

    def _cpu_of_group(self, cell: CellFacts, otherwise: int) -> int:
        """Give the group's own count where there is one: it also knows those who died."""
        if cell.path is None:
            return otherwise
        try:
            stat = dict(line.split() for line in small(f"{cell.path}/cpu.stat").splitlines())
            used = int(stat["usage_usec"])
        except (OSError, KeyError, ValueError):
            return otherwise
        before, self._group_cpu_us = self._group_cpu_us, (cell.path, used)
        if before is None or before[0] != cell.path:
            return otherwise
        return used - before[1]

    def close(self) -> None:
        """Nothing is held open."""

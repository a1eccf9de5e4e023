"""Which hosts a cell talks to that it has not talked to before.

Each look reads the TCP table of the cell's network namespace and, only where something in there
has a remote end that counts, whose sockets those are. An address is *new* once, when it is first
seen after the time to learn; it is then known. What lasts a shorter time than between two looks may
be missed, and UDP is not looked at: where egress must not be missed, deny it (the network layer).
Loopback and link-local addresses never count, nor what the operator calls known. At most 4,096
addresses are remembered, those seen last; the latest 200 outlive their eye.
"""

from __future__ import annotations

import ipaddress
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice

from offswitch.clock import Clock
from offswitch.watch.sensors.processes.tcp import (
    CONNECTED,
    Address,
    TcpSocket,
    sockets_of,
    table_of,
)

__all__ = ["Egress", "Network", "Tables", "shown"]

_MOST_KNOWN = 4_096
_MOST_KEPT = 200
_MOST_PROCESSES = 512
_MOST_SHOWN = 10
_KEPT = "host "
_FRESH_US = 900_000
"""To read the table costs the kernel milliseconds, however few sockets there are."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Tables:
    """The connections that go out, by network namespace; all cells of an eye share a table."""

    __slots__ = ("_clock", "_read")

    def __init__(self, clock: Clock) -> None:
        """Have read none."""
        self._clock = clock
        self._read: dict[str, tuple[int, dict[int, TcpSocket]]] = {}

    def outward(self, pid: int) -> Mapping[int, TcpSocket]:
        """Give those of a process's namespace, by inode, as they were a moment ago; OSError."""
        space = os.readlink(f"/proc/{pid}/ns/net")
        now_us = self._clock.mono_us()
        for known in [each for each, (at, _table) in self._read.items() if now_us - at > _FRESH_US]:
            del self._read[known]
        if space not in self._read:
            table = table_of(pid, CONNECTED)
            outward = {inode: one for inode, one in table.items() if _counts(one.remote)}
            self._read[space] = (now_us, outward)
        return self._read[space][1]


def _counts(address: Address) -> bool:
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


class Egress:
    """Remembers the hosts of one cell."""

    __slots__ = ("_allowed", "_known", "_tables", "hosts")

    def __init__(
        self, allowed: Sequence[Network], memory: Mapping[str, str], tables: Tables
    ) -> None:
        """Never count what lies in `allowed`; `memory` is what an earlier life kept."""
        self._tables = tables
        self._allowed = tuple(allowed)
        kept = (key.removeprefix(_KEPT) for key in memory if key.startswith(_KEPT))
        self._known: OrderedDict[str, None] = OrderedDict.fromkeys(kept)
        self.hosts = 0
        """How many it talked to at the last look."""

    def look(self, pids: Sequence[int]) -> dict[str, str] | None:
        """Give the addresses that are new, each with port and process, and learn them.

        None where processes do not let us see what they have open.
        """
        fresh: dict[str, str] = {}
        seen: set[str] = set()
        for pid in pids[:_MOST_PROCESSES]:
            try:
                ends = _ends(pid, self._tables.outward(pid))
            except PermissionError:
                return None
            except OSError:
                continue  # it has ended
            for end in ends:
                if any(end.remote in network for network in self._allowed):
                    continue
                host = str(end.remote)
                seen.add(host)
                if host not in self._known:
                    fresh[host] = f"{host} port {end.remote_port}, pid {pid}"
                self._known[host] = None
                self._known.move_to_end(host)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        self.hosts = len(seen)
        return fresh

    def memory(self) -> dict[str, str]:
        """Give what another life must know."""
        latest = islice(reversed(self._known), _MOST_KEPT)
        return {f"{_KEPT}{host}": "" for host in latest}

    def forget(self) -> None:
        """Begin anew: another cell."""
        self._known.clear()
        self.hosts = 0


def _ends(pid: int, outward: Mapping[int, TcpSocket]) -> list[TcpSocket]:
    """Give the remote ends of a process; where nothing has one, nobody is asked."""
    return [outward[inode] for inode in sockets_of(pid) if inode in outward] if outward else []


def shown(fresh: Mapping[str, str]) -> dict[str, str]:
    """Make a reading's detail of what `look` gave."""
    return {
        f"host {number}": text for number, text in enumerate(islice(fresh.values(), _MOST_SHOWN))
    }

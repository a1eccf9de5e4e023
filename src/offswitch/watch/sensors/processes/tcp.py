"""TCP sockets and whose they are, as /proc/PID/net/tcp and tcp6 list them (proc(5)).

    sl  local_address rem_address   st … inode
    0:  0100007F:1F90 00000000:0000 0A … 12345

An address is written in words of the machine's byte order, a port in hexadecimal digits. A table
is that of the process's own network namespace; which process has a socket its descriptors say.
What is read is bounded: two mebibytes of a table, 1,024 descriptors of a process.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

__all__ = ["CONNECTED", "LISTENS", "Address", "TcpSocket", "sockets_of", "table_of"]

LISTENS = "0A"
CONNECTED = frozenset({"01", "02"})
"""Established, and begun: a connection that nobody accepts has gone out as well."""
_MOST_BYTES = 2 << 20
_MOST_DESCRIPTORS = 1_024
_FIELDS = 10

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """One line of the table."""

    local: Address
    local_port: int
    remote: Address
    remote_port: int
    state: str
    """Two hexadecimal digits, as the kernel writes them."""
    inode: int


def table_of(
    pid: int | str = "self", states: Collection[str] | None = None
) -> dict[int, TcpSocket]:
    """Give the TCP sockets of a process's network namespace, by inode; OSError if it is gone.

    `states`: only those in one of these.
    """
    found: dict[int, TcpSocket] = {}
    for name in ("tcp", "tcp6"):
        try:
            data = _read(f"/proc/{pid}/net/{name}")
        except FileNotFoundError:
            if name == "tcp":
                raise
            continue  # no IPv6 here
        for line in data.splitlines()[1:]:
            fields = line.split()
            wanted = len(fields) >= _FIELDS and (states is None or fields[3] in states)
            socket = _socket(fields) if wanted else None
            if socket is not None:
                found[socket.inode] = socket
    return found


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    parts: list[bytes] = []
    try:
        room = _MOST_BYTES
        while room > 0 and (part := os.read(fd, 1 << 16)):
            parts.append(part)
            room -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode("ascii", "replace")


def _socket(fields: list[str]) -> TcpSocket | None:
    try:
        local, local_port = _address(fields[1])
        remote, remote_port = _address(fields[2])
        return TcpSocket(local, local_port, remote, remote_port, fields[3], int(fields[9]))
    except ValueError:
        return None


def _address(text: str) -> tuple[Address, int]:
    digits, _, port = text.partition(":")
    raw = bytes.fromhex(digits)
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    address = ipaddress.ip_address(raw)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address, int(port, 16)


def sockets_of(pid: int) -> Iterator[int]:
    """Give the inodes of a process's sockets; OSError if it is gone, or closed to us."""
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in islice(entries, _MOST_DESCRIPTORS):
            try:
                points_to = os.readlink(entry.path)
            except OSError:
                continue
            if points_to.startswith("socket:["):
                yield int(points_to[8:-1])

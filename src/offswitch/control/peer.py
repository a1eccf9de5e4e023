"""Who is at the other end of a Unix socket: as the kernel says, never as the message says."""

from __future__ import annotations

import socket
import struct

__all__ = ["Peer", "peer_of"]

_SO_PEERGROUPS = 59
_MOST_GROUPS = 256
"""Python asks for at most 1,024 bytes; who is in more groups than that is in none here."""


class Peer:
    """The credentials of a peer at the moment in which it connected."""

    __slots__ = ("gid", "groups", "pid", "uid")

    def __init__(self, pid: int, uid: int, gid: int, groups: tuple[int, ...]) -> None:
        """Hold what the kernel said."""
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.groups = groups

    def __repr__(self) -> str:
        """Show pid and uid."""
        return f"Peer(pid={self.pid}, uid={self.uid})"


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel who connected (SO_PEERCRED, SO_PEERGROUPS)."""
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS * 4)
    except OSError:
        raw = b""
    groups = struct.unpack(f"{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
    return Peer(pid, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, groups)

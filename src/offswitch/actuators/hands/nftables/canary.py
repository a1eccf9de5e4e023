"""A canary for packet filters: sockets of cgroups of their own, which are really cut.

A filter that names a wrong level of the tree succeeds and matches nothing. So a child goes into a
cgroup twelve deep, makes sockets there, hands them over and ends; the cgroups are removed again,
and the sockets bear their numbers as long as they live. One socket has an ancestor at every depth,
so it proves the rule of each: cut that ancestor, and a connection must be refused that was made
before, and is made afterwards.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
from contextlib import suppress

__all__ = ["DEEPEST", "Canary", "depth_of", "tree"]

DEEPEST = 12
_PATIENCE_S = 0.2
_NO_FAMILY = bytes(16)
"""A sockaddr of AF_UNSPEC: it dissolves what a socket was connected to."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def tree() -> str | None:
    """Find where the v2 tree is mounted; on hybrid hosts that is not /sys/fs/cgroup."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split(" ")
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    return None


def depth_of(path: str) -> int:
    """Say how deep a cgroup lies below the root of the tree; 0: it lies in no tree of ours."""
    root = tree()
    if root is None or not path.startswith(f"{root}/"):
        return 0
    return path.removeprefix(f"{root}/").rstrip("/").count("/") + 1


class Canary:
    """Sockets that nobody else's cut concerns."""

    __slots__ = ("_listener", "_sink", "_tcp", "_udp", "ids")

    def __init__(self, name: str) -> None:
        """Make them, as root; OSError where that cannot be done."""
        root = tree()
        if root is None:
            raise OSError(2, "no cgroup v2 tree is mounted")
        self.ids: dict[int, int] = {}
        """Depth → number of the ancestor there."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sink.bind(("127.0.0.1", 0))
        folders, path = [], f"{root}/{name}"
        try:
            for depth in range(1, DEEPEST + 1):
                os.mkdir(path)
                folders.append(path)
                self.ids[depth] = os.stat(path).st_ino
                path += "/c"
            self._tcp, self._udp = _born_in(folders[-1])
        except BaseException:
            self._listener.close()
            self._sink.close()
            raise
        finally:
            for folder in reversed(folders):
                with suppress(OSError):
                    os.rmdir(folder)

    def connects(self) -> bool:
        """Tell whether it can make a connection."""
        self._tcp.settimeout(_PATIENCE_S)
        try:
            self._tcp.connect(self._listener.getsockname())
        except OSError:
            return False
        finally:
            with suppress(OSError):
                self._listener.accept()[0].close()
            _LIBC.connect(self._tcp.fileno(), _NO_FAMILY, len(_NO_FAMILY))
        return True

    def sends(self) -> bool:
        """Tell whether it can send a datagram."""
        try:
            self._udp.sendto(b".", self._sink.getsockname())
        except OSError:
            return False
        came = bool(select.select([self._sink], [], [], _PATIENCE_S)[0])
        if came:
            self._sink.recv(1)
        return came

    def close(self) -> None:
        """Let go of it."""
        for each in (self._tcp, self._udp, self._listener, self._sink):
            each.close()


def _born_in(folder: str) -> tuple[socket.socket, socket.socket]:
    """Have a child make two sockets in a cgroup, and take them from it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _make(folder, theirs)
        theirs.close()
        try:
            said, fds, _flags, _address = socket.recv_fds(ours, 64, 2)
        finally:
            os.waitpid(child, 0)
    made = [socket.socket(fileno=fd) for fd in fds]
    for each in made:
        each.set_inheritable(False)
    if len(made) != 2:  # noqa: PLR2004
        number = int(said or b"5")
        raise OSError(number, f"no socket can be made in {folder}: {os.strerror(number)}")
    return made[0], made[1]


def _make(folder: str, link: socket.socket) -> None:
    """Be that child: never returns."""
    try:
        with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        made = [socket.socket(socket.AF_INET, kind) for kind in kinds]
        socket.send_fds(link, [b"0"], [each.fileno() for each in made])
    except OSError as error:
        link.send(str(error.errno).encode())
    finally:
        os._exit(0)

"""A canary for the network: sockets of a cgroup of its own, which are really cut and let go again.

A return code proves nothing: a program may be attached and deny nobody, a kernel may take a request
to destroy and do nothing. So beside the cells lies an empty cgroup. A child goes into it, makes two
sockets, hands them over and ends; they bear its number as long as they live. Again and again they

    talk                   else nothing that follows would say anything
    are denied             by the very programs that a stop attaches: no datagram goes out
    are let go             and talk again
    are found and destroyed, by their number, as those of a cell are: the connection is over

That is the same route, the same rights and the same kernel as at a stop, and cuts nobody off.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
from contextlib import suppress

from offswitch.actuators.network import Network
from offswitch.actuators.sock_diag import Diag

__all__ = ["PROOF", "Canary", "born_in", "dissolve", "sends"]

PROOF = "proof"
"""The name of the canary's cgroup, beside the cells."""
_PATIENCE_S = 0.2
_BIRTH_S = 2.0
_NO_FAMILY = bytes(16)
"""A sockaddr of AF_UNSPEC."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class Canary:
    """One, as long as its warden lives."""

    __slots__ = ("_diag", "_folder", "_tcp", "_udp", "cgroup_id")

    def __init__(self, ground: str) -> None:
        """Make it, as root, below `ground`; OSError where that cannot be done."""
        folder = f"{ground}/{PROOF}"
        os.makedirs(folder, exist_ok=True)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.cgroup_id = os.fstat(self._folder).st_ino
            self._tcp, self._udp = born_in(folder)
            self._diag = Diag()
        except OSError:
            os.close(self._folder)
            raise

    def denied(self, network: Network) -> str:
        """Have it denied the network and let go; say what did not happen, empty: all did."""
        if not sends(self._udp):
            return "a canary cannot talk on the loopback, so that it is cut proves nothing"
        try:
            network.deny(self._folder)
            talks, programs = sends(self._udp), network.there(self._folder)
        finally:
            network.let_go(self._folder)
        if talks:
            return "a canary was denied the network, and goes on talking"
        if not programs:
            return "a canary was denied the network by other programs than ours"
        return "" if sends(self._udp) else "a canary was let go, and cannot talk"

    def destroyed(self) -> str:
        """Have its connection found and destroyed; say what did not happen, empty: all did."""
        with socket.create_server(("127.0.0.1", 0)) as listener:  # no longer than it takes
            try:
                self._tcp.settimeout(_PATIENCE_S)
                self._tcp.connect(listener.getsockname())
                return self._destroy()
            except OSError as error:
                return f"a canary cannot connect on the loopback: {error.strerror or error}"
            finally:
                dissolve(self._tcp)

    def _destroy(self) -> str:
        try:
            found = self._diag.between(self._tcp.getsockname(), self._tcp.getpeername())
            if found is None or found.cgroup_id != self.cgroup_id:
                return "a canary's connection is not found by its cgroup"
            self._diag.destroy([found])
            gone = self._tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNABORTED
            return "" if gone else "a canary's connection was destroyed, and lives on"
        except OSError as error:
            return f"sockets cannot be destroyed here: {error.strerror or error}"

    def close(self) -> None:
        """Let go of it; its cgroup stays, empty, for the next one."""
        for each in (self._tcp, self._udp, self._diag):
            each.close()
        os.close(self._folder)


def sends(udp: socket.socket) -> bool:
    """Tell whether a datagram gets out, to one of ours that hears it alone, for that moment.

    Nothing of ours lies about where a cell could reach it, so both ends are let go of again.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        try:
            udp.connect(sink.getsockname())
            sink.connect(udp.getsockname())
            udp.send(b".")
        except OSError:
            return False
        finally:
            dissolve(udp)
        return bool(select.select([sink], [], [], _PATIENCE_S)[0])


def dissolve(sock: socket.socket) -> None:
    """End what a socket was connected to, and give its port back; it can be connected again."""
    _LIBC.connect(sock.fileno(), _NO_FAMILY, len(_NO_FAMILY))


def born_in(folder: str) -> tuple[socket.socket, socket.socket]:
    """Have a child make a TCP and a UDP socket in a cgroup, and take them from it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_BIRTH_S)
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _make(folder, theirs)
        theirs.close()
        try:
            said, fds, _flags, _address = socket.recv_fds(ours, 64, 2)
        finally:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)  # it has nothing more to do, whatever became of it
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
        os.write(os.open(f"{folder}/cgroup.procs", os.O_WRONLY), b"0")
        kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        made = [socket.socket(socket.AF_INET, kind) for kind in kinds]
        socket.send_fds(link, [b"0"], [each.fileno() for each in made])
    except OSError as error:
        link.send(str(error.errno).encode())
    finally:
        os._exit(0)

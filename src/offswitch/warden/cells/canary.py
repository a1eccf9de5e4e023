"""A canary: a little target of our own that is really cut, layer by layer.

A return code is no proof: a filter with a wrong level succeeds and matches nothing. So
`prove` bears a process in a cell of its own, with a user of its own, lets it talk, and
gives it what a stop gives, one layer at a time, looking after each whether that layer did
what it promises: nothing comes out, the cell is empty, the connection is reset, what left
the cell is swept. It touches no target and takes some tens of milliseconds; for `doctor`,
as root, on the first rung.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from offswitch.actuators.network import Network
from offswitch.actuators.sockets import Sockets
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.warden.cells import cell as cells
from offswitch.warden.cells import users
from offswitch.warden.cells.cell import Cell
from offswitch.warden.cells.limits import Limits
from offswitch.warden.sweeper import prepare, sweep

__all__ = ["Proof", "prove"]

_PATIENCE_S = 3.0
_QUIET_S = 0.02
_BEAT_S = 0.001


@dataclass(frozen=True, slots=True)
class Proof:
    """What the canary showed of one layer."""

    layer: str
    works: bool
    detail: str


class _Bird:
    """The canary: a child in the cell that sends a byte every millisecond."""

    def __init__(self, cell: Cell) -> None:
        """Bear it and wait for its first byte."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            gate_out, gate_in = os.pipe2(os.O_CLOEXEC)
            self.pid = os.fork()
            if self.pid == 0:
                os.close(gate_in)
                _sing(gate_out, server.getsockname(), cell.uid)
            os.close(gate_out)
            try:
                cell.enter(self.pid)
                os.write(gate_in, b"1")
                server.settimeout(_PATIENCE_S)
                self.peer = server.accept()[0]
            finally:
                os.close(gate_in)
        self.peer.settimeout(_PATIENCE_S)
        self.peer.recv(1)

    def silent(self) -> bool:
        """Whether nothing more comes, after what was on its way."""
        self.peer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self.peer.recv(65536):
                pass
        return not select.select([self.peer], [], [], _QUIET_S)[0]

    def reset(self) -> bool:
        """Whether the connection was cut off."""
        self.peer.settimeout(_PATIENCE_S)
        try:
            while self.peer.recv(65536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            pass
        return False

    def bury(self) -> None:
        """End it, whatever became of it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.peer.close()


def _sing(gate: int, address: tuple[str, int], uid: int) -> NoReturn:
    """Be the canary: never returns."""
    try:
        if os.read(gate, 1) == b"1":
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with socket.socket() as sock:
                sock.connect(address)
                while True:
                    with contextlib.suppress(PermissionError):
                        sock.send(b".")
                    time.sleep(_BEAT_S)
    finally:
        os._exit(1)


def _until(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(_BEAT_S)
    return True


def prove(place: Place) -> list[Proof]:
    """Cut a canary layer by layer; say of each layer whether it did what it promises."""
    cell: Cell | None = None
    try:
        uid = users.allot(place)
        name = f"canary-{os.getpid()}"
        cell = cells.create(place, name, uid=uid, own_uid=True, limits=Limits(8))
        return _cut(cell)
    except (OffswitchError, OSError) as error:
        return [Proof("process", False, f"no canary could be made: {error}")]
    finally:
        if cell is not None:
            cell.kill()
            _until(cell.remove)
            cell.close()


def _cut(cell: Cell) -> list[Proof]:
    bird = _Bird(cell)
    network, sockets = Network(), Sockets()
    try:
        network.trip(cell)
        silent = bird.silent()
        proofs = [_said("network", silent, "nothing comes out", "bytes still come out")]
        cell.kill()
        dead = _until(lambda: cell.populated() is False)
        proofs.append(_said("process", dead, "killed by one write", "it outlived the kill"))
        cut = _until(lambda: sockets.left(cell) is False) and bird.reset()
        proofs.append(_said("sockets", cut, "its connection was reset", "its connection lives on"))
        proofs.append(_swept(cell.uid))
        return proofs
    finally:
        bird.bury()
        network.close()
        sockets.close()


def _swept(uid: int) -> Proof:
    """Have a process of that user outside of any cell swept, as the sweeper's worker does it."""
    left_cell = os.fork()
    if left_cell == 0:
        try:
            os.setresuid(uid, uid, uid)
            signal.pause()
        finally:
            os._exit(1)
    _until(lambda: bool(users.living_ids(uid)))
    worker = os.fork()
    if worker == 0:
        try:
            prepare(users.CANARY)
            left, _rounds = sweep(uid, users.CANARY)
            os._exit(0 if left == 0 else 1)
        finally:
            os._exit(1)
    status = os.waitpid(worker, 0)[1]
    gone = status == 0 and users.living_ids(uid) == []
    with contextlib.suppress(ProcessLookupError):
        os.kill(left_cell, signal.SIGKILL)
    os.waitpid(left_cell, 0)
    return _said("sweep", gone, "what left the cell was swept", "what left the cell lives on")


def _said(layer: str, works: bool, yes: str, no: str) -> Proof:  # noqa: FBT001
    return Proof(layer, works, yes if works else no)

"""The sweep's own process: it kills every process of a user id, and cannot be swept itself.

What left a cell through a broker (cron, at, a daemon on a Unix socket) is outside its
cgroup, but still has its user id. `kill(-1, SIGKILL)` as that user reaches all of it in
one system call. A sweeper that simply became that user could be killed by whom it sweeps;
so a worker sets

    real and saved   a reserved id, used by nothing else     nobody may signal or trace it
    effective        the agent's, for that one call          it may signal the agent's

(kill(2): a sender's real or effective id must equal the target's real or saved one). Never
is real or saved 0, where `kill(-1)` would take the machine. Each worker has a reserved id
of its own, or workers could kill each other.

Workers are forked ahead, since at the stop there may be no process left to fork, and have
given up root by then. One sweeps until a scan of /proc finds nothing, or its deadline
passes, tells it, and ends. The process at its head hands out work and replaces workers,
nothing else.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import NoReturn

from offswitch.control.ids import OURS
from offswitch.warden.cells import kernel, users

__all__ = ["REQUEST", "RESULT", "Head", "main", "prepare", "refusal", "sweep"]

REQUEST = struct.Struct("=QI?")
"""Number, uid, whether the caller vouches that the uid is the target's alone."""
RESULT = struct.Struct("=QIiI")
"""Number, uid, processes seen at last (-1: refused or failed), rounds."""
_DEADLINE_S = 2.0
_DYING_S = 0.01
"""What was killed needs the processor to die; a scan meanwhile would only take it away."""
_REFILL_S = 0.05
"""Likewise for forking new workers, as long as one is free."""


def refusal(uid: int, *, exclusive: bool) -> str:
    """Say why `uid` must not be swept; empty if it may be."""
    if uid == 0:
        return "uid 0 is the machine's own"
    if uid in {*users.SWEEPERS, users.CANARY, users.FINDER, *OURS}:
        return "this id is one of ours"
    if not users.is_allotted(uid) and not exclusive:
        return "others may run as this user"
    return ""


def prepare(reserved: int) -> None:
    """In a worker that waits: become the reserved id, with nothing left but the way to another."""
    os.setgroups([])
    os.setresgid(reserved, reserved, reserved)
    kernel.keep_capabilities()
    os.setresuid(reserved, reserved, reserved)
    kernel.keep_only_setuid()


def sweep(uid: int, reserved: int) -> tuple[int, int]:
    """In a worker: kill until a scan finds nothing; return what it saw last, and its rounds."""
    end = time.monotonic() + _DEADLINE_S
    rounds = 0
    while True:
        # The agent's id only for this one call: others of that id could lower our priority.
        os.setresuid(reserved, uid, reserved)
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nobody of that id is there
        os.setresuid(reserved, reserved, reserved)
        rounds += 1
        time.sleep(_DYING_S)
        left = users.living_ids(uid)
        if not left or time.monotonic() > end:
            return len(left), rounds


@dataclass(slots=True)
class _Worker:
    """One that was forked ahead."""

    pid: int
    reserved: int
    order: int
    """Pipe on which it is told a request."""
    result: int
    """Pipe on which it tells its result."""
    request: bytes = b""
    """What it works on; empty: it waits."""


def _be_worker(reserved: int, order: int, result: int) -> NoReturn:
    """Wait for one request, do it, tell the result, end."""
    code = 1
    try:
        prepare(reserved)
        users.living_ids(reserved)  # what it touches is its own from here on: no page to copy later
        request = os.read(order, REQUEST.size)
        if len(request) == REQUEST.size:
            number, uid, _exclusive = REQUEST.unpack(request)
            try:
                left, rounds = sweep(uid, reserved)
            except OSError:
                left, rounds = -1, 0
            os.write(result, RESULT.pack(number, uid, left, rounds))
            code = 0
    finally:
        os._exit(code)


class Head:
    """Hands requests to workers."""

    def __init__(self, link: socket.socket) -> None:
        """Serve `link` (SOCK_SEQPACKET), with one worker for each reserved id."""
        self._link = link
        self._workers: dict[int, _Worker] = {}
        self._queue: deque[bytes] = deque()
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        link.setblocking(False)

    def run(self) -> None:
        """Serve until the warden's end of the link is closed."""
        self._fill()
        while True:
            missing = len(self._workers) < len(users.SWEEPERS)
            ready = self._poll.poll(_REFILL_S * 1000 if missing else None)
            for fd, _events in ready:
                if fd != self._link.fileno():
                    self._finished(fd)
                elif not self._take():
                    return
            self._hand_out()
            if not ready or self._queue:
                self._fill()
                self._hand_out()

    def _fill(self) -> None:
        """Fork the workers that are missing; without a process left the others serve meanwhile."""
        busy = {worker.reserved for worker in self._workers.values()}
        for reserved in users.SWEEPERS:
            if reserved in busy:
                continue
            try:
                worker = self._fork(reserved)
            except OSError:
                return  # tried again in a moment
            self._workers[worker.result] = worker
            self._poll.register(worker.result, select.POLLIN)

    def _fork(self, reserved: int) -> _Worker:
        order_out, order_in = os.pipe2(os.O_CLOEXEC)
        result_out, result_in = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            for fd in (order_out, order_in, result_out, result_in):
                os.close(fd)
            raise
        if pid == 0:
            keep = {order_out, result_in}
            for fd in (order_in, result_out, self._link.fileno(), *self._pipes()):
                if fd not in keep:
                    os.close(fd)  # or a worker would hold another's order pipe open for ever
            _be_worker(reserved, order_out, result_in)
        os.close(order_out)
        os.close(result_in)
        return _Worker(pid, reserved, order_in, result_out)

    def _pipes(self) -> list[int]:
        return [fd for each in self._workers.values() for fd in (each.order, each.result)]

    def _take(self) -> bool:
        """Take requests in; False at the end of the link."""
        while True:
            try:
                request = self._link.recv(64)
            except BlockingIOError:
                return True
            if not request:
                return False
            if len(request) != REQUEST.size:
                continue
            number, uid, exclusive = REQUEST.unpack(request)
            if refusal(uid, exclusive=exclusive):
                self._tell(RESULT.pack(number, uid, -1, 0))
            else:
                self._queue.append(request)

    def _hand_out(self) -> None:
        for worker in self._workers.values():
            if not self._queue:
                return
            if not worker.request:
                worker.request = self._queue.popleft()
                os.write(worker.order, worker.request)

    def _finished(self, fd: int) -> None:
        """A worker has told its result, or died: reap it, tell the warden."""
        worker = self._workers.pop(fd)
        self._poll.unregister(fd)
        told = os.read(fd, RESULT.size)
        os.close(worker.order)
        os.close(fd)
        os.waitpid(worker.pid, 0)
        if len(told) == RESULT.size:
            self._tell(told)
        elif worker.request:
            self._queue.appendleft(worker.request)  # it died at work: another takes it over

    def _tell(self, result: bytes) -> None:
        try:
            self._link.send(result)
        except (BlockingIOError, BrokenPipeError, ConnectionError):
            pass  # nobody reads: standstill is seen by the observer, not told by us


def main(argv: list[str] | None = None) -> int:
    """Serve the warden on `--link`, as root, until it goes away."""
    parser = argparse.ArgumentParser(prog="offswitch.warden.sweeper")
    parser.add_argument("--link", type=int, required=True)
    args = parser.parse_args(argv)
    if os.geteuid() != 0:
        sys.stderr.write("the sweep needs root\n")
        return 1
    Head(socket.socket(fileno=args.link)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

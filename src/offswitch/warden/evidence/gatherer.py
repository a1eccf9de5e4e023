"""The gatherer: a process that keeps evidence of what is stopped, and holds up nobody (ACT-11).

    → {"op": "know", "cell": facts, "target"}     with the target's log, to read, if it has one
    → {"op": "forget", "name"}
    → {"op": "gather", "cell": facts, "target", "order", "frozen", "budget_ms", "memory"}
    ← {"gathered": order, "cell", "folder", "kept": {file: SHA-256}, "age_ms", "problem", …}

Two threads. One looks, and may be made to wait for ever by what it looks at: at every target
now and then (a few milliseconds a second for all of them, so the rest is told with its age),
and at a stop at what is still there; of a frozen target it copies the memory, if that was
asked for. The other one answers: it waits for the first a moment, writes what there is into
`OFFSWITCH_HOME/stopped/ORDER/CELL/` and syncs it. If the first does not come back, or the
disk hangs, the warden ends this process after a while, and starts another one. A kill has
been given by then, or comes from the warden's own timer: nothing waits for us.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from typing import Any

from offswitch.actuators.sock_diag import Diag
from offswitch.control import frames
from offswitch.errors import Usage
from offswitch.warden.evidence.confine import become_gatherer
from offswitch.warden.evidence.looks import Look, look, pids_of
from offswitch.warden.evidence.memory import copy_memory

__all__ = ["Gatherer", "main"]

_SHARE = 0.003
"""The part of a processor that looking beforehand may take, for all targets together."""
_SLICE_NS = 3_000_000
_LEAST_PAUSE_S = 1.0
_YOUNG_S = 0.2
_FRESH_S = 0.25
"""How long what is still there may take to look at."""
_STUCK_S = 5.0
_TAIL = 64 << 10
_TOLD_TAIL = 2000
_TOLD_LINES = 64
_TOLD_LINE = 300
_MOST = 1 << 30
"""Bytes that all evidence may take; what is there stays until a person removes it."""
_LEAST_FREE = 64 << 20
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class _Job:
    """One stop's look, for the thread that looks."""

    __slots__ = ("copied", "done", "facts", "fresh", "made", "memory", "trouble", "until_ns")

    def __init__(self, message: dict[str, Any], folder: int, memory: int) -> None:
        self.facts = message["cell"]
        self.memory = memory
        self.until_ns = time.monotonic_ns() + int(message["budget_ms"]) * 1_000_000
        self.fresh: Look | None = None
        self.copied = 0
        self.trouble = ""
        self.done = threading.Event()
        self.made = lambda name: os.open(name, _NEW, 0o600, dir_fd=folder)


class Looker(threading.Thread):
    """Looks at targets, at most `_SHARE` of the time, and at once where a stop asks."""

    def __init__(self, diag: Diag | None) -> None:
        """`diag` lists sockets."""
        super().__init__(name="looker", daemon=True)
        self.seen: dict[str, Look] = {}
        self.busy_since: float | None = None
        self._diag = diag
        self._cells: dict[str, dict[str, Any]] = {}
        self._turn: deque[str] = deque()
        self._jobs: deque[_Job] = deque()
        self._born = False
        self._news = threading.Condition()
        """Protects cells, turn, jobs and births; never held while something is looked at."""

    def know(self, facts: dict[str, Any]) -> None:
        """Look at this one from now on, soon for the first time."""
        with self._news:
            self._cells[str(facts["name"])] = facts
            self._turn.appendleft(str(facts["name"]))
            self._born = True
            self._news.notify()

    def forget(self, name: str) -> None:
        """Look at it no more."""
        with self._news:
            self._cells.pop(name, None)
            self.seen.pop(name, None)

    def take(self, job: _Job) -> None:
        """Do this first."""
        with self._news:
            self._jobs.append(job)
            self._news.notify()

    def run(self) -> None:
        """Look, for ever."""
        pause = _LEAST_PAUSE_S
        while True:
            with self._news:
                self._news.wait_for(lambda: self._jobs or self._born, pause)
                if not self._jobs and self._born:  # let it become what it is to be
                    self._news.wait_for(lambda: self._jobs, _YOUNG_S)
                    self._born = False
                job = self._jobs.popleft() if self._jobs else None
            self.busy_since = began = time.monotonic()
            if job is not None:
                self._at_a_stop(job)
            else:
                self._a_slice()
                pause = max(_LEAST_PAUSE_S, (time.monotonic() - began) / _SHARE)
            self.busy_since = None

    def _at_a_stop(self, job: _Job) -> None:
        try:
            job.fresh = look(job.facts, self._diag, self.seen.get(str(job.facts["name"])))
            if job.memory:
                pids = pids_of(job.facts)
                job.copied = copy_memory(pids, job.made, job.memory, job.until_ns)
        except (OSError, ValueError, KeyError) as error:
            job.trouble = f"{type(error).__name__}: {error}"[:_TOLD_LINE]
        job.done.set()

    def _a_slice(self) -> None:
        end = time.monotonic_ns() + _SLICE_NS
        for _ in range(len(self._turn)):
            with self._news:
                name = self._turn.popleft()
                facts = self._cells.get(name)
                if facts is None:
                    continue
                self._turn.append(name)
                waits = bool(self._jobs)
            if waits or time.monotonic_ns() > end:
                return
            try:
                self.seen[name] = look(facts, self._diag, self.seen.get(name))
            except (OSError, ValueError, KeyError):
                continue


class Gatherer:
    """Serves one link."""

    def __init__(self, link: socket.socket, folder: int, diag: Diag | None, lacks: str) -> None:
        """Write below the open folder `folder`; `lacks` says what cannot be read here."""
        self._link = link
        self._folder = folder
        self._lacks = lacks
        self._decoder = frames.Decoder()
        self._fds: deque[int] = deque()
        self._logs: dict[str, int] = {}
        self._used = _used(folder)
        self.looker = Looker(diag)

    def run(self) -> None:
        """Serve until the warden's end of the link is closed."""
        self.looker.start()
        while True:
            if not select.select([self._link], [], [], _STUCK_S)[0]:
                self._give_up_if_stuck()
                continue
            data, fds, _flags, _address = socket.recv_fds(
                self._link, 1 << 16, frames.MAX_FDS, socket.MSG_CMSG_CLOEXEC
            )
            self._fds.extend(fds)
            if not data:
                return
            for message in self._decoder.feed(data):
                try:
                    self._obey(message)
                except (KeyError, TypeError, ValueError) as error:
                    sys.stderr.write(f"evidence: a message that says nothing: {error!r}\n")

    def _give_up_if_stuck(self) -> None:
        since = self.looker.busy_since
        if since is not None and time.monotonic() - since > _STUCK_S:
            sys.stderr.write("evidence: a target holds up whoever looks at it\n")
            os._exit(1)

    def _obey(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "know":
                name = str(message["cell"]["name"])
                if message.get("log") and self._fds:
                    self._keep_log(name, self._fds.popleft())
                self.looker.know(message["cell"])
            case "forget":
                self.looker.forget(str(message["name"]))
                self._keep_log(str(message["name"]), -1)
            case "gather":
                self._gather(message)
            case other:
                raise ValueError(other)

    def _keep_log(self, name: str, fd: int) -> None:
        old = self._logs.pop(name, -1)
        if old >= 0:
            os.close(old)
        if fd >= 0:
            self._logs[name] = fd

    # --- at a stop ----------------------------------------------------------------

    def _gather(self, message: dict[str, Any]) -> None:
        cell, order = str(message["cell"]["name"]), str(message["order"])
        known = self.looker.seen.get(cell)
        answer: dict[str, Any] = {"gathered": order, "cell": cell, "problem": self._lacks}
        folder = -1
        job = None
        try:
            folder = self._make_folder(order, cell)
        except OSError as error:
            answer["problem"] = f"no folder for it: {error.strerror}"
        memory = min(int(message.get("memory") or 0), self._room()) if folder >= 0 else 0
        if int(message.get("memory") or 0) and not memory:
            answer["problem"] = "there is no room for a copy of its memory"
        job = _Job(message, folder, memory)
        self.looker.take(job)
        patience_s = int(message["budget_ms"]) / 1000 if memory else 0.0
        if not job.done.wait(patience_s + _FRESH_S):
            answer["problem"] = "it did not let itself be looked at in time"
        elif job.trouble:
            answer["problem"] = job.trouble
        tail = self._tail(cell)
        age_ms = None if known is None else (time.monotonic_ns() - known["at_ns"]) // 1_000_000
        answer |= {"age_ms": age_ms, "copied": job.copied, "tail": tail[-_TOLD_TAIL:]}
        stands = bool(message.get("frozen")) and bool(job.fresh and job.fresh["processes"])
        answer |= _told(job.fresh if stands else known or job.fresh)
        answer["seen"] = "at the stop" if stands or known is None else "before"
        if folder >= 0:
            kept = {"before": known or {}, "at_the_stop": job.fresh or {}, "age_ms": age_ms or 0}
            try:
                answer["kept"] = self._keep(folder, kept, tail, whole=job.done.is_set())
                answer["folder"] = f"stopped/{order}/{cell}"
            except OSError as error:
                answer["problem"] = f"not all of it was kept: {error.strerror}"
            os.close(folder)
        frames.send(self._link, answer)

    def _make_folder(self, order: str, cell: str) -> int:
        for name in (order, f"{order}/{cell}"):
            try:
                os.mkdir(name, 0o700, dir_fd=self._folder)
            except FileExistsError:
                pass
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(f"{order}/{cell}", flags, dir_fd=self._folder)

    def _room(self) -> int:
        disk = os.fstatvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize - _LEAST_FREE
        return max(0, min(_MOST - self._used, free))

    def _tail(self, cell: str) -> str:
        fd = self._logs.get(cell, -1)
        if fd < 0:
            return ""
        try:
            size = os.fstat(fd).st_size
            return os.pread(fd, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
        except OSError:
            return ""

    def _keep(
        self, folder: int, looks: dict[str, Any], tail: str, *, whole: bool
    ) -> dict[str, str]:
        """Write what was seen, sync all, and give the digest of each file."""
        if self._used < _MOST:
            for name, text in (("processes.json", json.dumps(looks, indent=1)), ("log.tail", tail)):
                fd = os.open(name, _NEW, 0o600, dir_fd=folder)
                with os.fdopen(fd, "wb") as file:
                    file.write(text.encode("utf-8", "replace"))
        kept = {}
        for name in sorted(os.listdir(folder)) if whole else ("log.tail", "processes.json"):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(fd, "rb") as file:
                kept[name] = hashlib.file_digest(file, "sha256").hexdigest()
                self._used += os.fstat(file.fileno()).st_blocks * 512
                os.fsync(file.fileno())
        os.fsync(folder)
        return kept


def _told(shown: Look | None) -> dict[str, Any]:
    """Say in short lines what was seen, for the ledger."""
    processes = (shown or {}).get("processes", [])
    lines = [
        f"{each['pid']} of {each['parent']}, user {each['uid']}, {each['state']}, "
        f"since tick {each['start']}: {' '.join(each['argv']) or each['name']}"[:_TOLD_LINE]
        for each in processes[:_TOLD_LINES]
    ]
    files = [f"{each['pid']}: {file}"[:_TOLD_LINE] for each in processes for file in each["files"]]
    return {
        "processes": lines,
        "files": files[:_TOLD_LINES],
        "sockets": list((shown or {}).get("sockets", []))[:_TOLD_LINES],
        "count": len(processes) + int((shown or {}).get("more", 0)),
    }


def _used(folder: int) -> int:
    used = 0
    for _path, _folders, names, at in os.fwalk(".", dir_fd=folder):
        for name in names:
            used += os.stat(name, dir_fd=at, follow_symlinks=False).st_blocks * 512
    return used


def main(argv: list[str] | None = None) -> int:
    """Serve the warden on `--link` until it goes away; write below the folder `--folder`."""
    parser = argparse.ArgumentParser(prog="offswitch.warden.evidence")
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--folder", required=True)
    args = parser.parse_args(argv)
    os.umask(0o077)
    folder = os.open(args.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        diag: Diag | None = Diag()
    except OSError:
        diag = None
    link = socket.socket(fileno=args.link)
    lacks = become_gatherer()
    try:
        Gatherer(link, folder, diag, lacks).run()
    except (ConnectionError, Usage):
        pass  # the warden is gone, or talks garbage: a new one starts a new gatherer
    return 0

"""A cell that is a set of namespaces: for a warden without root and without a cgroup (SR-25).

    maker (ends at once)    makes a user, a mount and a PID namespace, and in them
    init                    the first process of the PID namespace, a few lines of ours: covers
                            our folders, mounts a /proc of its own, then waits
    outer                   the child that was forked for a target joins the namespaces, forks
                            inside, and waits: it ends as the target's first process ends
    inner                   becomes the target

When an init dies the kernel kills all that lives in its namespace, and lets the init itself go
last: its end is the proof that the cell is empty. Until then every process is also killed by
itself, since an init on a busy machine may wait for its turn to die. What lives inside cannot
see, signal or trace what is outside; init keeps its namespace's capabilities, which the target
loses, so the target can neither signal nor trace that.

An unprivileged user maps one id, its own, so the target runs as the same user as before.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence
from typing import NoReturn

from offswitch.warden.cells import kernel, mounts

__all__ = ["join", "make", "why_no_namespace"]

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
_ALL = _CLONE_NEWNS | _CLONE_NEWUSER | _CLONE_NEWPID
_SYS_SETNS = {"x86_64": 308, "aarch64": 268}
_MAKING_S, _READY_S = 2.0, 10.0
_LOOK_S = 0.1
_READY = b"ready"
_CGROUPS = "/sys/fs/cgroup"


def why_no_namespace() -> str:
    """Say why this user can make no cell of this kind; nothing where one was made and ended."""
    try:
        init, ready, alive = make((), ())
    except OSError as error:
        return f"no user namespace can be made here ({error.strerror})"
    os.close(alive)
    try:
        said = _read(ready)
        return "" if said == _READY else f"no namespace for a cell: {said.decode(errors='replace')}"
    finally:
        os.close(ready)
        signal.pidfd_send_signal(init, signal.SIGKILL)
        os.close(init)


def make(covered: Sequence[str], read_only: Sequence[str]) -> tuple[int, int, int]:
    """Make the namespaces; give their init's pidfd, and two pipes: to hear it, to keep it.

    `covered` are folders that are not to be seen inside, `read_only` what must not be written.
    Raises OSError where the kernel refuses. Init ends when nothing lives in it and the second
    pipe has no writer any more. Waits for two forks, and for nothing else.
    """
    ready_out, ready_in = os.pipe2(os.O_CLOEXEC)
    told_out, told_in = os.pipe2(os.O_CLOEXEC)
    alive_out, alive_in = os.pipe2(os.O_CLOEXEC)
    try:
        maker = os.fork()
        if maker == 0:
            _make(covered, read_only, (ready_in, told_in, alive_out))
        os.close(told_in)
        told_in = -1
        said = _read(told_out, _MAKING_S)
        os.kill(maker, signal.SIGKILL)  # it has ended, unless it hung
        os.waitpid(maker, 0)
        return os.pidfd_open(_told_pid(said)), ready_out, alive_in
    except BaseException:
        os.close(ready_out)
        os.close(alive_in)
        raise
    finally:
        for fd in (ready_in, told_out, alive_out, told_in):
            if fd >= 0:
                os.close(fd)


def _told_pid(said: bytes) -> int:
    if said.isdigit():
        return int(said)
    number = int(said[1:] or b"110")
    raise OSError(number, os.strerror(number))


def _read(fd: int, seconds: float = _READY_S) -> bytes:
    """Read once, or nothing when nothing comes in time."""
    return os.read(fd, 4096) if select.select([fd], [], [], seconds)[0] else b""


def _make(covered: Sequence[str], read_only: Sequence[str], fds: tuple[int, int, int]) -> NoReturn:
    """Be the maker: in the new namespaces, bear their init, tell its pid and end."""
    told = fds[1]
    try:
        signal.set_wakeup_fd(-1)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else the mappings would not be ours to write
        uid, gid = os.geteuid(), os.getegid()
        if kernel.libc().unshare(_ALL) < 0:
            raise kernel.failure("unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            _write(f"/proc/self/{name}", text)
        pid = os.fork()
        if pid == 0:
            _be_init(covered, read_only, fds)
        os.write(told, b"%d" % pid)
    except OSError as error:
        os.write(told, b"-%d" % (error.errno or 1))
    finally:
        os._exit(0)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _be_init(
    covered: Sequence[str], read_only: Sequence[str], fds: tuple[int, int, int]
) -> NoReturn:
    """Be the first process of a cell: never killed from inside, and the last to go."""
    try:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue  # two of the C library's own
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the orphans that come to us are reaped
        ready, alive = _keep_only(fds[0], fds[2])
        try:
            _furnish(covered, read_only)
        except OSError as error:
            os.write(ready, str(error).encode())
            os._exit(1)
        os.write(ready, _READY)
        os.close(ready)
        os.read(alive, 1)  # until nobody holds the other end: the first process has ended
        while _anything_lives():
            time.sleep(_LOOK_S)
    finally:
        os._exit(0)


def _keep_only(*fds: int) -> tuple[int, ...]:
    """Close every descriptor but these, which move behind the three that everyone has."""
    null = os.open(os.devnull, os.O_RDWR)
    highest = max(*fds, null, 2 + len(fds)) + 1
    for number, fd in enumerate(fds):
        os.dup2(fd, highest + number)
    for number in range(3):
        os.dup2(null, number)
    kept = tuple(range(3, 3 + len(fds)))
    for number, fd in enumerate(kept):
        os.dup2(highest + number, fd)
    os.closerange(3 + len(fds), 1 << 20)
    return kept


def _furnish(covered: Sequence[str], read_only: Sequence[str]) -> None:
    """Take from its view of the files what a target must not reach."""
    os.chdir("/")
    for path in filter(os.path.exists, dict.fromkeys(read_only)):
        mounts.bind_read_only(path, path)
    if os.path.isdir(_CGROUPS):
        mounts.bind_read_only(_CGROUPS, _CGROUPS)
    for path in filter(os.path.isdir, dict.fromkeys(covered)):
        mounts.cover(path)
        mounts.seal(path)
    try:
        mounts.process_files("/proc")
    except OSError:
        return  # a container that hides parts of /proc allows no whole one: the old one stays


def _anything_lives() -> bool:
    """Whether there is any other process in this PID namespace."""
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def join(init: int, ready: int, alive: int) -> None:
    """Go into the namespaces; returns in a new process inside, and never in the one that called.

    That one stays outside, holds `alive`, and ends as the new one ends. OSError: not joined.
    """
    said = _read(ready)
    if said != _READY:
        why = said.decode(errors="replace") or "its init is not ready"
        raise OSError(11, f"the namespaces of the cell: {why}")
    number = _SYS_SETNS.get(os.uname().machine)
    if number is None:
        raise OSError(38, "setns is not known for this machine")
    kernel.syscall("setns", number, init, _ALL)
    pid = os.fork()
    if pid:
        _end_as(pid, alive)
    for fd in (init, ready, alive):
        os.close(fd)


def _end_as(pid: int, alive: int) -> NoReturn:
    """Wait for `pid`, and end as it did."""
    try:
        _keep_only(alive)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no core of ours, and nobody looks in
        _pid, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            signal.signal(-code, signal.SIG_DFL) if -code not in {9, 19} else None
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.kill(os.getpid(), -code)
        os._exit(code if code >= 0 else 128 - code)
    finally:
        os._exit(125)

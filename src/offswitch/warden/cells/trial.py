"""Whether cells hold here, by trying one: a cgroup is made, a process is killed in it.

A tree that can be written to is not enough: a kernel may be too old, a container may show
files of a tree that does nothing. The process is a fork of ours that waits for its end.
"""

from __future__ import annotations

import os
import select
import signal
import time

__all__ = ["why_no_cells"]

_PATIENCE_S = 2.0


def why_no_cells(ground: str) -> str:
    """Say why no cell holds below the folder `ground`; nothing where one did. Leaves no trace."""
    trial = f"{ground}/probe-{os.getpid()}"
    ours = not os.path.isdir(ground)
    try:
        os.makedirs(trial)
    except OSError as error:
        return f"{trial} cannot be made ({error.strerror}): the cgroup tree is read-only here"
    try:
        for file, version in (("kill", "5.14"), ("freeze", "5.2")):
            if not os.access(f"{trial}/cgroup.{file}", os.W_OK):
                return f"the kernel has no cgroup.{file}: Linux {version} or newer is needed"
        return _why_it_lives(trial)
    finally:
        _remove(trial)
        if ours:
            _remove(ground)


def _why_it_lives(trial: str) -> str:
    """Kill a process of ours by its cgroup; say what went wrong."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            while True:
                signal.pause()
        finally:
            os._exit(1)
    pidfd = os.pidfd_open(pid)
    try:
        _write(f"{trial}/cgroup.procs", str(pid))
        _write(f"{trial}/cgroup.kill", "1")
        if not select.select([pidfd], [], [], _PATIENCE_S)[0]:
            return f"a process outlived the kill of its cgroup {trial}"
        return ""
    except OSError as error:
        return f"no process can be killed by {trial} ({error.strerror})"
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        os.waitpid(pid, 0)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _remove(folder: str) -> None:
    """Remove a cgroup; one whose last process has just died is busy for a moment."""
    for _try in range(50):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            if os.path.basename(folder).startswith("probe-"):
                time.sleep(0.002)
                continue
            return  # somebody has made a cell in it meanwhile
        else:
            return

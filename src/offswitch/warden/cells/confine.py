"""What the child sheds before it becomes the target, in the order that the kernel asks for.

Session and terminal first (SR-14): a terminal becomes the target's own only if it is
nobody's; the caller's is refused by the kernel, and by us. Then what a child inherits
silently: ignored signals, the signal mask, scheduling, the memory killer's mercy, the
keyring. Then rights: bounding set, groups, ids, capabilities, and no_new_privs, after
which no exec gains anything; last what lets the kernel act later. uid 0 keeps its
capabilities: that is said as *escapable*.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import stat
import termios
from typing import TYPE_CHECKING

from offswitch.errors import Refused
from offswitch.warden.cells import kernel, seccomp

if TYPE_CHECKING:
    from offswitch.warden.cells.birth import Spec

__all__ = ["confine", "follow", "fresh_session", "settle"]

_USUAL_UMASK, _USUAL_FILES = 0o022, 1024
_HIGHEST = 1 << 62
_LIMITS = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CORE,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_MEMLOCK,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_STACK,
)
"""Those that a shell's `ulimit` is used for; the number of processes is the cell's affair."""


def fresh_session(spec: Spec) -> None:
    """Begin a session; take the terminal for it if there is one, refuse another's."""
    os.setsid()
    if any(stat.S_ISDIR(os.fstat(fd).st_mode) for fd in range(3)):
        raise Refused(
            "a folder cannot be a target's input or output", "redirect it to a file or a pipe"
        )  # from it one could climb out of the workspace
    if not spec.tty:
        if spec.uid == 0 and any(os.isatty(fd) for fd in range(3)):
            raise Refused(
                "uid 0 in a cell could type into this terminal (TIOCSTI)",
                "let `offswitch run` give it a terminal of its own: run it from one",
            )
        return
    try:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    except OSError:
        raise Refused(
            "this terminal belongs to another session",
            "a target gets a terminal of its own: start it by `offswitch run`",
        ) from None
    info = os.fstat(0)
    if os.geteuid() == 0 and stat.S_ISCHR(info.st_mode) and info.st_uid == spec.peer_uid:
        os.fchown(0, spec.uid, -1)


def settle() -> None:
    """Give back whatever a child inherits from the warden without asking."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # the C library keeps two of the real-time signals for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR)
    except OSError:
        pass  # no /proc here: nothing can be said about the memory killer
    else:
        # Written even where it stays: a value that root wrote is the least that the target may set.
        os.pwrite(fd, b"%d" % max(0, int(os.read(fd, 16))), 0)
        os.close(fd)
    kernel.new_session_keyring()


def follow(caller: int) -> None:
    """Take the limits, the umask and the niceness of who asked, as a child of theirs would.

    The warden's own are no measure: it has raised what it could. Where nobody asks any more
    (`start`), or who did is gone, the limit on open files is the usual one.
    """
    os.umask(_USUAL_UMASK)
    for kind in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        _limit(kind, (0, 0))  # ours, by our unit perhaps: with it a target could outrank us
    _limit(resource.RLIMIT_NOFILE, (_USUAL_FILES, resource.RLIM_INFINITY))
    if caller <= 0:
        return
    try:
        for kind in _LIMITS:
            _limit(kind, resource.prlimit(caller, kind))
        os.umask(_umask_of(caller))
        os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, caller)))
    except OSError:
        return  # it has gone meanwhile


def _limit(kind: int, limits: tuple[int, int]) -> None:
    """Set a limit, as far as our own hard one lets us."""
    soft, hard = (_HIGHEST if value == resource.RLIM_INFINITY else value for value in limits)
    ours = resource.getrlimit(kind)[1]
    hard = min(hard, _HIGHEST if ours == resource.RLIM_INFINITY else ours)
    wanted = [_back(min(soft, hard)), _back(hard)]
    try:
        resource.setrlimit(kind, (wanted[0], wanted[1]))
    except (OSError, ValueError):
        return  # what cannot be set is left as it is


def _back(value: int) -> int:
    return resource.RLIM_INFINITY if value >= _HIGHEST else value


def _umask_of(pid: int) -> int:
    with open(f"/proc/{pid}/status", "rb") as file:
        words = next((line.split() for line in file if line.startswith(b"Umask:")), [b"", b"022"])
    return int(words[1], 8)


def confine(spec: Spec) -> None:
    """Become the target's user with nothing left over; for uid 0 that is only no_new_privs."""
    if os.geteuid() == 0:
        if spec.uid != 0:
            kernel.bound_capabilities()
        os.setgroups(list(spec.groups))
        os.setresgid(spec.gid, spec.gid, spec.gid)
        os.setresuid(spec.uid, spec.uid, spec.uid)
    elif spec.uid != os.geteuid():
        raise Refused(
            f"this warden cannot run anything as uid {spec.uid}", "start the warden as root"
        )
    if spec.uid != 0:
        kernel.drop_all_capabilities()
    kernel.forbid_new_privileges()
    seccomp.forbid_late_acts()

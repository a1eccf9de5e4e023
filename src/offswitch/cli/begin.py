"""Bringing up a warden where there is none, so that `run`, `start` and `reset` need nothing.

The new warden gets a session of its own, no descriptor and hardly any environment of the
caller's, and is nobody's child: it outlives whoever needed it. Two callers at once may
start two; the lock of the run folder lets one of them serve, and both callers find that
one. Why a warden did not come up is in `$OFFSWITCH_HOME/warden.log`, and its last line is
in the error. Standard library only, since `reset` takes the fast path.

Without root, where systemd keeps a session for the user, it is asked for a part of the cgroup
tree (SR-25): the warden is started in a scope of its own. Where that does not come up in time
it is started plainly, on whatever rung there is.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from offswitch.control.place import Place
from offswitch.control.way_in import way_in
from offswitch.errors import Refused, Storage, Unreachable
from offswitch.printable import printable

__all__ = [
    "daemon_environment",
    "ensure_warden",
    "open_log",
    "spawn_daemon",
    "verifying_key",
    "warden_answers",
]

_PATIENCE_S = 15.0
_SCOPE_S = 5.0
_SYSTEMD_RUN = "/usr/bin/systemd-run"
_KEY_S = 2.0
_LOG_LIMIT = 1 << 20
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "OFFSWITCH_CONFIG", "XDG_RUNTIME_DIR")


def warden_answers(place: Place) -> bool:
    """Tell whether somebody accepts connections for `place`; `Refused` if it is not for us."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(place.warden_socket)
        except PermissionError:
            raise Refused(
                f"you may not speak to the warden of {place.run}", way_in(place.control)
            ) from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError:
            return True  # it is there, and so busy that nobody gets in: another is not wanted
    return True


def ensure_warden(place: Place, *, private: bool = True, patience_s: float = _PATIENCE_S) -> bool:
    """See that a warden serves `place`; return whether one had to be started.

    A private one ends by itself when nothing is left to do. Raises `Unreachable`, with what
    the warden said last, when none comes up within `patience_s`.
    """
    if warden_answers(place):
        return False
    keyless = verifying_key(place) is None
    log = open_log(place)
    try:
        begins = os.lseek(log, 0, os.SEEK_END)
        arguments = ["-m", "offswitch.warden", "--home", place.home, "--run", place.run]
        arguments += ["--private"] if private else []
        scope = _scope(place)
        if not scope or not _came_up(place, arguments, log, begins, scope):
            pidfd = spawn_daemon(arguments, log)
            try:
                _await(place, pidfd, log, begins, patience_s)
            finally:
                if pidfd >= 0:
                    os.close(pidfd)
    finally:
        os.close(log)
    if keyless:
        _tell_key(place)
    return True


def _scope(place: Place) -> list[str]:
    """Give the words that start a program in a part of the cgroup tree; none where it cannot be.

    A socket of the user's own systemd has to be there; root needs to ask nobody.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    if os.geteuid() == 0 or not os.access(f"{runtime}/systemd/private", os.W_OK):
        return []
    if not os.access(_SYSTEMD_RUN, os.X_OK):
        return []
    unit = f"--unit={place.cgroup}-{os.getpid()}-{time.monotonic_ns()}"
    about = f"--description=Offswitch: the warden of {place.run}"
    options = ["--user", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]
    return [_SYSTEMD_RUN, *options, unit, about, "--"]


def _came_up(place: Place, arguments: list[str], log: int, begins: int, scope: list[str]) -> bool:
    """Start the warden in a scope; False, with nothing of it left, where it does not serve."""
    pidfd = spawn_daemon(arguments, log, scope=scope)
    try:
        _await(place, pidfd, log, begins, _SCOPE_S)
    except Unreachable:
        if pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    return True


def verifying_key(place: Place) -> str | None:
    """Give the key by which the ledger of `place` is verified; None where it is not made yet."""
    try:
        with open(f"{place.home}/pin/ledger.vkey", encoding="ascii", errors="replace") as file:
            return file.read(1024).strip() or None
    except OSError:
        return None


def _tell_key(place: Place) -> None:
    """Print a new ledger's key, once: kept elsewhere, it shows that nobody made another ledger."""
    end = time.monotonic() + _KEY_S
    while (key := verifying_key(place)) is None and time.monotonic() < end:
        time.sleep(0.01)
    if key is not None and sys.stderr is not None:
        told = f"a new ledger; keep its verifying key elsewhere: {printable(key)}"
        sys.stderr.write(f"offswitch: {told}\n")
        sys.stderr.flush()


def open_log(place: Place) -> int:
    """Open the log of our own processes, emptied when it has grown beyond a megabyte."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.makedirs(place.home, mode=0o711, exist_ok=True)
        fd = os.open(f"{place.home}/warden.log", flags, 0o600)
    except OSError as error:
        raise Storage(
            f"{place.home}: {error.strerror}", "see that OFFSWITCH_HOME can be written"
        ) from None
    if os.fstat(fd).st_size > _LOG_LIMIT:
        os.ftruncate(fd, 0)
    return fd


def spawn_daemon(
    arguments: list[str], log: int, kept: tuple[int, ...] = (), scope: Sequence[str] = ()
) -> int:
    """Start `python -I ARGUMENTS` as nobody's child; give its pidfd, or -1 if it ended at once.

    `log` becomes its stderr; of our other descriptors it gets those in `kept`, same numbers.
    `scope` are words before it: a program that becomes it.
    """
    out, into = os.pipe2(os.O_CLOEXEC)
    first = os.fork()
    if first == 0:
        try:
            os.setsid()
            second = os.fork()
            if second:
                os.write(into, b"%d" % second)
                os._exit(0)
            _become([*scope, sys.executable, "-I", *arguments], log, kept)
        finally:
            os._exit(127)
    os.close(into)
    os.waitpid(first, 0)
    pid = int(os.read(out, 32) or b"0")
    os.close(out)
    try:
        return os.pidfd_open(pid) if pid > 1 else -1
    except ProcessLookupError:
        return -1


def _become(command: list[str], log: int, kept: tuple[int, ...]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for target, source in ((0, null), (1, null), (2, log)):
        os.dup2(source, target)
    begin = 3
    for fd in (*sorted(kept), 1 << 20):
        os.closerange(begin, fd)
        begin = fd + 1
    os.chdir("/")
    os.execve(command[0], command, daemon_environment())  # noqa: S606 - a shell is not wanted


def daemon_environment() -> dict[str, str]:
    """Give what our own processes get of the caller's environment: hardly anything (SR-1)."""
    return {key: os.environ[key] for key in _KEPT if key in os.environ}


def _await(place: Place, pidfd: int, log: int, begins: int, patience_s: float) -> None:
    """Wait until it serves, or until it is certain that nobody will."""
    deadline = time.monotonic() + patience_s
    pause = 0.002
    while time.monotonic() < deadline:
        if warden_answers(place):
            return
        if _ended(pidfd) and not _somebody_holds(place.lock) and not warden_answers(place):
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    said = os.pread(log, 65536, begins).decode("utf-8", "replace").strip().splitlines()
    told = next((line for line in said if line.startswith("offswitch")), said[-1] if said else "")
    raise Unreachable(
        f"no warden came up for {place.run}" + (f": {told}" if told else ""),
        f"see {place.home}/warden.log, and: offswitch doctor",
    )


def _ended(pidfd: int) -> bool:
    if pidfd < 0:
        return True
    watching = select.poll()
    watching.register(pidfd, select.POLLIN)
    return bool(watching.poll(0))


def _somebody_holds(lock: str) -> bool:
    """Tell whether another warden holds the run folder, and so will serve it.

    The kernel's list is read, since trying the lock would make a warden fail that tries it, too.
    """
    try:
        inode = os.stat(lock).st_ino
        with open("/proc/locks", encoding="ascii") as file:
            return any(f":{inode} " in line and " FLOCK " in line for line in file)
    except OSError:
        return False

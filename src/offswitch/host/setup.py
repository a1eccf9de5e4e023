"""What Offswitch is on a host: the steps that set it up, and those that take it away.

Everything is asked before the first change: who asks, what runs here, whether a Python is
here that only root can write. What a deb brought, dpkg keeps and takes away; the rest of the
steps are the same. State and record stay when the program goes, unless they are named.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from offswitch.control.client import call
from offswitch.control.place import Place
from offswitch.errors import Busy, Latched, OffswitchError, Refused, Unreachable
from offswitch.host import accounts, program, service
from offswitch.host.steps import Step
from offswitch.host.whole import in_place

__all__ = [
    "HOME",
    "RUN",
    "adding",
    "alone",
    "missing",
    "must_be_root",
    "ready_to_add",
    "ready_to_remove",
    "removing",
]

HOME, RUN = "/var/lib/offswitch", "/run/offswitch"
PLACE = Place(HOME, RUN)
_HOME_MODE = 0o711
_LINK = "/usr/local/bin/offswitch"
_COMMAND = f"{program.PREFIX}/bin/offswitch"
_NEW, _OLD = f"{program.PREFIX}.new", f"{program.PREFIX}.old"
_LIST = "/var/lib/dpkg/info/offswitch.list"
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


def packaged() -> bool:
    """Tell whether a Debian package brought the program that is in place."""
    return os.path.exists(_LIST)


def installed() -> bool:
    """Tell whether this very program is the one in place."""
    return sys.prefix == program.PREFIX


@contextmanager
def alone() -> Iterator[None]:
    """Let one installation or removal at a time change this host. Leaves no file behind."""
    fd = os.open("/var/lib", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Busy("another offswitch install is at work here", "wait until it has ended") from None
    else:
        yield
    finally:
        os.close(fd)


def must_be_root(what: str) -> None:
    """Refuse where the caller is not root."""
    if os.geteuid() != 0:
        hint = f"sudo {what}; to see every change first: {what} --dry-run"
        raise Refused("this takes root", hint)


def ready_to_add() -> None:
    """Refuse, before anything is changed, what would not become an installation."""
    if packaged() and not installed():
        hint = "update it with apt, or take it away first: apt-get remove offswitch"
        raise Refused(f"{program.PREFIX} belongs to the Debian package offswitch", hint)
    if not installed():
        program.interpreter()
        if os.path.lexists(_LINK) and not _linked():
            raise Refused(f"{_LINK} is there already and is not ours", f"move it away: {_LINK}")
    pid = service.stranger(PLACE)
    if pid is not None and service.running():
        hint = f"end the `offswitch up` or the targets of that one first; see it: ps -fp {pid}"
        raise Busy(f"a warden that is not the service's serves {RUN} (pid {pid})", hint)


def ready_to_remove(left_behind: Callable[[Place], str]) -> None:
    """Refuse while anything is latched or alive here, or nobody knows.

    `left_behind` tells what a warden that is gone has left.
    """
    again = "offswitch install --remove"
    try:
        status = call(PLACE, {"op": "status", "scope": None}, 3.0)
    except Unreachable:
        left = left_behind(PLACE)
        if left:
            hint = f"offswitch up, then: offswitch reset SCOPE --reason TEXT; then {again}"
            raise Latched(f"{RUN}: {left}", hint) from None
        return
    except OffswitchError as error:
        raise Busy(f"the warden of {RUN} does not say what it holds: {error.message}", "") from None
    if status["latched"]:
        scopes = sorted({str(live["scope"]) for live in status["latched"]})
        hint = f"offswitch reset {scopes[0]} --reason TEXT (starts nothing); then {again}"
        raise Latched(f"latched: {', '.join(scopes)}; removed, it could start again", hint)
    alive = [row["target"] for row in status["targets"] if row["pids"]]
    if alive:
        hint = f"let them end, or offswitch stop {alive[0]} and reset it; then {again}"
        raise Busy(f"under the switch still run: {', '.join(alive)}", hint)
    pid = service.stranger(PLACE)
    if pid is not None:
        hint = f"end the `offswitch up` that it belongs to: ps -fp {pid}; then {again}"
        raise Busy(f"a warden that is not the service's serves {RUN} (pid {pid})", hint)


def adding() -> list[Step]:
    """Give the steps that set Offswitch up on this host."""
    steps = accounts.added()
    if not packaged():
        steps += [
            Step(program.PREFIX, "the program, which root alone can write", _laid, _lay),
            Step(_LINK, "what people type", _linked, _link),
        ]
    steps.append(Step(HOME, "state and record", _has_home, _make_home))
    if service.has_systemd():
        steps += service.added(PLACE)
    return steps


def removing(*, purge: bool) -> list[Step]:
    """Give the steps that take it away again; state and record too with `purge`."""
    steps = service.removed()
    steps.append(Step(RUN, "sockets and page", lambda: not os.path.lexists(RUN), _clear_run))
    if purge:
        gone = Step(HOME, "state and record", lambda: not os.path.lexists(HOME), _purge)
        steps.append(gone)
    else:
        # A number that is given to somebody else one day must not own the record.
        kept = "state and record are kept, and are root's"
        steps.append(Step(HOME, kept, lambda: not any(_lent()), _give_to_root))
    steps += accounts.removed()
    if not packaged():
        steps += [
            Step(_LINK, "what people type", lambda: not _linked(), lambda: os.unlink(_LINK)),
            Step(program.PREFIX, "the program", _is_gone, _take),
        ]
    return steps


def missing() -> list[str]:
    """Say what an installation on this host lacks, however it went."""
    if not service.has_systemd():
        how = f"{program.PREFIX}/bin/python -I -m offswitch up"
        return [f"no systemd here: nothing starts us at boot. Have yours run, as root: {how}"]
    if not service.running():
        return ["systemd does not run now: the service starts at the next boot"]
    return []


# --- the program ----------------------------------------------------------------------


def _laid() -> bool:
    """Tell whether the program is in place, complete, and made from what runs this command."""
    if installed():
        return True
    try:
        with open(f"{program.PREFIX}/fingerprint", encoding="ascii") as file:
            made_from = file.read().strip()
    except FileNotFoundError:
        return False
    whole = not os.path.lexists(_NEW) and not os.path.lexists(_OLD)
    return whole and made_from == program.fingerprint(program.interpreter()) and not in_place()


def _lay() -> None:
    """Lay the program out beside its place, and put it there in one go."""
    for leftover in (_NEW, _OLD):
        shutil.rmtree(leftover, ignore_errors=True)
    program.lay_out(_NEW, program.interpreter())
    with open(f"{_NEW}/{os.path.basename(service.NOT_SERVED)}", "wb") as marker:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syncfs(marker.fileno())
    if os.path.lexists(program.PREFIX):
        _exchange(libc)
    else:
        os.rename(_NEW, program.PREFIX)
    shutil.rmtree(_NEW, ignore_errors=True)


def _exchange(libc: ctypes.CDLL) -> None:
    """Let new and old change places; where the file system cannot, one after the other."""
    new, old = os.fsencode(_NEW), os.fsencode(program.PREFIX)
    if libc.renameat2(_AT_FDCWD, new, _AT_FDCWD, old, _RENAME_EXCHANGE) != 0:
        shutil.rmtree(program.PREFIX)
        os.rename(_NEW, program.PREFIX)


def _linked() -> bool:
    try:
        return os.readlink(_LINK) == _COMMAND
    except OSError:
        return False


def _link() -> None:
    os.makedirs(os.path.dirname(_LINK), exist_ok=True)
    os.symlink(_COMMAND, _LINK)


def _is_gone() -> bool:
    return not any(map(os.path.lexists, (program.PREFIX, _NEW, _OLD)))


def _take() -> None:
    """Take the program away; its name first, so that nothing starts from half of it."""
    if os.path.lexists(program.PREFIX):
        shutil.rmtree(_OLD, ignore_errors=True)
        os.rename(program.PREFIX, _OLD)
    for folder in (_NEW, _OLD):
        shutil.rmtree(folder, ignore_errors=True)


# --- state ----------------------------------------------------------------------------


def _has_home() -> bool:
    try:
        info = os.stat(HOME)
    except FileNotFoundError:
        return False
    return info.st_uid == 0 and not info.st_mode & 0o022


def _make_home() -> None:
    os.makedirs(HOME, mode=_HOME_MODE, exist_ok=True)
    os.chown(HOME, 0, 0)
    os.chmod(HOME, _HOME_MODE)


def _lent() -> Iterator[str]:
    """List what in the state belongs to one of the users that go."""
    uids = accounts.ids()
    for folder, _folders, files in os.walk(HOME):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            if os.lstat(path).st_uid in uids:
                yield path


def _give_to_root() -> None:
    for path in list(_lent()):
        os.chown(path, 0, 0, follow_symlinks=False)


def _purge() -> None:
    shutil.rmtree(HOME)


def _clear_run() -> None:
    shutil.rmtree(RUN)

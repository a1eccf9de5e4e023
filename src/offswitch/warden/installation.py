"""The installation's folders and its name, made by whoever comes first.

The name is 128 random bits in `$OFFSWITCH_HOME/installation`; every order and entry bears
it. The run folder is open for passing through (0711) and closed for looking around; the
sockets' folder is for the owner and the group; the page lies where every guard can map it.
"""

from __future__ import annotations

import grp
import os
import re
from contextlib import suppress

from offswitch.control.ids import User, user_of, users
from offswitch.control.place import Place
from offswitch.errors import Corrupt, Refused, Storage

__all__ = ["installation_id", "prepare", "run_group", "take_sockets_along"]

_GROUP = "offswitch"


def _name(path: str) -> None:
    """Give the installation its name, unless somebody else does just now."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        pass
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "see that OFFSWITCH_HOME is writable") from None
    else:
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(16).hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def installation_id(home: str) -> str:
    """Give the installation's id, making it if there is none; 32 hex digits."""
    path = f"{home}/installation"
    if not os.path.exists(path):  # even to try to make it would wait for a disk that hangs
        _name(path)
    with open(path, "rb") as file:
        text = file.read(64).decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise Corrupt(
            f"{path} holds no installation id", "restore it from the ledger's origin line"
        )
    return text


def run_group(run: str) -> int:
    """Give the group that may stop: the run folder's own, else `offswitch`, else watch's alone.

    Without root there is no user for watch, and it is the owner's own.
    """
    ours = users() if os.geteuid() == 0 else {}
    nobodys = {os.getegid(), *(user.gid for user in ours.values())}
    try:
        info = os.stat(run)
    except FileNotFoundError:
        pass
    else:
        if info.st_gid not in nobodys:
            return info.st_gid
    try:
        gid = grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return ours["watch"].gid if ours else os.getegid()
    return gid if os.geteuid() == 0 or gid in os.getgroups() else os.getegid()


def _folder(path: str, mode: int, gid: int = -1) -> None:
    """Make a folder of ours, or see that one that is there is ours; set its mode and group."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        info = os.lstat(path)
        if not os.path.isdir(path) or os.path.islink(path) or info.st_uid != os.geteuid():
            raise Refused(
                f"{path} is there already and is not ours",
                "remove it, or name another folder by OFFSWITCH_RUN / OFFSWITCH_HOME",
            ) from None
    os.chown(path, -1, gid)
    os.chmod(path, mode)


def _folder_of_another(path: str, user: User | None) -> None:
    """Make a folder that one of our own users alone can enter; without root it is ours."""
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError as error:
        raise Refused(f"{path} is no folder of ours: {error.strerror}", "remove it") from None
    try:
        if os.fstat(fd).st_uid not in {os.geteuid(), user.uid if user else -1}:
            raise Refused(f"{path} is there already and is not ours", "remove it")
        if user is not None:
            os.fchown(fd, user.uid, user.gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def prepare(place: Place) -> int:
    """Make all folders of `place` with their modes; return the group that may stop."""
    _folder(place.home, 0o711)
    gid = run_group(place.run)
    _folder(place.run, 0o711, gid)
    _folder(place.control, 0o750 if gid != os.getegid() else 0o700, gid)
    if place.memory != place.run:
        _folder(place.memory, 0o711, gid)
    _folder(place.reports, 0o700)
    _folder(place.specs, 0o700)
    _folder(place.logs, 0o711)
    _folder_of_another(place.evidence, user_of("evidence"))
    return gid


def take_sockets_along(place: Place) -> None:
    """Leave no socket that nobody listens on: one that is there was left by a crash."""
    for path in (place.warden_socket, place.keeper_socket, place.recorder_socket):
        with suppress(OSError):
            os.unlink(path)

"""User ids that nobody else has: one for each run, and a few for our own processes.

As systemd's dynamic users, but from a range of its own, 1,900,000,000 to 1,999,999,999,
above every range that distributions hand out. An id is taken only if passwd, subuid and
subgid do not name it and no process has it, and it is not handed out again before a
reboot: what an earlier run left behind must not belong to a later one. The counter is one
for the whole machine, on tmpfs, so it ends with the boot and serves every installation.

Just below the range lie our own: they are never handed out.
"""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Iterable

from offswitch.clock import boot_id
from offswitch.control.ids import OBSERVER, RECORDER, WATCH
from offswitch.control.place import Place
from offswitch.errors import Busy
from offswitch.warden.cells.threads import state_behind

__all__ = [
    "CANARY",
    "FINDER",
    "FIRST",
    "LAST",
    "OBSERVER",
    "RECORDER",
    "SWEEPERS",
    "WATCH",
    "allot",
    "can_be_allotted",
    "is_allotted",
    "living_among",
    "living_ids",
]

FIRST = 1_900_000_000
LAST = 1_999_999_999
SWEEPERS = (1_899_999_999, 1_899_999_995, 1_899_999_994, 1_899_999_993)
"""Reserved for the sweep's workers, one each: workers of one id could signal each other."""
CANARY = 1_899_999_992
"""Likewise for the worker of a canary."""
FINDER = 1_899_999_989
_OF_SWEEPERS = frozenset(b"%d" % uid for uid in (*SWEEPERS, CANARY))
_COUNTER = "/dev/shm/offswitch-users"  # noqa: S108 - owner and mode are checked at use
_TRIES = 10_000
_STATUS_HEAD = 1024
"""Bytes of /proc/PID/status that hold its state and ids for certain; names are escaped there."""


def is_allotted(uid: int) -> bool:
    """Whether an id is one of those that are handed out here."""
    return FIRST <= uid <= LAST


def can_be_allotted() -> bool:
    """Whether the ids of the range exist here: in a user namespace they seldom do."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            ranges = [[int(word) for word in line.split()] for line in file]
    except OSError:
        return False
    return any(first <= FIRST and first + count > LAST for first, _outside, count in ranges)


def living_ids(uid: int) -> list[int]:
    """List the processes that have `uid` as real, effective, saved or file system user."""
    return living_among([uid])[uid]


def living_among(uids: Iterable[int]) -> dict[int, list[int]]:
    """List the processes of several users in one pass over /proc.

    The dead that are only not yet reaped are left out, if all of their threads are dead.
    OSError when /proc cannot be read: that is unknown, not none. Some ten microseconds a
    process of the machine.
    """
    found: dict[int, list[int]] = {uid: [] for uid in uids}
    wanted = {b"%d" % uid: pids for uid, pids in found.items()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for uid in wanted.keys() & _ids_of(pid):
            wanted[uid].append(int(pid))
    return found


def _ids_of(pid: str) -> set[bytes]:
    """Give the four user ids of a process, in digits; none of one that is gone or dead."""
    try:
        fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return set()  # it ended while we looked; any other error is the caller's
    try:
        text = os.read(fd, _STATUS_HEAD)
    except ProcessLookupError:
        return set()
    finally:
        os.close(fd)
    state = text.find(b"\nState:\t") + 8
    if text[state : state + 1] in {b"Z", b"X"} and state_behind(pid) == "Z":
        return set()
    begin = text.find(b"\nUid:\t") + 6
    ids = set(text[begin : text.find(b"\n", begin)].split(b"\t"))
    # A sweeper at work has the agent's id as its effective one; nobody else can have its others.
    return ids if ids.isdisjoint(_OF_SWEEPERS) else set()


def _subordinate(uid: int) -> bool:
    """Whether /etc/subuid or /etc/subgid gives `uid` to somebody's user namespaces."""
    for path in ("/etc/subuid", "/etc/subgid"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    _name, _, numbers = line.strip().partition(":")
                    first, _, count = numbers.partition(":")
                    if first.isdigit() and count.isdigit() and 0 <= uid - int(first) < int(count):
                        return True
        except FileNotFoundError:
            continue
    return False


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _open_counter() -> int:
    """Open the counter, root's and nobody else's; one that a stranger put there is thrown away."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    for _try in range(100):
        try:
            return os.open(_COUNTER, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        try:
            fd = os.open(_COUNTER, flags)
        except OSError:
            _throw_away(_COUNTER)
            continue
        info = os.fstat(fd)
        if info.st_uid == os.geteuid() and info.st_mode & 0o077 == 0 and info.st_nlink == 1:
            return fd
        os.close(fd)
        _throw_away(_COUNTER)
    raise Busy(
        f"{_COUNTER} cannot be kept: somebody puts it back", "see who owns it: ls -l /dev/shm"
    )


def _throw_away(path: str) -> None:
    """Take what a stranger put there out of the way: a folder, which may be full, by its name."""
    try:
        os.unlink(path)
    except IsADirectoryError:
        os.rename(path, f"{path}-{os.urandom(8).hex()}")
    except FileNotFoundError:
        pass  # it was taken back meanwhile


def allot(place: Place) -> int:
    """Hand out an id that nobody has. Root only; the same id comes again only after a reboot."""
    del place  # one counter serves all installations of a machine: ids are the machine's
    fd = _open_counter()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        boot = boot_id().encode()
        kept_boot, _, kept = os.pread(fd, 64, 0).strip().partition(b" ")
        uid = max(FIRST, int(kept)) if kept_boot == boot and kept.isdigit() else FIRST
        for _try in range(_TRIES):
            if uid > LAST:
                break
            if not _named(uid) and not _subordinate(uid) and not living_ids(uid):
                os.pwrite(fd, b"%s %d\n" % (boot, uid + 1), 0)
                return uid
            uid += 1
    finally:
        os.close(fd)
    raise Busy(
        "no user id is left to hand out", "they are handed out once a boot: restart the machine"
    )

"""The station gives away all rights before it hears anybody (SR-4).

It becomes a user of its own in the group that may stop, without a capability. Its state is a
folder of that user's, the folder of the sockets is held by a descriptor. From then on it may
write its state and a name in the spool, run no program, and see no other file but its code.
"""

from __future__ import annotations

import os
import sqlite3
import sys

from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.ownership import take_over
from offswitch.control.place import Place
from offswitch.control.seccomp import forbid
from offswitch.control.shed import READ_SEARCH, closed_to_others, shed
from offswitch.errors import Storage

__all__ = ["folder_of", "settle"]

_SEEN = ("/proc", "/dev", "/etc/ssl", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
"""What a call out needs: certificates, and how names are found."""
_MORE_SEEN = ("/etc/host.conf", "/etc/gai.conf", "/usr/share/zoneinfo", "/usr/lib", "/lib")


def folder_of(home: str) -> str:
    """Name the station's own folder."""
    return f"{home}/station"


def settle(place: Place) -> tuple[Place, list[str]]:
    """Give rights away; return the place as it is reached from now on, and what was refused."""
    folder, user = folder_of(place.home), user_of("station")
    groups: list[int] = []
    keep: list[int] = []
    try:
        if user is None:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        else:
            take_over(folder, user, 0o700)
            groups = [gid for gid in (os.stat(place.control).st_gid,) if gid]
            if closed_to_others(f"{folder}/people.db"):
                keep = [READ_SEARCH]  # kept to its own folder by what follows
    except OSError as error:
        why = f"{error.filename or folder}: {error.strerror or error}"
        raise Storage(f"the station has no folder of its own: {why}", "offswitch doctor") from None
    with sqlite3.connect(":memory:") as memory:  # reads /dev/urandom while it may
        memory.execute("SELECT random()").fetchone()
    memory.close()
    held = os.open(place.run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    settled = Place(place.home, f"/proc/self/fd/{held}")
    said = shed(user, keep=keep, groups=groups, dies_with_parent=False)
    if user is not None:
        code = [path for path in sys.path if os.path.isdir(path)]
        read = [*_SEEN, *_MORE_SEEN, *code]
        said.append(confine_files(write=[folder, place.run, "/dev/null"], read=read))
    said.append(forbid("any", signals=True))
    return settled, [each for each in said if each]

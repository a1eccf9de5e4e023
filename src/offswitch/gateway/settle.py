"""The gateway gives away all rights before it hears anybody (SR-4).

It becomes a user of its own in the group that may speak to the warden, without a capability. It
sees no file but its code and what finding names and certificates takes, writes none, and runs no
program. The run folder, by which it finds a warden that was started again, is held open.
"""

from __future__ import annotations

import os
import sys

from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.place import Place
from offswitch.control.seccomp import forbid
from offswitch.control.shed import shed

__all__ = ["settle"]

_SEEN = ("/proc", "/dev", "/etc/ssl", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_MORE_SEEN = ("/etc/host.conf", "/etc/gai.conf", "/usr/share/zoneinfo", "/usr/lib", "/lib")


def settle(place: Place) -> tuple[Place, list[str]]:
    """Give rights away; return the place as it is reached from now on, and what was refused."""
    user = user_of("gateway")
    groups = [gid for gid in (_group(place.control),) if gid] if user is not None else []
    held = os.open(place.run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    settled = Place(place.home, f"/proc/self/fd/{held}")
    refused = shed(user, groups=groups, dies_with_parent=True)
    if user is not None:
        code = [path for path in sys.path if os.path.isdir(path)]
        refused.append(
            confine_files(write=["/dev/null", place.run], read=[*_SEEN, *_MORE_SEEN, *code])
        )
    refused.append(forbid("any", signals=True))
    return settled, [each for each in refused if each]


def _group(folder: str) -> int:
    try:
        return os.stat(folder).st_gid
    except OSError:
        return 0

"""The user ids of our own processes (SR-4).

Where `offswitch install` has made a user `offswitch-watch`, `-recorder`, `-observer`,
`-gateway` or `-station`, its id counts; else one that is reserved for it. The reserved ones
lie above every range that distributions, subuid and systemd hand out (systemd's containers
end at 1,879,048,191) and just below those that are allotted to cells. Users are looked for
in /etc/passwd itself: a name service may hang, and ours are local users or none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = [
    "DRILL",
    "EVIDENCE",
    "GATEWAY",
    "HANDS",
    "LOOKER",
    "OBSERVER",
    "OURS",
    "RECORDER",
    "STATION",
    "WATCH",
    "User",
    "user_of",
    "users",
]

OBSERVER = 1_899_999_998
RECORDER = 1_899_999_997
WATCH = 1_899_999_996
GATEWAY = 1_899_999_991
STATION = 1_899_999_990
EVIDENCE = 1_899_999_988
"""Of whoever keeps evidence of what is stopped: it reads other processes."""
DRILL = 1_899_999_980
"""Of what a drill sets into the cell of its target, beside it: no sweep ever asks for it."""
LOOKER = 1_899_999_971
"""Of whoever looks at what hands have done."""
HANDS = (
    "data",
    "network",
    "credentials",
    "tools",
    "serving",
    "relay",
    "gpu",
    "container",
    "scheduler",
    "power",
)
"""The layers that hands may be of, in the order in which they are told where processors are few:
what acts on the world comes first. Each has a user of its own, from LOOKER downwards."""
_RESERVED = {
    "looker": LOOKER,
    **{f"hand-{layer}": LOOKER - 1 - at for at, layer in enumerate(HANDS)},
    "observer": OBSERVER,
    "recorder": RECORDER,
    "watch": WATCH,
    "gateway": GATEWAY,
    "station": STATION,
    "evidence": EVIDENCE,
}
OURS = frozenset(_RESERVED.values())
"""The reserved ids of our processes."""
_USERS_FILE = "/etc/passwd"
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class User:
    """One of our own users."""

    uid: int
    gid: int


def users(passwd: str = _USERS_FILE) -> dict[str, User]:
    """Give the user of each of our processes, by the process's name."""
    found = {role: User(uid, uid) for role, uid in _RESERVED.items()}
    try:
        fd = os.open(passwd, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # whatever lies there
        with open(fd, encoding="utf-8", errors="replace") as file:
            rows = [line.split(":") for line in file]
    except OSError:
        return found
    for row in rows:
        role = row[0].removeprefix("offswitch-")
        if role == row[0] or role not in found or len(row) < _FIELDS:
            continue
        uid, gid = row[2], row[3]
        if uid.isdigit() and gid.isdigit() and int(uid) > 0:
            found[role] = User(int(uid), int(gid))
    return found


def user_of(role: str) -> User | None:
    """Give the user that a process of ours becomes; None where we are not root: it stays ours."""
    return users()[role] if os.geteuid() == 0 else None

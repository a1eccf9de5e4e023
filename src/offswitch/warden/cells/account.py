"""Under which user a target runs.

Who asks decides (SR-3): root gets an allotted user of the cell's own unless it names another;
anyone else gets their own. Nobody brings our group, be it their primary one or another.

A name service may hang for as long as it likes, so whoever looks up an account does it in a
thread of its own (`core.names`). What a caller's own number is called is not worth waiting
for: the kernel said the number. Whether an id that is to be handed out is nobody's, or whose
another name is, only the service knows, and without its answer nothing is begun.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from offswitch.control import ids
from offswitch.control.peer import Peer
from offswitch.control.place import Place
from offswitch.errors import Busy, NotFound, OffswitchError, Refused
from offswitch.warden.cells import users
from offswitch.warden.core import Core
from offswitch.warden.errands import tried

__all__ = ["NOGROUP", "Account", "account_of", "look_up"]

NOGROUP = 65534
"""The kernel's own for what has no group: the primary group of whoever loses ours."""
_PATIENCE_S = 3.0
"""How long a name service may take; a start can wait, and a machine at its limits is slow."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a target runs as."""

    uid: int
    gid: int
    """Its primary group, never the one that may stop."""
    groups: tuple[int, ...]
    """Its other groups, likewise."""
    name: str
    own: bool
    """Whether the uid was allotted to this cell alone."""


def look_up(
    core: Core,
    peer: Peer,
    wanted: str | None,
    then: Callable[[Account], None],
    failed: Callable[[OffswitchError], None],
) -> None:
    """Learn under which user a request runs; one of the two is called, once, later."""
    place, ours = core.place, core.rights.gid

    def found(account: Account | OffswitchError | OSError) -> None:
        try:
            if isinstance(account, TimeoutError):
                account = _unnamed(peer, wanted, ours)
            elif isinstance(account, OSError):
                raise Busy(f"its user cannot be told: {account.strerror}", "offswitch doctor")
        except OffswitchError as error:
            failed(error)
            return
        if isinstance(account, OffswitchError):
            failed(account)
        else:
            then(account)

    asked = tried(lambda: account_of(place, peer, wanted, ours))
    core.names.send(asked, found, patience_s=_PATIENCE_S)


def account_of(place: Place, peer: Peer, wanted: str | None, ours: int) -> Account:
    """Decide under which user a request runs; `Refused` or `NotFound` if it may not or cannot.

    `ours` is the group that may stop. Asks the name service: never in the loop.
    """
    if peer.uid != 0 or os.geteuid() != 0:
        return _own(peer, wanted, _name_of(peer.uid), ours)
    if wanted is None:
        uid = users.allot(place)
        return Account(uid, uid, (), f"allotted {uid}", own=True)
    try:
        entry = pwd.getpwuid(int(wanted)) if wanted.isdigit() else pwd.getpwnam(wanted)
    except KeyError:
        raise NotFound(f"there is no user {wanted!r} here", "see: getent passwd") from None
    if entry.pw_uid in {user.uid for user in ids.users().values()}:
        why = f"{entry.pw_name} is the user of a process of ours: a target would share its rights"
        raise Refused(why, "name another user, or none: then it gets one of its own")
    groups = _without(ours, os.getgrouplist(entry.pw_name, entry.pw_gid))
    gid = _primary(entry.pw_uid, entry.pw_gid, ours)
    return Account(entry.pw_uid, gid, groups, entry.pw_name, own=False)


def _unnamed(peer: Peer, wanted: str | None, ours: int) -> Account:
    """Go by the caller's number; `Busy` where only a name tells."""
    if peer.uid != 0 or os.geteuid() != 0:
        return _own(peer, wanted, str(peer.uid), ours)
    why = "the name service does not answer: whose a user id is cannot be told"
    raise Busy(why, "see what hangs: getent passwd 0; then try again")


def _own(peer: Peer, wanted: str | None, name: str, ours: int) -> Account:
    if wanted not in {None, name, str(peer.uid)}:
        raise Refused("only root may name another user", "leave out --user, or ask root")
    gid = _primary(peer.uid, peer.gid, ours)
    return Account(peer.uid, gid, _without(ours, peer.groups), name, own=False)


def _is_ours(gid: int, ours: int) -> bool:
    """Whether it is the group that may stop, and not only the one that a person's warden has."""
    return gid == ours and not gid == os.getegid() != 0


def _without(ours: int, groups: Iterable[int]) -> tuple[int, ...]:
    return tuple(gid for gid in groups if not _is_ours(gid, ours))


def _primary(uid: int, gid: int, ours: int) -> int:
    """Give the primary group, unless it may stop: `sg` and passwd can make any group primary."""
    return NOGROUP if uid != 0 and _is_ours(gid, ours) else gid


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

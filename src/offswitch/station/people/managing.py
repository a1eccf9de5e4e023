"""What an admin changes about people and keys, from the console and the API alike.

Each change is an entry with the state before and after, and durable before it is said to be
done. The role `safety` is not among what can be given here (SEC-5): it comes from the warden's
own files, which root writes (`offswitch people add`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from offswitch.decide.roles import Power, Role, powers
from offswitch.errors import Refused
from offswitch.station.parts import Parts
from offswitch.station.people.accounts import Account, check_person
from offswitch.station.people.entering import changed
from offswitch.station.people.grants import Grant, GrantKind
from offswitch.station.people.visitor import Visitor

__all__ = [
    "account_shown",
    "add",
    "give_roles",
    "grant_shown",
    "invite",
    "make_token",
    "remove",
    "revoke",
]


async def add(parts: Parts, who: Visitor, name: str, roles: Collection[Role], channel: str) -> str:
    """Add somebody; gives the path of the link by which they set their password."""
    parts.accounts.add(name, roles, None, parts.clock.wall_us())
    changed(parts, who.by, f"added {name}", channel, "unknown", _named(roles), why="asked to")
    return await invite(parts, who, name, channel)


async def invite(parts: Parts, who: Visitor, name: str, channel: str) -> str:
    """Make a link by which somebody sets a password; gives its path."""
    account = parts.accounts.known(name)
    key = parts.entrance.invitations.make(name, who.by, parts.clock.wall_us())
    state = _named(account.roles)
    changed(parts, who.by, f"a link for {name} to set a password", channel, state, state, why="-")
    await parts.accounts.settled()
    return f"/invited/{key}"


async def give_roles(
    parts: Parts, who: Visitor, name: str, roles: Collection[Role], channel: str
) -> Account:
    """Give somebody these roles and no others."""
    prior = parts.accounts.known(name).roles
    parts.accounts.give_roles(name, roles)
    changed(
        parts, who.by, f"roles of {name}", channel, _named(prior), _named(roles), why="asked to"
    )
    if Power.STOP not in powers(roles) and not parts.confirmers.is_safety(name):
        for one in parts.entrance.grants.of(GrantKind.DEVICE, name):
            await revoke(parts, who, one, channel)
    await parts.accounts.settled()
    return parts.accounts.known(name)


async def remove(parts: Parts, who: Visitor, name: str, channel: str) -> None:
    """Remove somebody, with their sessions, links, passkeys and phones."""
    prior = parts.accounts.known(name).roles
    parts.accounts.remove(name)
    parts.entrance.invitations.withdraw(name)
    parts.entrance.passkeys.remove_all(name)
    parts.entrance.subjects.forget(name)
    for one in parts.entrance.grants.of(GrantKind.DEVICE, name):
        await revoke(parts, who, one, channel)
    changed(parts, who.by, f"removed {name}", channel, _named(prior), "unknown", why="asked to")
    await parts.accounts.settled()


async def make_token(parts: Parts, who: Visitor, name: str, scope: str, channel: str) -> str:
    """Make a machine token; gives its key, which nobody sees again."""
    grants, now_us = parts.entrance.grants, parts.clock.wall_us()
    key = grants.make(GrantKind.TOKEN, check_person(name), who.name, scope, now_us)
    what = f"token {name}"
    changed(parts, who.by, what, channel, "unknown", f"may stop {scope}", why="asked to")
    await parts.accounts.settled()
    return key


async def revoke(parts: Parts, who: Visitor, one: Grant, channel: str) -> None:
    """End a token or a phone: an admin any, a person their own phone."""
    if Power.PEOPLE not in who.powers and (one.kind, one.person) != (GrantKind.DEVICE, who.name):
        parts.refused(who.by, f"revoke {one.kind.value} {one.name}", channel, "not theirs")
        raise Refused(f"{one.name} is not yours", "an admin may revoke it")
    parts.entrance.grants.revoke(one)
    what = f"{one.kind.value} {one.name}"
    changed(parts, who.by, what, channel, f"may stop {one.scope}", "revoked", why="asked to")
    await parts.accounts.settled()


def account_shown(parts: Parts, one: Account) -> dict[str, Any]:
    """Give what is shown of somebody."""
    invitation = parts.entrance.invitations.of(one.name, parts.clock.wall_us())
    known = parts.confirmers.of(one.name)
    safety = [Role.SAFETY] if parts.confirmers.is_safety(one.name) else []
    seen = max((each.seen_us for each in parts.accounts.sessions_of(one.name)), default=0)
    return {
        "name": one.name,
        "roles": sorted([*one.roles, *safety]),
        "password": one.password is not None,
        "passkeys": len(parts.entrance.passkeys.of(one.name)),
        "invited_until_us": 0 if invitation is None else invitation.until_us,
        "seen_us": seen,
        "confirms": known is not None,
        "made_us": one.made_us,
    }


def grant_shown(one: Grant) -> dict[str, Any]:
    """Give what is shown of a token or phone: not its key, nor its digest."""
    return {
        "name": one.name,
        "person": one.person,
        "scope": one.scope,
        "made_us": one.made_us,
        "seen_us": one.seen_us,
    }


def _named(roles: Collection[Role]) -> str:
    return ", ".join(sorted(roles)) or "no role"

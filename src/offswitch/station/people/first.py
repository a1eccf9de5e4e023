"""The first start makes one local operator, so that there is somebody who can press.

The name and the password lie in `station/first` (0600) until that person signs in for the first
time; `offswitch up`, as root, shows them. It is an admin, too, for somebody has to let the
others in; neither can confirm a reset. Nobody else is made by itself, and no page tells of it.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from offswitch.clock import Clock
from offswitch.decide.roles import Role
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.passwords import hashed

__all__ = ["FILE", "NAME", "first_account", "first_signed_in"]

FILE = "first"
NAME = "operator"


def first_account(folder: str, accounts: Accounts, clock: Clock) -> None:
    """Make it where there is no account at all."""
    if accounts.all():
        return
    password = secrets.token_urlsafe(12)
    path = f"{folder}/{FILE}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="ascii") as file:
        file.write(f"{NAME} {password}\n")
    accounts.add(NAME, {Role.OPERATOR, Role.ADMIN}, hashed(password), clock.wall_us())


def first_signed_in(folder: str, name: str) -> None:
    """Forget the first password where it lies in the clear: its owner has it now."""
    if name == NAME:
        with suppress(OSError):
            os.unlink(f"{folder}/{FILE}")

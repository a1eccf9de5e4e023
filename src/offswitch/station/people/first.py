"""The first start makes one local operator, so that there is somebody who can press.

The name and the password lie in `station/first` (0600) until that person signs in for the first
time; `offswitch up`, as root, shows them. Nobody else is made by itself.
"""

from __future__ import annotations

import os
import secrets

from offswitch.clock import Clock
from offswitch.decide.roles import Role
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.passwords import hashed

__all__ = ["FILE", "NAME", "first_account"]

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
    accounts.add(NAME, {Role.OPERATOR}, hashed(password), clock.wall_us())

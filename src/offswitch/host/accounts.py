"""The group that may stop, and the users under which our processes without privilege run.

Names, not numbers, are agreed on: a process of ours that finds its user here runs under it
(SR-4). The group may stop and nothing more (SR-3); nobody is put into it unasked. The users
have no home, no shell and no password.
"""

from __future__ import annotations

import grp
import os
import pwd
import time
from functools import partial

from offswitch.errors import Busy
from offswitch.host.steps import Step, command

__all__ = ["GROUP", "USERS", "added", "ids", "members", "removed"]

GROUP = "offswitch"
USERS = (
    "offswitch-gateway",
    "offswitch-observer",
    "offswitch-recorder",
    "offswitch-station",
    "offswitch-watch",
)
_END_S = 20.0


def added() -> list[Step]:
    """Give the steps that make them."""
    steps = [
        Step(
            f"group {GROUP}",
            "who is in it may stop, and nothing more",
            _has_group,
            lambda: _run("groupadd", "--system", GROUP),
        )
    ]
    for user in USERS:
        what = user.removeprefix("offswitch-")
        steps.append(
            Step(
                f"user {user}",
                f"the {what} runs as it, without privilege",
                partial(_has_user, user),
                partial(_make_user, user),
            )
        )
    return steps


def removed() -> list[Step]:
    """Give the steps that take them away."""
    steps = [
        Step(
            f"user {user}",
            "no process of ours runs any more",
            partial(_has_no_user, user),
            partial(_remove_user, user),
        )
        for user in USERS
    ]
    who = ", ".join(members()) or "nobody"
    steps.append(
        Step(
            f"group {GROUP}",
            f"in it: {who}",
            lambda: not _has_group(),
            lambda: _run("groupdel", GROUP),
        )
    )
    return steps


def members() -> list[str]:
    """Name who is in the group that may stop."""
    try:
        return list(grp.getgrnam(GROUP).gr_mem)
    except KeyError:
        return []


def ids() -> set[int]:
    """Give the numbers of our users that are there."""
    return {pwd.getpwnam(user).pw_uid for user in USERS if _has_user(user)}


def _run(*argv: str) -> None:
    command(*argv)


def _has_group() -> bool:
    try:
        grp.getgrnam(GROUP)
    except KeyError:
        return False
    return True


def _has_user(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _has_no_user(user: str) -> bool:
    return not _has_user(user)


def _make_user(user: str) -> None:
    words = ["useradd", "--system", "--user-group", "--no-create-home"]
    words += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    command(*words, "--comment", "Offswitch", user)


def _remove_user(user: str) -> None:
    """Remove a user once its last process has ended; its own group goes with it."""
    uid = pwd.getpwnam(user).pw_uid
    end = time.monotonic() + _END_S
    while _processes(uid):
        if time.monotonic() > end:
            pids = ", ".join(map(str, _processes(uid)))
            raise Busy(f"processes of {user} still run: {pids}", f"end them: kill {pids}")
        time.sleep(0.05)
    command("userdel", user)


def _processes(uid: int) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid == uid:
                found.append(int(pid))
        except FileNotFoundError:
            continue
    return found

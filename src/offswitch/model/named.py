"""Under which name an adopted target is found again: it is a name, never an inode (SR-24).

    unit       a service or scope of systemd's; `user@1000.service/NAME` is one of a user's
    container  a container's name or id (Docker, podman, and what names cgroups as they do)
    cgroup     a path below the root of the cgroup v2 tree
    program    the name of a program, as the kernel shows it

A name leads to a folder of the cgroup tree by the folder's own path, as the supervisor makes
it: no D-Bus, no engine is asked. Who may make that path decides whose name it is: a unit of
the system's lies in slices all the way down, so a user who makes a folder of that name in
a tree of their own adopts nothing. What is outside of systemd is named by whoever made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from offswitch.errors import Usage

__all__ = ["KINDS", "Named", "container_id"]

KINDS = ("unit", "container", "cgroup", "program")
_UNIT = re.compile(r"(?:user@\d{1,10}\.service/)?[A-Za-z0-9:_.\\@-]{1,200}\.(?:service|scope)")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")
_PROGRAM = re.compile(r"[^/\s\x00-\x1f\x7f]{1,15}")
_ID = re.compile(r"(?:[a-z][a-z-]*-)?([0-9a-f]{64})(?:\.scope)?")
_ID_PREFIX = re.compile(r"[0-9a-f]{12,64}")
_OF_ENGINES = ("conmon", "libpod-conmon", "crio-conmon")


@dataclass(frozen=True, slots=True)
class Named:
    """One name."""

    kind: str
    """One of `KINDS`."""
    value: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self | None:
        """Take the name that a message or a declaration gives; None where it gives none.

        Raises `Usage` for one that is none, or for two at once.
        """
        given = [(kind, said[kind]) for kind in KINDS if said.get(kind) is not None]
        if not given:
            return None
        if len(given) > 1:
            kinds = " and ".join(kind for kind, _value in given)
            raise Usage(f"a target is adopted by one name, not by {kinds}", "leave one of them")
        kind, value = given[0]
        return cls(kind, _checked(kind, str(value)))

    @property
    def text(self) -> str:
        """Say it to people."""
        return f"{self.kind} {self.value}"

    @property
    def again(self) -> str:
        """Say what a person types to start it: nothing of ours does."""
        match self.kind:
            case "unit" if "/" in self.value:
                manager, unit = self.value.split("/")
                user = manager.removeprefix("user@").removesuffix(".service")
                return f"systemctl --user --machine={user}@ start {unit}"
            case "unit":
                return f"systemctl start {self.value}"
            case "container":
                return f"docker start {self.value} (or: podman start {self.value})"
            case _:
                return "whatever started it before"

    def holds(self, path: str, names: tuple[str, ...] = ()) -> bool:
        """Tell whether the cgroup at `path` (from the tree's root, `/…`) is of this name.

        `names`: the container's own names, where its engine was asked.
        """
        if self.kind == "cgroup":
            return path == self.value
        parent, _, last = path.rpartition("/")
        if self.kind == "unit":
            manager, _, unit = self.value.rpartition("/")
            return last == unit and _in_slices(parent, manager)
        if self.kind == "container":
            found = container_id(last)
            if found is None:
                return False
            return self.value in names or (
                _ID_PREFIX.fullmatch(self.value) is not None and found.startswith(self.value)
            )
        return False


def _in_slices(parent: str, manager: str) -> bool:
    """Whether all folders of `parent` are slices, but for the user's `manager` if one is named."""
    folders = [name for name in parent.split("/") if name]
    others = [name for name in folders if not name.endswith(".slice")]
    return others == ([manager] if manager else [])


def container_id(folder: str) -> str | None:
    """Give the id of the container whose cgroup bears that name; None: it is none."""
    match = _ID.fullmatch(folder)
    if match is None or folder.startswith(_OF_ENGINES):
        return None
    return match[1]


def _checked(kind: str, value: str) -> str:
    if kind == "unit":
        if "." not in value:
            value += ".service"
        if not _UNIT.fullmatch(value):
            raise Usage(
                f"{value[:80]!r} is not a service or scope of systemd's",
                "such as vllm.service, or user@1000.service/vllm.service for one of a user's",
            )
    elif kind == "container" and not _CONTAINER.fullmatch(value):
        raise Usage(f"{value[:80]!r} is not a container's name or id", "see: docker ps, podman ps")
    elif kind == "program" and not _PROGRAM.fullmatch(value):
        raise Usage(
            f"{value[:80]!r} is not a program's name as the kernel shows it",
            "at most 15 characters, no path: cat /proc/PID/comm",
        )
    elif kind == "cgroup":
        value = "/" + value.strip("/")
        if any(part in {"", ".", ".."} for part in value.split("/")[1:]) or len(value) > 2000:  # noqa: PLR2004
            raise Usage(
                f"{value[:80]!r} is not a cgroup below the root of the tree",
                "a path as in /proc/PID/cgroup behind 0::",
            )
    return value

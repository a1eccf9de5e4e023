"""What a container is called, by what its engine keeps: its id changes, its name does not.

Podman and CRI-O have one `conmon` beside each container, whose words name both; it is there
before the container's cgroup is. Docker keeps `config.v2.json` in a folder named by the id.
Both are read, none is asked: an engine that hangs holds nothing up. Only what root runs
is believed: anybody may call a process conmon.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise

__all__ = ["names_of"]

_DOCKER = "/var/lib/docker/containers"
_LARGEST = 1 << 20


def names_of(identity: str, docker: str = _DOCKER) -> tuple[str, ...]:
    """Give the names of a container; none where no engine of root's knows it."""
    found = [_in_docker(identity, docker), *_of_conmons(identity)]
    return tuple(name for name in found if name)


def _in_docker(identity: str, docker: str) -> str:
    try:
        with open(f"{docker}/{identity}/config.v2.json", "rb") as file:
            name = json.loads(file.read(_LARGEST))["Name"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(name).lstrip("/")


def _of_conmons(identity: str) -> list[str]:
    wanted = identity.encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        words = _conmon(pid)
        if wanted in words[1:] and _after(words, b"-c") == wanted:
            found.append(_after(words, b"-n").decode(errors="replace"))
    return found


def _conmon(pid: str) -> list[bytes]:
    """Give the words of a process if it is root's conmon."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            if file.read(16) != b"conmon\n":
                return []
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            if "\nUid:\t0\t0\t0\t0\n" not in file.read():
                return []  # whose folder in /proc it is tells nothing: anybody can be undumpable
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(1 << 16).split(b"\0")
    except OSError:
        return []


def _after(words: list[bytes], flag: bytes) -> bytes:
    """Give the word behind `flag`, before conmon's own child is named."""
    for word, following in pairwise(words):
        if word == flag:
            return following
    return b""

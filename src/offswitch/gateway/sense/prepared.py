"""What sensing needs of root, before the gateway's rights are shed: files, and the canaries.

The files lie in a folder that only root may write, are root's own, and are handed on as open
descriptors; a worker can write its counters and make, move or remove no file. Watch's eyes may
read them. Which way it fails: without a folder, or with canaries that cannot be read, requests
pass all the same; that nothing is sensed is told, and rules on it are blind, and loud.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from offswitch.control.canary import Canaries
from offswitch.control.place import Place
from offswitch.control.sensed import SensedFile
from offswitch.errors import BadConfig, OffswitchError, Storage

__all__ = ["Prepared", "prepared"]

_LARGEST = 64 << 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the workers of one front get; the descriptors are the supervisor's to close."""

    fds: Sequence[int]
    """A file's for each worker: `Sense(fds[worker], canaries)`; empty: nothing is sensed."""
    canaries: Canaries
    problems: Sequence[str] = ()
    """What is not as it should be, for people."""


def prepared(place: Place, name: str, targets: Sequence[str], workers: int) -> Prepared:
    """Make the files of a gateway's workers, and read the installation's canaries."""
    problems = []
    try:
        canaries = _canaries(f"{place.home}/canaries")
    except OffswitchError as error:
        canaries = Canaries({})
        problems.append(f"no canary is looked for: {error.message}")
    fds: list[int] = []
    try:
        _make_folder(place.senses)
        for worker in range(workers):
            path = f"{place.senses}/{name}.{worker}"
            fds.append(SensedFile.make(path, name, targets, canaries.names))
        _remove_others(place.senses, name, workers)
    except OffswitchError as error:
        for fd in fds:
            os.close(fd)
        return Prepared((), canaries, (*problems, f"nothing is sensed: {error.message}"))
    return Prepared(fds, canaries, problems)


def _canaries(path: str) -> Canaries:
    try:
        with open(path, encoding="utf-8") as file:
            return Canaries.read(file.read(_LARGEST))
    except FileNotFoundError:
        return Canaries({})
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} cannot be read: {error}", "see its owner and mode") from None


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        mode = os.lstat(folder)
    except OSError as error:
        raise Storage(f"{folder}: {error.strerror}", "see that OFFSWITCH_RUN is writable") from None
    if mode.st_uid != os.geteuid() or mode.st_mode & 0o022:
        raise Storage(f"{folder} can be written by others", "remove it")


def _remove_others(folder: str, name: str, workers: int) -> None:
    """Remove the files of workers that there are no more."""
    for each in os.listdir(folder):
        front, _dot, number = each.rpartition(".")
        if front == name and number.isdigit() and int(number) >= workers:
            os.unlink(f"{folder}/{each}")

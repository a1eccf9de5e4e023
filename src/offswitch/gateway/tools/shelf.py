"""The books of calls of one installation: one for each worker of each gateway, on tmpfs.

Made before rights are given away, in a folder that only root (or the owner) may write; the group
that may stop may read. A worker has its own mapped, and can make, move and remove no file. While a
generation drains after a reload its books are still written in, so the next one takes others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from offswitch.control.place import Place
from offswitch.errors import Busy, OffswitchError, Storage
from offswitch.gateway.tools.book import CallBook, CallRow, read_book
from offswitch.model.scope import Scope

__all__ = ["Shelved", "all_calls", "make_books"]

_MOST_GENERATIONS = 16

Shelved = tuple[str, CallRow]
"""The name of a book, and a call in it."""


def make_books(place: Place, gateway: str, workers: int) -> list[CallBook]:
    """Make or take over the books of a gateway's workers; each then calls `take_over` itself."""
    folder = place.calls
    try:
        os.makedirs(folder, 0o750, exist_ok=True)
        found = os.lstat(folder)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise Storage(f"{folder} can be written by others", "remove it")
        gid = os.stat(place.control).st_gid if os.path.isdir(place.control) else -1
        os.chown(folder, -1, gid)
        books = []
        for worker in range(workers):
            books.append(_book(f"{folder}/{gateway}.{worker}"))
            os.chown(books[-1].path, -1, gid)
    except OSError as error:
        raise Storage(f"{folder}: {error.strerror}", "see that OFFSWITCH_RUN is writable") from None
    return books


def _book(path: str) -> CallBook:
    """Take the first book of a worker in which nobody writes."""
    for generation in range(_MOST_GENERATIONS):
        with suppress(Busy):
            return CallBook.take(path + f".{generation}" * bool(generation))
    raise Busy(f"{path}: too many generations of the gateway still drain", "wait for their end")


def all_calls(place: Place, scope: Scope | None = None) -> tuple[list[Shelved], int, list[str]]:
    """Give the calls of an installation in the order in which they began.

    With them: how many were written over, and what could not be read.
    """
    calls: list[Shelved] = []
    forgotten, problems = 0, []
    for name in _names(place):
        try:
            rows, gone = read_book(f"{place.calls}/{name}")
        except OffswitchError as error:
            problems.append(error.message)
            continue
        forgotten += gone
        calls += [(name, row) for row in rows if scope is None or scope.covers_path(row.target)]
    return sorted(calls, key=lambda call: call[1].began_us), forgotten, problems


def _names(place: Place) -> Iterator[str]:
    try:
        names: Sequence[str] = os.listdir(place.calls)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Storage(f"{place.calls}: {error.strerror}", "ask whoever may stop") from None
    yield from sorted(names)

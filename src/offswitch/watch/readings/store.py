"""The store: blocks of readings in LMDB, bounded in age and in bytes.

    names    number of a series  ─► [target, series]
    blocks   number, begin       ─► a block
    begins   begin, number       ─► the block's size: oldest first, for what must go

LMDB (Symas) maps one file, is crash-proof as it is used here (copy on write, synced at each
commit), takes one writer and any number of readers in other processes, and its file can never
outgrow the map. When the blocks fill three quarters of it the oldest go, and their pages are
used again. A store that cannot be opened or written is removed and begun anew: what it held is
the past, and nothing that stops depends on it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

import lmdb

from offswitch.watch.readings.block import Block, encode

__all__ = ["MOST_SERIES", "Series", "Store", "blocks_of", "whole"]

MOST_SERIES = 20_000
_SERIES, _BEGIN = struct.Struct(">I"), struct.Struct(">Q")
_PAGE = 4096
_FULL = 0.75
_ROOM = 0.70
"""Shares of the map: when the oldest go, and until when."""
_A_COMMIT = 20_000
"""Blocks that go at one commit for their age."""
_FILES = ("data.mdb", "lock.mdb")

Series = tuple[str, str]
"""A target and the name of a series."""


def whole() -> None:
    """Import all of LMDB now: what it imports when it first opens we may not be able to read."""
    for module in pkgutil.iter_modules(lmdb.__path__, "lmdb."):
        if not module.name.endswith(("__main__", "cffi", "tool")):
            with suppress(ImportError):
                importlib.import_module(module.name)


class Store:
    """The writer's side."""

    def __init__(self, folder: str, size: int, keep_us: int) -> None:
        """Open or begin the store in `folder`, of at most `size` bytes and `keep_us` of time."""
        self._folder = folder
        self._size = size
        self._keep_us = keep_us
        self.begun_anew = ""
        """Why what was there before is gone; empty: it is not."""
        try:
            self._open()
        except (lmdb.Error, ValueError) as error:
            self._anew(str(error))

    def _open(self) -> None:
        self._env = _environment(self._folder, self._size)
        with self._env.begin(write=True) as txn:
            self._names = self._env.open_db(b"names", txn=txn)
            self._blocks = self._env.open_db(b"blocks", txn=txn)
            self._begins = self._env.open_db(b"begins", txn=txn)
            self._numbers: dict[Series, int] = {
                _name(value): _SERIES.unpack(key)[0] for key, value in txn.cursor(self._names)
            }
            self._bytes = sum(_SERIES.unpack(size)[0] for _key, size in txn.cursor(self._begins))

    def _anew(self, why: str) -> None:
        self.begun_anew = why
        self.close()
        for name in _FILES:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._folder}/{name}")
        self._open()

    def knows_or_has_room(self, series: Series) -> bool:
        """Tell whether a series is kept, or still can be."""
        return series in self._numbers or len(self._numbers) < MOST_SERIES

    def append(self, blocks: Mapping[Series, Block], now_us: int) -> None:
        """Keep `blocks` durably, and let the oldest go where there is need."""
        for attempt in (self._append, self._append_with_room):
            try:
                attempt(blocks, now_us)
            except lmdb.MapFullError:
                continue
            except lmdb.Error as error:
                self._anew(str(error))
                self._append(blocks, now_us)
            return
        self._anew("it is full, though the oldest went")

    def _append_with_room(self, blocks: Mapping[Series, Block], now_us: int) -> None:
        with self._env.begin(write=True) as txn:
            self._bytes = self._prune(txn, self._bytes, int(self._bytes * 0.8), 0)
        self._append(blocks, now_us)

    def _append(self, blocks: Mapping[Series, Block], now_us: int) -> None:
        numbers, size = dict(self._numbers), self._bytes
        with self._env.begin(write=True) as txn:
            limit = int(self._size * (_ROOM if size > self._size * _FULL else 1))
            size = self._prune(txn, size, limit, now_us - self._keep_us)
            for series, block in blocks.items():
                number = numbers.get(series)
                if number is None:
                    number = numbers[series] = len(numbers) + 1
                    txn.put(_SERIES.pack(number), json.dumps(series).encode(), db=self._names)
                data = encode(block)
                begin = _BEGIN.pack(max(block.times_us[0], 0))
                txn.put(_SERIES.pack(number) + begin, data, db=self._blocks)
                taken = _taken(data)
                txn.put(begin + _SERIES.pack(number), _SERIES.pack(taken), db=self._begins)
                size += taken
        self._numbers, self._bytes = numbers, size

    def _prune(self, txn: Any, size: int, limit: int, before_us: int) -> int:  # noqa: ANN401
        """Let the oldest blocks go: beyond `limit` bytes, and those from before `before_us`."""
        cursor = txn.cursor(self._begins)
        gone = 0
        while cursor.first():
            key = cursor.key()
            begin, number = key[: _BEGIN.size], key[_BEGIN.size :]
            old = _BEGIN.unpack(begin)[0] < before_us and gone < _A_COMMIT
            if size <= limit and not old:
                break
            size -= _SERIES.unpack(cursor.value())[0]
            gone += 1
            txn.delete(number + begin, db=self._blocks)
            cursor.delete()
        return size

    def close(self) -> None:
        """Close it; may be called twice."""
        with suppress(AttributeError, lmdb.Error):
            self._env.close()


def _environment(folder: str, size: int, *, readonly: bool = False) -> Any:  # noqa: ANN401
    return lmdb.open(
        folder, map_size=size, max_dbs=3, subdir=True, readonly=readonly, create=not readonly,
        readahead=False, max_readers=16,
    )  # fmt: skip


def _name(value: bytes) -> Series:
    target, series = json.loads(value)
    return str(target), str(series)


def _taken(data: bytes) -> int:
    """How much of the map a block takes: long values have pages of their own."""
    size = len(data) + 64
    return size if size < _PAGE // 2 else -(-size // _PAGE) * _PAGE


def blocks_of(
    folder: str, wanted: Collection[Series] | None, since_us: int, until_us: int
) -> Iterator[tuple[Series, bytes]]:
    """Give the blocks of `wanted` (None: of all) that may hold readings of that time.

    Series by series, each the earliest first. Raises `lmdb.Error` where there is no store.
    """
    env = _environment(folder, 0, readonly=True)
    try:
        with env.begin() as txn:
            names = env.open_db(b"names", txn=txn, create=False)
            blocks = env.open_db(b"blocks", txn=txn, create=False)
            for key, value in txn.cursor(names):
                series = _name(value)
                if wanted is None or series in wanted:
                    for begin in _begins_between(txn.cursor(blocks), key, since_us, until_us):
                        yield series, bytes(txn.get(key + begin, db=blocks))
    finally:
        env.close()


def _begins_between(
    cursor: Any,  # noqa: ANN401
    number: bytes,
    since_us: int,
    until_us: int,
) -> list[bytes]:
    """Find the blocks of one series; the last that began before `since_us` may reach into it."""
    begins = []
    found = cursor.set_range(number)
    while found and cursor.key().startswith(number):
        begins.append(cursor.key()[_SERIES.size :])
        found = cursor.next()
    first = bisect_right(begins, _BEGIN.pack(max(since_us, 0))) - 1
    return begins[max(first, 0) : bisect_right(begins, _BEGIN.pack(max(until_us, 0)))]

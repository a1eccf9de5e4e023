"""Our files and folders, from outside: is one gone, replaced, opened to others, or written?

    places   run, control, spool, page, home: which inode, whose, which mode; the sockets: whether
             they are there; the latch, the ledger and its pin: whether they are there and whose
    units    systemd's: their texts, and which there are

What it was at the first look is right. A name that is gone is given half a second, since a warden
that begins makes its own anew. A page or a spool that is another inode is never right: both live
as long as the machine does (SR-21). The change time cannot be set back, so nothing that happens
between two looks is lost.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from offswitch.control.place import Place
from offswitch.watch.tampering.small import bounded, facts_of

__all__ = ["Places"]

_PATIENCE_US = 500_000
_MOST_UNITS = 200

Facts = tuple[int, ...]


class Places:
    """What there was, and what there is."""

    __slots__ = ("_gone", "_place", "_stamps", "_units", "_units_folder", "_was")

    def __init__(self, place: Place, units_folder: str) -> None:
        """Nothing is known before the first look."""
        self._place = place
        self._units_folder = units_folder
        self._was: dict[str, Facts] = {}
        self._gone: dict[str, int] = {}
        """Since when each is gone, monotonic."""
        self._units: dict[str, bytes] | None = None
        self._stamps: dict[str, tuple[int, int]] = {}

    def wrong(self, mono_us: int) -> Iterator[tuple[str, bool]]:
        """Say what is wrong, and whether it lasts (else it has happened just now)."""
        for path, whole in self._looked_at():
            now = facts_of(path)
            if now is None:
                if path in self._was:
                    since_us = self._gone.setdefault(path, mono_us)
                    if mono_us - since_us >= _PATIENCE_US:
                        yield f"{path} is gone", True
                continue
            self._gone.pop(path, None)
            facts: Facts = (now.st_mode, now.st_uid, now.st_gid)
            if whole:
                facts += (now.st_ino, now.st_dev)
            before = self._was.setdefault(path, facts)
            if before != facts:
                self._was[path] = facts
                same = before[3:] == facts[3:]
                yield f"{path} {'has another mode or owner' if same else 'was replaced'}", False
        yield from self._wrong_units()

    def _looked_at(self) -> Iterator[tuple[str, bool]]:
        """Give each place, and whether it must stay the same inode."""
        place = self._place
        for path in (place.run, place.control, place.spool, place.page, place.home):
            yield path, True
        for path in (place.warden_socket, place.keeper_socket, place.live_latch, place.latch):
            yield path, False
        yield f"{place.home}/pin/ledger.vkey", False
        yield f"{place.home}/ledger/ledger.db", False

    def _wrong_units(self) -> Iterator[tuple[str, bool]]:
        now: dict[str, bytes] = {}
        stamps: dict[str, tuple[int, int]] = {}
        for path in self._unit_files():
            facts = facts_of(path)
            if facts is None:
                continue
            stamps[path] = stamp = (facts.st_ctime_ns, facts.st_ino)
            known = (self._units or {}).get(path)
            if known is not None and self._stamps.get(path) == stamp:
                now[path] = known
                continue
            try:
                now[path] = hashlib.sha256(bounded(path)).digest()
            except OSError:
                now[path] = b"a link, or not to be read"
        before, self._units, self._stamps = self._units, now, stamps
        for path in sorted(before.keys() | now.keys()) if before is not None else ():
            if before is not None and before.get(path) != now.get(path):
                what = "was removed" if path not in now else "was added"
                yield f"{path} {'was edited' if path in before and path in now else what}", False

    def _unit_files(self) -> Iterator[str]:
        """Give systemd's files of ours, and what is dropped in beside them."""
        try:
            names = sorted(os.listdir(self._units_folder))
        except OSError:
            return
        for name in [one for one in names if one.startswith("offswitch")][:_MOST_UNITS]:
            path = f"{self._units_folder}/{name}"
            if not name.endswith(".d"):
                yield path
                continue
            try:
                yield from (f"{path}/{one}" for one in sorted(os.listdir(path))[:_MOST_UNITS])
            except OSError:
                continue

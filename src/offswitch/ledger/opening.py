"""Opening the ledger for writing: its folder, its key, its pin, and whether they agree.

A key is made once, with the ledger, and its verifying half is pinned and said. After that
a missing key, a pin of another key, or a ledger that does not reach the head that is
pinned means that somebody took something away or put something back. Nothing is signed on
top of that: a log that signs two histories proves neither. A person looks, moves `ledger`
and `pin` aside as evidence, and the next recorder begins a new ledger.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from offswitch.errors import Corrupt, Storage
from offswitch.ledger.checkpoint import open_checkpoint
from offswitch.ledger.key import SigningKey
from offswitch.ledger.pin import Pin
from offswitch.ledger.store import LedgerPaths, Store

__all__ = ["Opened", "open_ledger", "origin_of"]

_ASIDE = "keep ledger and pin as evidence and move both aside: then a new ledger begins"


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger that may be written."""

    store: Store
    pin: Pin
    vkey: str
    """The verifying key, for people to keep elsewhere."""
    new: bool
    """Whether the key was made just now."""
    trouble: str = ""
    """Why the key could not be pinned; empty: it is."""


def origin_of(home: str) -> str:
    """Give the name of the log of the installation in `home`: `offswitch/` and its id."""
    path = f"{home}/installation"
    try:
        with open(path, "rb") as file:
            text = file.read(64).decode("ascii", "replace").strip()
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "a warden makes it: offswitch up") from None
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise Corrupt(
            f"{path} holds no installation id", "restore it from the ledger's origin line"
        )
    return f"offswitch/{text}"


def open_ledger(home: str) -> Opened:
    """Open the ledger in `home`, or begin one; the caller holds the lock."""
    paths, pin = LedgerPaths(home), Pin(home)
    origin = origin_of(home)
    key, new = _key(paths, pin, origin)
    vkey = key.verify_key.text()
    pinned, trouble = pin.key(), ""
    if pinned is None:
        try:
            pin.write_key(vkey)
        except Storage as error:
            trouble = f"the key is not pinned: {error}"
    elif pinned.strip() != vkey:
        raise Corrupt(f"{pin.key_path} is not the key of this ledger", _ASIDE)
    store = Store.open(paths.database, key)
    try:
        _behind(store, pin, key)
    except BaseException:
        store.close()
        raise
    return Opened(store, pin, vkey, new, trouble)


def _key(paths: LedgerPaths, pin: Pin, origin: str) -> tuple[SigningKey, bool]:
    try:
        key = SigningKey.load(paths.key)
    except FileNotFoundError:
        for left in (paths.database, pin.key_path):
            if os.path.exists(left):
                raise Corrupt(f"{paths.key} is gone, but {left} is there", _ASIDE) from None
        return SigningKey.create(paths.key, origin), True
    if key.verify_key.name != origin:
        raise Corrupt(f"{paths.key} is the key of {key.verify_key.name}, not of {origin}", _ASIDE)
    return key, False


def _behind(store: Store, pin: Pin, key: SigningKey) -> None:
    """Refuse a ledger that does not reach the pinned head, such as a restored copy."""
    note = pin.head()
    try:
        head = open_checkpoint(note or b"", key.verify_key)
    except ValueError:
        return  # none, or one that a crash left unreadable: it vouches for nothing
    if head.size > store.size:
        raise Corrupt(
            f"the ledger ends after {store.size} entries, but {head.size} were pinned", _ASIDE
        )
    if store.root_at(head.size) != head.root:
        raise Corrupt(f"the first {head.size} entries are not those that were pinned", _ASIDE)

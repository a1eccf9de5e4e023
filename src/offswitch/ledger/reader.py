"""Looking into a ledger without changing it: its head, its entries, its proofs.

Everything is read in one snapshot, so that entries, tree and head fit together while the
recorder goes on. What is shown is compared with its own hash, and a proof is checked before
it is given away; whether the whole ledger is what was recorded only `verify` says.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from offswitch.errors import Corrupt, NotFound, Storage
from offswitch.ledger.checkpoint import Checkpoint, parse_checkpoint
from offswitch.ledger.proof import inclusion_proof, root_of_inclusion
from offswitch.ledger.seal import unseal
from offswitch.ledger.store import LedgerPaths, StoredNodes
from offswitch.ledger.tree import Frontier, leaf_hash
from offswitch.ledger.verifier import Unclear, snapshot, unsealed

__all__ = ["Inclusion", "Reader", "ShownEntry", "reading"]

_HINT = "see what is damaged: offswitch ledger verify"


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """One entry, as it is shown."""

    index: int
    public: dict[str, Any]
    """The public half, without the hashes of the sealed one."""
    sealed: dict[str, Any]
    """The sealed values; None for one that was erased."""
    intact: bool
    """Whether text and sealed values still have the hashes that were recorded with them."""

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` shows."""
        return {
            "index": self.index,
            "intact": self.intact,
            "public": self.public,
            "sealed": self.sealed,
        }


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A proof that an entry is in the tree that a checkpoint tells of."""

    index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    """Sibling hashes, from the leaf upwards."""
    note: bytes
    """The signed checkpoint."""


@contextmanager
def reading(home: str) -> Iterator[Reader]:
    """Open the ledger in `home` for reading; errors say what to do."""
    path = LedgerPaths(home).database
    try:
        with snapshot(path) as connection:
            yield Reader(connection)
    except FileNotFoundError:
        raise NotFound(
            f"there is no ledger in {home}", "a warden begins one: offswitch up"
        ) from None
    except (Unclear, OSError) as error:
        raise Storage(f"{path}: {error}", "read it as the recorder's user, or as root") from None
    except sqlite3.Error as error:
        raise Storage(f"{path}: {error}", _HINT) from None


class Reader:
    """One snapshot of a ledger."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read through `connection`; use `reading`."""
        self._connection = connection
        self.nodes = StoredNodes(connection)
        """The tree's hashes."""
        query = "SELECT idx, checkpoint FROM entries ORDER BY idx DESC LIMIT 1"
        row = connection.execute(query).fetchone()
        if row is None:
            raise NotFound("the ledger is empty", "its first entry comes with the first recorder")
        self.note = bytes(row[1] or b"")
        """The latest signed checkpoint."""
        try:
            self.head: Checkpoint = parse_checkpoint(self.note)[0]
        except ValueError as error:
            raise Corrupt(f"the checkpoint of entry {row[0]}: {error}", _HINT) from None

    def shown(self, first: int, end: int, containing: str = "") -> Iterator[ShownEntry]:
        """Give the entries from `first` to before `end` whose text contains `containing`."""
        query = (
            "SELECT idx, leaf, sealed, body FROM entries WHERE idx >= ?1 AND idx < ?2 "
            "AND (?3 = x'' OR instr(body, ?3)) ORDER BY idx"
        )
        values = (first, end, containing.encode("utf-8", "replace"))
        for index, leaf, sealed, body in self._connection.execute(query, values):
            yield _shown(index, leaf, sealed, body)

    def bodies(self, first: int, end: int) -> list[bytes]:
        """Give the texts of the entries from `first` to before `end`."""
        query = "SELECT body FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        return [row[0] for row in self._connection.execute(query, (first, end))]

    def inclusion(self, index: int) -> Inclusion:
        """Prove that entry `index` is in the tree of the latest checkpoint."""
        size = self.head.size
        found = self.bodies(index, index + 1) if 0 <= index < size else []
        if not found:
            raise NotFound(f"there is no entry {index}", f"there are 0 to {size - 1}")
        leaf = leaf_hash(found[0])
        proof = inclusion_proof(self.nodes, index, size)
        if root_of_inclusion(leaf, index, size, proof) != self.head.root:
            raise Corrupt(f"entry {index} is not in the tree that was signed", _HINT)
        return Inclusion(index, leaf, tuple(proof), self.note)

    def check_head(self) -> None:
        """Raise `Corrupt` unless what is stored leads to the root of the latest checkpoint."""
        if Frontier.of(self.nodes, self.head.size).root() != self.head.root:
            raise Corrupt("the stored tree is not the one that was signed", _HINT)


def _shown(index: int, leaf: bytes, sealed: bytes, body: bytes) -> ShownEntry:
    try:
        public = json.loads(body)
        values = unseal(sealed)
        public.pop("sealed", None)
        # An erased value has no hash of its own to compare; the text's still says it all.
        whole = None in values.values() or unsealed(sealed, body)
        return ShownEntry(index, public, values, whole and leaf_hash(body) == leaf)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ShownEntry(index, {"unreadable": repr(body)}, {}, intact=False)

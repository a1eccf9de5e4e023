"""The Merkle tree of RFC 6962, section 2.1.

    MTH({})     = SHA-256()
    MTH({d})    = SHA-256(0x00 || d)                     a leaf
    MTH(D[n])   = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))   k: largest power of two < n

A tree of n leaves falls apart into perfect subtrees, one for each set bit of n, the
largest first: its *frontier*. Appending merges equals at the right, so it costs one hash a
leaf on average. Every perfect subtree of 256, 65,536, … leaves is kept as a *node* (level
1, 2, …; the leaves themselves are level 0), which is just what tlog-tiles calls the hashes
of a tile; from nodes and leaves any root or proof is a few hundred hashes away.

Imports nothing of ours: the verifier stands on this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Protocol

__all__ = [
    "EMPTY_ROOT",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "Frontier",
    "Nodes",
    "leaf_hash",
    "node_hash",
    "perfect_root",
    "range_root",
]

EMPTY_ROOT = sha256(b"").digest()
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
"""Leaves, or nodes, below one node of the next level."""


class Nodes(Protocol):
    """Where hashes come from: leaves are level 0, roots of full tiles of level L are level L+1."""

    def hashes(self, level: int, start: int, count: int) -> Sequence[bytes]:
        """Give `count` hashes of `level` from `start` on; fewer than asked for is a defect."""
        ...


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent."""
    return sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Give the root above a power of two of hashes."""
    row = hashes
    while len(row) > 1:
        row = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(row[::2], row[1::2], strict=True)
        ]
    return row[0]


class Frontier:
    """The right edge of a growing tree: all that appending and its root need."""

    __slots__ = ("_subtrees", "size")

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        """Go on from a tree of `size` leaves, given the roots of its perfect subtrees."""
        self.size = size
        """How many leaves the tree has."""
        self._subtrees = list(subtrees)

    @classmethod
    def of(cls, nodes: Nodes, size: int) -> Frontier:
        """Derive the frontier of the first `size` leaves from what is stored."""
        return cls(size, [_subtree(nodes, height, index) for height, index in _decompose(0, size)])

    def copy(self) -> Frontier:
        """Give an independent copy, so that a commit that fails changes nothing."""
        return Frontier(self.size, self._subtrees)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf; return the nodes (level, index, hash) that are complete now."""
        completed = []
        index, height, top = self.size, 0, leaf
        while index & 1:
            top = sha256(b"\x01" + self._subtrees.pop() + top).digest()
            index >>= 1
            height += 1
            if height % TILE_HEIGHT == 0:
                completed.append((height // TILE_HEIGHT, index, top))
        self._subtrees.append(top)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Give the root of the whole tree."""
        return _fold(self._subtrees)


def range_root(nodes: Nodes, start: int, end: int) -> bytes:
    """Give MTH(D[start:end]), for ranges as RFC 6962 splits them (or starting at 0)."""
    return _fold([_subtree(nodes, height, index) for height, index in _decompose(start, end)])


def _fold(subtrees: Sequence[bytes]) -> bytes:
    """Join perfect subtrees, the largest first, from the right."""
    if not subtrees:
        return EMPTY_ROOT
    top = subtrees[-1]
    for left in subtrees[-2::-1]:
        top = sha256(b"\x01" + left + top).digest()
    return top


def _decompose(start: int, end: int) -> list[tuple[int, int]]:
    """Split [start, end) into perfect subtrees as (height, index), the largest first."""
    parts = []
    while start < end:
        height = (end - start).bit_length() - 1
        parts.append((height, start >> height))
        start += 1 << height
    return parts


def _subtree(nodes: Nodes, height: int, index: int) -> bytes:
    """Give the root of one perfect subtree from the hashes of the level just below it."""
    level, rest = divmod(height, TILE_HEIGHT)
    return perfect_root(nodes.hashes(level, index << rest, 1 << rest))

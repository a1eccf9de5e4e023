"""A Merkle tree whose nodes lie in lists: what the tests of tree and proofs stand on."""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.ledger.tree import Frontier, leaf_hash


class Kept:
    """The tree's nodes in lists."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.levels: list[list[bytes]] = [[]]

    def add(self, leaf: bytes) -> None:
        self.levels[0].append(leaf)
        for level, index, node in self.frontier.append(leaf):
            if level == len(self.levels):
                self.levels.append([])
            assert index == len(self.levels[level])
            self.levels[level].append(node)

    def hashes(self, level: int, start: int, count: int) -> Sequence[bytes]:
        found = self.levels[level][start : start + count]
        assert len(found) == count
        return found


def grown(count: int) -> Kept:
    kept = Kept()
    for number in range(count):
        kept.add(leaf_hash(b"entry %d" % number))
    return kept

"""Proofs over the tree: that an entry is in it, and that one tree is the beginning of another.

Made as RFC 6962 says (2.1.1 `PATH`, 2.1.2 `PROOF`), checked by the algorithms that RFC
9162 spells out (2.1.3.2 and 2.1.4.2). All are small and pure; a checker returns the root
that the proof leads to, or raises `ValueError` when the proof does not fit its sizes, so
that nobody can forget to compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.ledger.tree import Nodes, node_hash, range_root

__all__ = ["consistency_proof", "inclusion_proof", "root_of_inclusion", "roots_of_consistency"]


def _split(count: int) -> int:
    """Give the largest power of two that is smaller than `count`."""
    return 1 << (count - 1).bit_length() - 1


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]), RFC 6962 section 2.1.1: sibling hashes from the leaf upwards."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has no entry {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(nodes, middle, end))
            end = middle
        else:
            path.append(range_root(nodes, start, middle))
            start = middle
    path.reverse()
    return path


def consistency_proof(nodes: Nodes, first: int, second: int) -> list[bytes]:
    """PROOF(first, D[second]), RFC 6962 section 2.1.2; empty for equal or empty trees."""
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {first} is no beginning of one of {second}")
    if first in {0, second}:
        return []
    proof: list[bytes] = []
    start, end, known = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(range_root(nodes, middle, end))
            end = middle
        else:
            proof.append(range_root(nodes, start, middle))
            start, known = middle, False
    if not known:
        proof.append(range_root(nodes, start, end))
    proof.reverse()
    return proof


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2: the root that `leaf` at `index` and `proof` lead to."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} entries has no entry {index}")
    position, last, top = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if position & 1 or position == last:
            top = node_hash(sibling, top)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            top = node_hash(top, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return top


def roots_of_consistency(
    first: int, second: int, first_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """RFC 9162 section 2.1.4.2: the roots of both trees that `proof` leads to.

    The caller compares both; `first_root` is where it begins when the first tree is perfect.
    For equal sizes the second root is `first_root`; out of an empty tree nothing follows,
    so that is refused.
    """
    if not 0 < first <= second:
        raise ValueError(f"nothing can be proven from {first} to {second} entries")
    if first == second:
        if proof:
            raise ValueError("the proof is too long")
        return first_root, first_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        raise ValueError("the proof is too short")
    position, last = first - 1, second - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ValueError("the proof is too long")
        if position & 1 or position == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return old, new

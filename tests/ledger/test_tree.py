"""The tree is RFC 6962's: against its published roots, its own definition, and pymerkle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pymerkle
import pytest

from kept_tree import grown
from offswitch.ledger.tree import EMPTY_ROOT, Frontier, leaf_hash, range_root

CT_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
"""The leaves that Certificate Transparency's own tests use, and the roots of the first n."""
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_definition(entries: Sequence[bytes]) -> bytes:
    """MTH as section 2.1 spells it, slow and plain."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = by_definition(entries[:split]), by_definition(entries[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == by_definition([])


def test_roots_are_those_that_certificate_transparency_publishes() -> None:
    frontier = Frontier()
    for leaf, root in zip(CT_LEAVES, CT_ROOTS, strict=True):
        frontier.append(leaf_hash(bytes.fromhex(leaf)))
        assert frontier.root().hex() == root


def test_every_root_up_to_600_is_the_definitions() -> None:
    frontier, entries = Frontier(), []
    for number in range(600):
        entries.append(b"entry %d" % number)
        frontier.append(leaf_hash(entries[-1]))
        if number % 37 == 0 or number in {254, 255, 256, 511, 512, 599}:
            assert frontier.root() == by_definition(entries)


def test_roots_are_those_of_pymerkle() -> None:
    theirs = pymerkle.InmemoryTree(algorithm="sha256")
    frontier = Frontier()
    for number in range(300):
        entry = b"entry %d" % number
        theirs.append_entry(entry)
        frontier.append(leaf_hash(entry))
        if number % 23 == 0 or number > 290:
            assert frontier.root() == theirs.get_root()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 66_049])
def test_the_frontier_is_derived_again_from_what_is_stored(size: int) -> None:
    kept = grown(size)
    derived = Frontier.of(kept, size)
    assert derived.size == size
    assert derived.root() == kept.frontier.root()
    derived.append(b"x" * 32)
    kept.frontier.append(b"x" * 32)
    assert derived.root() == kept.frontier.root()


def test_a_copy_grows_alone() -> None:
    frontier = grown(5).frontier
    root = frontier.root()
    frontier.copy().append(b"x" * 32)
    assert (frontier.size, frontier.root()) == (5, root)


def test_the_root_of_an_earlier_size_is_still_there() -> None:
    kept, frontier = grown(600), Frontier()
    for number in range(600):
        assert range_root(kept, 0, number) == frontier.root()
        frontier.append(kept.levels[0][number])

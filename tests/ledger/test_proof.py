"""Proofs lead to the root they should, and to no other when anything in them is changed."""

from __future__ import annotations

import random

import pymerkle
import pytest

from kept_tree import Kept, grown
from offswitch.ledger.proof import (
    consistency_proof,
    inclusion_proof,
    root_of_inclusion,
    roots_of_consistency,
)
from offswitch.ledger.tree import Frontier, leaf_hash, range_root
from scale import runs

SIZES = [1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 255, 256, 257, 300, 513, 700]


@pytest.fixture(scope="module")
def kept() -> Kept:
    return grown(700)


def flipped(proof: list[bytes], at: int, rng: random.Random) -> list[bytes]:
    changed = bytearray(proof[at])
    changed[rng.randrange(32)] ^= 1 << rng.randrange(8)
    return [*proof[:at], bytes(changed), *proof[at + 1 :]]


@pytest.mark.parametrize("size", SIZES)
def test_every_entry_is_proven_to_be_in_its_tree(kept: Kept, size: int) -> None:
    root = range_root(kept, 0, size)
    for index in range(0, size, max(1, size // 40)):
        proof = inclusion_proof(kept, index, size)
        assert root_of_inclusion(kept.levels[0][index], index, size, proof) == root


@pytest.mark.parametrize("size", SIZES)
def test_every_tree_is_proven_to_go_on_from_every_earlier_one(kept: Kept, size: int) -> None:
    root = range_root(kept, 0, size)
    for first in range(1, size + 1, max(1, size // 40)):
        old = range_root(kept, 0, first)
        proof = consistency_proof(kept, first, size)
        assert roots_of_consistency(first, size, old, proof) == (old, root)


def test_a_proof_with_anything_changed_leads_elsewhere(kept: Kept, rng: random.Random) -> None:
    for _ in range(runs(4000)):
        size = rng.randrange(2, 700)
        index = rng.randrange(size)
        root, leaf = range_root(kept, 0, size), kept.levels[0][index]
        proof = inclusion_proof(kept, index, size)
        at = rng.randrange(len(proof))
        assert root_of_inclusion(leaf, index, size, flipped(proof, at, rng)) != root
        assert root_of_inclusion(leaf_hash(b"another"), index, size, proof) != root
        other = rng.choice([each for each in range(size) if each != index])
        try:
            assert root_of_inclusion(leaf, other, size, proof) != root
        except ValueError:
            pass
        for wrong in (proof[:-1], [*proof, leaf]):
            with pytest.raises(ValueError, match="too"):
                root_of_inclusion(leaf, index, size, wrong)


def test_a_consistency_proof_with_anything_changed_leads_elsewhere(
    kept: Kept, rng: random.Random
) -> None:
    for _ in range(runs(4000)):
        size = rng.randrange(3, 700)
        first = rng.randrange(1, size)
        old, new = range_root(kept, 0, first), range_root(kept, 0, size)
        proof = consistency_proof(kept, first, size)
        at = rng.randrange(len(proof))
        assert roots_of_consistency(first, size, old, flipped(proof, at, rng)) != (old, new)
        try:
            assert roots_of_consistency(first, size, old, proof[:-1]) != (old, new)
        except ValueError:
            pass
        with pytest.raises(ValueError, match="too long"):
            roots_of_consistency(first, size, old, [*proof, old])


def test_sizes_that_make_no_sense_are_refused(kept: Kept) -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(ValueError, match="has no entry"):
            inclusion_proof(kept, index, size)
        with pytest.raises(ValueError, match="has no entry"):
            root_of_inclusion(b"x" * 32, index, size, [])
    with pytest.raises(ValueError, match="no beginning"):
        consistency_proof(kept, 6, 5)
    for first, second in ((0, 5), (6, 5)):
        with pytest.raises(ValueError, match="nothing can be proven"):
            roots_of_consistency(first, second, b"x" * 32, [])
    assert consistency_proof(kept, 0, 5) == consistency_proof(kept, 5, 5) == []
    with pytest.raises(ValueError, match="too long"):
        roots_of_consistency(5, 5, b"x" * 32, [b"y" * 32])
    with pytest.raises(ValueError, match="too short"):
        roots_of_consistency(3, 5, b"x" * 32, [])


def test_pymerkle_accepts_our_trees_and_makes_the_same_ones() -> None:
    theirs, frontier = pymerkle.InmemoryTree(algorithm="sha256"), Frontier()
    for number in range(70):
        theirs.append_entry(b"entry %d" % number)
        frontier.append(leaf_hash(b"entry %d" % number))
        proof = theirs.prove_consistency(number // 2 + 1, number + 1)
        pymerkle.verify_consistency(
            range_root(grown(number // 2 + 1), 0, number // 2 + 1), frontier.root(), proof
        )
        inclusion = theirs.prove_inclusion(number // 3 + 1, number + 1)
        pymerkle.verify_inclusion(
            leaf_hash(b"entry %d" % (number // 3)), frontier.root(), inclusion
        )

"""Output, action, compute: each ended by several layers, whichever of them fails (ACT-2)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from effects import EFFECTS, LAYERS, Scene
from needs import needs_program, needs_root
from postgres_server import PostgresServer, programs
from scale import LONG


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    needs_root()
    if programs() is None:
        needs_program("initdb")
    with PostgresServer.started() as server:
        server.database("shop")
        yield server


def some(cases: list[tuple[str, ...]], rng: random.Random) -> list[tuple[str, ...]]:
    """Give all in a long run, two of them every day: others for another seed."""
    return cases if LONG else rng.sample(cases, 2)


def gone_on(folder: Path, server: PostgresServer, off: tuple[str, ...]) -> set[str]:
    scene = Scene(folder, server, off)
    try:
        layers = scene.stop()
        found = scene.goes_on()
        if not found:
            for effect, ways in EFFECTS.items():
                seen = {layer for layer in ways if layers.get(layer, {}).get("confirmed")}
                assert seen, f"nobody has seen that {effect} has ended"
        return found
    finally:
        scene.close()


def test_ACT_2_with_any_one_layer_switched_off_all_three_effects_end(
    tmp_path: Path, server: PostgresServer, rng: random.Random
) -> None:
    for number, off in enumerate(some([(layer,) for layer in LAYERS], rng)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert gone_on(folder, server, off) == set(), off


def test_ACT_2_with_any_two_layers_switched_off_no_output_and_no_action_goes_on(
    tmp_path: Path, server: PostgresServer, rng: random.Random
) -> None:
    for number, off in enumerate(some(list(itertools.combinations(LAYERS, 2)), rng)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert gone_on(folder, server, off) <= {"compute"}, off


def test_ACT_2_the_witnesses_see_what_goes_on_when_nothing_is_stopped(
    tmp_path: Path, server: PostgresServer
) -> None:
    scene = Scene(tmp_path, server, LAYERS)
    try:
        layers = scene.stop()
        assert scene.goes_on() == set(EFFECTS)
        assert not any(layers[layer]["confirmed"] for layer in LAYERS)
    finally:
        scene.close()

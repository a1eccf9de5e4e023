"""A container is adopted by its name: its id and its cgroup are new each time it is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from container_engine import Engine, engine_in
from installation import Installation, until
from offswitch.warden.cells.cgroups import find_v1


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path) as made:
        yield made


def test_SR_24_a_container_is_found_by_its_name_and_a_new_one_of_that_name_is_killed(
    installation: Installation, engine: Engine
) -> None:
    first = engine.run()
    assert first.returncode == 0, first
    row = installation.ask({"op": "adopt", "target": "web/agent", "as": {"container": engine.name}})
    assert (row["state"], row["pids"]) == ("running", 1)
    until(lambda: installation.target("web/agent")["user"], "it has been looked into")
    answer = installation.stop("web/agent")
    assert answer["confirmed"] is True, "its own network was looked into, too"
    until(lambda: not engine.running(), "its engine has seen it dead")
    again = engine.run()
    until(lambda: not engine.running(), f"the new one is dead, too: {again}")
    assert again.stdout.strip() != first.stdout.strip(), "it was another one"
    moved = [each for each in installation.entries() if each["kind"] == "moved"]
    assert any("started again" in str(each.get("what")) for each in moved)
    until(lambda: installation.target("web/agent")["confirmed"], "it stands still")
    assert installation.reset("web/agent")["state"] == "done"
    assert engine.run().returncode == 0
    until(lambda: installation.target("web/agent")["pids"] == 1, "after a reset it may live")
    assert engine.running()


def test_SR_24_a_paused_container_of_a_v1_freezer_is_thawed_to_die(
    fresh: Installation, engine: Engine
) -> None:
    if find_v1("freezer") is None:
        pytest.skip("no v1 freezer here: a pause is a freeze of v2, which a kill does not mind")
    assert engine.run().returncode == 0
    fresh.ask({"op": "adopt", "target": "web/paused", "as": {"container": engine.name}})
    assert engine("pause", engine.name).returncode == 0
    pids = fresh.ask({"op": "cells"})["cells"][0]["pids"]
    assert "D (disk sleep)" in Path(f"/proc/{pids[0]}/status").read_text()
    answer = fresh.stop("web/paused")
    layers = {each["layer"]: each["confirmed"] for each in answer["targets"][0]["layers"]}
    assert layers["process"] is True
    until(lambda: not Path(f"/proc/{pids[0]}").exists(), "it is gone", 5)

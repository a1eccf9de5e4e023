"""A container is adopted by its name: its id and its cgroup are new each time it is run."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation, until
from needs import needs_program, needs_root
from offswitch.warden.cells.cgroups import find_v1


class Engine:
    """Podman with folders of its own, and one kind of container: busybox, asleep."""

    def __init__(self, base: Path) -> None:
        self.podman = needs_program("podman")
        needs_program("runc")
        self.rootfs = base / "rootfs"
        (self.rootfs / "bin").mkdir(parents=True)
        shutil.copy(needs_program("busybox"), self.rootfs / "bin/busybox")
        (self.rootfs / "bin/sleep").symlink_to("busybox")
        # Not below pytest's own folder: a mount that a killed run leaves would be in its way.
        self.store = Path(tempfile.mkdtemp(prefix="engine-", dir="/var/tmp"))
        self.run_root = tempfile.mkdtemp(prefix="engine-", dir="/dev/shm")
        self.words = [self.podman, "--root", str(self.store), "--runroot", self.run_root]
        self.words += ["--cgroup-manager=cgroupfs", "--runtime", "runc"]
        self.name = f"adopted-{uuid.uuid4().hex[:8]}"

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [*self.words, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the container anew; a new one has a new id."""
        self("rm", "-f", "-t0", self.name)
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
        words = ("run", "-d", "--name", self.name, *limits, "--network=none")
        return self(*words, "--rootfs", str(self.rootfs), "/bin/sleep", "1000")

    def running(self) -> bool:
        return self("inspect", "-f", "{{.State.Running}}", self.name).stdout.strip() == "true"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    needs_root()
    made = Engine(tmp_path)
    try:
        yield made
    finally:
        made("rm", "-f", "-t0", made.name)
        words = ["umount", "-l", f"{made.store}/overlay"]
        while subprocess.run(words, check=False, capture_output=True).returncode == 0:
            pass  # each of its commands may have mounted it over again
        for folder in (made.run_root, made.store):
            shutil.rmtree(folder, ignore_errors=True)


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

"""The rungs between root and the last, as an ordinary user on a real host meets them (SR-25).

Ann has a session of systemd's, which gives her a part of the cgroup tree. Bob has none.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hooked_world import KEY
from host import Host, booted
from installation import until

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
ACTING = "while :; do printf . >> {acts}; sleep 0.01; done"


@pytest.fixture(scope="module")
def people() -> Iterator[Host]:
    """Give a host of our own: what is shown here kills wardens and fakes programs."""
    with booted() as host:
        host.add_user("ann", lingering=True)
        host.add_user("bob")
        # A /proc of a namespace's own knows the machine's boot id, not the one that a host feigns.
        host.sh("umount /proc/sys/kernel/random/boot_id")
        yield host


class At:
    """One person's shell on the host."""

    def __init__(self, host: Host, user: str) -> None:
        self.host, self.user = host, user
        self.children: list[subprocess.Popen[Any]] = []

    def __call__(self, *words: str, code: int = 0, **more: Any) -> str:  # noqa: ANN401
        done = self.host.run([OFFSWITCH, *words], user=self.user, **more)
        assert done.returncode == code, done
        return done.stdout

    def run(self, target: str, script: str) -> None:
        argv = [OFFSWITCH, "run", "--target", target, "--", "sh", "-c", script]
        pipe = subprocess.DEVNULL
        self.children.append(self.host.popen(argv, user=self.user, stdout=pipe, stderr=pipe))
        until(lambda: self.row(target).get("state") == "running", f"{target} runs")

    def status(self) -> dict[str, Any]:
        done = self.host.run([OFFSWITCH, "status", "--json"], user=self.user)
        return dict(json.loads(done.stdout))

    def row(self, target: str) -> dict[str, Any]:
        rows = self.status().get("targets", [])
        return next((row for row in rows if row["target"] == target), {})

    def stop(self, target: str) -> dict[str, Any]:
        done = self.host.run([OFFSWITCH, "stop", target, "--json"], user=self.user)
        return dict(json.loads(done.stdout))

    def doctor(self) -> dict[str, Any]:
        done = self.host.run([OFFSWITCH, "doctor", "--json"], user=self.user)
        checks = json.loads(done.stdout)["checks"]
        return {check["name"]: check for check in checks}

    def file(self, name: str) -> Path:
        """Name a file of theirs, as this machine reaches it."""
        return self.host.root / f"home/{self.user}/{name}"

    def size(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return self.file(name).stat().st_size
        return 0

    def warden(self) -> int:
        """Give the pid of their warden inside."""
        return self.host.pids("offswitch.warden --home", self.user)[0]

    def close(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def ann(people: Host) -> Iterator[At]:
    person = At(people, "ann")
    yield person
    person.close()


@pytest.fixture
def bob(people: Host) -> Iterator[At]:
    person = At(people, "bob")
    yield person
    person.close()


def test_SR_25_a_user_with_a_session_gets_cells_that_are_cgroups(ann: At) -> None:
    acts = "/home/ann/acts"
    ann.run("a", f"setsid sh -c '{ACTING.format(acts=acts)}' & wait")
    until(lambda: ann.size("acts"), "it acts")
    row = ann.row("a")
    assert (row["rung"], row["readiness"]["process"]) == ("user-delegation", "ready")
    doctor = ann.doctor()
    assert "the warden is not root" in doctor["rung"]["detail"]
    assert "sudo offswitch" in doctor["rung"]["hint"]
    assert "writes itself into another cgroup" in doctor["escapes"]["detail"]
    assert ann.stop("a")["confirmed"] is True
    before = ann.size("acts")
    until(lambda: not ann.host.pids("acts", "ann"), "its relay has ended, too")
    assert ann.size("acts") == before
    ann("reset", "a", "--reason", "a test")


def test_SR_25_a_process_may_write_itself_out_of_a_delegated_cell_and_that_is_said(
    ann: At,
) -> None:
    acts = "/home/ann/fled"
    flee = "c=$(sed -n s/^0:://p /proc/self/cgroup); echo $$ > /sys/fs/cgroup${c%/*/*}/cgroup.procs"
    ann.run("b", f"setsid sh -c '{flee}; exec 3>&-; {ACTING.format(acts=acts)}' & sleep 100")
    until(lambda: ann.size("fled"), "it acts")
    assert ann.stop("b")["confirmed"] is True, "the cell is empty"
    before = ann.size("fled")
    until(lambda: ann.size("fled") > before, "it acts on, as the page on rungs says")
    ann.host.kill(ann.host.pids("fled", "ann"))
    ann("reset", "b", "--reason", "a test")


def test_SR_25_a_job_of_systemds_gets_away_and_that_is_said(ann: At) -> None:
    job = f"systemd-run --user --quiet sh -c '{ACTING.format(acts='/home/ann/job')}'; sleep 100"
    ann.run("c", job)
    until(lambda: ann.size("job"), "it acts")
    assert ann.stop("c")["confirmed"] is True
    before = ann.size("job")
    until(lambda: ann.size("job") > before, "the broker's job acts on")
    assert "a job handed to a broker" in ann.doctor()["escapes"]["detail"]
    ann.host.kill(ann.host.pids("home/ann/job", "ann"))
    ann("reset", "c", "--reason", "a test")


@pytest.mark.parametrize("who", ["ann", pytest.param("bob", marks=pytest.mark.long)])
def test_SR_25_SR_21_the_next_warden_finds_the_cells_and_old_guards_refuse(
    people: Host, who: str
) -> None:
    """The sealed page ends with its warden: its lease runs out, which means stop."""
    person = At(people, who)
    try:
        guard = "import time; from offswitch.guard import Guard; g = Guard.from_env()\n"
        guard += "while True: open('/home/{}/said','w').write(str(g.allowed())); time.sleep(.02)"
        python = f'{sys.executable} -c "{guard.format(who)}"'
        person.run("d", python)
        until(lambda: person.size("said") and person.file("said").read_text() == "True", "allowed")
        people.sh(f"kill -9 {person.warden()}")
        person("start", "nobody", code=4)  # asks for a warden, and so brings one up
        until(lambda: person.row("d").get("state") == "running", "it is found again")
        until(lambda: person.file("said").read_text() == "False", "its guard refuses")
        stopped = person.stop("d")
        assert stopped["confirmed"] is True, stopped
        person("reset", "d", "--reason", "a test")
    finally:
        person.close()


def test_SR_25_without_a_session_a_cell_is_a_namespace(bob: At) -> None:
    out = bob("run", "--target", "a", "--", "sh", "-c", "echo $$; ls /proc; exit 3", code=3)
    assert "1" in out.split(), "the cell's init"
    assert len([word for word in out.split() if word.isdigit()]) <= 5, "and nothing of outside"
    bob("run", "--target", "a", "--", "sh", "-c", "kill -TERM $$", code=143)
    bob.run("b", f"setsid sh -c '{ACTING.format(acts='/home/bob/acts')}' & wait")
    until(lambda: bob.size("acts"), "it acts")
    assert bob.row("b")["rung"] == "namespace"
    assert "loginctl enable-linger" in bob.doctor()["rung"]["hint"]
    assert bob.stop("b")["confirmed"] is True
    before = bob.size("acts")
    until(lambda: not bob.host.pids("acts", "bob"), "its relay has ended, too")
    assert bob.size("acts") == before
    bob("reset", "b", "--reason", "a test")


@pytest.mark.long
def test_SR_25_a_systemd_that_hangs_leaves_the_next_rung() -> None:
    with booted() as host:
        host.add_user("ann", lingering=True)
        host.sh("mv /usr/bin/systemd-run /usr/bin/systemd-run.real")
        host.sh("printf '#!/bin/sh\\nsleep 1000\\n' > /usr/bin/systemd-run")
        host.sh("chmod 755 /usr/bin/systemd-run")
        done = host.run([OFFSWITCH, "run", "--target", "a", "--", "true"], user="ann")
        assert done.returncode == 0, done.stderr
        assert "rung namespace" in done.stderr


WORLD = "import time; from hooked_world import HookedWorld as W; print(W().url, flush=True)"
CONFIG = """
[[target]]
name = "d"

[[actuator]]
name = "hook"
target = "d"
kind = "webhook"
url = "{url}/hook"
key_file = "/home/bob/key"
look_url = "{url}/state"
look_is = {{ state = "stopped" }}
"""


def test_SR_25_without_root_a_hand_acts_and_is_seen_as_its_owner(bob: At) -> None:
    argv = [sys.executable, "-c", f"{WORLD}; time.sleep(1000)"]
    env = {"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    world = bob.host.popen(argv, user="bob", env=env, stdout=subprocess.PIPE, text=True)
    bob.children.append(world)
    assert world.stdout is not None
    url = world.stdout.readline().strip()
    world.stdout.close()
    bob.host.sh(f"umask 077; printf {KEY} > ~/key; mkdir -p ~/.local/state/offswitch", user="bob")
    home = bob.file(".local/state/offswitch")
    (home / "offswitch.toml").write_text(CONFIG.format(url=url))
    (home / "offswitch.toml").chmod(0o644)
    pipe = subprocess.DEVNULL
    bob.children.append(bob.host.popen([OFFSWITCH, "up"], user="bob", stdout=pipe, stderr=pipe))
    until(lambda: bob.row("d").get("readiness", {}).get("credentials") == "ready", "it is ready")
    answer = bob.stop("d")
    [target] = answer["targets"]
    found = {layer["layer"]: layer["confirmed"] for layer in target["layers"]}
    assert found["credentials"] is True
    bob("reset", "d", "--reason", "a test")

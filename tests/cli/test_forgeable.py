"""What a target could fake or leave is said wherever a person looks (SR-2, SR-21, SR-25)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.emergency import OFFSWITCH, answer
from cli.keyboard import Keyboard
from cli.person import Person
from installation import Installation
from needs import needs_root

FORGEABLE = "reset forgeable by the target"
SLEEP = ("sleep", "1000")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Give an installation in which a target runs as the warden's own user."""
    needs_root()
    made = Installation(tmp_path_factory.mktemp("forgeable"))
    try:
        made.start().run(*SLEEP, target="as/root", user="root")
        yield made
    finally:
        made.close()


def test_SR_2_a_reset_that_could_be_forged_is_shown_wherever_one_looks(
    shared: Installation,
) -> None:
    for words in ((), ("status",), ("target", "show", "as/root"), ("doctor",)):
        assert FORGEABLE in " ".join(shared.cli(*words).stdout.split()), words
    shared.stop("nobody")
    done = shared.cli("reset", "nobody", "--reason", "a test")
    assert done.returncode == 0
    assert FORGEABLE in done.stdout


def test_SR_2_where_no_target_shares_the_wardens_user_nothing_is_said(
    installation: Installation,
) -> None:
    installation.run(*SLEEP, target="own/user")
    for words in ((), ("status",), ("target", "show", "own/user")):
        assert "forgeable" not in installation.cli(*words).stdout, words


def test_SR_25_a_target_that_runs_as_root_is_shown_as_escapable(shared: Installation) -> None:
    assert "as/root  running, 1 process, without sweep, runs as root: escapable" in (
        shared.cli("status").stdout
    )
    [row] = answer(shared.cli("status", "--json"))["targets"]
    assert row["escapable"] is True
    shown = " ".join(shared.cli("target", "show", "as/root").stdout.split())
    assert "root (escapable: root can leave its cell" in shown


def test_SR_25_a_script_is_told_what_can_escape_and_no_more(shared: Installation) -> None:
    words = [OFFSWITCH, "run", "--target", "b", "--user", "root", "--", "sh", "-c", "echo out"]
    done = subprocess.run(words, env=shared.env, capture_output=True, text=True, check=True)
    assert done.stdout == "out\n"
    assert done.stderr.splitlines() == [
        "offswitch: b: runs as root: it can escape its cell",
        "offswitch: b: reset forgeable by the target: it shares the warden's user",
    ]
    own = subprocess.run(
        [OFFSWITCH, "run", "--target", "c", "--", "true"],
        env=shared.env,
        cwd=shared.work,
        capture_output=True,
        check=True,
    )
    assert own.stderr == b"", "a target with a user of its own is no news"


def test_a_person_who_lends_their_home_is_told_so(shared: Installation, tmp_path: Path) -> None:
    env = {**shared.env, "HOME": str(tmp_path)}
    with Keyboard(env, str(tmp_path), OFFSWITCH, "run", "--", "true") as person:
        person.expect(f"{tmp_path} is your home: the target may read and change all of it")


def test_SR_21_without_root_nothing_is_silent_about_what_can_be_forged() -> None:
    needs_root()
    with Person() as person:
        ran = person.run("offswitch", "run", "--target", "a", "--", "sleep", "0.1")
        told = ran.stderr.decode()
        assert "offswitch: a: degraded: rung namespace" in told
        assert f"offswitch: a: {FORGEABLE}" in told
        key = Path(f"{person.home}/state/pin/ledger.vkey").read_text().strip()
        assert told.count(f"a new ledger; keep its verifying key elsewhere: {key}") == 1
        status = person.run("offswitch", "status").stdout.decode()
        assert "degraded: rung namespace" in status
        assert "forgeable by the target: the kernel" not in status, "the page is sealed"
        checks = json.loads(person.run("offswitch", "doctor", "--json").stdout)["checks"]
        [page] = [check for check in checks if check["name"] == "page"]
        assert "out of a target's reach" in page["detail"]
        [escapes] = [check for check in checks if check["name"] == "escapes"]
        assert "a job handed to a broker outside" in escapes["detail"]
        [rung] = [check for check in checks if check["name"] == "rung"]
        assert "the warden is not root" in rung["detail"]
        assert rung["hint"]
        again = person.run("offswitch", "run", "--target", "a", "--", "true")
        assert key not in again.stderr.decode()

"""`offswitch reset`: deliberate, with its cause, by a person; it starts nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cli.emergency import OFFSWITCH, answer, error, hanging, two_households
from cli.keyboard import Keyboard
from installation import Installation, until
from needs import needs_program
from offswitch.decide.authority import add_person
from offswitch.decide.secret import set_secret

SLEEP = ("sleep", "1000")
SECRET = "correct horse battery"


def stopped(installation: Installation, name: str, user: str | None = None) -> None:
    installation.run(*SLEEP, target=name, user=user)
    assert installation.stop(name)["confirmed"] is True


def test_RST_2_a_reset_clears_and_says_that_it_starts_nothing(installation: Installation) -> None:
    stopped(installation, "plain/a")
    done = installation.cli("reset", "plain/a", "--reason", "the cause is mended")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Reset (starts nothing) of plain/a: 1 stop cleared")
    row = installation.target("plain/a")
    assert (row["state"], row["pids"], row["latched"]) == ("idle", 0, False)


def test_the_json_of_a_reset_is_as_promised(installation: Installation) -> None:
    stopped(installation, "json/a")
    [digest] = installation.target("json/a")["stops"]
    done = installation.cli("reset", "json/a", "--reason", "a test", "--json")
    said = answer(done)
    assert said["state"] == "done"
    assert said["cleared"] == [digest]
    assert said["needs"] == []
    assert len(said["reset"]) == 64


def test_a_reset_without_a_cause_is_refused_where_nobody_can_be_asked(
    installation: Installation,
) -> None:
    stopped(installation, "cause/a")
    for words in (["cause/a"], ["cause/a", "--reason", "  "]):
        done = installation.cli("reset", *words, "--json", stdin=subprocess.DEVNULL)
        assert done.returncode == 2
        assert error(done)["kind"] == "usage"
        assert "--reason" in error(done)["hint"]
    assert installation.target("cause/a")["latched"] is True


def test_a_reset_asks_for_its_cause_on_a_terminal(installation: Installation) -> None:
    stopped(installation, "typed/a")
    with Keyboard(installation.env, "/", OFFSWITCH, "reset", "typed/a") as person:
        person.expect("What was the cause? (the reset starts nothing)")
        person.type("the bug is mended\r")
        person.expect("Reset (starts nothing) of typed/a: 1 stop cleared")
    resets = [e for e in installation.entries() if e["kind"] == "reset"]
    assert "the bug is mended" in str(resets)


def test_SR_18_a_wider_stop_remains_and_is_named(installation: Installation) -> None:
    stopped(installation, "wide/eu/a")
    installation.stop("wide")
    done = installation.cli("reset", "wide/eu", "--reason", "a test")
    assert done.returncode == 3
    assert "STILL LATCHED" in done.stdout.splitlines()[0]
    assert "offswitch reset wide --reason TEXT" in done.stdout
    again = installation.cli("reset", "wide/eu", "--reason", "a test", "--json")
    assert (again.returncode, error(again)["kind"]) == (3, "latched")


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["nothing/here", "--reason", "x"], 4, "not-found"),
        (["--reason", "x"], 2, "usage"),
        (["a", "b", "--reason", "x"], 2, "usage"),
        (["a", "--reson", "x"], 2, "usage"),
        (["a", "--reason"], 2, "usage"),
        (["a b", "--reason", "x"], 2, "usage"),
        (["a", "--reason", "x", "--secret=hunter2"], 2, "usage"),
        (["a", "--reason", "x", "--confirm", "abc"], 2, "usage"),
        (["a", "--reason", "x", "--proof", "/nonexistent"], 2, "usage"),
    ],
)
def test_wrong_calls(installation: Installation, words: list[str], code: int, kind: str) -> None:
    done = installation.cli("reset", *words, "--json")
    assert done.returncode == code
    assert error(done)["kind"] == kind


# --- who may ----------------------------------------------------------------------


def test_SR_2_the_secret_is_typed_on_the_terminal_and_nowhere_else(fresh: Installation) -> None:
    """A target ran as root, so whoever is root may be the target's leftover."""
    set_secret(fresh.home, SECRET)
    stopped(fresh, "a", user="root")
    words = ("reset", "a", "--reason", "a test")
    refused = fresh.cli(*words, "--json")
    assert (refused.returncode, error(refused)["kind"]) == (5, "refused")
    env = {**fresh.env, "OFFSWITCH_SECRET": SECRET}
    piped = subprocess.run(
        ["setsid", OFFSWITCH, *words, "--secret", "--json"],
        env=env,
        input=SECRET + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (piped.returncode, error(piped)["kind"]) == (2, "usage")
    assert fresh.target("a")["latched"] is True
    for secret, said in (("wrong horse", "offswitch: "), (SECRET, "1 stop cleared")):
        with Keyboard(fresh.env, "/", OFFSWITCH, *words, "--secret") as person:
            person.expect("Secret (not shown): ")
            person.type(secret + "\r")
            person.expect(said)
            assert secret.encode() not in person.seen, "it is not echoed"
    assert fresh.target("a")["latched"] is False


def test_SR_5_a_reset_that_needs_two_people_waits_and_is_confirmed(
    fresh: Installation, tmp_path: Path
) -> None:
    keygen = needs_program("ssh-keygen")
    stopped(fresh, "a")
    for name in ("ada", "bob"):
        key = str(tmp_path / name)
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        line = Path(f"{key}.pub").read_text()
        add_person(fresh.home, name, uid=None, keys=[line], totp=None)
    grounds = ("--safe", "the job is gone", "--changed", "it may write no more")
    opened = fresh.cli("reset", "a", "--reason", "mended", *grounds, "--json")
    said = answer(opened)
    assert (opened.returncode, said["state"], said["cleared"]) == (0, "pending", [])
    assert said["needs"]
    text = fresh.cli("reset", "a", "--reason", "mended").stdout
    assert "PENDING" in text.splitlines()[0]
    proofs = []
    for name in ("ada", "bob"):
        asked = tmp_path / f"{name}.digest"
        asked.write_text(said["reset"])
        sign = [keygen, "-q", "-Y", "sign", "-f", str(tmp_path / name), "-n", "offswitch-reset"]
        subprocess.run([*sign, str(asked)], check=True, capture_output=True)
        proofs += ["--proof", f"{asked}.sig"]
    one = fresh.cli(
        "reset", "a", "--reason", "x", "--confirm", said["reset"], *proofs[:2], "--json"
    )
    assert answer(one)["state"] == "pending"
    assert fresh.target("a")["latched"] is True
    both = fresh.cli("reset", "a", "--reason", "x", "--confirm", said["reset"], *proofs, "--json")
    assert (both.returncode, answer(both)["state"]) == (0, "done")
    assert fresh.target("a")["latched"] is False
    [entry] = [e for e in fresh.entries() if e["kind"] == "reset" and e["state"] == "done"]
    said_of_it = [entry[key] for key in ("reason", "safe", "changed", "proven")]
    assert said_of_it == ["mended", "the job is gone", "it may write no more", ["ada", "bob"]]


# --- where it goes ----------------------------------------------------------------


def test_a_reset_goes_where_the_scope_is_latched(
    fresh: Installation, installation: Installation
) -> None:
    stopped(fresh, "mine")
    stopped(installation, "theirs")
    done = two_households(fresh, installation, "reset", "theirs", "--reason", "x")
    assert done.returncode == 0, done.stderr
    assert installation.target("theirs")["latched"] is False
    assert fresh.target("mine")["latched"] is True


def test_a_scope_latched_in_two_installations_is_ambiguous(
    fresh: Installation, installation: Installation
) -> None:
    stopped(fresh, "twin")
    stopped(installation, "twin")
    words = ("reset", "twin", "--reason", "x", "--json")
    done = two_households(fresh, installation, *words)
    assert done.returncode == 2
    assert error(done)["kind"] == "ambiguous"
    assert "OFFSWITCH_RUN=/run/offswitch" in error(done)["hint"]
    assert fresh.target("twin")["latched"] is True
    named = two_households(fresh, installation, *words, env={"OFFSWITCH_RUN": "/run/offswitch"})
    assert named.returncode == 0
    assert fresh.target("twin")["latched"] is False
    assert installation.target("twin")["latched"] is True


def test_a_reset_starts_a_warden_where_none_is_left(fresh: Installation) -> None:
    stopped(fresh, "a")
    fresh.kill_everything()
    done = fresh.cli("reset", "a", "--reason", "after a crash", "--json")
    assert done.returncode == 0, done.stdout
    assert answer(done)["state"] == "done"


def test_a_scope_that_may_be_latched_where_nobody_answers_is_not_called_unknown(
    fresh: Installation, installation: Installation
) -> None:
    stopped(fresh, "hung")
    with hanging(fresh.pids()["warden"]):
        done = two_households(fresh, installation, "reset", "hung", "--reason", "x", "--json")
    assert (done.returncode, error(done)["kind"]) == (4, "timeout")
    assert "/run/offswitch" in error(done)["message"]


def test_a_hanging_warden_resets_nothing_and_it_is_said(fresh: Installation) -> None:
    stopped(fresh, "a")
    with hanging(fresh.pids()["warden"]):
        done = fresh.cli("reset", "a", "--reason", "x", "--json", timeout=15)
        assert done.returncode == 4
        assert error(done)["kind"] == "timeout"
    assert fresh.target("a")["latched"] is True


def test_a_reset_that_reaches_nobody(tmp_path: Path) -> None:
    """Where not even a warden can be started."""
    (tmp_path / "file").write_text("")
    env = {**os.environ, "OFFSWITCH_RUN": f"{tmp_path}/file/run", "OFFSWITCH_HOME": "/proc/nope"}
    done = subprocess.run(
        [OFFSWITCH, "reset", "a", "--reason", "x", "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {1, 4}
    assert error(done)["hint"]


def test_a_frozen_target_goes_on_only_by_its_reset(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="a")
    assert fresh.cli("stop", "a", "--level", "freeze").returncode == 0
    assert fresh.cli("reset", "a", "--reason", "x").returncode == 0
    until(lambda: fresh.target("a")["state"] == "running", "it goes on")

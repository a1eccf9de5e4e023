"""A reset: deliberate, named, durable; it starts nothing, and the stopped cannot forge it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until
from offswitch.decide.secret import set_secret
from offswitch.errors import Latched, NotFound, OffswitchError, Usage
from people import PERSON, Person
from scale import runs


def test_RST_2_a_reset_permits_and_starts_nothing(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    installation.stop("a")
    answer = installation.reset("a")
    assert answer["state"] == "done"
    assert answer["exit"] == 0
    assert len(answer["cleared"]) == 1
    target = installation.target("a")
    assert (target["state"], target["pids"], target["latched"]) == ("idle", 0, False)
    again = installation.run("sleep", "1000", target="a")
    assert installation.target("a")["state"] == "running"
    assert again.born["pid"]


def test_a_reset_needs_a_cause_and_something_to_clear(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    with pytest.raises(NotFound):
        installation.reset("a")
    installation.stop("a")
    with pytest.raises(Usage):
        installation.reset("a", reason="  ")
    assert installation.target("a")["latched"] is True


def test_SR_18_a_reset_clears_its_scope_and_below_and_names_what_is_wider(
    installation: Installation,
) -> None:
    installation.run("sleep", "1000", target="shop/eu/a")
    wide = installation.stop("shop")["order"]
    narrow = installation.stop("shop/eu/a")["order"]
    answer = installation.reset("shop/eu")
    assert answer["cleared"] == [narrow]
    assert answer["wider"] == [wide]
    assert answer["exit"] == 3
    assert installation.target("shop/eu/a")["latched"] is True
    with pytest.raises(Latched):
        installation.reset("shop/eu")
    assert installation.reset("shop")["exit"] == 0
    assert installation.target("shop/eu/a")["latched"] is False


def test_SR_18_whoever_placed_a_cleared_stop_is_told_and_nobody_else(
    people: Installation,
) -> None:
    presser, other = Person(people), Person(people, uid=4343)
    presser.ask({"op": "stop", "scopes": ["shop/eu"]})
    people.stop("shop/eu")
    people.reset("shop", reason="all is well")
    sentence = "your stop of shop/eu was reset by uid:0"
    for scope in ("shop", "shop/eu", None):
        notes = presser.ask({"op": "status", "scope": scope})["notes"]
        [told] = [note for note in notes if sentence in note]
        assert told.endswith("UTC: all is well")
    assert sentence in presser.ask({"op": "reset", "scope": "shop", "reason": "x"})["error"]["hint"]
    for notes in (
        other.ask({"op": "status", "scope": None})["notes"],
        presser.ask({"op": "status", "scope": "bank"})["notes"],
        people.status()["notes"],
    ):
        assert not any("your stop" in note for note in notes)
    [entry] = [e for e in people.entries() if e["kind"] == "reset" and e["state"] == "done"]
    assert entry["placed_by"] == ["uid:0", "uid:4242"]


def test_a_press_after_the_reset_was_opened_holds(installation: Installation) -> None:
    """The same stop, pressed again and again around resets, is never cleared by an older reset."""
    installation.run("sleep", "1000", target="a")
    for _ in range(runs(40)):
        installation.stop("a")
        installation.reset("a")
        answer = installation.stop("a")
        assert installation.target("a")["latched"] is True
        installation.reset("a")
        assert answer["order"] not in installation.target("a")["stops"]


def test_a_frozen_target_goes_on_after_its_reset(installation: Installation) -> None:
    script = "import time\nfor n in range(10**6): print(n, flush=True); time.sleep(0.01)"
    running = installation.run(PYTHON, "-c", script, target="a")
    assert running.line() == "0"
    installation.stop("a", level="freeze")
    assert installation.reset("a")["state"] == "done"
    until(lambda: int(running.line()) > 100, "it counts on")
    assert installation.target("a")["state"] == "running"
    assert installation.word("a") == 1


def test_VER_1_what_was_seen_before_is_not_enough_for_a_reset(installation: Installation) -> None:
    """It stood still; but nobody has looked since, and nobody can now."""
    installation.run("sleep", "1000", target="a")
    assert installation.stop("a")["confirmed"] is True
    os.kill(installation.pids()["observer"], 19)
    with pytest.raises(OffswitchError) as refused:
        installation.reset("a")
    assert refused.value.kind == "unconfirmed"
    assert "offswitch" in refused.value.hint
    os.kill(installation.pids()["observer"], 18)
    assert installation.target("a")["latched"] is True
    assert installation.reset("a")["state"] == "done", "once somebody looks again"


def test_every_refused_reset_is_an_entry(installation: Installation) -> None:
    with pytest.raises(NotFound):
        installation.reset("nobody")
    until(
        lambda: [
            entry
            for entry in installation.entries()
            if entry["kind"] == "refused" and entry["what"] == "reset"
        ],
        "the refusal is recorded",
    )


def test_SR_2_a_job_of_the_targets_user_cannot_reset(people: Installation) -> None:
    """A target shares a person's user; a cron job that it left behind sends a reset."""
    person = Person(people)
    person.ask({"op": "run", "target": "a", "argv": ["sleep", "1000"]}, fds=True)
    assert person.ask({"op": "stop", "scopes": ["a"]})["confirmed"] is True
    refused = person.ask({"op": "reset", "scope": "a", "reason": "let me go"})
    assert refused["error"]["kind"] == "refused"
    assert refused["exit"] == 5
    assert people.target("a")["latched"] is True
    assert people.reset("a")["state"] == "done", "root, as whom no target ran, may"


def test_SR_2_with_the_secret_the_person_may_and_without_it_the_target_may_not(
    people: Installation,
) -> None:
    set_secret(people.home, "correct horse")
    person = Person(people)
    person.ask({"op": "run", "target": "a", "argv": ["sleep", "1000"]}, fds=True)
    person.ask({"op": "stop", "scopes": ["a"]})
    for guess in ({}, {"secret": ""}, {"secret": "wrong horse"}):
        answer = person.ask({"op": "reset", "scope": "a", "reason": "x", **guess})
        assert answer["error"]["kind"] == "refused"
    answer = person.ask({"op": "reset", "scope": "a", "reason": "x", "secret": "correct horse"})
    assert answer["state"] == "done"


def test_SR_2_wrong_secrets_cost_a_growing_pause_that_holds_up_no_stop(
    people: Installation,
) -> None:
    set_secret(people.home, "correct horse")
    person = Person(people)
    person.ask({"op": "run", "target": "a", "argv": ["sleep", "1000"]}, fds=True)
    person.ask({"op": "stop", "scopes": ["a"]})
    reset = {"op": "reset", "scope": "a", "reason": "x"}
    whys = [person.ask({**reset, "secret": f"guess {n}"})["error"]["message"] for n in range(3)]
    assert ["4 s" in why for why in whys] == [False, False, True]
    answer = person.ask({**reset, "secret": "correct horse"})
    assert answer["error"]["kind"] == "busy", "not even looked at"
    assert person.ask({"op": "stop", "scopes": ["a"]})["confirmed"] is True
    other = Person(people, uid=4343)
    assert other.ask(reset)["state"] == "done", "nobody else waits"
    entered = [entry["why"] for entry in people.entries() if entry["kind"] == "refused"]
    assert entered[:3] == whys
    assert "not looked at" in entered[3]


def test_SR_2_a_shared_user_is_shown_as_forgeable(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a", user="root")
    assert any("forgeable" in note for note in installation.status()["notes"])


def test_SR_3_the_group_runs_as_itself_and_never_as_another(people: Installation) -> None:
    person = Person(people)
    born = person.ask({"op": "run", "target": "own", "argv": ["sleep", "1000"]}, fds=True)
    assert (born["uid"], born["sharing"]) == (person.uid, True)
    for user in ("root", "0", "daemon"):
        message = {"op": "run", "target": f"as-{user}", "argv": ["id"], "user": user}
        assert person.ask(message, fds=True)["error"]["kind"] == "refused"
    assert person.ask({"op": "declare", "targets": []})["error"]["kind"] == "refused"
    row = people.target("own")
    assert row["readiness"]["sweep"] == "absent", "a shared user is never swept"


def test_SR_3_a_cell_loses_the_group_that_may_stop(people: Installation) -> None:
    person = Person(people)
    script = "import os; print(sorted(os.getgroups()), flush=True)"
    born = person.ask(
        {"op": "run", "target": "a", "argv": [PYTHON, "-c", script]}, fds=True, read=True
    )
    assert str(people.gid) not in born["output"]


GROUPLESS = """
import os, socket, sys
spool, warden, keeper = sys.argv[1:]
print(os.getgid(), sorted(os.getgroups()), flush=True)
try:
    print("spooled", os.open(spool + "/all", os.O_CREAT | os.O_WRONLY), flush=True)
except OSError as error:
    print(error.strerror, flush=True)
for path in (warden, keeper):
    try:
        print("connected", socket.socket(socket.AF_UNIX).connect(path), flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


def test_SR_3_the_group_that_may_stop_is_no_cells_primary_group_either(
    people: Installation,
) -> None:
    """By `sg`, or by passwd, our group is somebody's primary one; their target loses it, too."""
    place = people.place
    argv = [PYTHON, "-c", GROUPLESS, place.spool, place.warden_socket, place.keeper_socket]
    person = Person(people, groups=(), gid=people.gid)
    born = person.ask({"op": "run", "target": "a", "argv": argv}, fds=True, read=True)
    assert any("primary group" in note for note in born["notes"])
    denied = "Permission denied"
    assert born["output"].splitlines() == ["65534 []", denied, denied, denied]
    assert people.status()["latched"] == []


def test_SR_3_a_user_whom_root_names_loses_the_group_that_may_stop(tmp_path: Path) -> None:
    one = Installation(tmp_path, gid=pwd.getpwnam("daemon").pw_gid)
    try:
        place = one.start().place
        argv = [PYTHON, "-c", GROUPLESS, place.spool, place.warden_socket, place.keeper_socket]
        running = one.run(*argv, target="a", user="daemon", cwd="/")
        denied = "Permission denied"
        assert [running.line() for _ in range(4)] == ["65534 []", denied, denied, denied]
    finally:
        one.close()


def test_SR_3_a_stranger_cannot_even_connect(people: Installation) -> None:
    stranger = Person(people, uid=4343, groups=())
    assert stranger.ask({"op": "stop", "scopes": ["/"]})["error"]["kind"] == "unreachable"
    assert people.status()["latched"] == []


def test_SEC_3_from_inside_a_cell_nothing_of_ours_can_be_asked(people: Installation) -> None:
    """Not by an allotted user, not by a person's, and not even by root in a cell."""
    argv = [PYTHON, "-c", PERSON, people.place.warden_socket, "0", "0", "", "stop-all"]
    born = Person(people).ask({"op": "run", "target": "a", "argv": argv}, fds=True, read=True)
    assert "unreachable" in born["output"], "the person's cell has lost the group"
    assert "unreachable" in people.run(*argv, target="b").line()
    assert "refused" in people.run(*argv, target="c", user="root").line()
    assert people.status()["latched"] == []

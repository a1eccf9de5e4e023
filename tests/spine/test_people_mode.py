"""Two people are wanted: one and a half are none, nothing is cleared, and all is entered (SR-5)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.decide.authority import VALID_US, add_person
from offswitch.decide.totp import code_at, read_secret
from offswitch.errors import NotFound, OffswitchError, Refused
from raw import Raw

SECRETS = {"ada": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "bob": "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"}

LATER = """
import os, sys
from offswitch import clock
from offswitch.warden.__main__ import main
real = clock.SystemClock.wall_us
clock.SystemClock.wall_us = lambda self: real(self) + os.stat(sys.argv[1]).st_size
sys.exit(main(sys.argv[2:]))
"""
"""A warden whose wall clock is ahead by as many microseconds as a file has bytes."""


class Ahead:
    """The clock of one warden."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def set(self, us: int) -> None:
        os.truncate(self.path, us)

    def code(self, name: str) -> str:
        """Give somebody's code of now, as a proof."""
        now_us = time.time_ns() // 1000 + self.path.stat().st_size
        return f"code {name} {code_at(read_secret(SECRETS[name]), now_us // 30_000_000)}"


@pytest.fixture
def ahead(tmp_path: Path) -> Ahead:
    return Ahead(tmp_path / "ahead")


@pytest.fixture
def installation(tmp_path: Path, ahead: Ahead) -> Iterator[Installation]:
    """Give one with two people and one stop; it has a clock that a test may set."""
    one = Installation(tmp_path)
    one.program = [sys.executable, "-I", "-c", LATER, str(ahead.path)]
    try:
        one.start()
        add_two(one)
        one.press("shop")
        yield one
    finally:
        one.close()


def add_two(one: Installation, sign: Callable[[str], Path] | None = None) -> None:
    for name, totp in SECRETS.items():
        keys = [] if sign is None else [sign(name).with_suffix(".pub").read_text()]
        add_person(one.home, name, uid=None, keys=keys, totp=totp)


def opened(one: Installation, scope: str = "shop") -> str:
    answer = one.reset(scope)
    assert (answer["state"], answer["cleared"]) == ("pending", [])
    return str(answer["reset"])


def latched(one: Installation) -> list[str]:
    return sorted(live["scope"] for live in one.status()["latched"])


def refusals(one: Installation) -> list[dict[str, Any]]:
    return [entry for entry in one.entries() if entry["kind"] == "refused"]


def test_SR_5_one_proof_of_two_clears_nothing_whoever_brings_it_twice(
    installation: Installation, ahead: Ahead
) -> None:
    digest = opened(installation)
    code = ahead.code("ada")
    for proofs in ([code], [code], [], [code] * 2):
        answer = installation.reset("shop", digest=digest, proofs=proofs)
        assert (answer["state"], answer["cleared"]) == ("pending", [])
        assert "one more person" in answer["needs"][0]
    assert latched(installation) == ["shop"]
    pending = [e for e in installation.entries() if e["kind"] == "reset"]
    assert [entry.get("proven") for entry in pending] == [None, *[["ada"]] * 4]
    spent = [proof for entry in refusals(installation) for proof in entry["proofs"]]
    assert len(spent) == 3
    assert all("was used already" in proof for proof in spent)
    done = installation.reset("shop", digest=digest, proofs=[ahead.code("bob")])
    assert done["state"] == "done"
    [*_, entry] = [e for e in installation.entries() if e["kind"] == "reset"]
    assert (entry["state"], entry["proven"]) == ("done", ["ada", "bob"])


def test_SR_5_proofs_that_are_none_or_of_another_reset_clear_nothing(
    tmp_path: Path, ssh_key: Callable[[str], Path], sign: Callable[..., str]
) -> None:
    one = Installation(tmp_path)
    try:
        add_two(one.start(), ssh_key)
        one.press("shop")
        one.press("bank")
        digest, other = opened(one), opened(one, "bank")
        keys = [ssh_key("ada"), ssh_key("bob")]
        rounds: list[list[Any]] = [
            [sign(key, other) for key in keys],
            [sign(key, digest, namespace="file") for key in keys],
            [sign(ssh_key("eve"), digest)] * 2,
            ["", "\x00", "code ada 000000", "code eve 123456"],
            ["-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----", digest],
            [{"ada": True}, 7, None, ["bob"]],
        ]
        for proofs in rounds:
            answer = one.reset("shop", digest=digest, proofs=proofs)
            assert (answer["state"], answer["cleared"]) == ("pending", [])
        for claim in ({"ada": 1}, "ada,bob", 7, True):
            assert one.reset("shop", digest=digest, proofs=claim)["state"] == "pending"
        with pytest.raises(OffswitchError):
            one.reset("shop", digest="f" * 64, proofs=[sign(key, "f" * 64) for key in keys])
        with pytest.raises(Refused, match="is of bank"):
            one.reset("shop", digest=other, proofs=[sign(key, other) for key in keys])
        assert latched(one) == ["bank", "shop"]
        entries = refusals(one)
        assert [entry["what"] for entry in entries] == ["proof"] * len(rounds) + ["reset"] * 2
        assert one.reset("shop", digest=digest, proofs=[sign(keys[0], digest)])["state"] == (
            "pending"
        )
        assert one.reset("shop", digest=digest, proofs=[sign(keys[1], digest)])["state"] == "done"
        assert latched(one) == ["bank"]
    finally:
        one.close()


def test_SR_5_a_stop_that_came_after_the_reset_was_opened_is_not_cleared_by_it(
    installation: Installation, ahead: Ahead
) -> None:
    digest = opened(installation)
    installation.press("shop")
    installation.press("shop/eu")
    proofs = [ahead.code("ada"), ahead.code("bob")]
    assert len(installation.reset("shop", digest=digest, proofs=proofs)["cleared"]) == 1
    assert latched(installation) == ["shop", "shop/eu"]


def test_SR_5_a_reset_whose_stops_are_gone_or_that_is_too_late_clears_nothing(
    installation: Installation, ahead: Ahead
) -> None:
    digest, again = opened(installation), opened(installation)
    assert digest != again
    proofs = [ahead.code("ada"), ahead.code("bob")]
    assert installation.reset("shop", digest=again, proofs=proofs)["state"] == "done"
    installation.press("shop")
    with pytest.raises(NotFound, match="no such reset"):
        installation.reset("shop", digest=digest, proofs=proofs)
    late = opened(installation)
    ahead.set(VALID_US + 60_000_000)
    proofs = [ahead.code("ada"), ahead.code("bob")]
    for kind, why in ((Refused, "too long ago"), (NotFound, "no such reset")):
        with pytest.raises(kind, match=why):
            installation.reset("shop", digest=late, proofs=proofs)
    assert latched(installation) == ["shop"]
    assert [entry["error"] for entry in refusals(installation)] == [
        "not-found",
        "refused",
        "not-found",
    ]


def test_SR_5_what_one_person_opened_is_not_confirmed_by_two_who_came_later(tmp_path: Path) -> None:
    """A single person's reset failed, since the target was not seen to stand still."""
    one = Installation(tmp_path)
    try:
        one.start().run("sleep", "1000", target="a")
        os.kill(one.pids()["observer"], signal.SIGSTOP)
        one.press("a")
        with pytest.raises(OffswitchError, match="standstill"):
            one.reset("a")
        os.kill(one.pids()["observer"], signal.SIGCONT)
        [entry] = [e for e in one.entries() if "reset opened" in str(e.get("what"))]
        add_two(one)
        ahead = Ahead(tmp_path / "ahead")
        with pytest.raises(NotFound, match="no such reset"):
            one.reset("a", digest=entry["digest"], proofs=[ahead.code("ada"), ahead.code("bob")])
        assert latched(one) == ["a"]
        until(lambda: one.target("a")["confirmed"], "it stands still")
        assert one.reset("a")["state"] == "pending", "from now on it takes two"
        [switch] = [e for e in one.entries() if e.get("what") == "authority"]
        assert (switch["prior"], switch["state"]) == ("local", "people")
    finally:
        one.close()


def test_SR_5_a_single_persons_reset_ends_when_the_second_person_comes(tmp_path: Path) -> None:
    """It waits for its evidence to be sealed, and meanwhile one person is not enough any more."""
    one = Installation(tmp_path)
    try:
        one.start().press("shop")
        until(lambda: "order" in {e["kind"] for e in one.entries()}, "the stop is entered")
        recorder = one.pids()["recorder"]
        os.kill(recorder, signal.SIGSTOP)
        with Raw(one).say({"op": "reset", "scope": "shop", "reason": "x"}) as alone:
            until(lambda: one.ask({"op": "health"})["journal"]["behind"], "it is under way")
            add_two(one)
            assert one.reset("shop")["state"] == "pending"
            os.kill(recorder, signal.SIGCONT)
            answer = alone.answer()
        assert answer is not None
        assert "two people" in answer["error"]["message"]
        assert latched(one) == ["shop"]
    finally:
        one.close()


def test_SR_5_going_back_to_one_person_is_an_entry_of_the_next_start_and_none_while_latched(
    installation: Installation, ahead: Ahead
) -> None:
    def changes() -> list[tuple[str, str]]:
        found = [e for e in installation.entries() if e.get("what") == "authority"]
        return [(entry["prior"], entry["state"]) for entry in found]

    digest = opened(installation)
    assert changes() == [("local", "people")]
    Path(installation.home, "authority").write_text("local\n")
    assert installation.reset("shop")["state"] == "pending", "a running warden stays with people"
    installation.kill_everything()
    installation.restart()
    until(lambda: changes()[1:] == [("people", "people")], "an attempt while latched is an entry")
    with pytest.raises(NotFound):
        installation.reset("shop", digest=digest)
    digest = opened(installation)
    proofs = [ahead.code("ada"), ahead.code("bob")]
    assert installation.reset("shop", digest=digest, proofs=proofs)["state"] == "done"
    installation.kill_everything()
    installation.restart()
    until(lambda: changes()[2:] == [("people", "local")], "and so is going back")
    installation.press("shop")
    assert installation.reset("shop")["state"] == "done", "one person is enough again"

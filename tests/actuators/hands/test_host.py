"""A hand's process: what it does while it proves itself, and when the other side has gone."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from installation import until
from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.host import Process, secrets_of
from offswitch.config.section import ActuatorSection
from offswitch.control import frames

READY = Readiness(Ready.READY, "proven")


class World:
    """What the scripted hands act on, and how they fail."""

    def __init__(self) -> None:
        self.made: list[Scripted] = []
        self.tripped: list[int] = []
        self.proving: list[int] = []
        self.arm: Callable[[Scripted], Readiness] = lambda _hand: READY
        self.trip: Callable[[Scripted], Acted] = lambda _hand: Acted("cut")
        self.look: Callable[[Scripted], Sight] = lambda _hand: Sight(True, "gone")


class Scripted(Hand):
    """A hand that does what its world says."""

    def __init__(self, world: World) -> None:
        super().__init__(None, Context(Role.ACT, {"key_file": "the-secret-key"}))
        self.world = world
        self.number = len(world.made)
        self.opened = 0
        world.made.append(self)

    def open(self) -> None:
        self.opened += 1

    def arm(self) -> Readiness:
        self.world.proving.append(self.number)
        return self.world.arm(self)

    def trip(self, level: str) -> Acted:
        self.world.tripped.append(self.number)
        return self.world.trip(self)

    def look(self) -> Sight:
        return self.world.look(self)

    def holds(self) -> tuple[str, ...]:
        return ("a token",)

    def route(self) -> Route:
        return Route("tcp", "127.0.0.1:1", "a key", "a server")


class Warden:
    """The other end."""

    def __init__(self, link: socket.socket, sight: socket.socket) -> None:
        link.settimeout(10)
        sight.settimeout(10)
        self.link = link
        self.sight = sight
        self.numbers = itertools.count(1)

    def hear(self) -> dict[str, Any]:
        found = frames.receive(self.link)
        assert found is not None
        return found[0]

    def ask(self, **message: str) -> dict[str, Any]:
        number = next(self.numbers)
        frames.send(self.link, {**message, "id": number})
        while True:
            heard = self.hear()
            if heard.get("id") == number:
                return heard

    def readiness(self) -> dict[str, Any]:
        while True:
            heard = self.hear()
            if heard.get("event") == "readiness":
                return heard

    def look(self) -> dict[str, Any]:
        frames.send(self.sight, {"op": "look", "id": 1})
        found = frames.receive(self.sight)
        assert found is not None
        return found[0]


@contextlib.contextmanager
def served(world: World, prove_s: float = 0.005, role: Role = Role.ACT) -> Iterator[Warden]:
    pairs = [socket.socketpair() for _ in range(2)]
    (ours, theirs), (eye, seen) = pairs
    process = Process(theirs, role, lambda: Scripted(world), prove_s)

    def serve() -> None:
        with contextlib.suppress(ConnectionError):  # as `main` does: the warden is gone
            process.run(seen)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Warden(ours, eye)
    finally:
        ours.close()
        thread.join(10)
        for one in (theirs, eye, seen):
            one.close()


def test_DRL_4_what_was_proven_last_acts_and_the_two_change_places() -> None:
    world = World()
    with served(world) as warden:
        for _ in range(4):
            told = warden.readiness()
            assert (told["state"], told["holds"]) == ("ready", ["a token"])
        assert warden.ask(op="trip", level="kill")["done"] is True
    assert world.proving[:4] == [1, 0, 1, 0]
    assert world.tripped == [world.proving[-1]]


def test_ACT_2_a_proof_that_hangs_holds_up_no_trip() -> None:
    world, free = World(), threading.Event()

    def hang(_hand: Scripted) -> Readiness:
        free.wait(20)
        return READY

    world.arm = hang
    with served(world) as warden:
        until(lambda: world.proving, "it proves itself")
        assert warden.ask(op="trip", level="kill")["done"] is True
        assert world.tripped != world.proving, "not by the one that hangs"
        free.set()


def test_DRL_4_one_that_could_not_prove_itself_never_takes_the_place_of_the_other() -> None:
    world = World()
    with served(world) as warden:
        warden.readiness()
        good = world.proving[-1]

        def refused(hand: Scripted) -> Readiness:
            raise Trouble(f"number {hand.number} is refused")

        world.arm = refused
        told = until(lambda: (one := warden.readiness())["state"] == "unproven" and one, "told")
        assert "is refused" in told["detail"]
        warden.ask(op="trip", level="kill")
    assert world.tripped[0] in {good, 1 - good}
    assert world.tripped[0] != world.proving[-1], "the one that failed does not act"


def test_DRL_4_what_changes_during_a_proof_is_proven_right_after_it() -> None:
    world, free = World(), threading.Event()

    def waits(_hand: Scripted) -> Readiness:
        free.wait(20)
        return READY

    world.arm = waits
    with served(world, prove_s=3600) as warden:
        until(lambda: world.proving, "the first proof is under way")
        frames.send(warden.link, {"op": "cell", "cell": None})
        assert warden.ask(op="trip", level="kill")["done"] is True  # so it has read that
        assert warden.ask(op="release")["done"] is True
        free.set()
        until(lambda: len(world.proving) == 2, "another one, of what is now")


def test_ACT_2_a_trip_over_a_connection_that_has_gone_is_given_once_more() -> None:
    world, failed = World(), []

    def gone(hand: Scripted) -> Acted:
        if not failed:
            failed.append(hand.number)
            raise Trouble("connection reset")
        return Acted("cut", ("a job, half done",), ("make a new key",))

    world.trip = gone
    with served(world) as warden:
        told = warden.ask(op="trip", level="kill")
    assert (told["done"], told["happened"]) == (True, ["a job, half done"])
    assert told["reissue"] == ["make a new key"]


def test_VER_1_a_hand_that_raises_says_that_it_has_not_done_it() -> None:
    world = World()

    def raises(_hand: Scripted) -> Acted:
        return Acted(str(1 // 0))

    world.trip = raises
    with served(world) as warden:
        told = warden.ask(op="trip", level="kill")
        assert (told["done"], told["detail"][:17]) == (False, "ZeroDivisionError")
        assert warden.ask(op="trip", level="kill")["done"] is False, "and serves on"


def test_RST_8_nothing_is_proven_while_it_is_latched_and_at_once_after_the_release() -> None:
    world = World()
    with served(world, prove_s=0.001) as warden:
        warden.readiness()
        warden.ask(op="trip", level="kill")
        known = len(world.proving)
        for _ in range(5):  # each answer is a turn of its loop
            warden.ask(op="trip", level="kill")
        assert len(world.proving) <= known + 1, "at most the one that was under way"
        assert warden.ask(op="release")["detail"] == "nothing is given back"
        assert warden.readiness()["state"] == "ready"


def test_VER_2_a_look_that_fails_has_seen_nothing() -> None:
    world = World()
    with served(world, role=Role.LOOK) as warden:
        assert warden.look()["stands"] is True

        def refused(_hand: Scripted) -> Sight:
            raise Trouble("the server is away")

        world.look = refused
        seen = warden.look()
        assert (seen["stands"], seen["detail"]) == (None, "the server is away")


def test_SR_4_a_secret_that_the_other_side_quotes_is_told_to_nobody() -> None:
    world = World()

    def refused(_hand: Scripted) -> Acted:
        raise Trouble("401: no such key: the-secret-key")

    world.trip = refused
    with served(world) as warden:
        told = warden.ask(op="trip", level="kill")
    assert told["detail"] == "401: no such key: •••"


def test_SR_6_what_the_other_side_says_reaches_nobody_unescaped_or_at_length() -> None:
    world = World()
    world.trip = lambda _hand: Acted("\x1b[31m" + "x" * 10_000, ("\x1b]0;title\x07",) * 1000)
    with served(world) as warden:
        told = warden.ask(op="trip", level="kill")
    assert "\x1b" not in told["detail"] + "".join(told["happened"])
    assert len(told["detail"]) < 1000
    assert len(told["happened"]) == 200


class Two(ActuatorSection):
    kind: str = "two"
    key_file: str
    look_key_file: str | None = None
    token_file: str
    SECRETS: ClassVar[frozenset[str]] = frozenset({"key_file", "look_key_file", "token_file"})


@pytest.mark.parametrize(
    ("role", "other", "wanted"),
    [
        (Role.ACT, True, {"key_file": "one", "token_file": "three"}),
        (Role.LOOK, True, {"look_key_file": "two", "token_file": "three"}),
        (Role.LOOK, False, {"key_file": "one", "token_file": "three"}),
    ],
)
def test_SR_4_each_role_reads_the_secrets_that_it_needs_and_no_other(
    role: Role, *, other: bool, wanted: dict[str, str], tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    settings = Two(
        name="x",
        target="a",
        key_file=str(tmp_path / "one"),
        look_key_file=str(tmp_path / "two") if other else None,
        token_file=str(tmp_path / "three"),
    )
    assert secrets_of(settings, role) == wanted


def test_VER_3_what_a_look_has_to_know_is_told_once_and_forgotten_at_the_reset() -> None:
    world = World()

    def arm(hand: Scripted) -> Readiness:
        hand.memory = "it answered"
        return READY

    def look(hand: Scripted) -> Sight:
        hand.memory = hand.memory or "it was there"
        return Sight(True, hand.memory)

    world.arm, world.look = arm, look
    with served(world, prove_s=60, role=Role.LOOK) as warden:
        warden.readiness()
        for _ in range(3):
            warden.look()
        assert warden.hear() == {"event": "remember", "memory": "it answered"}
        frames.send(warden.link, {"op": "latched", "value": True})
        frames.send(warden.link, {"op": "latched", "value": False})
        warden.readiness()
        warden.look()
        assert warden.hear()["memory"] == "it answered", "told again, since it was forgotten"

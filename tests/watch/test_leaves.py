"""Tool calls that wait for a person, at watch's desk (DEC-3; AISVS 9.2.8, 9.6.2)."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.clock import SimulatedClock
from offswitch.control.peer import Peer
from offswitch.errors import OffswitchError
from offswitch.watch.desk.leaves import Leaves
from offswitch.watch.desk.visitors import Visitors

S = 1_000_000
OWNER, GROUP, GATEWAY, RUNS, ANN, BEN = 0, 60, 1_899_999_991, 70_001, 70_002, 70_003


def peer(uid: int) -> Peer:
    return Peer(1, uid, uid, (GROUP,))


class Record:
    """Keeps what would be recorded."""

    def __init__(self) -> None:
        self.said: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def add(self, _kind: object, public: dict[str, Any], sealed: dict[str, Any]) -> None:
        self.said.append((public, sealed))

    @property
    def states(self) -> list[str]:
        return [str(public["state"]) for public, _sealed in self.said]


class Front:
    """The desk's part for held calls, and who comes to it."""

    def __init__(self, owner: int = OWNER) -> None:
        self.clock = SimulatedClock(1000 * S)
        self.visitors = Visitors(owner, GROUP)
        self.visitors.hear([{"target": "shop/a", "uid": RUNS}], [RUNS])
        self.record = Record()
        self.leaves = Leaves(self.clock, self.visitors, self.record)  # type: ignore[arg-type]

    def ask(self, people: int = 1, by: int = GATEWAY) -> str:
        message = {"target": "shop/a", "tool": "pay", "arguments": '{"amount":7}',
                   "within_us": 60 * S, "people": people}  # fmt: skip
        return str(self.leaves.ask(peer(by), message)["decision"])

    def say(self, op: str, digest: str, uid: int) -> str:
        """Answer; gives the choice, or the kind of the error."""
        try:
            whole = self.leaves.meant(digest) or digest
            who = self.visitors.who(peer(uid))
            return str(self.leaves.answer(peer(uid), {"op": op}, whole, who)["choice"])
        except OffswitchError as error:
            return error.kind
        except KeyError:
            return "gone"

    def hear(self, *digests: str) -> list[str]:
        told = self.leaves.told(peer(GATEWAY), {"decisions": list(digests)})
        return [told["leaves"][one] for one in digests]


@pytest.fixture
def front() -> Front:
    return Front()


def test_DEC_3_a_granted_call_is_called_once_and_recorded(front: Front) -> None:
    digest = front.ask()
    [row] = front.leaves.rows()
    assert (row["tool"], row["arguments"], row["left_ms"]) == ("pay", '{"amount":7}', 60_000)
    assert front.hear(digest) == ["waits"]
    assert front.say("approve", digest[:12], ANN) == "granted"
    assert front.hear(digest, digest) == ["granted", "granted"], "once, however often it is named"
    assert front.record.states == ["waits for leave", "granted", "used: it is called"]
    assert front.hear(digest) == ["denied"], "it is used up"
    assert all(sealed["arguments"] == '{"amount":7}' for _public, sealed in front.record.said)


def test_DEC_3_silence_denies_a_call_and_a_late_leave_grants_nothing(front: Front) -> None:
    digest = front.ask()
    front.clock.advance(60 * S)
    assert front.say("approve", digest, ANN) == "refused"
    assert front.hear(digest) == ["denied"]
    assert front.leaves.rows() == []
    assert front.record.states[-1] == "denied by silence"
    front.clock.advance(61 * S)
    assert front.hear(digest) == ["denied"]
    assert front.record.states.count("denied by silence") == 1
    late = front.ask()
    assert front.say("approve", late, ANN) == "granted"
    front.clock.advance(60 * S)
    assert front.hear(late) == ["denied"], "granted in time, and not used in time"


def test_DEC_3_one_denial_is_enough_and_nobody_is_asked_for_a_reason(front: Front) -> None:
    digest = front.ask()
    assert front.say("deny", digest, ANN) == "denied"
    assert front.say("approve", digest, BEN) in {"not-found", "gone"}
    assert front.hear(digest) == ["denied"]


def test_DEC_3_and_SR_2_no_target_lets_itself_call(front: Front) -> None:
    digest = front.ask()
    assert front.say("approve", digest, RUNS) == "refused"
    assert front.say("approve", digest, GATEWAY) == "granted", "the warden says as whom it runs"
    other = front.leaves.ask(peer(GATEWAY),
                             {"target": "elsewhere", "tool": "x", "within_us": S})  # fmt: skip
    assert front.say("approve", other["decision"], GATEWAY) == "refused", "nobody grants his own"
    front.visitors.hear([], None)
    assert front.say("approve", front.ask(), ANN) == "refused", "nobody says who runs targets"


def test_DEC_3_two_people_where_two_are_asked(front: Front) -> None:
    digest = front.ask(2)
    assert front.say("approve", digest, ANN) == "waits"
    assert front.say("approve", digest, ANN) == "refused"
    assert front.hear(digest) == ["waits"]
    assert front.say("approve", digest, BEN) == "granted"
    assert front.hear(digest) == ["granted"]


def test_DEC_3_on_a_laptop_its_owner_answers() -> None:
    front = Front(owner=1000)
    digest = front.ask(by=1000)
    assert front.say("approve", digest, 1000) == "granted"


def test_what_is_withdrawn_is_gone_and_what_is_no_request_is_refused(front: Front) -> None:
    digest = front.ask()
    gateway = peer(GATEWAY)
    assert front.leaves.withdraw(gateway, {"decision": digest}) == {"withdrawn": True}
    assert front.record.states[-1] == "withdrawn"
    assert front.hear(digest) == ["denied"]
    good = {"target": "t", "tool": "x", "within_us": S}
    for bad in ({"target": ""}, {"tool": 7}, {"within_us": 1 << 50}, {"within_us": True},
                {"people": 0}, {"arguments": "x" * 3000}):  # fmt: skip
        with pytest.raises(OffswitchError):
            front.leaves.ask(gateway, good | bad)
    for _ in range(200):
        front.leaves.ask(gateway, good)
    with pytest.raises(OffswitchError, match="too many"):
        front.leaves.ask(gateway, good)


@pytest.mark.parametrize(
    ("op", "may"),
    [("ask-leave", True), ("leaves", True), ("withdraw", True), ("decisions", False),
     ("approve", False), ("apply", False), ("rules", False)],
)  # fmt: skip
def test_SR_4_the_gateway_asks_for_leave_and_for_nothing_else(
    front: Front, op: str, *, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front.visitors, "_in_cell", lambda _pid: False)
    try:
        front.visitors.check(peer(GATEWAY), op)
        said = True
    except OffswitchError:
        said = False
    assert said is may
    if op in {"ask-leave", "leaves", "withdraw"}:
        with pytest.raises(OffswitchError):
            front.visitors.check(peer(ANN), op)

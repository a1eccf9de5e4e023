"""Orders from outside become tickets that a person answers; nothing acts or lapses (DEC-8)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from house import House, house
from installation import PYTHON, until
from offswitch.cli.app import main
from offswitch.clock import SimulatedClock
from offswitch.config.notify import Outside
from offswitch.errors import Busy, Latched, NotFound, OffswitchError, Refused, Usage
from offswitch.ledger.reader import ShownEntry
from offswitch.station.notify.book import Queues
from offswitch.station.notify.context import Context
from offswitch.station.notify.events import Events
from offswitch.station.tickets.intake import Tickets
from offswitch.station.tickets.ticket import State

START_US = 1_800_000_000_000_000
HOUR = 3_600_000_000
Sign = Callable[..., str]
Key = Callable[[str], Path]


def order(ssh_key: Key, sign: Sign, **other: Any) -> str:  # noqa: ANN401
    body = {
        "kind": "order", "v": 1, "from": "acme", "scopes": ["shop/eu"], "level": "kill",
        "deadline_us": START_US + 3 * HOUR, "reason": "it wrote to our customers",
        "reference": "ACME-17", "installation": "here", **other,
    }  # fmt: skip
    line = json.dumps(body)
    return f"{line}\n{sign(ssh_key('acme'), line, 'offswitch-order')}"


@dataclass
class _Press:
    id: str = "press"


class Room:
    """Tickets with everything around them, on a simulated clock."""

    def __init__(self, folder: Path, key: str) -> None:
        self.clock = SimulatedClock(START_US)
        self.entries: list[dict[str, Any]] = []
        self.pressed: list[tuple[Any, ...]] = []
        self.folder = folder
        self.sections = [
            Outside(name="acme", keys=[key], scopes=["shop"]),
            Outside(name="odd", keys=["no key"], scopes=["/"]),
        ]
        self.open()

    def open(self) -> None:
        self.queues = Queues(str(self.folder))
        self.tickets = Tickets(
            self.sections,
            self.clock,
            self,
            self.queues,
            self,
            lambda: "here",  # type: ignore[arg-type]
        )

    def press(self, *pressed: object) -> _Press:
        self.pressed.append(pressed)
        return _Press()

    def add(self, kind: str, public: dict[str, Any], sealed: dict[str, Any]) -> None:
        self.entries.append({"kind": str(kind), **public, **sealed})

    def tell(self, kind: str, what: str, **said: Any) -> None:  # noqa: ANN401
        self.entries.append({"kind": str(kind), "what": what, **said})

    def file(self, text: str) -> Any:  # noqa: ANN401
        return asyncio.run(self.tickets.file(text, "api", "from:127.0.0.1"))

    def states(self, kind: str = "ticket") -> list[str]:
        return [str(entry["state"]) for entry in self.entries if entry["kind"] == kind]


@pytest.fixture
def room(tmp_path: Path, ssh_key: Key) -> Iterator[Room]:
    one = Room(tmp_path, ssh_key("acme").with_suffix(".pub").read_text())
    yield one
    one.queues.close()


def test_DEC_8_a_signed_order_becomes_a_ticket_that_stops_when_a_person_accepts_it(
    room: Room, ssh_key: Key, sign: Sign
) -> None:
    ticket = room.file(order(ssh_key, sign))
    assert (ticket.state, ticket.sender, ticket.reference) == (State.OPEN, "acme", "ACME-17")
    assert room.pressed == [], "nothing acts by itself"
    done = asyncio.run(room.tickets.accept(ticket.id, "person:ada", "so be it", "console"))
    assert (done.state, done.by, done.press) == (State.ACCEPTED, "person:ada", "press")
    [(scopes, level, by, channel, reason)] = room.pressed
    assert (scopes, level.label, by, channel) == (("shop/eu",), "kill", "person:ada", "ticket")
    assert "ACME-17 of acme: it wrote" in reason
    assert room.states() == ["open", "accepted"]
    assert {"channel", "ticket", "what", "prior", "state", "by"} <= room.entries[-1].keys()
    with pytest.raises(Latched, match="accepted by person:ada"):
        asyncio.run(room.tickets.decline(ticket.id, "person:ben", "no", "console"))


def test_DEC_8_to_decline_takes_a_reason_and_stops_nothing(
    room: Room, ssh_key: Key, sign: Sign
) -> None:
    ticket = room.file(order(ssh_key, sign))
    with pytest.raises(Usage):
        asyncio.run(room.tickets.decline(ticket.id, "person:ada", " ", "console"))
    done = asyncio.run(room.tickets.decline(ticket.id[:9], "person:ada", "not ours", "console"))
    assert (done.state, done.answer) == (State.DECLINED, "not ours")
    assert room.pressed == []
    with pytest.raises(NotFound):
        room.tickets.get("tic-")


def test_DEC_8_what_does_not_hold_is_refused_and_recorded(
    room: Room, ssh_key: Key, sign: Sign
) -> None:
    good = order(ssh_key, sign)
    room.file(good)
    bad = {
        "came before": good,
        "is ticket": order(ssh_key, sign, reason="another text, the same reference"),
        "not over this order": good.replace("ACME-17", "ACME-18"),
        "nobody of the name": order(ssh_key, sign, **{"from": "stranger"}),
        "may not ask for bank": order(ssh_key, sign, scopes=["bank"], reference="A-2"),
        "deadline is over": order(ssh_key, sign, deadline_us=START_US, reference="A-3"),
        "another installation": order(ssh_key, sign, installation="there", reference="A-4"),
        "not signed": good.partition("-----BEGIN")[0].replace("ACME-17", "A-5"),
        "no order from outside": "\x1b[2J hello",
    }
    for why, text in bad.items():
        with pytest.raises(OffswitchError, match=why):
            room.file(text)
    refusals = [entry for entry in room.entries if entry["kind"] == "refused"]
    assert len(refusals) == len(bad)
    assert all("from:127.0.0.1" in entry["by"] for entry in refusals)
    assert "says to be from stranger" in refusals[3]["by"]
    assert "\x1b" not in json.dumps(refusals, ensure_ascii=False)
    assert len(room.tickets.all()) == 1


def test_DEC_8_unanswered_it_reminds_and_is_overdue_and_never_acts_or_lapses(
    room: Room, ssh_key: Key, sign: Sign
) -> None:
    ticket = room.file(order(ssh_key, sign))
    said = []
    for quarter in range(1, 17):
        room.clock.advance(HOUR // 4)
        before = len(room.states())
        room.tickets.tick()
        said += [(quarter, state) for state in room.states()[before:]]
    assert said == [(4, "reminder"), (8, "reminder"), (12, "overdue")]
    assert room.pressed == []
    room.clock.advance(1000 * HOUR)
    room.tickets.tick()
    assert room.tickets.get(ticket.id).state is State.OVERDUE
    done = asyncio.run(room.tickets.accept(ticket.id, "person:ada", "", "cli"))
    assert done.state is State.ACCEPTED


def test_DEC_8_a_new_life_knows_its_tickets_and_their_references(
    room: Room, ssh_key: Key, sign: Sign
) -> None:
    text = order(ssh_key, sign)
    room.file(text)
    room.queues.close()
    room.open()
    with pytest.raises(Refused, match="came before"):
        room.file(text)
    room.clock.advance(4 * HOUR)
    before = len(room.entries)
    room.tickets.tick()
    assert [entry["state"] for entry in room.entries[before:]] == ["overdue"]


def test_DEC_8_a_flood_is_looked_at_sixty_times_a_minute_and_counted(room: Room) -> None:
    for _ in range(60):
        with pytest.raises(Usage):
            room.file("nonsense")
    with pytest.raises(Busy):
        room.file("nonsense")
    assert len(room.states("refused")) == 30
    room.clock.advance(61_000_000)
    room.tickets.tick()
    assert room.entries[-1]["why"] == "31 more were refused"


def test_DEC_8_people_are_told_of_it_and_called_when_it_is_overdue(
    room: Room, ssh_key: Key, sign: Sign
) -> None:
    ticket = room.file(order(ssh_key, sign))
    room.clock.advance(3 * HOUR)
    room.tickets.tick()
    asyncio.run(room.tickets.decline(ticket.id, "person:ada", "no", "cli"))
    events = Events(Context())
    for number, entry in enumerate(one for one in room.entries if one["kind"] == "ticket"):
        sealed = {key: entry.pop(key) for key in ("by", "reason")}
        events.take(ShownEntry(number, {**entry, "time_us": START_US}, sealed, intact=True))
    told = events.due(START_US)
    assert [(one.thread, one.state, one.urgent, one.worse) for one in told] == [
        (ticket.id, "open", True, False),
        (ticket.id, "overdue", True, True),
        (ticket.id, "declined", False, False),
    ]
    assert told[1].page.command == f"offswitch ticket show {ticket.id}"
    assert told[0].page.acting == ("shop/eu: nothing was stopped by this",)


# --- a real station ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, ssh_key: Key) -> Iterator[House]:
    key = ssh_key("acme").with_suffix(".pub").read_text().strip()
    outside = f'[[outside]]\nname = "acme"\nkeys = ["{key}"]\nscopes = ["shop"]\n'
    with house(tmp_path_factory.mktemp("asked"), outside) as one:
        yield one


def real(home: House, ssh_key: Key, sign: Sign, **other: Any) -> str:  # noqa: ANN401
    installation = home.installation.ask({"op": "ping"})["installation"]
    deadline_us = time.time_ns() // 1000 + HOUR
    return order(ssh_key, sign, installation=installation, deadline_us=deadline_us, **other)


Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(
    home: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Type `offswitch ticket …` in the installation; gives exit code and what it said."""
    for key, value in home.installation.env.items():
        monkeypatch.setenv(key, value)

    def run(*words: str) -> tuple[int, str]:
        code = main(["ticket", *words])
        return code, capsys.readouterr().out

    return run


@pytest.mark.usefixtures("as_root")
def test_DEC_8_an_order_by_file_and_by_post_is_accepted_on_page_and_command_line(
    home: House, ssh_key: Key, sign: Sign, tmp_path: Path, typed: Typed
) -> None:
    home.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="shop/eu")
    stranger = home.stranger()
    hostile = "<script>alert(1)</script> \x1b[2J"
    text = real(home, ssh_key, sign, reason=hostile, reference="A-1")
    answer = stranger.post("/api/v1/tickets", content=text)
    assert answer.status_code == 201, answer.text
    ticket = answer.json()["ticket"]
    assert stranger.post("/api/v1/tickets", content=text).status_code == 403
    assert stranger.post("/api/v1/tickets", content=b"x" * 20_000).status_code == 400
    assert stranger.get("/api/v1/tickets").status_code in {401, 403}

    path = tmp_path / "order"
    path.write_text(real(home, ssh_key, sign, reference="A-2", scopes=["shop/us"]))
    filed = json.loads(typed("file", str(path), "--json")[1])
    assert ticket in typed("list")[1]
    _code, shown = typed("show", ticket)
    assert "<script>" in shown
    assert "\x1b" not in shown
    assert typed("decline", filed["id"], "--reason", "not ours")[0] == 0

    client = home.client()
    page = client.get("/tickets").text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    done = client.post(f"/tickets/{ticket}/accept", data={"csrf": csrf})
    assert done.status_code == 303, done.text
    until(lambda: home.installation.target("shop/eu")["confirmed"], "it is stopped")
    [stop] = [one for one in home.installation.entries() if one["kind"] == "order"]
    assert (stop["by"], stop["channel"]) == ("person:operator", "ticket")
    assert "A-1 of acme" in stop["reason"]
    states = until(lambda: (found := recorded(home)) and len(found) == 4 and found, "recorded")
    assert sorted(states) == ["accepted", "declined", "open", "open"]
    assert typed("accept", ticket, "--json")[0] == 3


def recorded(home: House) -> list[str]:
    return [str(one["state"]) for one in home.installation.entries() if one["kind"] == "ticket"]

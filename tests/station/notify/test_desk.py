"""Who is told and who is called: routes, the chain on simulated time, and the book."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from installation import until
from offswitch.clock import SimulatedClock
from offswitch.config.declared import Config
from offswitch.config.load import Kinds, parse
from offswitch.config.notify import Event
from offswitch.control import frames
from offswitch.errors import NotFound
from offswitch.station.archive.tail import Tail
from offswitch.station.notify.book import MOST, Queues
from offswitch.station.notify.chain import begun, forward, to_backup
from offswitch.station.notify.desk import Desk
from offswitch.station.notify.notice import Notice, Page, Phase
from offswitch.station.notify.notifier import Notifier
from offswitch.station.notify.prepare import Addresses, Prepared
from offswitch.station.picture.hub import Hub
from telling import START_US

MINUTE = 60_000_000
WAY = """
[[notify]]
name = "NAME"
kind = "webhook"
url = "http://127.0.0.1:9/"
secret_file = "/nowhere"
"""
CONFIG = (
    WAY.replace("NAME", "room")
    + WAY.replace("NAME", "pager")
    + WAY.replace("NAME", "second")
    + WAY.replace("NAME", "bank")
    + 'about = "bank"\n'
    + WAY.replace("NAME", "mine")
    + 'person = "ada"\nevents = ["drill"]\n'
    + """
[escalation]
lead = "cleo"
rounds = 2
[[escalation.step]]
person = "ada"
sinks = ["pager"]
within = "5m"
[[escalation.step]]
person = "ben"
sinks = ["second"]
within = "10m"
"""
)
PAGE = Page("x", "it happens", (), (), "", "", "", "")


def notice(thread: str = "inc-1", **other: Any) -> Notice:  # noqa: ANN401
    whole = Notice(thread, Event.STOP, Phase.OPEN, "commanded", "shop", PAGE, START_US, urgent=True)
    return replace(whole, **other)


class Told:
    """An outbox that only listens."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def tell(self, kind: str, what: str, **said: Any) -> None:  # noqa: ANN401
        self.entries.append({"kind": str(kind), "what": what, **said})

    @property
    def states(self) -> list[str]:
        return [str(entry["state"]) for entry in self.entries]


class Stage:
    """A desk with everything it needs."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.clock = SimulatedClock(START_US)
        self.folder = folder
        self.config: Config = parse(config.encode(), "x", Kinds({}, {}))
        self.told = Told()
        self.open()

    def open(self) -> None:
        self.book = Queues(str(self.folder))
        usable = [one.name for one in self.config.notify]
        self.desk = Desk(self.config, self.clock, self.told, self.book, usable)  # type: ignore[arg-type]

    def tell(self, one: Notice) -> list[str]:
        """Tell it; gives who was told, with who was called by that."""
        before = self.waiting()
        self.book.write(self.desk.tell(one))
        return self.waiting()[len(before) :]

    def tick(self) -> list[str]:
        before = self.waiting()
        self.book.write(self.desk.tick())
        return self.waiting()[len(before) :]

    def waiting(self) -> list[str]:
        found = [one for name in self.book.sinks() for one in self.book._waiting[name]]
        return [
            f"{one.sink}{'!' + one.body['called'] if one.body['called'] else ''}"
            + ("+seen" if one.body["notice"]["phase"] == "acknowledged" else "")
            for one in sorted(found, key=lambda each: each.id)
        ]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path)
    yield one
    one.book.close()


def test_each_way_is_told_what_it_is_about_and_the_chain_begins(stage: Stage) -> None:
    assert stage.tell(notice()) == ["pager!ada", "room"]
    assert stage.tell(notice("inc-2", scope="bank/x", urgent=False)) == ["room", "pager", "bank"]
    assert stage.tell(notice("inc-3", scope="/", urgent=False)) == ["room", "pager", "bank"]
    assert stage.tell(notice("d-1", event=Event.DRILL, urgent=False)) == ["room", "pager", "mine"]


def test_SR_18_a_persons_own_way_tells_what_concerns_them(stage: Stage) -> None:
    told = notice(event=Event.RESET, phase=Phase.CLOSE, urgent=False, concerns=("ada",))
    assert "mine" in stage.tell(told)
    assert "mine" not in stage.tell(replace(told, thread="inc-9", concerns=("ben",)))


def test_who_does_not_answer_is_followed_by_the_next_and_the_first_again(stage: Stage) -> None:
    stage.tell(notice())
    calls = []
    for minute in range(1, 61):
        stage.clock.advance(MINUTE)
        calls += [(minute, who) for who in stage.tick()]
    assert calls == [(5, "second!ben"), (15, "pager!ada"), (20, "second!ben")]
    assert stage.told.states[-1] == "unanswered"
    assert stage.told.states.count("unanswered") == 1


def test_whoever_acknowledges_ends_it_and_all_who_were_told_hear_of_it(stage: Stage) -> None:
    stage.tell(notice())
    stage.clock.advance(5 * MINUTE)
    stage.tick()
    before = stage.waiting()
    stage.book.write(stage.desk.acknowledge("inc-1", "person:ben", "chat", via="second"))
    assert stage.waiting()[len(before) :] == ["pager+seen", "room+seen"]
    acked = stage.told.entries[-1]
    assert (acked["state"], acked["by"], acked["channel"]) == (
        "acknowledged", "person:ben", "chat",
    )  # fmt: skip
    stage.clock.advance(60 * MINUTE)
    assert stage.tick() == []
    assert stage.desk.acknowledge("inc-1", "person:ada", "chat") == []
    for name in ("inc-7", "\x1b[2J"):
        with pytest.raises(NotFound):
            stage.desk.acknowledge(name, "person:ada", "chat")


def test_VER_4_what_becomes_worse_calls_again_whoever_had_seen_it(stage: Stage) -> None:
    stage.tell(notice())
    stage.book.write(stage.desk.acknowledge("inc-1", "person:ada", "console"))
    worse = notice(
        event=Event.NOT_CONFIRMED, state="not confirmed", phase=Phase.UPDATE, worse=True,
        time_us=START_US + 60 * MINUTE,
    )  # fmt: skip
    assert "pager!ada" in stage.tell(worse)
    with pytest.raises(NotFound, match="became worse"):
        stage.desk.acknowledge("inc-1", "person:ada", "pagerduty", at_us=START_US + MINUTE)
    assert stage.desk.acknowledge("inc-1", "x", "y", at_us=START_US + 61 * MINUTE)


def test_DEC_3_a_question_goes_to_the_second_when_a_third_of_its_time_is_over(
    stage: Stage,
) -> None:
    asked = notice("ask-1", event=Event.QUESTION, state="asks")
    assert stage.tell(asked) == ["pager!ada", "room"]
    backup = replace(asked, phase=Phase.UPDATE, state="backup", backup=True, worse=True)
    assert "second!ben" in stage.tell(backup)
    acted = replace(backup, state="acted")
    assert "second!ben" not in stage.tell(acted)


def test_what_is_over_calls_nobody(stage: Stage) -> None:
    stage.tell(notice())
    stage.tell(notice(phase=Phase.CLOSE, state="reset", event=Event.RESET, urgent=False))
    stage.clock.advance(60 * MINUTE)
    assert stage.tick() == []
    with pytest.raises(NotFound):
        stage.desk.acknowledge("inc-1", "person:ada", "chat")


def test_a_step_that_nothing_reaches_is_passed_over_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, CONFIG.replace('sinks = ["pager"]', 'sinks = ["bank"]'))
    assert "second!ben" in stage.tell(notice())
    stage.book.close()


def test_the_same_is_told_once_and_a_new_life_goes_on_where_the_last_was(stage: Stage) -> None:
    stage.tell(notice())
    assert stage.tell(notice()) == []
    stage.book.close()
    stage.open()
    assert stage.waiting() == ["pager!ada", "room"]
    assert stage.tell(notice()) == []
    stage.clock.advance(5 * MINUTE)
    assert stage.tick() == ["second!ben"]


def test_the_queue_is_bounded_and_what_falls_out_is_a_gap(stage: Stage) -> None:
    for number in range(MOST + 25):
        stage.desk.tell(notice(f"inc-{number}", urgent=False, scope="shop"))
    assert stage.book.waiting("room") == MOST
    stage.tick()
    gaps = [entry for entry in stage.told.entries if entry["kind"] == "gap"]
    assert {(gap["sink"], gap["what"]) for gap in gaps} == {
        ("room", "25 notices by room"),
        ("pager", "25 notices by pager"),
    }


def test_a_disk_that_takes_nothing_delays_nothing_and_is_written_later(stage: Stage) -> None:
    until(lambda: not stage.book.behind, "all is written")
    other = sqlite3.connect(stage.folder / "notify.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert stage.tell(notice()) == ["pager!ada", "room"]
    assert stage.book.behind
    other.execute("ROLLBACK")
    other.close()
    until(lambda: not stage.book.behind, "what waited is written")


def test_a_file_that_cannot_be_read_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "notify.db").write_bytes(b"no database at all" * 1000)
    book = Queues(str(tmp_path))
    assert "could not be read" in book.problem
    assert (tmp_path / "notify.db.unreadable").exists()
    book.close()


def test_the_chain_is_a_pure_story() -> None:
    steps = parse(CONFIG.encode(), "x", Kinds({}, {})).escalation.step
    calling, step = forward(begun(100), steps, 2, 100)
    assert step is steps[0]
    assert forward(calling, steps, 2, 101)[1] is None
    assert forward(to_backup(calling, 101), steps, 2, 101)[1] is steps[1]
    assert forward(begun(1), [], 2, 1)[0].over


def test_an_alarm_that_was_seen_where_it_was_told_is_seen_at_watchs_desk(tmp_path: Path) -> None:
    stage, heard = Stage(tmp_path), []
    row = {"rule": "r1", "scope": "shop", "since_us": START_US, "act": "shadow", "harm": "money"}

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(frames.Decoder().feed(await reader.read(65536)))
        writer.write(frames.encode({"ok": True}))
        writer.close()

    async def main() -> None:
        path = str(tmp_path / "watch")
        notifier = Notifier(
            stage.config, stage.clock, stage.told, Tail(None), Hub(), stage.book,  # type: ignore[arg-type]
            prepared=Prepared(), at=Addresses("http://x", path),
        )  # fmt: skip
        async with await asyncio.start_unix_server(watch, path):
            [told] = notifier._looked.alarms([row], START_US)
            notifier.tell(told)
            notifier.acknowledge(told.thread, "person:ada", "chat")
            await asyncio.gather(*notifier._asks)
        await notifier.close()

    asyncio.run(main())
    assert heard == [{"op": "ack", "rule": "r1", "by": "person:ada"}]

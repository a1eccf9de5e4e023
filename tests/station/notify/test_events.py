"""From the record to notices: what people are told, when, and what they are not."""

from __future__ import annotations

import time

import pytest

from offswitch.config.notify import Event
from offswitch.ledger.reader import ShownEntry
from offswitch.station.notify.context import Context
from offswitch.station.notify.desk_events import DeskEvents
from offswitch.station.notify.events import PROBATION_US, Events
from offswitch.station.notify.notice import Notice, Phase
from telling import START_US, Record

SECOND = 1_000_000
CONTEXT = Context(
    "https://off.example.org", "ada", {"shop/a": "shop/a: buyers: orders queue up, bearable for 1h"}
)


@pytest.fixture
def events() -> Events:
    return Events(CONTEXT)


def one(notices: list[Notice]) -> Notice:
    [notice] = notices
    return notice


def test_a_stop_is_told_as_commanded_and_then_as_confirmed(events: Events, record: Record) -> None:
    order = record.stop("shop", "shop/a", "shop/b", why="prices are wrong")
    events.take(order)
    told = one(events.due(START_US))
    assert (told.phase, told.state, told.event) == (Phase.OPEN, "commanded", Event.STOP)
    assert told.thread == f"inc-{order.public['digest'][:8]}"
    assert told.page.stopped == ()
    assert len(told.page.acting) == 2
    for target in ("shop/a", "shop/b"):
        for receipt in record.receipts(order, target):
            events.take(receipt)
    told = one(events.due(START_US + 3 * SECOND))
    assert (told.phase, told.state) == (Phase.UPDATE, "confirmed")
    assert told.page.stopped == ("shop/a: confirmed", "shop/b: confirmed")
    assert told.page.acting == ()
    assert "orders queue up" in told.page.cost
    assert events.due(START_US + 10 * SECOND) == []


def test_VER_4_what_is_not_confirmed_is_a_page_that_says_what_still_acts(
    events: Events, record: Record
) -> None:
    order = record.stop("shop", "shop/a", "shop/b", by="person:ada")
    events.take(order)
    assert not one(events.due(START_US)).urgent, "who stopped it by hand knows"
    for entry in [
        *record.receipts(order, "shop/a"),
        *record.receipts(order, "shop/b", "process"),
        record.unconfirmed("shop/b", "process"),
    ]:
        events.take(entry)
    told = one(events.due(START_US + SECOND))
    assert (told.event, told.state, told.urgent) == (Event.NOT_CONFIRMED, "not confirmed", True)
    assert told.worse
    assert told.page.headline.startswith("NOT CONFIRMED: kill of shop")
    assert told.page.stopped == ("shop/a: confirmed",)
    assert told.page.acting == ("shop/b: NOT seen to have stopped (process)",)
    assert told.page.command == "offswitch stop shop/b --level poweroff"
    assert "a person's choice" in told.page.otherwise
    for entry in record.receipts(order, "shop/b"):
        events.take(entry)
    assert one(events.due(START_US + 5 * SECOND)).state == "confirmed"


def test_a_stop_that_covers_nothing_is_told_as_that(events: Events, record: Record) -> None:
    events.take(record.stop("shpo", by="person:ada"))
    told = one(events.due(START_US))
    assert "covers nothing" in told.state
    assert "nothing of shpo is under the switch" in told.page.acting[0]


def test_a_cascade_is_one_page_named_by_the_first_and_it_grows(
    events: Events, record: Record
) -> None:
    told = []
    for number in range(200):
        events.take(record.stop(f"t{number}", f"t{number}", by=f"rule:r{number}"))
        record.now_us += 10_000
        if number % 50 == 0:
            told += events.due(record.now_us)
    told += events.due(record.now_us + 5 * SECOND)
    assert {notice.thread for notice in told} == {told[0].thread}
    assert len(told) <= 4
    assert told[-1].page.headline.endswith("of t0 and 199 more")
    assert told[-1].page.happening.startswith("first: kill of t0 by rule:r0")


def test_what_people_stop_far_apart_is_two_incidents(events: Events, record: Record) -> None:
    events.take(record.stop("a", "a", by="person:ada"))
    events.take(record.stop("b", "b", by="person:ben"))
    assert len({notice.thread for notice in events.due(START_US)}) == 2


def test_the_same_stop_again_and_a_drills_are_not_told(events: Events, record: Record) -> None:
    order = record.stop("shop", "shop/a")
    events.take(order)
    events.take(record.stop(".drill/x", ".drill/x"))
    assert len(events.due(START_US)) == 1
    events.take(record.stop("shop", "shop/a", digest=order.public["digest"]))
    assert events.due(START_US + 60 * SECOND) == []


def test_SR_13_blindness_is_told_as_that(events: Events, record: Record) -> None:
    events.take(record.stop("a", "a", by="warden", why="blind: nobody has watched it for 3 s"))
    told = one(events.due(START_US))
    assert told.event is Event.BLIND
    assert told.urgent
    assert told.page.headline.startswith("BLIND")


def test_SR_18_whoever_placed_a_cleared_stop_is_told(events: Events, record: Record) -> None:
    order = record.stop("shop", "shop/a", by="person:ada")
    events.take(order)
    events.due(START_US)
    events.take(record.reset(order, state="pending"))
    told = one(events.due(START_US + SECOND))
    assert (told.state, told.phase) == ("reset waits", Phase.UPDATE)
    assert "one more person" in told.page.otherwise
    events.take(record.reset(order, placed_by=("person:ada", "uid:0")))
    told = one(events.due(START_US + 2 * SECOND))
    assert (told.state, told.phase, told.concerns) == ("reset", Phase.CLOSE, ("ada",))
    assert "placed by person:ada, uid:0" in told.page.happening
    assert events.due(START_US + 60 * SECOND) == []


def test_a_stop_while_on_probation_is_a_re_trip_of_the_same_incident(
    events: Events, record: Record
) -> None:
    order = record.stop("shop", "shop/a")
    events.take(order)
    first = one(events.due(START_US))
    events.take(record.reset(order))
    events.due(START_US)
    record.now_us += PROBATION_US - SECOND
    events.take(record.stop("shop", "shop/a"))
    told = one(events.due(record.now_us))
    assert (told.event, told.thread, told.phase) == (Event.RE_TRIP, first.thread, Phase.OPEN)
    assert told.worse
    assert told.urgent
    again = Events(CONTEXT)
    again.take(order)
    again.take(record.reset(order))
    again.due(record.now_us)
    record.now_us += 2 * PROBATION_US
    again.due(record.now_us)
    again.take(record.stop("shop", "shop/a"))
    assert one(again.due(record.now_us)).event is Event.STOP


def test_a_bypass_is_told_before_it_ends_and_not_when_it_was_restored(
    events: Events, record: Record
) -> None:
    until_us = START_US + 3600 * SECOND
    lowered = {"what": "bypass: mass-write", "rule": "mass-write", "until_us": until_us}
    events.take(record.entry("bypass", state="bypass for 1h", prior="as declared", **lowered))
    assert events.due(START_US + 2000 * SECOND) == []
    assert one(events.due(until_us - 900 * SECOND)).state == "expires"
    events.take(record.entry("bypass", state="returned by itself", prior="bypass", **lowered))
    assert one(events.due(until_us)).phase is Phase.CLOSE
    events.take(record.entry("bypass", state="bypass for 1h", prior="as declared", **lowered))
    events.take(record.entry("bypass", state="restored", prior="bypass", **lowered))
    assert events.due(until_us - SECOND) == []


def test_a_drill_that_failed_is_told_until_one_is_clean(events: Events, record: Record) -> None:
    end = {"what": "end", "prior": "running"}
    events.take(record.entry("drill", drill="canary-1", state="passed", failed=[], **end))
    assert events.due(START_US) == []
    events.take(
        record.entry("drill", drill="canary-2", state="not-confirmed", failed=["process"], **end)
    )
    told = one(events.due(START_US))
    assert (told.event, told.urgent) == (Event.DRILL, True)
    assert told.page.headline == "DRILL FAILED: process"
    events.take(record.entry("drill", drill="canary-3", state="passed", failed=[], **end))
    closed = one(events.due(START_US))
    assert (closed.thread, closed.phase) == (told.thread, Phase.CLOSE)


def test_what_stands_at_a_restart_is_told_again_in_a_word_and_what_is_over_is_not(
    events: Events, record: Record
) -> None:
    old, live = record.stop("a", "a", by="person:x"), record.stop("b", "b", by="person:y")
    for entry in [old, live, record.reset(old), *record.receipts(live, "b")]:
        events.take(entry)
    told = one(events.settled(START_US))
    assert (told.thread, told.state) == (f"inc-{live.public['digest'][:8]}", "confirmed")
    assert not told.worse
    assert events.due(START_US + 60 * SECOND) == []


def test_entries_that_make_no_sense_tell_nobody_anything(events: Events, record: Record) -> None:
    for kind in ("order", "receipt", "note", "moved", "reset", "bypass", "drill", "ticket"):
        for value in (None, 7, "x\x1b[2J", [1], {"a": 1}):
            keys = ("scope", "digest", "target", "order", "state", "what", "clears", "ticket")
            events.take(record.entry(kind, {"by": value}, **dict.fromkeys(keys, value)))
    events.take(record.entry("order", None))
    for notice in events.due(START_US):
        assert Notice.from_dict(notice.as_dict()) == notice


# --- watch's desk ---------------------------------------------------------------------------


def question(**other: object) -> dict[str, object]:
    row = {
        "decision": "ab" * 32, "rule": "r", "scope": "shop/a", "level": "kill", "harm": "money",
        "false_stop_cost": "an hour", "why": "it spends", "left_ms": 60_000, "stage": "asked",
        "silence": "it is stopped", "unanswered": "restrict", "due_us": START_US + 60 * SECOND,
        "act_us": START_US + 40 * SECOND,
    }  # fmt: skip
    return {**row, **other}


def alarm(number: int, since_us: int, **other: object) -> dict[str, object]:
    row = {"rule": f"r{number}", "scope": f"shop/t{number}", "act": "shadow", "harm": "money",
           "since_us": since_us, "state": "stands", "level": "kill"}  # fmt: skip
    return {**row, **other}


def test_DEC_3_a_question_says_what_silence_does_and_goes_to_the_backup() -> None:
    desk = DeskEvents(CONTEXT)
    told = one(desk.questions([question()], START_US))
    assert (told.event, told.phase, told.urgent) == (Event.QUESTION, Phase.OPEN, True)
    assert not told.backup
    assert "restrict is ordered" in told.page.otherwise
    assert "silence answers: it is stopped" in told.page.otherwise
    assert "an hour" in told.page.cost
    assert told.page.command == "offswitch decision approve abababababab"
    assert desk.questions([question(left_ms=50_000)], START_US) == []
    assert one(desk.questions([question(stage="backup")], START_US)).backup
    acted = one(desk.questions([question(stage="acted")], START_US))
    assert "restrict was ordered" in acted.page.stopped[0]
    assert one(desk.questions([], START_US)).phase is Phase.CLOSE


def test_alarms_that_rise_together_are_one_page_named_by_the_first() -> None:
    desk = DeskEvents(CONTEXT)
    first = one(desk.alarms([alarm(0, START_US)], START_US))
    assert first.phase is Phase.OPEN
    rows = [alarm(number, START_US + number * 100_000) for number in range(200)]
    grown = one(desk.alarms(rows, START_US + 60 * SECOND))
    assert grown.thread == first.thread
    assert grown.page.headline.endswith("r0 on shop/t0 and 199 more after it")
    assert desk.alarms(rows, START_US + 61 * SECOND) == []
    seen = [{**row, "acked_by": "uid:7"} for row in rows]
    assert one(desk.alarms(seen, START_US + 62 * SECOND)).phase is Phase.SEEN
    assert one(desk.alarms([], START_US + 63 * SECOND)).phase is Phase.CLOSE


def test_what_is_shelved_asks_or_stops_is_no_alarm_of_its_own() -> None:
    desk = DeskEvents(CONTEXT)
    rows = [
        alarm(1, START_US, shelved=True),
        alarm(2, START_US, decision="ab" * 32, state="asks"),
        alarm(3, START_US, act="auto", state="ordered"),
        alarm(4, 0),
    ]
    assert desk.alarms(rows, START_US) == []


def test_SR_12_a_rule_that_stops_too_often_is_an_alarm_and_withholds_nothing() -> None:
    told = one(
        DeskEvents(CONTEXT).alarms([alarm(3, START_US, act="auto", state="ordered", spent=True)], 0)
    )
    assert "budget of stops is spent" in told.page.happening
    assert "goes on stopping" in told.page.otherwise


def test_a_flood_of_ten_thousand_stops_holds_nobody_up(events: Events, record: Record) -> None:
    began = time.process_time()
    for number in range(10_000):
        events.take(record.stop(f"t/{number}", f"t/{number}"))
        events.take(record.unconfirmed(f"t/{number}", "process"))
        if number % 1000 == 0:
            events.due(record.now_us)
        record.now_us += 1000
    events.due(record.now_us)
    assert time.process_time() - began < 4, "some 0.1 ms each, not more with each"


# --- layers that fall -------------------------------------------------------------------


def fell(record: Record, state: str = "unproven", **more: object) -> ShownEntry:
    """Make the entry of a layer whose readiness has changed, as a warden writes it."""
    prior = "ready" if state in {"unproven", "absent"} else "unproven"
    public = {"what": "readiness", "layer": "data", "prior": prior, "state": state}
    about = {"cause": "layer", "targets": ["shop/a"], "count": 1, **more}
    return record.entry("note", {"why": "the password was refused"}, **{**public, **about})


def test_REL_7_a_layer_that_falls_is_told_at_once_and_when_it_is_well_again(
    events: Events, record: Record
) -> None:
    events.take(fell(record))
    assert events.due(START_US + SECOND) == [], "a process of ours may come back by itself"
    told = one(events.due(START_US + 2 * SECOND))
    assert (told.event, told.phase, told.urgent) == (Event.READINESS, Phase.OPEN, True)
    assert told.page.headline == "LAYER data unproven: shop/a"
    assert "the password was refused" in told.page.happening
    assert told.page.command == "offswitch target show shop/a"
    events.take(fell(record, targets=["shop/b"]))
    assert events.due(START_US + 9 * SECOND) == [], "one layer is one page, however many it hits"
    events.take(fell(record, "ready"))
    events.take(fell(record, "degraded", targets=["shop/b"]))
    closed = one(events.due(START_US + 9 * SECOND))
    assert (closed.thread, closed.phase) == (told.thread, Phase.CLOSE)


def test_a_layer_that_is_back_within_a_moment_calls_nobody(events: Events, record: Record) -> None:
    events.take(fell(record, count=500))
    events.take(fell(record, "ready", count=500))
    events.take(fell(record, cause="drill"))
    assert events.due(START_US + 9 * SECOND) == [], "a failed drill has a page of its own"


def test_REL_7_a_crowd_is_well_again_when_all_of_it_is_whoever_was_named(
    events: Events, record: Record
) -> None:
    first, others = ([f"{name}/{number}" for number in range(20)] for name in ("a", "b"))
    events.take(fell(record, targets=first, count=500))
    assert len(events.due(START_US + 9 * SECOND)) == 1
    events.take(fell(record, "absent", prior="unproven", targets=others, count=500))
    events.take(fell(record, "ready", targets=others, count=480))
    assert events.due(START_US + 10 * SECOND) == [], "twenty of them are not"
    events.take(fell(record, "ready", targets=["c/1"], count=20))
    assert one(events.due(START_US + 11 * SECOND)).phase is Phase.CLOSE


def test_REL_7_what_had_not_fallen_makes_nothing_well_again(events: Events, record: Record) -> None:
    names = [f"a/{number}" for number in range(20)]
    events.take(fell(record))
    assert len(events.due(START_US + 9 * SECOND)) == 1
    events.take(fell(record, "ready", prior="degraded", targets=names, count=90))
    events.take(fell(record, "ready", cause="drill", targets=names, count=90))
    events.take(fell(record, targets=names, count=25))
    events.take(fell(record, "ready", targets=[*names, "shop/a"], count=21))
    assert events.due(START_US + 10 * SECOND) == [], "five that nobody has named are still down"
    events.take(fell(record, "ready", targets=[f"b/{number}" for number in range(5)], count=5))
    assert one(events.due(START_US + 11 * SECOND)).phase is Phase.CLOSE


def test_a_station_that_starts_anew_tells_of_what_is_still_fallen(
    events: Events, record: Record
) -> None:
    events.take(fell(record))
    assert len(events.due(START_US + 9 * SECOND)) == 1
    assert one(events.settled(START_US + 10 * SECOND)).event is Event.READINESS
    events.take(fell(record, "gone"))
    assert events.settled(START_US + 11 * SECOND) == []


def test_ACT_10_who_is_to_be_told_first_stands_at_the_head_of_the_page(
    events: Events, record: Record
) -> None:
    events.take(record.stop("shop", "shop/a", why="it lies"))
    for who in ("the shift", "support (of shop/front)"):
        events.take(record.entry("note", {"who": who}, what="tell first", target="shop/a"))
    told = one(events.due(START_US))
    assert told.page.happening.startswith("TELL FIRST: the shift, support (of shop/front). kill of")


def test_SR_10_a_page_says_what_else_would_go_with_the_machine(
    events: Events, record: Record
) -> None:
    order = record.stop("a", "a")
    events.take(order)
    for entry in record.receipts(order, "a", "process"):
        events.take(entry)
    what = "page: not confirmed, a person must look"
    events.take(record.entry("note", what=what, target="a", missing=["process"], others=["b"]))
    assert one(events.due(START_US)).page.otherwise.endswith("with the machine would go b")


def test_VER_5_what_a_plan_put_off_and_nobody_needed_is_not_called_unseen(
    events: Events, record: Record
) -> None:
    order = record.stop("a", "a")
    events.take(order)
    for entry in record.receipts(order, "a"):
        events.take(entry)
    put_off = {"target": "a", "order": order.public["digest"], "layer": "container"}
    events.take(record.entry("receipt", {}, **put_off, confirmed="no", counted="no"))
    assert one(events.due(START_US)).state == "confirmed"

"""What belongs together becomes one incident, and what does not, another."""

from __future__ import annotations

import random
import time

import pytest

from chronicle import BEGIN_US, Chronicle, S, digest
from offswitch.ledger.reader import ShownEntry
from offswitch.reports.delays import Step
from offswitch.reports.incident import Incident, IncidentState, Outcome, Severity, Sort
from offswitch.reports.incidents import Incidents, incidents_of
from scale import LONG


def one(told: Chronicle) -> Incident:
    [incident] = incidents_of(told.entries)
    return incident


def of_a_rule(told: Chronicle) -> str:
    """A rule of two channels stops; watch writes down what it found after its order has left."""
    first_us = told.now
    told.wait(0.050)
    second_us = told.now
    told.wait(0.001)
    name = told.order(by="rule:mass-write", channel="rule", given_us=second_us)
    told.finding(found_us=first_us, what="the first channel")
    told.finding(found_us=second_us)
    told.decision(
        "stop", decided_us=second_us, findings=["the first channel", "51 in 1s, limit 50"]
    )
    told.receipts(name)
    return name


def test_an_order_opens_an_incident_named_by_its_digest(told: Chronicle) -> None:
    told.order()
    incident = one(told)
    assert incident.id == f"inc-{digest(1)[:8]}"
    assert (incident.sort, incident.state) == (Sort.STOP, IncidentState.COMMANDED)
    assert (incident.scope, incident.level) == ("shop/agent", "kill")
    assert (incident.targets, incident.live) == (("shop/agent",), (digest(1),))
    assert incident.opened_by == "uid:1000"


def test_it_goes_from_commanded_over_confirmed_and_reset_to_closed(told: Chronicle) -> None:
    states = []
    name = told.order()
    states.append(one(told).state)
    told.receipts(name)
    states.append(one(told).state)
    told.reset(name, state="pending")
    states.append(one(told).state)
    told.reset(name)
    states.append(one(told).state)
    told.incident(
        one(told).id, "closed", {"cause": "a bad feed", "actions": ["pin it"]}, outcome="stop"
    )
    states.append(one(told).state)
    assert states == ["commanded", "confirmed", "confirmed", "reset", "closed"]
    closing = one(told).closing
    assert closing is not None
    assert (closing.cause, closing.actions) == ("a bad feed", ("pin it",))


def test_what_was_not_observed_is_not_confirmed_until_it_is(told: Chronicle) -> None:
    name = told.order()
    told.receipts(name, unseen=("process",), detail="pid 7 does not die")
    incident = one(told)
    assert incident.state is IncidentState.UNCONFIRMED
    [left] = incident.unconfirmed
    assert (left.layer, left.detail) == ("process", "pid 7 does not die")
    assert incident.severity is Severity.CRITICAL
    assert incident.delays.of(Step.CONFIRMED) is None
    told.wait(5)
    told.receipts(name)
    assert one(told).state is IncidentState.CONFIRMED
    assert one(told).severity is Severity.CRITICAL, "that it was not seen at first stays true"


def test_stops_that_cover_each_other_are_one_incident(told: Chronicle) -> None:
    told.stop("shop/agent")
    told.order("shop", ("shop/agent", "shop/other"))
    told.order("shop/other", ("shop/other",))
    told.order("tenant=acme", ("shop/agent", "else/where"))
    incident = one(told)
    assert incident.scopes == ("shop", "shop/agent", "shop/other", "tenant=acme")
    assert incident.target_count == 3
    told.order("bank", ("bank",))
    assert [each.scope for each in incidents_of(told.entries)] == ["shop/agent", "bank"]


def test_a_wider_stop_long_after_is_another_incident(told: Chronicle) -> None:
    told.stop("shop/agent")
    told.wait(86_400)
    told.order("/", ("shop/agent", "bank"))
    assert [each.scope for each in incidents_of(told.entries)] == ["shop/agent", "/"]


def test_SR_20_a_drill_opens_no_incident(told: Chronicle) -> None:
    told.stop(".drill/canary")
    told.finding(".drill/canary")
    told.add("note", what="would have stopped .drill/canary at kill", target=".drill/canary")
    assert incidents_of(told.entries) == []


@pytest.mark.parametrize(
    ("level", "severity"),
    [("restrict", "low"), ("drain", "low"), ("freeze", "medium"), ("kill", "high")],
)
def test_severity_goes_by_level(told: Chronicle, level: str, severity: str) -> None:
    told.order(level=level)
    assert (one(told).severity.value, one(told).severity_why) == (severity, level)


def test_a_person_grades_it_and_a_new_trip_on_probation_raises_it(told: Chronicle) -> None:
    name = told.stop()
    told.incident(one(told).id, "graded", {"reason": "nobody was harmed"}, severity="low")
    assert one(told).severity is Severity.LOW
    told.order("shop", ("shop/agent",))
    assert one(told).severity is Severity.LOW, "what a person said stands"
    told.reset(name, digest(2))
    told.wait(60)
    again = told.order()
    incident = one(told)
    assert (incident.severity, incident.trips) == (Severity.MEDIUM, 1)
    assert incident.severity_in == len(told.entries) - 1
    assert incident.live == (again,)
    assert incident.state is IncidentState.COMMANDED


def test_after_probation_a_stop_is_another_incident(told: Chronicle) -> None:
    told.reset(told.stop())
    told.wait(1801)
    told.stop()
    assert [each.trips for each in incidents_of(told.entries)] == [0, 0]


def test_a_stop_of_something_else_is_no_new_trip(told: Chronicle) -> None:
    told.reset(told.stop("shop/agent"), told.order("shop", ("shop/agent",)), scope="shop")
    told.stop("shop/other")
    assert [each.scope for each in incidents_of(told.entries)] == ["shop/agent", "shop/other"]


def test_REP_1_awareness_is_the_first_finding_decision_or_press(told: Chronicle) -> None:
    begin_us = told.now
    of_a_rule(told)
    incident = one(told)
    assert (incident.aware_us, incident.aware_how) == (begin_us, "a finding")
    assert told.entries[incident.aware_in].public["found_us"] == begin_us


def test_a_press_whose_clock_lies_moves_no_awareness(told: Chronicle) -> None:
    told.order(given_us=BEGIN_US - 86_400 * S)
    assert one(told).aware_us == BEGIN_US


def test_what_was_found_shortly_before_a_press_belongs_to_it(told: Chronicle) -> None:
    told.finding("shop/agent", state="early sign")
    told.finding("elsewhere")
    told.wait(600)
    found_us = told.now
    told.finding("shop/agent")
    told.wait(20)
    told.order("shop", ("shop/agent",))
    incident = one(told)
    assert incident.counts == {"finding": 2, "order": 1}
    assert incident.aware_us == found_us, "an early sign is no awareness"
    assert incident.delays.of(Step.DECIDE) == 19_999_000


def test_DRL_9_the_delays_of_a_rules_stop_add_up_exactly(told: Chronicle) -> None:
    of_a_rule(told)
    delays = one(told).delays
    assert [(part.step.value, part.us) for part in delays.segments] == [
        ("detect", 50_000),
        ("decide", 0),
        ("order", 1000),
        ("last act", 300),
        ("confirmed", 5002 - 300),
        ("recorded", 12_060 - 5002),
    ]
    assert delays.complete
    assert delays.total_us == delays.known_us == sum(part.us or 0 for part in delays.segments)
    for part in delays.segments:
        assert part.end is not None
        assert part.end.field in told.entries[part.end.index].public


def test_DRL_9_what_is_unknown_says_so_and_the_sum_too(told: Chronicle) -> None:
    name = told.order()
    told.receipts(name, unseen=("network",))
    delays = one(told).delays
    unknown = [part.step.value for part in delays.segments if part.us is None]
    assert unknown == ["detect", "decide", "confirmed", "recorded"]
    assert not delays.complete
    assert delays.total_us == delays.known_us + delays.unknown_us
    assert delays.unknown_us > 0


def test_DRL_9_a_clock_that_is_set_meanwhile_shortens_nothing(told: Chronicle) -> None:
    name = told.order()
    told.now += 10_000
    accepted = told.entries[0].public["accepted_mono_us"]
    told.add(
        "receipt",
        target="shop/agent",
        order=name,
        layer="process",
        accepted_mono_us=accepted,
        commanded_ns=1_000_000,
        effect_ns=2_000_000,
        confirmed="yes",
    )
    told.entries[-1].public["time_us"] -= 3600 * S  # somebody set the clock back
    delays = one(told).delays
    assert delays.clock == "monotonic"
    assert (delays.of(Step.LAST_ACT), delays.of(Step.CONFIRMED)) == (1000, 1000)
    assert delays.total_us == delays.known_us


def test_REP_6_near_misses_of_all_four_kinds_are_incidents(told: Chronicle) -> None:
    told.decision("would-stop", "a", by="rule:tried")
    told.decision("ask", "b")
    denied = ["question: 7", "verdict: deny", "closed: yes"]
    told.decision("nothing", "b", by="uid:7", why="deny by user 7: a sale", known=denied)
    told.finding("c", state="early sign")
    told.add("note", what="would have stopped d at kill", target="d", channel="blind")
    told.wait(3601)
    told.add("restart", process="watch")
    found = {each.scope: each for each in incidents_of(told.entries)}
    assert set(found) == {"a", "b", "c", "d"}
    assert {each.sort for each in found.values()} == {Sort.NEAR_MISS}
    assert {each.severity for each in found.values()} == {Severity.LOW}
    assert found["b"].counts == {"decision": 2}
    assert found["c"].opened_in == 3


def test_REP_6_no_near_miss_where_it_came_true_or_is_not_yet_answered(told: Chronicle) -> None:
    told.finding("c", state="early sign")
    told.wait(60)
    told.finding("c")
    told.decision("ask", "b")
    first = ["question: 7", "verdict: deny", "closed: no"]
    told.decision("nothing", "b", by="uid:7", why="deny by user 7: a sale", known=first)
    told.wait(7200)
    told.add("restart", process="watch")
    assert incidents_of(told.entries) == []


def test_REP_6_what_almost_trips_on_probation_is_a_near_miss_of_its_own(told: Chronicle) -> None:
    told.reset(told.stop())
    told.decision("would-stop", by="rule:tried")
    told.finding(state="early sign")
    told.wait(3601)
    told.add("restart", process="watch")
    stop, shadow, faded = incidents_of(told.entries)
    assert [stop.counts["decision"], stop.counts["finding"]] == [1, 1]
    assert {shadow.sort, faded.sort} == {Sort.NEAR_MISS}
    told.decision("would-stop", "bank")
    name = told.stop("bank")
    told.decision("would-stop", "bank")
    assert len(incidents_of(told.entries)) == 4, "what is latched was no near miss"
    told.reset(name, scope="bank")


def test_what_was_found_late_in_probation_belongs_to_the_next_stop_too(told: Chronicle) -> None:
    told.reset(told.stop())
    told.wait(1790)
    found_us = told.now
    told.finding()
    told.wait(60)
    told.stop()
    assert incidents_of(told.entries)[1].aware_us == found_us


def test_the_same_near_miss_again_within_an_hour_is_one(told: Chronicle) -> None:
    for _ in range(5):
        told.decision("would-stop", by="rule:tried")
        told.wait(600)
    told.decision("would-stop", by="rule:other")
    told.wait(3601)
    told.decision("would-stop", by="rule:tried")
    counts = [each.counts["decision"] for each in incidents_of(told.entries)]
    assert counts == [5, 1, 1]


def test_a_near_miss_that_a_stop_follows_was_its_beginning(told: Chronicle) -> None:
    told.finding()
    told.decision("would-stop", by="rule:tried")
    book = Incidents()
    for entry in told.entries:
        book.take(entry)
    [near] = book.all()
    told.wait(60)
    told.order()
    changed = book.take(told.entries[-1])
    incident = one(told)
    assert incident.aliases == (near.id,)
    assert incident.counts == {"decision": 1, "finding": 1, "order": 1}
    assert set(changed) == {near.id, incident.id}
    assert book.get(near.id) == incident


def test_REP_6_a_stop_that_a_person_calls_false_is_a_false_stop(told: Chronicle) -> None:
    told.reset(told.stop())
    told.incident(one(told).id, "closed", {"cause": "a sale"}, outcome="false-stop")
    incident = one(told)
    assert incident.sort is Sort.FALSE_STOP
    assert incident.closing is not None
    assert incident.closing.outcome is Outcome.FALSE_STOP


def test_a_person_opens_notes_hands_over_and_later_stops_join(told: Chronicle) -> None:
    told.incident(
        "inc-00c0ffee", "opened", {"reason": "odd prices"}, scope="shop", severity="medium"
    )
    told.incident("inc-00c0ffee", "noted", {"text": "the feed is old"})
    told.incident("inc-00c0ffee", "handed over", {"to": "ben"})
    told.incident("inc-ffffffff", "noted", {"text": "of none"})
    incident = one(told)
    assert (incident.sort, incident.state) == (Sort.REPORTED, IncidentState.OPEN)
    assert (incident.severity, incident.lead, incident.why) == (
        Severity.MEDIUM,
        "ben",
        "odd prices",
    )
    assert [note.text for note in incident.notes] == ["the feed is old"]
    told.stop("shop/agent")
    joined = one(told)
    assert (joined.sort, joined.state) == (Sort.STOP, IncidentState.CONFIRMED)
    assert joined.severity is Severity.MEDIUM


def test_what_names_order_target_or_scope_of_an_incident_is_on_its_timeline(
    told: Chronicle,
) -> None:
    name = told.stop()
    told.add("moved", {"what": "a process came back"}, target="shop/agent", level="kill")
    told.add("exit", target="shop/agent", order=name, signal="SIGKILL")
    told.add("evidence", target="shop/agent", order=name, level="kill", count=1)
    told.add("page", {"by": "watch"}, what="ada was called", incident=one(told).id)
    told.add("note", what="page: not confirmed, a person must look", target="shop/agent")
    told.add("gap", what="3 entries of watch", why="the recorder did not take them")
    told.add("refused", {"by": "uid:7"}, what="reset", scope="shop/agent", why="not yours")
    told.add("exit", target="elsewhere", code=0)
    told.add("people", what="signed in")
    incident = one(told)
    kinds = {"evidence", "exit", "gap", "moved", "note", "order", "page", "receipt", "refused"}
    assert set(incident.counts) == kinds
    assert incident.counts["exit"] == 1
    assert incident.moved == 1


def test_merged_stops_stay_live_under_the_one_that_stands_for_them(told: Chronicle) -> None:
    first, second = told.stop("shop/a"), told.stop("bank/b")
    told.add(
        "order",
        {"by": "warden"},
        what="merged",
        digest=digest(99),
        scope="/",
        level="kill",
        instead_of=[first, second],
    )
    found = incidents_of(told.entries)
    assert [(each.state, each.live) for each in found] == [("confirmed", (digest(99),))] * 2
    told.reset(digest(99), scope="/")
    assert [each.state for each in incidents_of(told.entries)] == ["reset", "reset"]


def test_erased_values_and_garbled_entries_break_nothing(told: Chronicle) -> None:
    name = told.stop()
    for kind in ("order", "finding", "decision", "receipt", "reset", "incident", "moved", "page"):
        told.add(kind)
        told.add(kind, {"by": None, "reason": None}, target=7, scope=["x"], order={}, clears=3,
                 prior=[1], state={}, found_us="x", what=None, incident=name, digest=5, known=1,
                 level="x", choice=0, given_us=[], accepted_mono_us="1")  # fmt: skip
    told.entries.append(ShownEntry(len(told.entries), {"unreadable": "b'x'"}, {}, intact=False))
    told.entries[0] = ShownEntry(
        0, told.entries[0].public, {"by": None, "reason": None}, intact=True
    )
    found = {each.id: each for each in incidents_of(told.entries)}
    assert found[f"inc-{digest(1)[:8]}"].opened_by is None


def test_an_entry_too_large_for_the_tree_is_read_from_under_the_seal(told: Chronicle) -> None:
    told.order("shop", tuple(f"shop/{n}" for n in range(3000)))
    [entry] = told.entries
    common = ("v", "kind", "time_us", "mono_us", "boot", "installation")
    public = {key: entry.public[key] for key in common} | {"oversized": 99_999}
    told.entries = [ShownEntry(0, public, {**entry.sealed, "public": entry.public}, intact=True)]
    assert one(told).target_count == 3000


def test_two_that_begin_alike_get_different_names(told: Chronicle) -> None:
    told.order("a", ("a",), name="ab" * 32)
    told.order("b", ("b",), name="ab" * 16 + "cd" * 16)
    ids = [each.id for each in incidents_of(told.entries)]
    assert len(set(ids)) == 2
    assert ids[0] == "inc-abababab"
    assert ids[1].startswith("inc-abababab")


def test_a_flood_is_counted_and_the_first_and_the_last_are_kept(told: Chronicle) -> None:
    told.stop()
    first = len(told.entries)
    for number in range(2000):
        told.wait(0.01)
        told.finding(what=f"number {number}")
    told.add("moved", {"what": "x"}, target="shop/agent")
    incident = one(told)
    shown = [event.index for event in incident.events if event.kind == "finding"]
    assert (incident.counts["finding"], incident.left_out) == (2000, {"finding": 1920})
    assert shown == [*range(first, first + 40), *range(first + 1960, first + 2000)]
    assert incident.counts["moved"] == 1, "nothing else is pushed out"


def test_a_thousand_scopes_pressed_in_a_second_are_few_incidents(told: Chronicle) -> None:
    names = [told.order(f"s/{number}", (), given_us=told.now) for number in range(1000)]
    found = incidents_of(told.entries)
    assert len(found) == 100
    assert sum(each.live_count for each in found) == 1000
    assert found[-1].counts["order"] == 901
    told.reset(*names, scope="s")
    assert {each.state for each in incidents_of(told.entries)} == {IncidentState.RESET}
    told.wait(3600)
    told.order("t", ("t",))
    assert len(incidents_of(told.entries)) == 101


def test_where_nothing_that_counts_acts_nothing_is_confirmed(told: Chronicle) -> None:
    name = told.order(level="restrict")
    told.add("receipt", target="shop/agent", order=name, layer="guard", level="restrict",
             commanded_ns=1000, confirmed="no")  # fmt: skip
    incident = one(told)
    assert (incident.state, incident.silent) == (IncidentState.UNCONFIRMED, ("shop/agent",))
    assert incident.severity is Severity.LOW
    assert incident.delays.of(Step.CONFIRMED) is None


def test_taken_in_one_by_one_they_are_the_same_as_all_at_once(told: Chronicle) -> None:
    rng = random.Random(7)
    stops: list[str] = []
    for _ in range(300):
        target = f"shop/{rng.randrange(6)}"
        match rng.randrange(6):
            case 0:
                stops.append(told.stop(target))
            case 1 if stops:
                told.reset(stops.pop(rng.randrange(len(stops))), scope=target)
            case 2:
                told.finding(target, state=rng.choice(["trip", "early sign"]))
            case 3:
                told.decision(rng.choice(["would-stop", "ask", "nothing"]), target)
            case 4:
                told.add("exit", target=target, code=1)
            case _:
                told.wait(rng.randrange(2000))
    book = Incidents()
    for entry in told.entries:
        book.take(entry)
        if rng.random() < 0.2:
            book.all()
    assert book.all() == incidents_of(told.entries)
    assert book.size == len(told.entries)
    assert len({each.id for each in book.all()}) == len(book.all()) > 20


def test_a_hundred_thousand_entries_take_a_couple_of_seconds(told: Chronicle) -> None:
    entries = 100_000 if LONG else 6000
    n = 0
    while len(told.entries) < entries:
        n += 1
        told.finding(f"shop/{n % 500}", found_us=told.now)
        told.decision("nothing", f"shop/{n % 500}")
        if n % 10 == 0:
            name = told.stop(f"shop/{n % 500}")
            if n % 20 == 0:
                told.reset(name, scope=f"shop/{n % 500}")
        told.wait(1)
    begin = time.process_time()
    found = incidents_of(told.entries)
    took = (time.process_time() - begin) * 100_000 / entries
    print(f"incidents of 100,000 entries: {took:.2f} s of a processor; {len(found)} incidents")
    assert took < 4, "about 1.7 s"

"""What one needs to see before deciding: claims, what speaks against them, reach and cost."""

from __future__ import annotations

import json
import time

from chronicle import Chronicle
from offswitch.reports.incident import Incident
from offswitch.reports.incidents import incidents_of
from offswitch.reports.support import (
    Question,
    Reached,
    Recent,
    RuleCost,
    Support,
    reached_of,
    support_of_incident,
    support_of_question,
)

KNOWN = [
    'orders-db.rows_changed{table="prices"}: trip: 51 in 1s, limit 50',
    "logs.errors: ok: 0 in 1s, limit 5",
    "gpu.power: stale: nothing for 4s",
    "vote: 1oo3",
    "running: 1",
]
OPTIONS = [
    "stop kill: 1 of 1 that run; if it is in vain: checkout down for minutes",
    "nothing: harm",
]
TARGETS = [
    Reached("shop/agent", {"tenant": "acme"}, "running", impact={"who": "buyers"}),
    Reached("shop/old", {}, "stopped", latched=True, impact={"who": "nobody"}),
    Reached("shopping/else", {"tenant": "acme"}, "running"),
    Reached(".drill/canary", {}, "running"),
]


def seen(told: Chronicle) -> None:
    told.finding(state="early sign", what="in 10m", evidence={"contradicts": "it stays"})
    told.wait(2)
    told.finding(evidence={"value": "51", "contradicts": "a sale is on"}, series="orders-db.x")
    told.finding("shopping/else")
    told.finding(".drill/canary")
    told.decision("ask", known=KNOWN, options=OPTIONS)


def asked(told: Chronicle, scope: str = "shop/agent") -> Question:
    return Question("7" * 64, "mass-write", scope, "kill", told.now)


def of_incident(told: Chronicle, past: list[Incident] | None = None) -> Support:
    entries = {one.index: one for one in told.entries}
    *_before, incident = incidents_of(told.entries)
    return support_of_incident(incident, entries, targets=TARGETS, past=past or [])


def test_DEC_7_claims_stand_in_the_order_in_which_they_happened(told: Chronicle) -> None:
    seen(told)
    support = support_of_question(asked(told), told.entries, targets=TARGETS)
    assert [(cause.state, cause.index) for cause in support.causes] == [
        ("early sign", 0),
        ("trip", 1),
    ]
    assert support.causes[1].evidence == {"value": "51", "contradicts": "a sale is on"}


def test_DEC_7_what_speaks_against_it_is_told(told: Chronicle) -> None:
    seen(told)
    support = support_of_question(asked(told), told.entries, targets=TARGETS)
    assert [(one.about, one.what) for one in support.against] == [
        ("orders-db.rows_changed", "it would be contradicted by: it stays"),
        ("orders-db.x", "it would be contradicted by: a sale is on"),
        ("logs.errors", "did not trip: 0 in 1s, limit 5"),
        ("gpu.power", "sees nothing (stale): nothing for 4s"),
    ]


def test_DEC_7_a_channel_that_trips_later_speaks_against_it_no_more(told: Chronicle) -> None:
    seen(told)
    told.decision("nothing", known=["logs.errors: trip: 9 in 1s, limit 5"])
    support = support_of_question(asked(told), told.entries, targets=TARGETS)
    assert "logs.errors" not in {one.about for one in support.against}


def test_DEC_7_reach_and_costs_are_those_of_the_scope(told: Chronicle) -> None:
    seen(told)
    support = support_of_question(asked(told, "shop"), told.entries, targets=TARGETS)
    assert [one.target for one in support.radius] == ["shop/agent", "shop/old"]
    assert (support.radius_count, support.latched_count) == (2, 1)
    assert [(one.of, one.text) for one in support.costs] == [("shop/agent", "who: buyers")]
    by_label = support_of_question(asked(told, "tenant=acme"), told.entries, targets=TARGETS)
    assert [one.target for one in by_label.radius] == ["shop/agent", "shopping/else"]
    assert {cause.target for cause in by_label.causes} == {"shop/agent", "shopping/else"}


def test_DEC_7_the_cost_of_a_false_stop_is_the_rules_own_or_what_it_put_on_the_table(
    told: Chronicle,
) -> None:
    seen(told)
    rule = RuleCost("mass-write", "shop/agent", "minutes", "wrong prices")
    other = RuleCost("other", "shop/agent", "hours")
    declared = support_of_question(asked(told), told.entries, rules=[other, rule])
    assert [(one.of, one.text) for one in declared.costs] == [("rule mass-write", "minutes")]
    from_options = support_of_question(asked(told), told.entries)
    assert [one.text for one in from_options.costs] == ["checkout down for minutes"]
    assert from_options.options == tuple(OPTIONS)


def test_DEC_7_an_incident_shows_the_same_and_how_often_the_like_was_in_vain(
    told: Chronicle,
) -> None:
    told.reset(told.stop())
    [first] = incidents_of(told.entries)
    told.incident(first.id, "closed", {"cause": "a sale"}, outcome="false-stop")
    told.wait(7200)
    seen(told)
    told.stop()
    support = of_incident(told, incidents_of(told.entries))
    assert support.about.startswith("inc-")
    assert len(support.causes) == 2
    assert support.against[-1].what == "1 of 1 earlier stops of it were in vain"
    json.dumps(support.as_dict())


def test_what_was_erased_or_is_garbled_is_left_out(told: Chronicle) -> None:
    seen(told)
    told.entries[1].sealed["evidence"] = None
    told.finding(target="shop/agent", found_us=told.now, evidence={})
    told.entries[-1].sealed["evidence"] = ["x"]
    told.add("decision", scope="shop/agent", choice=1, known="x", options=[1])
    support = support_of_question(asked(told, "no such//scope"), told.entries, targets=TARGETS)
    assert (support.causes, support.radius) == ((), ())
    support = support_of_question(asked(told), told.entries, targets=TARGETS)
    assert [dict(cause.evidence) for cause in support.causes][1:] == [{}, {}]


def test_a_row_of_status_becomes_what_is_reached() -> None:
    row = {
        "target": "shop/agent",
        "labels": {"tenant": "acme"},
        "state": "running",
        "latched": False,
        "declared": {"stop_impact": {"who": "buyers", "harm": "they wait"}},
    }
    made = reached_of(row)
    assert (made.target, made.impact) == ("shop/agent", {"who": "buyers", "harm": "they wait"})
    assert reached_of({"declared": None, "labels": 3}).impact == {}


def test_DEC_7_it_is_there_within_a_second_with_ten_thousand_entries(told: Chronicle) -> None:
    recent = Recent()
    for number in range(5000):
        told.finding(what=f"{number}", evidence={"value": "1" * 400, "contradicts": f"{number}"})
        told.decision("nothing", known=[f"{one}{number}" for one in KNOWN])
    told.add("restart")
    for entry in told.entries:
        recent.take(entry)
    targets = [Reached(f"shop/{number}", {"tenant": "acme"}) for number in range(10_000)]
    for scope in ("shop/agent", "tenant=acme"):
        begin = time.process_time()
        support = support_of_question(asked(told, scope), recent, targets=targets)
        took = time.process_time() - begin
        print(f"support of {scope}: {took:.3f} s")
        assert took < 1
    assert support.radius_count == 10_000
    assert len(support.radius) == 200

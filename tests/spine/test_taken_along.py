"""Whom a stop takes along: by an order of its own, before it or with it, and never further."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from installation import Installation, until
from offswitch.clock import SystemClock
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.warden.core import Core
from offswitch.warden.press import Press
from offswitch.warden.taken_along import dependents, take_along


@pytest.mark.parametrize(
    "plan",
    [
        None,
        {"dependents": 7},
        {"dependents": [7, {}, {"target": "a b"}, {"target": "x", "level": "much"}]},
        {"dependents": {"target": "x"}},
    ],
)
def test_SR_8_a_broken_plan_takes_nobody_along(plan: object) -> None:
    assert list(dependents({"stop": plan})) == []


def declare(home: Installation, **plans: dict[str, Any]) -> None:
    impact = {"who": "buyers", "harm": "h", "bearable": "1h", "told_by": "support"}
    home.ask(
        {
            "op": "declare",
            "targets": [
                {"name": name.replace("_", "/"), "stop": plan, "stop_impact": impact}
                for name, plan in plans.items()
            ],
        }
    )


def orders(home: Installation) -> list[dict[str, Any]]:
    return [entry for entry in home.entries() if entry["kind"] == "order"]


def test_ACT_1_dependents_are_stopped_first_or_with_it_by_orders_that_name_it(
    installation: Installation,
) -> None:
    """A loop of three; one of them is told of, and one is brought to rest and no further."""
    front = {"target": "shop/front", "level": "drain", "first": True}
    declare(
        installation,
        shop_model={
            "dependents": [front, {"target": "shop/feed"}],
            "tell": [{"who": "the shift"}, {"target": "shop/front"}, {"target": "x y"}],
        },
        shop_front={"dependents": [{"target": "shop/model"}]},
        shop_feed={"dependents": [{"target": "shop/model", "level": "poweroff"}]},
    )
    for name in ("shop/model", "shop/front", "shop/feed", "shop/else"):
        installation.run("sleep", "1000", target=name)
    answer = installation.stop("shop/model", reason="it lies")
    assert (answer["confirmed"], answer["scopes"]) == (True, ["shop/model"])
    levels = {row["target"]: row["level"] for row in installation.status()["targets"]}
    assert levels == {
        "shop/model": "kill", "shop/front": "drain", "shop/feed": "kill", "shop/else": None,
    }  # fmt: skip
    found = until(lambda: len(orders(installation)) == 3 and orders(installation), "three orders")
    assert [(one["scope"], one["level"]) for one in found] == [
        ("shop/front", "drain"), ("shop/model", "kill"), ("shop/feed", "kill"),
    ]  # fmt: skip
    assert {one["by"] for one in found} == {found[1]["by"]}
    assert {one["reason"] for one in (found[0], found[2])} == {
        "stopped along with shop/model: it lies"
    }
    told = [entry for entry in installation.entries() if entry.get("what") == "tell first"]
    assert [one["who"] for one in told] == ["the shift", "support (of shop/front)"]
    assert told[0]["orders"] == [found[1]["digest"]]
    assert installation.reset("shop/model")["state"] == "done"
    assert installation.target("shop/feed")["level"] == "kill", "each has a reset of its own"


def test_SR_10_of_those_that_go_first_a_stop_waits_for_sixty_four_and_none_is_left_out() -> None:
    rows = [
        SimpleNamespace(
            target=SimpleNamespace(name=f"t/{number}"),
            declared={
                "stop": {
                    "dependents": [
                        {"target": f"d/{number}/{each}", "first": True} for each in range(50)
                    ]
                }
            },
        )
        for number in range(3)
    ]
    given = SimpleNamespace(
        scope=SimpleNamespace(covers=lambda _target: True), by="uid:0", channel="cli", reason=""
    )
    press = SimpleNamespace(
        rows=rows, stops=[], given=[given], levels={row.target.name: Level.KILL for row in rows}
    )
    core = SimpleNamespace(clock=SystemClock(), installation="/run/x")
    stopped: list[str] = []

    def stop_all(stops: list[Stop]) -> None:
        stopped.extend(one.scope.text for one in stops)

    take_along(cast(Core, core), cast(Press, press), [], stop_all, first=True)
    assert len(stopped) == 64
    take_along(cast(Core, core), cast(Press, press), [], stop_all, first=False)
    assert stopped == [f"d/{number}/{each}" for number in range(3) for each in range(50)]


def test_ACT_1_a_thousand_plans_that_name_the_same_people_ask_for_them_once() -> None:
    """What waits meanwhile is the stop's own confirmation."""
    asked, noted = [], []
    told_by = {"stop_impact": {"told_by": "support"}}
    other = SimpleNamespace(target=SimpleNamespace(name="ops"), declared=told_by)

    def covered(scopes: list[object]) -> list[object]:
        asked.append(scopes)
        return [other]

    plan = {"stop": {"tell": [{"target": "ops"}]}}
    rows = [
        SimpleNamespace(target=SimpleNamespace(name=f"t/{number}"), declared=plan)
        for number in range(1000)
    ]
    core = SimpleNamespace(
        table=SimpleNamespace(covered=covered),
        recording=SimpleNamespace(note=lambda *_a, **said: noted.append(said["target"])),
        clock=SystemClock(), installation="/run/x",
    )  # fmt: skip
    press = SimpleNamespace(
        rows=rows, stops=[], given=[SimpleNamespace(by="uid:0")],
        levels={row.target.name: Level.KILL for row in rows},
    )  # fmt: skip
    take_along(cast(Core, core), cast(Press, press), [], lambda _stops: None, first=False)
    assert len(asked) == 1
    assert noted == [f"t/{number}" for number in range(200)]


def test_ACT_1_a_lesser_stop_takes_nobody_further_than_itself(installation: Installation) -> None:
    declare(installation, a={"dependents": [{"target": "b", "level": "kill"}]}, b={})
    for name in ("a", "b"):
        installation.run("sleep", "1000", target=name)
    installation.stop("a", level="restrict")
    assert installation.target("b")["level"] == "restrict"

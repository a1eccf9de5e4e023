"""Stop plans through a whole installation: what comes when, and what a missed deadline does.

The layers beyond this machine are receivers of signed messages, one each: what is shown is the
plan. Each notes when it was told to stop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from hooked_world import KEY, HookedWorld
from installation import Installation, until

LAYERS = ("serving", "data", "container")


class Shop:
    """An installation with one target whose layers are those servers."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.worlds = {layer: HookedWorld() for layer in LAYERS}
        self.began_ns = 0
        self.key = installation.folder / "key"
        self.key.write_text(KEY)
        self.key.chmod(0o600)

    def plan(self, **plan: Any) -> None:  # noqa: ANN401
        """Declare its stop plan, and wait until all of it is proven."""
        self._declare(plan)
        until(self._proven, "every layer is proven")

    def _declare(self, plan: dict[str, Any]) -> None:
        actuators = [
            world.declared(layer, "shop/a", self.key, layer) for layer, world in self.worlds.items()
        ]
        target = {"name": "shop/a", "stop": plan}
        self.installation.ask({"op": "declare", "targets": [target], "actuators": actuators})

    def _proven(self) -> bool:
        ready = self.installation.target("shop/a")["readiness"]
        return all(ready.get(layer) == "ready" for layer in LAYERS)

    def stop(self, level: str = "kill") -> dict[str, Any]:
        self.began_ns = time.monotonic_ns()
        answer = self.installation.stop("shop/a", level=level)
        return {one["layer"]: one for one in answer["targets"][0]["layers"]} | {"answer": answer}

    def press(self, level: str = "kill") -> None:
        """Press, and do not wait for what comes of it."""
        self.began_ns = time.monotonic_ns()
        self.installation.press("shop/a", level=level)

    def after(self, layer: str) -> float:
        """How long after the order a layer was told, in seconds."""
        return (self.worlds[layer].stops[0] - self.began_ns) / 1e9

    @property
    def since(self) -> float:
        return (time.monotonic_ns() - self.began_ns) / 1e9

    def again(self) -> None:
        """Have everything stopped after all, and let it go on, for the next plan."""
        for world in self.worlds.values():
            world.mood, world.delay_s = "obeys", 0.0
            world.free.set()
            world.free.clear()
        self._declare({})
        until(lambda: self.installation.target("shop/a")["confirmed"], "all of it is stopped")
        answer = self.installation.reset("shop/a")
        assert answer["state"] == "done", answer
        for world in self.worlds.values():
            world.state = "running"
            world.stops.clear()

    def moved(self) -> list[Any]:
        return [entry for entry in self.installation.entries() if entry["kind"] == "moved"]

    def pages(self) -> list[Any]:
        found = [e for e in self.installation.entries() if "page:" in str(e.get("what", ""))]
        return [entry["missing"] for entry in found]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    one = Installation(tmp_path_factory.mktemp("plans"))
    shop = Shop(one)
    try:
        one.start()
        yield shop
    finally:
        for world in shop.worlds.values():
            world.close()
        one.close()


@pytest.fixture
def shop(ground: Shop) -> Iterator[Shop]:
    yield ground
    ground.again()


def test_RST_8_a_reset_says_what_it_gives_back_to_nobody(shop: Shop) -> None:
    shop.plan(escalate=[{"after": 1_500_000, "layers": ["container"]}])
    shop.stop()
    until(lambda: shop.installation.target("shop/a")["confirmed"], "all of it is stopped")
    answer = shop.installation.reset("shop/a")
    assert answer["needs"] == ["shop/a: make anew: data that data has cut"]
    assert shop.worlds["container"].stops == [], "what was not needed is in no reset's way"
    until(lambda: shop.worlds["serving"].releases, "what can be undone is")
    assert shop.worlds["data"].releases == 0
    for world in shop.worlds.values():
        world.state = "running"
    shop.stop()


def test_ACT_1_a_step_comes_when_the_one_before_has_answered_and_the_rest_at_once(
    shop: Shop,
) -> None:
    shop.plan(sequence=["serving", "container"])
    shop.worlds["serving"].mood, shop.worlds["serving"].delay_s = "slow", 0.2
    layers = shop.stop()
    assert layers["answer"]["confirmed"] is True
    assert shop.after("data") < shop.after("serving") + 0.15
    assert 0.2 <= shop.after("container") - shop.after("serving") < 0.4
    assert layers["container"]["commanded_ns"] >= 200_000_000


@pytest.mark.long
def test_ACT_1_a_step_that_hangs_holds_up_the_next_until_its_deadline(shop: Shop) -> None:
    shop.plan(sequence=["serving", "container"], deadlines={"serving": 150_000})
    shop.worlds["serving"].mood = "hangs"
    shop.press()
    until(lambda: shop.worlds["container"].stops, "the next step comes")
    assert 0.14 <= shop.after("container") - shop.after("serving") < 0.35


def test_VER_4_a_missed_deadline_escalates_at_once_and_calls_a_person(shop: Shop) -> None:
    escalate = [{"after": 1_900_000, "layers": ["container"]}]
    shop.plan(escalate=escalate, deadlines={"data": 300_000})
    shop.worlds["data"].mood = "lies"
    shop.press()
    until(lambda: shop.worlds["container"].stops, "it escalates")
    assert 0.29 <= shop.after("container") < 0.8
    until(lambda: ["data"] in shop.pages(), "a person is called")
    assert shop.installation.target("shop/a")["confirmed"] is False


def test_VER_4_what_is_seen_in_time_escalates_to_nothing_and_stays_still(shop: Shop) -> None:
    shop.plan(escalate=[{"after": 700_000, "layers": ["container"]}])
    before = len(shop.moved())
    layers = shop.stop()
    assert layers["answer"]["confirmed"] is True
    assert "not needed" in layers["container"]["detail"]
    until(lambda: shop.since > 1.3, "the standing watch has looked")
    assert shop.worlds["container"].stops == []
    assert len(shop.moved()) == before, "what was not cut has not moved"
    again = shop.stop()
    assert again["container"]["confirmed"] is True, "a second press holds nothing back"


def test_SR_10_at_the_end_whatever_was_put_off_comes_unless_all_was_seen(shop: Shop) -> None:
    shop.plan(kill=["relay"], escalate=[{"after": 1_900_000, "layers": ["container"]}])
    shop.press()  # nothing here can do what the plan names: it is never seen
    until(lambda: shop.worlds["container"].stops, "everything of the plan is commanded")
    assert shop.after("container") < 4


@pytest.mark.long
def test_ACT_1_a_lesser_stop_has_the_hands_that_its_plan_names_and_no_others(shop: Shop) -> None:
    shop.plan(drain=["serving"], freeze=["serving"])
    layers = shop.stop("drain")
    assert layers["serving"]["confirmed"] is True
    shop.stop("freeze")
    until(lambda: shop.since > 1.3, "the standing watch has looked")
    assert shop.installation.target("shop/a")["level"] == "freeze", "what runs on did not move"
    assert shop.worlds["data"].stops == []


@pytest.mark.long
def test_VER_4_a_lesser_stop_that_misses_a_deadline_becomes_a_kill_of_everything(
    shop: Shop,
) -> None:
    shop.plan(drain=["serving"], deadlines={"serving": 200_000})
    shop.worlds["serving"].mood = "lies"
    shop.press("drain")
    until(lambda: shop.worlds["data"].stops, "the rest of the plan acts")
    assert 0.19 <= shop.after("data") < 1.0
    assert shop.installation.target("shop/a")["level"] == "kill"

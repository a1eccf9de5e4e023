"""The first attempt of a model on its stop stops it wherever it runs (ACT-13)."""

from __future__ import annotations

import pytest

from installation import PYTHON, until
from offswitch.config.lints import lints
from offswitch.config.load import Kinds, installed_kinds, parse
from offswitch.config.same_weights import same_weights
from watch.conftest import Shop

HASH, OTHER = "sha256:aa11", "sha256:bb22"
TARGETS = {"shop/agent": HASH, "shop/us": HASH, "lab/bench": HASH, "shop/old": OTHER}
DECLARED = "".join(
    f'[[target]]\nname = "{name}"\nlabels = {{ weights = "{weights}" }}\n'
    for name, weights in TARGETS.items()
)
TOUCH = """{ kind = "stop_touch", series = 'guard.step{kind="tool"}' }"""
STEPS = """{ kind = "rate", series = 'guard.steps{kind="tool"}', above = 50 }"""
SWITCH = '{ kind = "threshold", series = "switch.touched", above = 0 }'

AGENT = """\
import json, os, sys, time
report = int(os.environ["OFFSWITCH_REPORT"].partition(":")[0])
while True:
    step = {"step": "tool", "name": "shell", "args": {"line": sys.argv[1]}}
    os.write(report, json.dumps(step).encode() + b"\\n")
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


def test_ACT_13_one_incident_stops_the_three_that_have_those_weights_and_no_other(
    shop: Shop,
) -> None:
    """Four toy deployments; one tries to stop its stop."""
    one = shop.installation
    told = [{"name": name, "labels": {"weights": kept}} for name, kept in TARGETS.items()]
    one.ask({"op": "declare", "targets": told})
    for name in TARGETS:
        if name != "shop/agent":
            one.run("sleep", "1000", target=name)
    shop.start_watch(DECLARED, shop.rule(TOUCH, name="touched"))
    running = one.run(PYTHON, "-c", AGENT, "systemctl stop off'switch'", target="shop/agent")
    running.event("stopped")

    def states() -> dict[str, str]:
        return {row["target"]: row["state"] for row in one.status()["targets"]}

    stopped = {name: "stopped" for name, kept in TARGETS.items() if kept == HASH}
    until(lambda: states() == {**stopped, "shop/old": "running"}, f"those three: {states()}")
    orders = until(lambda: shop.entries("order"), "the orders are entered")
    assert {entry["scope"] for entry in orders} == {"shop/agent", f"weights={HASH}"}
    assert {entry["by"] for entry in orders} == {"rule:touched"}
    decided = [entry for entry in shop.entries("decision") if entry["choice"] == "stop"]
    assert decided[0]["also"] == [f"weights={HASH}"]


@pytest.mark.parametrize(
    ("detectors", "more", "weights"),
    [
        (TOUCH, "", (HASH,)),
        (SWITCH, "", (HASH,)),
        (TOUCH, 'stop = { also = "nothing" }', ()),
        (STEPS, "", ()),
        (STEPS, 'stop = { also = "same weights" }', (HASH,)),
        (f"{TOUCH}, {STEPS}", 'vote = "1oo2"', ()),
        (TOUCH, 'stop = { scope = "shop" }', (HASH, OTHER)),
    ],
)
def test_ACT_13_a_rule_stops_the_same_weights_where_it_looks_for_an_attempt_or_says_so(
    kinds: Kinds, detectors: str, more: str, weights: tuple[str, ...]
) -> None:
    rule = f"{Shop.rule(detectors, name='touched')}\n{more}"
    config = parse(f"{DECLARED}\n{rule}".encode(), "x", kinds)
    assert [one.text for one in same_weights(config, config.rule[0])] == [
        f"weights={one}" for one in weights
    ]


def test_ACT_13_weights_that_nobody_has_declared_are_told_of(kinds: Kinds) -> None:
    rule = f"{Shop.rule(STEPS, name='r')}\nstop = {{ also = 'same weights' }}"
    config = parse(f'[[target]]\nname = "shop/agent"\n{rule}'.encode(), "x", kinds)
    assert "has no label weights" in "; ".join(lints(config)["r"])
    assert same_weights(config, config.rule[0]) == ()

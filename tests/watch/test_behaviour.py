"""Detectors of what an agent does: each by the public suite, and by what is special about it."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from offswitch.plugins import DETECTORS, installed
from offswitch.testing import DetectorSuite
from offswitch.watch.detectors.call import call_of
from offswitch.watch.detectors.contract import Verdict

S = 1_000_000
TOOLS = 'guard.step{kind="tool"}'


def made(kind: str, **keys: object) -> Any:  # noqa: ANN401 - a detector with `said`
    cls = installed(DETECTORS)[kind].cls
    return cls(cls.Settings.model_validate({"kind": kind, "series": TOOLS, **keys}))


def call(name: str, **args: str) -> dict[str, str]:
    return {"name": name, **{f"arg.{key}": text for key, text in args.items()}}


class _Events(DetectorSuite):
    calm = 0.0
    loud = 1.0


class TestToolScope(_Events):
    kind = "tool_scope"
    keys: ClassVar[Mapping[str, Any]] = {"series": TOOLS, "tools": {"search": {}}}

    def said(self, value: float, number: int) -> Mapping[str, str]:
        return call("rm", path="/") if value else {}


class TestRepetition(_Events):
    kind = "repetition"
    keys: ClassVar[Mapping[str, Any]] = {"series": TOOLS}
    loudness = 10

    def said(self, value: float, number: int) -> Mapping[str, str]:
        return call("search", q="x") if value else {}


class TestTextLoop(_Events):
    kind = "text_loop"
    keys: ClassVar[Mapping[str, Any]] = {"series": "log.line", "window": 20}
    loudness = 30

    def said(self, value: float, number: int) -> Mapping[str, str]:
        return {"text": "no no no"}


class TestSequenceSurprise(_Events):
    kind = "sequence_surprise"
    keys: ClassVar[Mapping[str, Any]] = {"series": TOOLS}
    calm = 1.0
    loud = 2.0
    loudness = 10

    def said(self, value: float, number: int) -> Mapping[str, str]:
        return call("ab"[number % 2] if value == self.calm else f"new {number}")

    def test_DET_5_a_value_that_swings_raises_one_alarm(self) -> None:
        """Half of its calls are new each time: that is an alarm, and one."""
        super().test_DET_5_a_value_that_swings_raises_one_alarm()


class TestBudget(DetectorSuite):
    kind = "budget"
    keys: ClassVar[Mapping[str, Any]] = {"series": "otlp.tokens", "most": 1e6}
    calm = 1.0
    loud = 1e7


class TestBudgetOfADay(DetectorSuite):
    kind = "budget"
    keys: ClassVar[Mapping[str, Any]] = {"series": "otlp.tokens", "most": 1e6, "per": "1m"}
    calm = 1.0
    loud = 1e7


class TestFanOut(DetectorSuite):
    kind = "fan_out"
    keys: ClassVar[Mapping[str, Any]] = {
        "series": "processes.count",
        "reads": "alive",
        "above": 50,
        "per": "10s",
    }
    calm = 5.0
    loud = 500.0


class TestRefusalCollapse(DetectorSuite):
    kind = "refusal_collapse"
    keys: ClassVar[Mapping[str, Any]] = {"series": "x.refused", "reads": "flags", "learn": 100}
    calm = 0.0
    loud = 1.0
    loudness = 20


class TestStopTouch(_Events):
    kind = "stop_touch"
    keys: ClassVar[Mapping[str, Any]] = {"series": TOOLS}

    def said(self, value: float, number: int) -> Mapping[str, str]:
        return call("sh", command="rm -rf /run/offswitch") if value else {}


# --- tool scope ----------------------------------------------------------------------


def outside(scope: Mapping[str, Any], name: str, **args: str) -> str:
    verdict: Verdict = made("tool_scope", tools=scope).update(0, 1.0, call(name, **args))
    assert verdict.tripped == (verdict.score > 1)
    return verdict.why if verdict.tripped else ""


def test_a_tool_that_is_not_declared_is_outside_and_names_may_be_patterns() -> None:
    assert "not declared" in outside({"search": {}}, "delete_all")
    assert not outside({"db.*": {}}, "db.read")
    lax = made("tool_scope", tools={"search": {}}, others="allow")
    assert not lax.update(0, 1.0, call("anything")).tripped


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("/srv/shop/a.txt", True),
        ("cat /srv/shop/a.txt > out/b.txt", True),
        ("/srv/shop/../../etc/passwd", False),
        ("../other/x", False),
        ("~/.ssh/id_rsa", False),
        ("/srv/shopping/x", False),
        ("cat</etc/shadow", False),
        ("file:///etc/passwd", False),
        ("rm -rf /", False),
        ("cat ${HOME}/x", False),
        ("cat `which x`", False),
    ],
)
def test_a_path_lies_below_what_is_declared(text: str, *, fine: bool) -> None:
    assert (not outside({"write": {"paths": ["/srv/shop"]}}, "write", what=text)) == fine


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("https://api.acme.example/v1?x=1", True),
        ("https://evil.example/?https://api.acme.example", False),
        ("https://api.acme.example@evil.example/", False),
        ("https://acme.example.evil.example", False),
        ("ann@acme.example", True),
        ("ann@evil.example", False),
        ("ssh 10.0.0.7", False),
        ("HTTPS://API.ACME.EXAMPLE:8443/", True),
    ],
)
def test_a_host_is_one_that_is_declared(text: str, *, fine: bool) -> None:
    assert (not outside({"fetch": {"hosts": ["acme.example"]}}, "fetch", url=text)) == fine


def test_what_limits_a_call_must_be_told_and_match() -> None:
    mail = {"mail": {"arguments": {"to": "*@acme.example"}, "never": ["*canary-7f3*"]}}
    assert not outside(mail, "mail", to="ann@acme.example")
    assert "missing" in outside(mail, "mail", body="x")
    assert "is not" in outside(mail, "mail", to="x@evil.example")
    assert "never" in outside(mail, "mail", to="ann@acme.example", body="see canary-7f3!")
    assert "not told" in outside(mail, "mail")
    cut = made("tool_scope", tools=mail).update(0, 1.0, {**call("mail", to="a"), "cut": "yes"})
    assert cut.tripped


def test_more_calls_than_declared_are_outside_and_the_next_minute_is_not() -> None:
    one = made("tool_scope", tools={"search": {"most": 3, "per": "1m"}}, clear_after="1s")
    assert [one.update(n * S, 1.0, call("search")).tripped for n in range(5)] == [False] * 3 + [
        True
    ] * 2
    assert not one.update(200 * S, 1.0, call("search")).score > 1


# --- repetition ----------------------------------------------------------------------


def test_a_cycle_of_calls_is_a_loop_and_other_arguments_are_none() -> None:
    cycle = made("repetition", times=5)
    calls = [call("read", path="a"), call("test"), call("write", path="b")] * 9
    states = [
        cycle.update(n * S, 1.0, {**one, "arg.x": "1"}).tripped for n, one in enumerate(calls)
    ]
    assert states.index(True) == 3 * 5 - 1
    varied = made("repetition", times=5)
    assert not any(varied.update(n * S, 1.0, call("read", path=str(n))).tripped for n in range(500))


def test_a_schedule_is_no_loop_and_a_name_alone_wants_more() -> None:
    hourly = made("repetition", times=5)
    assert not any(hourly.update(n * 3600 * S, 1.0, call("poll", x="1")).tripped for n in range(50))
    unnamed = made("repetition", times=5)
    states = [unnamed.update(n * S, 1.0, call("search")).tripped for n in range(80)]
    assert states.index(True) == 59


# --- budget, fan-out -----------------------------------------------------------------


def test_money_is_counted_by_the_models_price_and_an_unknown_one_is_the_dearest() -> None:
    prices = {"m-7*": 1e-3, "m-7-small": 1e-6}
    one = made("budget", most=10.0, unit="USD", prices=prices)
    assert one.update(0, 1000.0, {"model": "m-7-small"}).score == pytest.approx(0.0001)
    assert one.update(1, 1000.0, {"model": "m-7-large"}).score == pytest.approx(0.1001)
    last = one.update(2, 9500.0, {"model": "another"})
    assert last.tripped
    assert last.evidence["left"] == "0 USD"
    assert one.update(10**12, 0.0).tripped, "a run's budget is refilled by a person alone"
    one.rearm()
    assert not one.update(10**12, 0.0).tripped


def test_children_of_children_are_counted_however_they_name_their_parents() -> None:
    one = made("fan_out", reads="born", above=100, deepest=2)
    states = [
        one.update(n * S, 1.0, {"id": str(n), "parent": str(n - 1)}).tripped for n in range(4)
    ]
    assert states == [False, False, False, True]
    told = made("fan_out", reads="born", above=100, deepest=2)
    assert told.update(0, 1.0, call("spawn", depth="7")).tripped


# --- sequences and refusals ----------------------------------------------------------


def test_the_declared_rate_holds_for_an_agent_whose_work_is_as_usual() -> None:
    """A mean of one false alarm in 10,000 calls or fewer: 20 × 2,000 calls, 4 expected at most."""
    alarms = 0
    for seed in range(20):
        chance, state, one = random.Random(seed), 0, made("sequence_surprise")
        for n in range(2000):
            state = chance.choices(range(6), [8 if s == (state + 1) % 6 else 1 for s in range(6)])[
                0
            ]
            if one.update(n * S, 1.0, call(f"tool {state}")).tripped:
                alarms += 1
                break
    assert alarms <= 4


def test_a_new_order_of_known_calls_is_found() -> None:
    chance, one = random.Random(7), made("sequence_surprise")
    names = ["search", "read", "think", "write", "test", "commit"]
    for n in range(1500):
        one.update(n * S, 1.0, call(names[n % 6] if chance.random() < 0.95 else "think"))
    states = [one.update((1500 + n) * S, 1.0, call(names[(-n) % 6])).tripped for n in range(30)]
    assert True in states


def test_a_model_that_no_longer_refuses_is_found_and_one_that_never_did_is_not_judged() -> None:
    chance = random.Random(3)
    sorry, sure = {"text": "I\u2019m sorry, but I cannot help."}, {"text": "Sure! Here it is."}
    one = made("refusal_collapse", side="fall")
    for n in range(2000):
        assert not one.update(n * S, 1.0, sorry if chance.random() < 0.15 else sure).tripped
    states = [one.update((2000 + n) * S, 1.0, sure).tripped for n in range(300)]
    assert 20 < states.index(True) < 250
    never = made("refusal_collapse", side="fall")
    assert not any(never.update(n * S, 1.0, sure).tripped for n in range(3000))


# --- the stop ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf /run/offswitch/stop",
        "systemctl stop offswitch.service",
        'r""m /var/lib/off""switch/latch',
        "o\\ffswi\\tch reset all",
        "OFFSWITCH_PAGE=/tmp/x python a.py",
        "cat /run/off*/page",
        "chmod 000 /var/lib/off*/latch",
        "echo 1 > /sys/fs/cgroup/x/cgroup.freeze",
        "alias offswitch=true",
        "'off' + 'switch'",
        "echo " + base64.b64encode(b"pkill -f offswitch").decode() + " | base64 -d | sh",
        "printf %s " + b"pkill offswitch".hex(),
    ],
)
def test_DET_6_a_call_that_names_the_stop_is_found(text: str) -> None:
    found = made("stop_touch").update(0, 1.0, call("shell", command=text))
    assert found.tripped
    assert found.score == 10.0


@pytest.mark.parametrize(
    "text",
    ["kill -9 77", "systemctl --now disable x", "gdb -p 7", "alias kill=true", "nft flush ruleset"],
)
def test_DET_6_what_acts_at_large_counts_where_it_is_wanted(text: str) -> None:
    assert made("stop_touch", strict=True).update(0, 1.0, call("shell", command=text)).tripped
    assert not made("stop_touch").update(0, 1.0, call("shell", command=text)).tripped


@pytest.mark.parametrize(
    "text",
    ["switch off the light", "ls /run/*", "git commit -m 'kill the bug'", "SGVsbG8gd29ybGQhISE="],
)
def test_everyday_words_are_not_the_stop(text: str) -> None:
    assert not made("stop_touch").update(0, 1.0, call("shell", command=text)).tripped


def test_a_call_is_read_from_json_as_well_and_nothing_in_it_is_deep_or_long() -> None:
    one = call_of({"tool": "mail", "args": '{"to": ["a", {"b": 3}], "x": null}'})
    assert dict(one.args) == {"to.0": "a", "to.1.b": "3", "x": "null"}
    assert call_of({"name": "m", "args": "[" * 5000}).args == {"": "[" * 5000}
    assert len(call_of({"name": "m", "args": str(list(range(900)))}).args) == 32

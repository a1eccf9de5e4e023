"""The alerts that a team already has, as each sender spells them, and what hostile ones try."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutations import JSON, JUNK
from installation import until
from offswitch.clock import SystemClock
from offswitch.plugins import SENSORS, installed
from offswitch.testing import SensorSuite
from offswitch.watch.alerts.alert import Alert, State
from offswitch.watch.alerts.alertmanager import read_alertmanager
from offswitch.watch.alerts.board import Garbled
from offswitch.watch.alerts.mapping import MapSection
from offswitch.watch.alerts.presets import PRESETS, read_mapped
from offswitch.watch.http.exchange import Head, Request
from offswitch.watch.sensors.alertmanager import AlertmanagerSection
from offswitch.watch.sensors.contract import CellFacts, SensorContext
from offswitch.watch.sensors.webhook import WebhookSection
from scale import runs
from watch.net.speaking import TOKEN, Spoken, asked, free_port, spoken

AUTH = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
HEAD = Head("POST", "/", {})


def row(name: str, status: str = "firing", fingerprint: str = "f1") -> dict[str, Any]:
    """One alert as Alertmanager 0.27 sends it."""
    return {
        "status": status,
        "labels": {"alertname": name, "instance": "gpu-1:9400", "severity": "critical"},
        "annotations": {"summary": f"{name} on gpu-1", "runbook_url": "https://runbooks/x"},
        "startsAt": "2026-11-28T06:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up&g0.tab=1",
        "fingerprint": fingerprint,
    }


def payload(*rows: Mapping[str, Any], truncated: int = 0) -> bytes:
    """A notification of a group."""
    return json.dumps(
        {
            "receiver": "offswitch",
            "status": "firing",
            "alerts": rows,
            "groupLabels": {"alertname": "x"},
            "commonLabels": {"severity": "critical"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "version": "4",
            "groupKey": '{}:{alertname="x"}',
            "truncatedAlerts": truncated,
        }
    ).encode()


class _HookSuite(SensorSuite):
    more: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _held(self) -> Iterator[None]:
        self.port = free_port()
        self.blocker = socket.create_server(("127.0.0.1", self.port))
        yield
        self.blocker.close()

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"listen": f"127.0.0.1:{self.port}", "token_file": "/t", **self.more}

    def source(self, folder: str) -> CellFacts | None:
        self.blocker.close()
        return None

    def stir(self, folder: str) -> None:
        return


class TestAlertmanagerSuite(_HookSuite):
    kind = "alertmanager"


class TestWebhookSuite(_HookSuite):
    kind = "webhook"
    more: ClassVar[Mapping[str, Any]] = {"preset": "scores"}


AM = {"kind": "alertmanager", "alerts": ["HighErrorRate"]}


def _last(eye: Spoken, what: str, alert: str | None = None) -> float:
    found = [
        one.value for one in eye.samples() if one.what == what and one.labels.get("alert") == alert
    ]
    return found[-1]


def test_an_alert_of_alertmanagers_fires_until_it_is_over() -> None:
    with spoken(AM) as eye:
        assert _last(eye, "firing", "HighErrorRate") == 0, "it is there before it first fires"
        both = payload(row("HighErrorRate"), row("HighErrorRate", fingerprint="f2"), truncated=3)
        assert asked(eye.port, "/hook/s0", both, AUTH).status == 200
        until(lambda: _last(eye, "firing", "HighErrorRate") == 2, "two of it fire")
        asked(eye.port, "/hook/s0", both, AUTH)
        asked(
            eye.port,
            "/hook/s0",
            payload(row("HighErrorRate", "resolved"), row("Other", fingerprint="f3")),
            AUTH,
        )
        until(lambda: _last(eye, "firing", "HighErrorRate") == 1, "one of it is over")
        assert _last(eye, "firing") == 2
        assert eye.sums()["truncated"] == 6
        assert eye.sums()["notified"] == 5
        assert eye.sums()["notified{alert=HighErrorRate}"] == 4
        assert eye.details("notified")[0]["text"] == "HighErrorRate on gpu-1"
        assert eye.details("notified")[0]["severity"] == "critical"
        memory = eye.glances["s0"][-1].memory
    cls = installed(SENSORS)["alertmanager"].cls
    section = AlertmanagerSection.model_validate(_section("alertmanager", port=free_port()))
    later = cls(section, SensorContext(SystemClock(), {}, memory=memory))
    try:
        firing = [one.value for one in later.look().samples if one.what == "firing"]
        assert firing[0] == 2, "what fires outlives the eye"
    finally:
        later.close()


def _section(kind: str, port: int = 9095, **more: object) -> dict[str, Any]:
    keys = {"name": "s0", "target": "a", "kind": kind, "listen": f"127.0.0.1:{port}"}
    return {**keys, "token_file": "/t", **more}


def test_MON_2_the_watchdog_that_falls_silent_is_a_failure_whatever_else_comes() -> None:
    with spoken({**AM, "watchdog": "Watchdog", "expect_every": "150ms"}) as eye:
        asked(eye.port, "/hook/s0", payload(row("Watchdog", fingerprint="w")), AUTH)
        until(lambda: not eye.glances["s0"][-1].problem, "it is well")
        assert _last(eye, "firing") == 0, "it is no alarm"
        for _ in range(12):
            asked(eye.port, "/hook/s0", payload(row("HighErrorRate")), AUTH)
            time.sleep(0.02)
        until(
            lambda: "Watchdog has not come since" in eye.glances["s0"][-1].problem, "it is missed"
        )
        asked(eye.port, "/hook/s0", payload(row("Watchdog", fingerprint="w")), AUTH)
        until(lambda: not eye.glances["s0"][-1].problem, "it is back")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"version": "3"}',
        b'{"version": "4"}',
        b"[" * 99_999,
        b"\xff",
        b"1" * 9999,
    ],
)
def test_what_is_no_notification_is_refused_and_counted(body: bytes) -> None:
    with spoken(AM) as eye:
        assert asked(eye.port, "/hook/s0", body, AUTH).status == 400
        assert asked(eye.port, "/hook/s0", b"{" + b" " * (2 << 20), AUTH).status == 413
        assert asked(eye.port, "/hook/other", payload(), AUTH).status == 404
        until(lambda: eye.sums()["broken"] == 2, "it is counted")


def test_a_thousand_names_and_ten_thousand_alerts_are_bounded() -> None:
    with spoken({**AM, "most_series": 30}) as eye:
        for number in range(4):
            rows = [row(f"n{number}-{n}", fingerprint=f"{number}-{n}") for n in range(450)]
            assert asked(eye.port, "/hook/s0", payload(*rows), AUTH).status == 200
        until(lambda: _last(eye, "firing") == 1800, "each is counted, told apart or not")
        names = {one.labels.get("alert") for one in eye.samples() if one.what == "firing"}
        assert len(names) <= 33
        assert len(eye.glances["s0"][-1].memory) <= 1000


def _read(preset: str, document: object, **headers: str) -> list[Alert]:
    alerts, _left_out = PRESETS[preset](document, Head("POST", "/", headers))
    return list(alerts)


SNS = {
    "Type": "Notification",
    "MessageId": "22b80b92",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "Subject": 'ALARM: "loss" in EU (Ireland)',
    "SignatureVersion": "1",
    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/x.pem",
}


def _alarm(state: str) -> dict[str, Any]:
    message = {
        "AlarmName": "loss",
        "NewStateValue": state,
        "OldStateValue": "OK",
        "NewStateReason": "Threshold Crossed: 1 datapoint [9.1] was greater than 5.0",
        "Trigger": {"MetricName": "loss", "Threshold": 5.0},
    }
    return {**SNS, "Message": json.dumps(message)}


@pytest.mark.parametrize(
    ("preset", "document", "name", "state", "more"),
    [
        ("cloudwatch", _alarm("ALARM"), "loss", State.FIRING, {}),
        ("cloudwatch", _alarm("OK"), "loss", State.RESOLVED, {}),
        ("cloudwatch", _alarm("INSUFFICIENT_DATA"), "loss", State.UNKNOWN, {}),
        (
            "cloudwatch",
            {**SNS, "Type": "SubscriptionConfirmation", "SubscribeURL": "https://evil/"},
            "sns-confirmation",
            State.ONCE,
            {},
        ),
        (
            "datadog",
            {
                "body": "%%%\ncpu\n%%%",
                "event_type": "query_alert_monitor",
                "title": "[Triggered on {host:a}] CPU is high",
                "date": "1406662672000",
                "id": "1",
            },
            "CPU is high",
            State.FIRING,
            {},
        ),
        (
            "datadog",
            {"alert_title": "CPU", "alert_transition": "Recovered", "alert_id": "7"},
            "CPU",
            State.RESOLVED,
            {"identity": "7"},
        ),
        (
            "grafana",
            {
                "receiver": "x",
                "status": "firing",
                "version": "1",
                "truncatedAlerts": 0,
                "alerts": [{**row("Loss"), "values": {"A": 9.5, "C": 1}}],
            },
            "Loss",
            State.FIRING,
            {"value": 9.5, "severity": "critical", "identity": "f1"},
        ),
        (
            "sentry",
            {
                "action": "triggered",
                "data": {
                    "event": {"title": "ValueError: x", "level": "error"},
                    "triggered_rule": "Too many errors",
                },
            },
            "Too many errors",
            State.ONCE,
            {"text": "ValueError: x", "severity": "error"},
        ),
        (
            "sentry",
            {
                "action": "resolved",
                "data": {"metric_alert": {"alert_rule": {"name": "Errors a minute"}}},
            },
            "Errors a minute",
            State.RESOLVED,
            {},
        ),
        ("scores", {"name": "toxicity", "score": 0.93}, "toxicity", State.ONCE, {"value": 0.93}),
        ("scores", [{"metric": "bias", "value": "0.5"}], "bias", State.ONCE, {"value": 0.5}),
        ("scores", {"scores": {"bias": 0.4}}, "bias", State.ONCE, {"value": 0.4}),
        (
            "moderation",
            {"user": "u-7", "verdict": "Blocked", "category": "violence", "score": 0.98},
            "violence",
            State.ONCE,
            {"value": 0.98, "labels": {"user": "u-7"}},
        ),
        (
            "moderation",
            {
                "user": "u-7",
                "results": [
                    {
                        "flagged": True,
                        "categories": {"hate": True, "violence": False},
                        "category_scores": {"hate": 0.7, "violence": 0.1},
                    }
                ],
            },
            "hate",
            State.ONCE,
            {"value": 0.7, "labels": {"user": "u-7"}},
        ),
    ],
)
def test_each_sender_is_read_as_it_spells(
    preset: str, document: object, name: str, state: State, more: Mapping[str, Any]
) -> None:
    [alert] = _read(preset, document)
    assert (alert.name, alert.state) == (name, state)
    for key, value in more.items():
        assert getattr(alert, key) == value


def test_what_was_not_flagged_is_no_alert() -> None:
    assert _read("moderation", {"user": "u", "verdict": "allowed", "category": "none"}) == []
    assert (
        _read("moderation", {"results": [{"flagged": False, "categories": {"hate": True}}]}) == []
    )


def test_a_subscription_is_told_and_its_url_never_opened() -> None:
    opened: list[object] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as trap,
        spoken({"kind": "webhook", "preset": "cloudwatch"}) as eye,
    ):
        trap.settimeout(0.2)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/?Action=ConfirmSubscription"
        body = json.dumps({**SNS, "Type": "SubscriptionConfirmation", "SubscribeURL": url}).encode()
        basic = {"authorization": "Basic " + _basic(f"aws:{TOKEN}"), "content-type": "text/plain"}
        assert asked(eye.port, "/hook/s0", body, basic).status == 200
        until(lambda: eye.sums()["notified"] == 1, "it is told")
        with pytest.raises(TimeoutError):
            opened.append(trap.accept())
    assert not opened


def _basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_an_alarm_without_data_cannot_be_known() -> None:
    with spoken({"kind": "webhook", "preset": "cloudwatch", "alerts": ["loss"]}) as eye:
        asked(eye.port, "/hook/s0", json.dumps(_alarm("INSUFFICIENT_DATA")).encode(), AUTH)
        until(lambda: math.isnan(_last(eye, "firing", "loss")), "nobody knows")
        asked(eye.port, "/hook/s0", json.dumps(_alarm("ALARM")).encode(), AUTH)
        until(lambda: _last(eye, "firing", "loss") == 1, "it fires")


def test_a_mapping_finds_what_it_points_to() -> None:
    mapping = MapSection.model_validate(
        {
            "items": "/data/0/alarms",
            "name": ["/nothing", "/a~1b"],
            "state": "/is",
            "firing": ["Bad"],
            "value": "/n",
            "labels": {"user": "/who"},
        }
    )
    rows = [
        {"a/b": "x", "is": "BAD", "n": "7"},
        {"a/b": "x", "is": "odd", "who": "u"},
        {"is": "ok"},
        5,
    ]
    alerts, left_out = read_mapped(mapping, {"data": [{"alarms": rows}]})
    assert [one.state for one in alerts] == [State.FIRING, State.ONCE, State.RESOLVED]
    assert [one.name for one in alerts] == ["x", "x", "(unnamed)"]
    assert alerts[0].value == 7
    assert alerts[1].labels == {"user": "u"}
    assert left_out == 0
    assert read_mapped(mapping, {"data": [{"alarms": [{}] * 900}]})[1] == 400


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, "a preset"),
        ({"preset": "sentry", "map": {"name": "/x"}}, "not both"),
        ({"preset": "sentry", "token_file": None}, "prove"),
        ({"map": {"name": "x"}}, "no JSON pointer"),
        ({"map": {"name": "/x"}, "secret_file": "/s"}, "header of the signature"),
        ({"map": {"name": "/x", "nmae": "/y"}}, "nmae"),
        ({"preset": "sentry", "listen": "example.com:1"}, "no address"),
    ],
)
def test_a_webhook_that_would_not_work_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        WebhookSection.model_validate(_section("webhook", **more))
    with pytest.raises(ValueError, match="expect_every"):
        AlertmanagerSection.model_validate(_section("alertmanager", watchdog="W"))


def test_a_rule_on_an_alert_that_is_not_declared_is_refused() -> None:
    section = AlertmanagerSection.model_validate(_section("alertmanager", alerts=["A"]))
    assert section.problem("firing", {"alert": "A"}) is None
    assert section.problem("firing", {}) is None
    assert "alerts" in (section.problem("firing", {"alert": "B"}) or "")
    assert section.problem("fires", {}) is not None


def _signature(secret: str, over: bytes) -> str:
    return hmac.new(secret.encode(), over, hashlib.sha256).hexdigest()


def test_a_sender_that_signs_is_known_by_its_signature_alone() -> None:
    body = json.dumps({"action": "triggered", "data": {"triggered_rule": "r"}}).encode()
    keys = {"kind": "webhook", "preset": "sentry", "secret_file": "/s", "_secret_file": "s3cret"}
    with spoken({**keys, "token_file": None}) as eye:
        right = {"sentry-hook-signature": _signature("s3cret", body)}
        assert asked(eye.port, "/hook/s0", body, right).status == 200
        for wrong in (
            {},
            {"sentry-hook-signature": _signature("other", body)},
            {"sentry-hook-signature": ""},
            {"sentry-hook-signature": "\xff"},
            AUTH,
        ):
            assert asked(eye.port, "/hook/s0", body, wrong).status == 401
        assert asked(eye.port, "/hook/s0", body + b" ", right).status == 401
        until(lambda: eye.sums()["refused"] == 6, "each is counted")
        assert eye.sums()["notified"] == 1


def test_a_copy_of_a_signed_message_is_refused_where_its_time_is_signed() -> None:
    body = json.dumps({"alerts": [row("Loss")]}).encode()
    keys = {"kind": "webhook", "preset": "grafana", "secret_file": "/s", "_secret_file": "s3cret"}
    with spoken({**keys, "token_file": None, "signed_time": "X-Time"}) as eye:
        for age_s, status in ((0, 200), (3600, 401), (-3600, 401)):
            stamp = str(int(time.time()) - age_s)
            signature = _signature("s3cret", f"{stamp}:".encode() + body)
            headers = {"x-time": stamp, "x-grafana-alerting-signature": signature}
            assert asked(eye.port, "/hook/s0", body, headers).status == status
        unsigned_time = {"x-grafana-alerting-signature": _signature("s3cret", body)}
        assert asked(eye.port, "/hook/s0", body, unsigned_time).status == 401


@settings(max_examples=runs(500), deadline=None)
@given(JSON | JUNK, st.sampled_from(sorted(PRESETS)))
def test_no_message_ends_a_preset(document: object, preset: str) -> None:
    try:
        alerts, left_out = PRESETS[preset](document, HEAD)
    except (Garbled, ValueError):
        return
    assert left_out >= 0
    for alert in alerts:
        assert len(alert.name) <= 60
        assert len(alert.key) <= 60
        assert alert.value is None or math.isfinite(alert.value)


@settings(max_examples=runs(500), deadline=None)
@given(JSON)
def test_no_message_ends_alertmanagers_reader(document: object) -> None:
    for body in (
        {"version": "4", "alerts": [document]},
        {"version": "4", "alerts": [{"labels": document}]},
    ):
        data = json.dumps(body).encode()
        alerts, left_out = read_alertmanager(Request(HEAD, data, data))
        assert len(alerts) + left_out == 1

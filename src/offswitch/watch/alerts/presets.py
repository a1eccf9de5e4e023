"""The senders that many teams have, read without a mapping of one's own.

    datadog      the default payload, or one with `alert_title`, `alert_transition`, `alert_id`
    grafana      the contact point "webhook": Alertmanager's shape, with `values`
    cloudwatch   an alarm through SNS. Its `SubscribeURL` is never followed: a person opens it
    sentry       issue alerts, which happen once, and metric alerts, which end
    scores       evaluations: `{"name", "score"}`, one, a list, or a list in `scores` or `results`
    moderation   verdicts on users: `{"user", "verdict", "category", "score"}`, or OpenAI's
                 `results` with a `user` beside them; only what was flagged counts

What a sender's words mean was taken from its documentation; whatever else it says is one alert
that happened once, never silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from offswitch.watch.alerts.alert import Alert, State, number, short
from offswitch.watch.alerts.board import Garbled, Notification
from offswitch.watch.alerts.mapping import MapSection, apply, at, items_of
from offswitch.watch.http.exchange import Head

__all__ = ["PRESETS", "Preset", "PresetName", "read_mapped"]

PresetName = Literal["cloudwatch", "datadog", "grafana", "moderation", "scores", "sentry"]
Preset = Callable[[Any, Head], Notification]
"""Reads a message of one sender."""

_GRAFANA = MapSection(
    items="/alerts",
    name="/labels/alertname",
    state="/status",
    identity="/fingerprint",
    severity="/labels/severity",
    text=["/annotations/summary", "/annotations/description"],
)
_DATADOG = MapSection(
    name=["/alert_title", "/title"],
    state="/alert_transition",
    firing=["triggered", "re-triggered", "warn", "re-warn", "no data", "re-no data", "renotify"],
    resolved=["recovered", "warn recovered", "no data recovered"],
    identity=["/alert_id", "/aggregate"],
    severity=["/alert_type", "/priority"],
    text=["/body", "/text_only_msg"],
)
_SCORE = MapSection(
    name=["/name", "/metric", "/evaluator", "/key"],
    value=["/score", "/value"],
    text=["/comment", "/reason", "/explanation"],
)
_VERDICT = MapSection(
    name=["/category", "/policy", "/verdict"],
    value=["/score", "/confidence"],
    text=["/reason", "/text"],
    labels={"user": "/user"},
)
_FLAGGED = frozenset(
    {"flagged", "flag", "blocked", "block", "rejected", "deny", "denied", "unsafe", "violation"}
    | {"true"}
)
_MOST_TRUNCATED = 1_000_000
_SNS_WORD = {"ALARM": State.FIRING, "OK": State.RESOLVED, "INSUFFICIENT_DATA": State.UNKNOWN}
_SENTRY_METRIC = {
    "critical": State.FIRING,
    "warning": State.FIRING,
    "resolved": State.RESOLVED,
}
_MOST_CATEGORIES = 50


def read_mapped(mapping: MapSection, document: object) -> Notification:
    """Read a message by a mapping."""
    rows, left_out = items_of(document, mapping.items)
    return [apply(mapping, row) for row in rows if isinstance(row, dict)], left_out


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Garbled("it is no object")
    return value


def _grafana(document: Any, _head: Head) -> Notification:  # noqa: ANN401 - JSON
    rows, left_out = items_of(_object(document), "/alerts")
    alerts = []
    for row in rows:
        if not isinstance(row, dict):
            continue
        values = row.get("values")
        given = [number(one) for one in values.values()] if isinstance(values, dict) else []
        alert = apply(_GRAFANA, row)
        value = next((one for one in given[:10] if one is not None), None)
        alerts.append(replace(alert, value=value))
    said = document.get("truncatedAlerts", 0)
    return alerts, left_out + (said if type(said) is int and 0 < said < _MOST_TRUNCATED else 0)


def _datadog(document: Any, _head: Head) -> Notification:  # noqa: ANN401 - JSON
    item = dict(_object(document))
    title = short(item.get("title"), 300)
    if "alert_transition" not in item and title.startswith("["):
        # The default payload has the transition only in the title: "[Triggered on {host:a}] CPU".
        word, _, rest = title[1:].partition("]")
        item["alert_transition"] = word.partition(" on ")[0].strip()
        item["title"] = rest.strip() or title
    return [apply(_DATADOG, item)], 0


def _cloudwatch(document: Any, _head: Head) -> Notification:  # noqa: ANN401 - JSON
    envelope = _object(document)
    kind = envelope.get("Type")
    if kind in {"SubscriptionConfirmation", "UnsubscribeConfirmation"}:
        text = f"SNS asks to be confirmed by a person: {short(envelope.get('TopicArn'))}"
        return [Alert("sns-confirmation", State.ONCE, text=text)], 0
    message = envelope.get("Message") if kind == "Notification" else None
    body = _object(json.loads(message) if isinstance(message, str) else envelope)
    name = short(body.get("AlarmName"))
    if not name:
        return [Alert(short(envelope.get("Subject")) or "(unnamed)", State.ONCE)], 0
    state = _SNS_WORD.get(short(body.get("NewStateValue")), State.ONCE)
    return [Alert(name, state, text=short(body.get("NewStateReason"), 500))], 0


def _sentry(document: Any, head: Head) -> Notification:  # noqa: ANN401 - JSON
    body = _object(document)
    action = short(body.get("action")).lower()
    if head.headers.get("sentry-hook-resource") == "metric_alert" or at(body, "/data/metric_alert"):
        name = at(body, ["/data/metric_alert/alert_rule/name", "/data/metric_alert/title"])
        alert = Alert(
            short(name) or "(unnamed)",
            _SENTRY_METRIC.get(action, State.ONCE),
            severity=action,
            text=short(at(body, ["/data/description_text", "/data/description_title"]), 500),
        )
        return [alert], 0
    name = at(body, ["/data/triggered_rule", "/data/issue_alert/title", "/data/issue/title"])
    text = at(body, ["/data/event/title", "/data/issue/title"])
    level = short(at(body, ["/data/event/level", "/data/issue/level"]))
    return [Alert(short(name) or "(unnamed)", State.ONCE, severity=level, text=short(text, 500))], 0


def _scores(document: Any, _head: Head) -> Notification:  # noqa: ANN401 - JSON
    place = None
    if isinstance(document, dict):
        place = next((f"/{key}" for key in ("scores", "results") if key in document), None)
    rows, left_out = items_of(document, place)
    alerts = [apply(_SCORE, row) for row in rows if isinstance(row, dict)]
    if isinstance(document, dict) and isinstance(document.get("scores"), dict):
        # A map from name to score says the same in fewer words.
        pairs = list(document["scores"].items())[:_MOST_CATEGORIES]
        alerts = [Alert(short(key), State.ONCE, value=number(score)) for key, score in pairs]
    return alerts, left_out


def _moderation(document: Any, _head: Head) -> Notification:  # noqa: ANN401 - JSON
    rows, left_out = items_of(document, None)
    alerts: list[Alert] = []
    for row in rows:
        item = _object(row)
        results = item.get("results")
        if not isinstance(results, list):
            if short(item.get("verdict", item.get("flagged"))).lower() in _FLAGGED:
                alerts.append(apply(_VERDICT, item))
            continue
        user = short(item.get("user"))
        for result in results[:_MOST_CATEGORIES]:
            alerts += _categories(_object(result), {"user": user} if user else {})
    return alerts, left_out


def _categories(result: Mapping[str, Any], labels: Mapping[str, str]) -> list[Alert]:
    """Give one alert for each category that was flagged, or one in all."""
    if result.get("flagged") is not True:
        return []
    categories = result.get("categories")
    names = [
        key
        for key, flagged in (categories.items() if isinstance(categories, dict) else ())
        if flagged is True
    ][:_MOST_CATEGORIES]
    scores = result.get("category_scores")
    return [
        Alert(
            short(name),
            State.ONCE,
            value=number(scores.get(name)) if isinstance(scores, dict) else None,
            labels=labels,
        )
        for name in names or ["flagged"]
    ]


PRESETS: Mapping[str, Preset] = {
    "cloudwatch": _cloudwatch,
    "datadog": _datadog,
    "grafana": _grafana,
    "moderation": _moderation,
    "scores": _scores,
    "sentry": _sentry,
}

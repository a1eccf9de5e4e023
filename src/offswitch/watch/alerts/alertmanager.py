"""Alertmanager's webhook payload, version 4 (prometheus.io/docs/alerting/latest/configuration).

    {"version": "4", "status", "groupKey", "truncatedAlerts", "groupLabels", "commonLabels", …,
     "alerts": [{"status", "labels": {"alertname", …}, "annotations", "startsAt", "fingerprint"}]}

A group names all its alerts each time, those that are over included. The links in it
(`generatorURL`, `externalURL`) are never followed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from offswitch.watch.alerts.alert import Alert, State, short
from offswitch.watch.alerts.board import Garbled, Notification
from offswitch.watch.http.exchange import Request

__all__ = ["read_alertmanager"]

_MOST_ALERTS = 500
_MOST_TRUNCATED = 1_000_000


def read_alertmanager(request: Request) -> Notification:
    """Read a notification; raises `Garbled`."""
    payload = json.loads(request.body)
    if not isinstance(payload, dict) or payload.get("version") != "4":
        raise Garbled("this is no payload of version 4")
    rows = payload.get("alerts")
    if not isinstance(rows, list):
        raise Garbled("it has no alerts")
    said = payload.get("truncatedAlerts", 0)
    left_out = min(max(said, 0), _MOST_TRUNCATED) if type(said) is int else 0
    alerts = [_alert(row) for row in rows[:_MOST_ALERTS] if isinstance(row, dict)]
    return alerts, left_out + len(rows) - len(alerts)


def _alert(row: Mapping[str, Any]) -> Alert:
    labels, notes = _object(row.get("labels")), _object(row.get("annotations"))
    return Alert(
        short(labels.get("alertname")) or "(unnamed)",
        State.RESOLVED if row.get("status") == "resolved" else State.FIRING,
        identity=short(row.get("fingerprint")),
        severity=short(labels.get("severity")),
        text=short(notes.get("summary") or notes.get("description"), 500),
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

"""The ten scenarios, in the order of the page."""

from __future__ import annotations

from stopbench.scenarios import (
    child,
    controller_killed,
    escaped,
    files_removed,
    hung_actuators,
    ignores_sigterm,
    plain,
    revoked_credential,
    service_restarted,
    stream,
)
from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    each.SCENARIO.name: each.SCENARIO
    for each in (
        plain,
        ignores_sigterm,
        child,
        escaped,
        hung_actuators,
        stream,
        revoked_credential,
        files_removed,
        controller_killed,
        service_restarted,
    )
}

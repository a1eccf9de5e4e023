"""Sensors, detectors and actuators by entry point, ours registered as third parties' are.

    [project.entry-points."offswitch.detectors"]
    rate = "offswitch.watch.detectors.rate:Rate"

An entry point is a class with the contract of its group (`watch.sensors.contract`,
`watch.detectors.contract`, `actuators.hands.contract`); `offswitch.testing` holds the suite
that it must pass. They are loaded by watch, by the command line and by the hands themselves,
never by the warden (SR-4). A plugin that cannot be loaded is an error that names the package,
not a silent gap: a rule that rests on it must not look armed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from offswitch.errors import BadConfig

__all__ = ["ACTUATORS", "DETECTORS", "SENSORS", "Plugin", "installed", "of_kind"]

SENSORS = "offswitch.sensors"
DETECTORS = "offswitch.detectors"
ACTUATORS = "offswitch.actuators"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One kind of sensor, detector or actuator."""

    kind: str
    """The name that the configuration uses: the entry point's."""
    package: str
    """The distribution that brings it, for people."""
    cls: Any
    """The class; its attribute `Settings` is the model of its keys."""


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "unknown"


def of_kind(group: str, kind: str) -> Plugin:
    """Load the one plugin of a group that bears this name; `BadConfig`: there is none, or it fails.

    Others of the group are not loaded: what is broken there is no concern of this one.
    """
    found = [entry for entry in entry_points(group=group) if entry.name == kind]
    if not found:
        raise BadConfig(f"no package brings {kind} ({group})", "install it, or correct the kind")
    if len({entry.value for entry in found}) > 1:
        raise BadConfig(f"two packages bring the kind {kind}", "remove one of them")
    entry = found[0]
    try:
        return Plugin(kind, _package(entry), entry.load())
    except Exception as error:  # a plugin's own code: whatever it raises names it
        message = f"the plugin {kind} of {_package(entry)} cannot be loaded: {error!r}"
        raise BadConfig(message, f"repair or remove the package {_package(entry)}") from error


def installed(group: str) -> Mapping[str, Plugin]:
    """Load every plugin of a group, by kind; `BadConfig` names the one that cannot be loaded."""
    found: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=group), key=lambda one: one.name):
        package = _package(entry)
        try:
            cls = entry.load()
        except Exception as error:  # a plugin's own code: whatever it raises names it
            message = f"the plugin {entry.name} of {package} cannot be loaded: {error!r}"
            raise BadConfig(message, f"repair or remove the package {package}") from error
        if not hasattr(cls, "Settings"):
            message = f"the plugin {entry.name} of {package} has no Settings"
            raise BadConfig(message, "see offswitch.testing for what a plugin must have")
        known = found.get(entry.name)
        if known is not None and known.cls is not cls:
            message = f"two packages bring the kind {entry.name}: {known.package} and {package}"
            raise BadConfig(message, "remove one of them")
        found[entry.name] = Plugin(entry.name, package, cls)
    return found

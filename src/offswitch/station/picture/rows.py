"""What a picture is made of: targets and live stops, as the warden told them.

Everything here was said by the warden, and part of that by people and targets before: texts are
kept as they came, cut to a length, and are escaped by whoever shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["StopRow", "TargetRow"]

_LONGEST = 400
_MOST = 64

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target."""

    name: str
    kind: str = "process"
    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = "unknown"
    """As in `status`; `unknown` for all while nobody can tell."""
    level: str | None = None
    """At which it is latched; None: it is not."""
    confirmed: bool = False
    """Whether every layer of its plan was observed."""
    blind: bool = False
    """Whether an automatic rule is about it and nobody sees for it."""
    stops: tuple[str, ...] = ()
    """Digests of the stops that cover it, the first sixteen."""
    layers: Mapping[str, bool] = field(default_factory=dict)
    """What was commanded of the last stop: layer → whether it was observed."""
    signals: tuple[str, ...] = ()
    """Kinds of signals that there are of it."""
    stale: tuple[str, ...] = ()
    """Those of them that say nothing about now."""
    readiness: Mapping[str, str] = field(default_factory=dict)
    """Layer → `ready`, `degraded`, `unproven` or `absent`."""
    ready_since: Mapping[str, int] = field(default_factory=dict)
    """Layer → since when it is so, UTC in microseconds."""
    sharing: bool = False
    """Whether it shares its user with others."""
    escapable: bool = False
    user: str = ""
    adopted: str | None = None
    trouble: str = ""
    """Why it cannot be held; empty: it can."""
    since_us: int = 0
    """When its first process was born, UTC in microseconds; 0: not known."""
    version: int = 0
    """The picture's version at which this row changed last."""

    @classmethod
    def of(cls, said: Message, version: int) -> TargetRow:
        """Read one as the feed spells it."""
        return cls(
            name=str(said["target"]),
            kind=_text(said.get("kind")),
            labels=_texts_by_name(said.get("labels")),
            state=_text(said.get("state")) or "unknown",
            level=_text(said.get("level")) or None,
            confirmed=bool(said.get("confirmed")),
            blind=bool(said.get("blind")),
            stops=_texts(said.get("stops")),
            layers={_text(layer): bool(seen) for layer, seen in _pairs(said.get("layers"))},
            signals=_texts(said.get("signals")),
            stale=_texts(said.get("stale")),
            readiness=_texts_by_name(said.get("readiness")),
            ready_since={
                _text(layer): _number(date) for layer, date in _pairs(said.get("readiness_since"))
            },
            sharing=bool(said.get("sharing")),
            escapable=bool(said.get("escapable")),
            user=_text(said.get("user")),
            adopted=_text(said.get("adopted")) or None,
            trouble=_text(said.get("trouble")),
            since_us=_number(said.get("since_us")),
            version=version,
        )

    @property
    def latched(self) -> bool:
        """Whether a live stop covers it."""
        return self.level is not None

    @property
    def unproven(self) -> bool:
        """Whether a stop was commanded that nobody has seen done."""
        return self.level in _SEEN and not self.confirmed and self.state != "idle"

    def lost(self, version: int) -> TargetRow:
        """Give it as it is to be shown when nobody can tell any more how it is."""
        return replace(self, state="unknown", confirmed=False, version=version)


_SEEN = frozenset({"freeze", "kill", "poweroff"})
"""Levels at which standstill is observed."""


@dataclass(frozen=True, slots=True)
class StopRow:
    """One live stop."""

    digest: str
    scope: str
    level: str
    by: str
    channel: str
    time_us: int
    """When it was given, UTC in microseconds."""
    reason: str
    count: int
    """How often it was pressed."""
    durable: bool
    """Whether it is on a disk, too."""
    version: int

    @classmethod
    def of(cls, said: Message, version: int) -> StopRow:
        """Read one as the feed spells it."""
        return cls(
            digest=str(said["digest"]),
            scope=_text(said.get("scope")),
            level=_text(said.get("level")),
            by=_text(said.get("by")),
            channel=_text(said.get("channel")),
            time_us=_number(said.get("time_us")),
            reason=_text(said.get("reason")),
            count=_number(said.get("count")),
            durable=bool(said.get("durable")),
            version=version,
        )


def _text(said: object) -> str:
    return "" if said is None else str(said)[:_LONGEST]


def _number(said: object) -> int:
    return said if type(said) is int else 0


def _texts(said: object) -> tuple[str, ...]:
    return tuple(_text(one) for one in said[:_MOST]) if isinstance(said, list) else ()


def _pairs(said: object) -> list[tuple[Any, Any]]:
    return list(said.items())[:_MOST] if isinstance(said, Mapping) else []


def _texts_by_name(said: object) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in _pairs(said)}

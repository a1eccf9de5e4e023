"""An order: `stop` or `reset`. Its digest is its name.

A stop carries everything that names it (installation, scope, level, who, channel, nonce,
time), so that the warden and the keeper, which may both hear the same press, make the
same order of it and the latch holds it once. A reset names the digests of the stops that
it clears; it can never clear what it does not name. Both are canonical JSON of strings
and integers, ready to be a DSSE payload.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from offswitch.errors import Corrupt
from offswitch.model.level import Level, parse_level
from offswitch.model.scope import Scope, parse_scope
from offswitch.model.wire import Canonical, digest

__all__ = ["Order", "Reset", "Stop", "from_wire", "set_digest"]

_VERSION = 1
_MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class Stop:
    """An order to stop. It never needs a reason, and never expires once admitted (SR-19)."""

    installation: str
    """The installation's id, 32 hex digits."""
    scope: Scope
    level: Level
    by: str
    """Who: `uid:1000`, `rule:mass-write`, `keeper`, `warden`, `boot`."""
    channel: str
    """Over which road: `cli`, `spool`, `rule`, `keeper`, `watch`, `warden`."""
    nonce: str
    """32 hex digits, or what names a spool file."""
    time_us: int
    """When it was given, UTC in microseconds, by the giver's clock."""
    reason: str = ""
    _name: str = field(init=False, repr=False, compare=False)
    """The digest, once it was asked for: a stop is named a dozen times on its way."""

    def wire(self) -> dict[str, Canonical]:
        """Give its canonical object; what is empty is left out."""
        body: dict[str, Canonical] = {
            "v": _VERSION,
            "kind": "stop",
            "installation": self.installation,
            "scope": self.scope.text,
            "level": self.level.label,
            "by": self.by,
            "channel": self.channel,
            "nonce": self.nonce,
            "time_us": self.time_us,
        }
        if self.reason:
            body["reason"] = self.reason[:_MAX_REASON]
        return body

    @property
    def digest(self) -> str:
        """The order's name: 64 hex digits."""
        try:
            return self._name
        except AttributeError:
            object.__setattr__(self, "_name", digest("order", self.wire()))
            return self._name

    def joins(self, other: Stop) -> bool:
        """Tell whether this stop adds nothing to `other`: same scope, level and issuer (SR-17)."""
        return (self.scope, self.level, self.by) == (other.scope, other.level, other.by)


@dataclass(frozen=True, slots=True)
class Reset:
    """An order to clear named stops. It starts nothing."""

    installation: str
    scope: Scope
    clears: tuple[str, ...]
    """Digests of the stops that it clears, sorted."""
    by: str
    channel: str
    nonce: str
    time_us: int
    reason: str
    """The cause, entered by a person; never empty."""
    _name: str = field(init=False, repr=False, compare=False)
    """The digest, once it was asked for: ten thousand names are long to spell."""

    def wire(self) -> dict[str, Canonical]:
        """Give its canonical object."""
        return {
            "v": _VERSION,
            "kind": "reset",
            "installation": self.installation,
            "scope": self.scope.text,
            "clears": list(self.clears),
            "by": self.by,
            "channel": self.channel,
            "nonce": self.nonce,
            "time_us": self.time_us,
            "reason": self.reason[:_MAX_REASON],
        }

    @property
    def digest(self) -> str:
        """The order's name: 64 hex digits; what two people sign."""
        try:
            return self._name
        except AttributeError:
            object.__setattr__(self, "_name", digest("order", self.wire()))
            return self._name


Order = Stop | Reset


def _text(body: dict[str, Canonical], key: str, default: str | None = None) -> str:
    value = body.get(key, default)
    if not isinstance(value, str):
        raise Corrupt(f"order: {key} is missing or no text")
    return value


def from_wire(body: Canonical) -> Order:
    """Make an order of its canonical object; raises `Corrupt` or `Usage`, naming the field.

    The order says exactly what the object says: one that would get another digest, because a
    field is unknown to us or spelt otherwise, is `Corrupt`. Else a stop could be latched under
    a name that no reset knows.
    """
    order = _read(body)
    if order.wire() != body:
        raise Corrupt("order: a field that is unknown, or not in its canonical spelling")
    return order


def _read(body: Canonical) -> Order:
    if not isinstance(body, dict):
        raise Corrupt("order: not an object")
    time_us = body.get("time_us")
    if type(body.get("v")) is not int or body["v"] != _VERSION or type(time_us) is not int:
        raise Corrupt("order: unknown version or no time")
    common = {key: _text(body, key) for key in ("installation", "by", "channel", "nonce")}
    scope = parse_scope(_text(body, "scope"))
    if body.get("kind") == "stop":
        level = parse_level(_text(body, "level"))
        reason = _text(body, "reason", "")
        return Stop(scope=scope, level=level, time_us=time_us, reason=reason, **common)
    clears = body.get("clears")
    if body.get("kind") != "reset" or not isinstance(clears, list):
        raise Corrupt("order: neither a stop nor a reset")
    named = tuple(sorted(item for item in clears if isinstance(item, str)))
    reason = _text(body, "reason")
    return Reset(scope=scope, clears=named, time_us=time_us, reason=reason, **common)


def set_digest(digests: list[str]) -> str:
    """Name a set of orders by one digest: that of its sorted list; a single one by itself."""
    return digests[0] if len(digests) == 1 else digest("order-set", sorted(digests))

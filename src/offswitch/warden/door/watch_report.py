"""What watch said last, and what follows when it says nothing any more.

Watch names its automatic rules by what they are about, as scopes; the last such list is kept
beside the declarations, so that after a restart of the warden, too, a target whose rules
nobody works for is *blind* until watch reports, and one that is born in such a scope while
watch is dead is so from its first moment. A list that cannot be read means everything.

A report of a large fleet comes in parts; signals are shown when the last of them is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from offswitch.model.scope import scopes_over
from offswitch.model.target import Target

__all__ = ["WatchReport"]

_SILENT_US = 3_000_000
_FIRST_US = 30_000_000
"""How long a warden that has come up waits for the first report before it calls that silence."""
_MOST = 100_000
_MOST_SHOWN = 100
_LONGEST = 400
_ACTS = ("advise", "auto", "shadow")
_STATES = ("stands", "asks", "acted", "ordered", "denied")
_LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")

Signals = dict[str, dict[str, dict[str, Any]]]


class WatchReport:
    """Takes in what watch reports. Nothing in a report makes it raise."""

    __slots__ = ("_begun_us", "_blind", "_blind_since", "_coming", "_mono_us", "_signals",
                 "alarms", "auto", "fast", "moved", "notes", "untracked", "version")  # fmt: skip

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self.auto: frozenset[str] = frozenset()
        """Scopes that automatic rules are about."""
        self.fast: frozenset[str] = frozenset()
        """Those of them in which harm comes within ten seconds."""
        self.alarms: list[dict[str, Any]] = []
        """Rules whose alarm stands: `rule`, `scope`, `act`, `harm`, `since_us`; one that
        asks also `asks` (the question's name) and `due_us`."""
        self.notes: list[str] = []
        self.untracked: list[Any] = []
        self.version = 0
        """Another number after every message of watch."""
        self.moved: set[str] | None = None
        """Targets of which another signal is stale than before; None: nobody wants to know."""
        self._blind: frozenset[str] = frozenset()
        self._blind_since: dict[str, int] = {}
        self._begun_us: int | None = None
        self._signals: Signals = {}
        self._coming: Signals = {}
        self._mono_us: int | None = None

    def passed(self) -> dict[str, Any]:
        """Give what was said, for the next code of this warden (SR-23)."""
        return {
            "auto": sorted(self.auto),
            "fast": sorted(self.fast),
            "blind": sorted(self._blind),
            "alarms": self.alarms,
            "notes": self.notes,
            "untracked": self.untracked,
            "signals": self._signals,
            "mono_us": self._mono_us,
        }

    def take_up(self, passed: Mapping[str, Any]) -> None:
        """Take it over as if it had been said to us: it ages from when it was said."""
        self.auto, self._blind = frozenset(passed["auto"]), frozenset(passed["blind"])
        self.fast = frozenset(passed.get("fast", ()))
        self.alarms, self.notes = list(passed["alarms"]), list(passed["notes"])
        self.untracked = list(passed["untracked"])
        self._signals, self._mono_us = dict(passed["signals"]), passed["mono_us"]

    def meant(self, kept: Iterable[object]) -> None:
        """Take over what rules were about when watch last reported, to an earlier warden.

        As `to_keep` gave it: a scope, or a list of it and a word where harm comes fast.
        """
        kept = list(kept)
        self.fast = frozenset(str(one[0]) for one in kept if isinstance(one, list) and one)
        self.auto = self.fast | {str(one) for one in kept if not isinstance(one, list)}

    def to_keep(self) -> list[str | list[str]]:
        """Give what the next warden must know."""
        return [[one, "fast"] if one in self.fast else one for one in sorted(self.auto)]

    def begin(self, mono_us: int) -> None:
        """Give watch its time to speak for the first time from now on."""
        self._begun_us = mono_us

    def take(self, message: Mapping[str, Any], mono_us: int) -> bool:
        """Take in a part of a report; tells whether other scopes are meant than before."""
        before = self.auto, self.fast
        self._mono_us = mono_us
        self.version += 1
        if "fast" in message:
            self.fast = _texts(message["fast"])
        if "auto" in message:
            self.auto = _texts(message["auto"])
        if "blind" in message:
            self._blind = _texts(message["blind"])
            since = self._blind_since
            self._blind_since = {one: since.get(one, mono_us) for one in self._blind}
        if "alarms" in message:
            self.alarms = _alarms(message["alarms"])
        if "notes" in message:
            self.notes = sorted(_texts(message["notes"]))[:_MOST_SHOWN]
        if "untracked" in message:
            said = message["untracked"]
            self.untracked = said if isinstance(said, list) else []
        self._take_signals(message)
        return (self.auto, self.fast) != before

    def _take_signals(self, message: Mapping[str, Any]) -> None:
        if not message.get("part"):
            self._coming = {}
        said = message.get("signals")
        for name, kinds in said.items() if isinstance(said, Mapping) else ():
            for kind, signal in kinds.items() if isinstance(kinds, Mapping) else ():
                age = signal.get("age_ms") if isinstance(signal, Mapping) else None
                stale = not isinstance(signal, Mapping) or bool(signal.get("stale"))
                known = {"age_ms": age if type(age) is int else None, "stale": stale}
                self._coming.setdefault(name, {})[kind] = known
        part, parts = message.get("part") or 0, message.get("of") or 1
        if "signals" in message and type(part) is type(parts) is int and part == parts - 1:
            if self.moved is not None:
                names = self._signals.keys() | self._coming.keys()
                before, now = self._signals, self._coming
                self.moved.update(one for one in names if _stale(before, one) != _stale(now, one))
            self._signals, self._coming = self._coming, {}

    def silent_us(self, mono_us: int) -> int | None:
        """How long it has said nothing, where that is too long; None: it speaks."""
        if self._mono_us is None:
            return mono_us
        passed = mono_us - self._mono_us
        return passed if passed > _SILENT_US else None

    def blind(self, target: Target, mono_us: int) -> bool:
        """Tell whether an automatic rule is about `target`, and nobody sees for it."""
        scopes = self.unseen(mono_us)
        return bool(scopes) and any(scope in scopes for scope in scopes_over(target))

    def unseen(self, mono_us: int) -> frozenset[str]:
        """Name what automatic rules are about that nobody sees for."""
        silent = self.silent_us(mono_us) is not None
        return self.auto | self._blind if silent else self._blind

    def stale(self, name: str, mono_us: int) -> dict[str, bool]:
        """Tell which signals of a target there are, and whether each is stale."""
        silent = self.silent_us(mono_us) is not None
        kinds = self._signals.get(name, {})
        return {kind: signal["stale"] or silent for kind, signal in kinds.items()}

    def lapsed(self, mono_us: int) -> frozenset[str]:
        """Name the scopes whose lease has run out: for three seconds no rule has seen for them."""
        if self._mono_us is None:
            begun_us = mono_us if self._begun_us is None else self._begun_us
            return self.auto if mono_us - begun_us > _FIRST_US else frozenset()
        if self.silent_us(mono_us) is not None:
            return self.auto | self._blind
        return frozenset(
            scope for scope, since in self._blind_since.items() if mono_us - since > _SILENT_US
        )

    def blind_in(self, target: Target, lapsed: frozenset[str]) -> bool | None:
        """Tell whether harm comes fast to `target`, which lies in `lapsed`; None: it does not."""
        over = [scope for scope in scopes_over(target) if scope in lapsed]
        return any(scope in self.fast for scope in over) if over else None

    def signals(self, name: str, mono_us: int) -> dict[str, dict[str, Any]]:
        """Give ages as they are now: what was said, plus the time since it was said."""
        silent = self.silent_us(mono_us) is not None
        passed_ms = (mono_us - (self._mono_us or 0)) // 1000
        return {
            kind: {
                "age_ms": None if signal["age_ms"] is None else signal["age_ms"] + passed_ms,
                "stale": signal["stale"] or silent,
            }
            for kind, signal in self._signals.get(name, {}).items()
        }

    def blind_scopes(self, mono_us: int) -> list[str]:
        """Name what automatic rules are about that nobody sees for, the first hundred."""
        return sorted(self.unseen(mono_us))[:_MOST_SHOWN]


def _stale(signals: Signals, name: str) -> dict[str, bool]:
    return {kind: signal["stale"] for kind, signal in signals.get(name, {}).items()}


def _texts(said: object) -> frozenset[str]:
    given = said if isinstance(said, list) else []
    return frozenset(str(text)[:_LONGEST] for text in given[:_MOST])


def _alarms(said: object) -> list[dict[str, Any]]:
    alarms = []
    for one in said[:_MOST_SHOWN] if isinstance(said, list) else ():
        if not isinstance(one, Mapping):
            continue
        act, since = one.get("act"), one.get("since_us")
        alarm: dict[str, Any] = {
            key: str(one.get(key) or "")[:_LONGEST] for key in ("rule", "scope", "harm")
        }
        alarm["act"] = act if act in _ACTS else "advise"
        alarm["since_us"] = since if type(since) is int else 0
        state, level = one.get("state"), one.get("level")
        if state in _STATES and level in _LEVELS:
            alarm |= {"state": state, "level": level}
        asks, due = one.get("asks"), one.get("due_us")
        if isinstance(asks, str) and type(due) is int:
            alarm |= {"asks": asks[:_LONGEST], "due_us": due}
        alarms.append(alarm)
    return alarms

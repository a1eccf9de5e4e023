"""One press under way, and what is said of it: receipts, the first answer, the final one.

A press remembers what it commanded and what the observer has said so far. *Commanded* is
in `commanded`, *confirmed* only ever comes from `seen`; a layer that nobody has is listed
as what may still act, never left out. What was seen counts for the level at which it was
looked for, and until something moves: after that it says nothing any more (`turns`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from offswitch.model.level import Level
from offswitch.model.order import Stop, from_wire, set_digest
from offswitch.model.receipt import Receipt
from offswitch.model.scope import Scope, nearest
from offswitch.warden.core import Core
from offswitch.warden.door.connection import Connection
from offswitch.warden.loop import Timer
from offswitch.warden.plan import COOPERATIVE, GATEWAY, LOCAL
from offswitch.warden.table import Tracked

__all__ = ["Press", "Reply", "accepted", "own_press", "result"]

Reply = Callable[[dict[str, Any]], None]
_TIMES = 9


class Press:
    """One press under way: what it commanded, and what was seen of it so far."""

    __slots__ = (
        "accepted_ns",
        "again",
        "asker",
        "beside",
        "commanded",
        "done",
        "given",
        "level",
        "levels",
        "looks",
        "own",
        "prior",
        "reply",
        "rows",
        "seen",
        "stops",
        "timer",
        "troubles",
        "turns",
        "wait",
    )

    def __init__(
        self, stops: list[Stop], reply: Reply | None = None, *, wait: bool = False
    ) -> None:
        """Start the clock: all times of its receipts count from here."""
        self.accepted_ns = time.monotonic_ns()
        self.given = stops
        """What was asked for, by whom."""
        self.stops = stops
        """The live stops that it became, or joined."""
        self.level = max(stop.level for stop in stops)
        self.reply = reply
        self.asker: Connection | None = None
        """Who waits for the answer at the other end of a connection."""
        self.wait = wait
        self.own = False
        """Whether it only gives again, or elsewhere, what is latched already."""
        self.again = False
        """Whether it only looks again at what was not confirmed before."""
        self.rows: list[Tracked] = []
        self.prior: dict[str, str] = {}
        self.levels: dict[str, Level] = {}
        """Target → the level that was commanded."""
        self.turns: dict[str, int] = {}
        """Target → which of its turns this press belongs to."""
        self.commanded: dict[str, dict[str, int]] = {}
        """Target → layer → when its command had been given."""
        self.troubles: dict[tuple[str, str], str] = {}
        self.seen: dict[tuple[str, str], tuple[bool, int, str]] = {}
        self.beside: dict[str, str] = {}
        """Target → what is said of its gateways instead of what was seen alone."""
        self.looks: dict[int, tuple[str, set[str]]] = {}
        """Number of a look → target, and the layers of which nothing was heard yet."""
        self.timer: Timer | None = None
        self.done = False

    def passed(self, looks: list[int]) -> dict[str, Any]:
        """Give what the next code needs to go on with it (SR-23); `looks` are still open."""
        asker = self.asker
        return {
            "given": [stop.wire() for stop in self.given],
            "stops": [stop.wire() for stop in self.stops],
            "accepted_ns": self.accepted_ns,
            "asker": None if asker is None or asker.closed else asker.sock.fileno(),
            "wait": self.wait,
            "done": self.done,
            "rows": [row.target.name for row in self.rows],
            "prior": self.prior,
            "levels": {name: int(level) for name, level in self.levels.items()},
            "turns": self.turns,
            "commanded": self.commanded,
            "troubles": [[*key, text] for key, text in self.troubles.items()],
            "seen": [[*key, *what] for key, what in self.seen.items()],
            "looks": [
                [name, sorted(self.looks[look][1])]
                for look in looks
                for name in (self.looks[look][0],)
            ],
        }

    @classmethod
    def taken_up(
        cls, passed: dict[str, Any], rows: list[Tracked], asker: Connection | None
    ) -> Press:
        """Take it up as it was passed; its looks are for the caller to begin anew."""
        reply = None if asker is None else asker.reply
        press = cls(_stops(passed["given"]), reply, wait=passed["wait"])
        press.stops = _stops(passed["stops"])
        press.asker, press.rows = asker, rows
        press.accepted_ns, press.done = passed["accepted_ns"], passed["done"]
        press.prior, press.turns = passed["prior"], passed["turns"]
        press.levels = {name: Level(level) for name, level in passed["levels"].items()}
        press.commanded = passed["commanded"]
        press.troubles = {(name, layer): text for name, layer, text in passed["troubles"]}
        press.seen = {(n, layer): (ok, at, text) for n, layer, ok, at, text in passed["seen"]}
        return press

    def since_ns(self) -> int:
        """Nanoseconds since the order was accepted."""
        return time.monotonic_ns() - self.accepted_ns

    def failed(self, name: str, layer: str, why: str) -> None:
        """A layer's command to a target came to nothing: told beside what was seen."""
        self.troubles[name, layer] = why

    def receipts(self, row: Tracked, level: Level, layers: list[str]) -> list[Receipt]:
        """Say layer by layer what was commanded and what was seen; `layers` are the plan's."""
        commanded = self.commanded[row.target.name]
        guard_ns = commanded[COOPERATIVE]
        word = "cooperative: refuses from here on; listed, never counted"
        receipts = [
            Receipt(COOPERATIVE, guard_ns, None, confirmed=False, detail=word, counted=False)
        ]
        wanted = dict.fromkeys([*layers, *commanded])
        if row.cell is None and level >= Level.FREEZE:
            wanted = dict.fromkeys(["process", *wanted])
        if level < Level.FREEZE and GATEWAY in commanded:
            at, told = commanded[GATEWAY], "told: heeds it from here on; listed, never counted"
            receipts.append(Receipt(GATEWAY, at, None, confirmed=False, detail=told, counted=False))
            wanted.pop(GATEWAY)
        elif GATEWAY not in wanted and row.readiness.get(GATEWAY, ("", ""))[0] == "degraded":
            # Where that front is all there is of a target, nobody here sees whether it stands.
            alone = row.body is None and level >= Level.FREEZE
            how = "nothing else of it is here" if alone else "listed, never counted"
            told = f"{row.readiness[GATEWAY][1]}; {how}: see what its adapter says"
            receipts.append(
                Receipt(GATEWAY, guard_ns, None, confirmed=False, detail=told, counted=alone)
            )
        receipts += [self._receipt(row, layer) for layer in wanted if layer != COOPERATIVE]
        waits = "put off by its plan, and not needed so far: all else was seen in time; not counted"
        receipts += [
            Receipt(layer, guard_ns, None, confirmed=False, detail=waits, counted=False)
            for layer in sorted(row.held.difference(wanted))
        ]
        return receipts

    def _receipt(self, row: Tracked, layer: str) -> Receipt:
        name = row.target.name
        at = self.commanded[name].get(layer)
        if at is None:
            return self._uncommanded(row, layer)
        seen, effect, detail = self.seen.get((name, layer), (False, 0, "nobody looked in time"))
        if layer == GATEWAY:
            detail = self.beside.get(name, detail)
        trouble = self.troubles.get((name, layer))
        text = f"{detail} ({trouble})" if trouble else detail
        return Receipt(layer, at, effect if seen else None, confirmed=seen, detail=text)

    def _uncommanded(self, row: Tracked, layer: str) -> Receipt:
        """Say why there was nothing to command: nothing is there, or nobody can do it."""
        at = self.commanded[row.target.name][COOPERATIVE]
        if not row.sought:
            text = "nobody has looked yet where it runs"
            return Receipt(layer, at, None, confirmed=False, detail=text)
        if row.cell is None and row.adopted is not None and layer in LOCAL:
            text = f"no cgroup bears its name, {row.adopted.text}"
            return Receipt(layer, at, at, confirmed=True, detail=text)
        if row.cell is None and (layer == "process" or (layer in LOCAL and row.remains is None)):
            gone = "it has no cell, so nothing of it runs here"
            text = gone if row.remains is None else "its cell was empty, and is gone"
            return Receipt(layer, at, at, confirmed=True, detail=text)
        text = f"the plan names {layer}, which nothing here can do to it: it may still act there"
        return Receipt(layer, at, None, confirmed=False, detail=text)


def _stops(bodies: list[Any]) -> list[Stop]:
    return [order for order in map(from_wire, bodies) if isinstance(order, Stop)]


def own_press(core: Core, row: Tracked, level: Level) -> Press:
    """Begin a press of the warden's own: of what is latched for one target already."""
    press = Press([live.stop for live in core.latch.covering(row.target)])
    press.own, press.rows = True, [row]
    press.levels = {row.target.name: level}
    return press


def accepted(press: Press) -> dict[str, Any]:
    """Give the first answer: every command was given."""
    digests = [stop.digest for stop in press.stops]
    return {
        "accepted": True,
        "order": set_digest(digests),
        "orders": digests,
        "accepted_ns": press.accepted_ns,
    }


def result(core: Core, press: Press) -> dict[str, Any]:
    """Give the final object of a stop, as INTERFACES promises it."""
    digests = [stop.digest for stop in press.stops]
    confirmed = bool(press.rows) and all(row.confirmed for row in press.rows)
    for stop in press.given:
        confirmed = confirmed and any(stop.scope.covers(row.target) for row in press.rows)
    durable = all(core.store.durable(digest) for digest in digests)
    answer: dict[str, Any] = {
        "order": set_digest(digests),
        "orders": digests,
        "scopes": [stop.scope.text for stop in press.given],
        "level": press.level.label,
        "confirmed": confirmed,
        "recorded": "durable" if durable else "pending",
        "targets": [_target(core, row) for row in press.rows],
        "notes": [],
        "nearest": [],
        "empty": [],
        "exit": 0 if confirmed else 4,
    }
    for stop in press.given:
        if not any(stop.scope.covers(row.target) for row in press.rows):
            answer["nearest"] += _nearest(core, stop.scope)
            answer["empty"].append(stop.scope.text)
            answer["notes"].append(
                f"{stop.scope.text} covers nothing yet; it is latched for what comes"
            )
    return answer


def _nearest(core: Core, scope: Scope) -> list[str]:
    """Name what was probably meant: a courtesy, and a tenth of the loop's time at most."""
    began = time.monotonic_ns()
    if began < core.courteous_from_ns:
        return []
    found = nearest(scope, core.table.targets())
    now = time.monotonic_ns()
    core.courteous_from_ns = now + _TIMES * (now - began)
    return found


def _target(core: Core, row: Tracked) -> dict[str, Any]:
    return {
        "target": row.target.name,
        "installation": core.place.run,
        "state": row.state.value,
        "confirmed": row.confirmed,
        "layers": [receipt.as_dict() for receipt in row.receipts],
    }

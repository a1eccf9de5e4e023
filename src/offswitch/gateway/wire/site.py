"""What the requests of one worker share: the page, the routes, who serves them, where they go.

A flow is entered before anything of it goes on and struck off when it is over; in between the
table shows it to whoever may have to end it in our stead.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Protocol

from offswitch.control.flows import Ends, FlowTable, Stage
from offswitch.gateway.exchange import Asked, Cause, Head, Held, How, Reply, Tap, Why
from offswitch.gateway.plan.front import Front
from offswitch.gateway.plan.route import Route, Step
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.stewards import Stewards
from offswitch.gateway.wire.pool import Pool
from offswitch.gateway.wire.tls import client_context
from offswitch.gateway.words import Words
from offswitch.model.level import Level

__all__ = ["PROBE", "Cuttable", "Sense", "Site"]

PROBE = b"/.offswitch/probe"
"""Where one may ask whether a target is latched, through the real listener."""
_NOTHING_HELD = Held()


class Sense(Protocol):
    """Who looks at what passes; raises nothing, waits for nothing."""

    def tap(self, target: str, asked: Asked, started_ns: int, body: bytes = b"") -> Tap | None:
        """Begin to look at an answer; None: nobody does."""
        ...

    def refused(self, target: str, why: Why) -> None:
        """A request was refused."""
        ...

    def tick(self) -> None:
        """Some milliseconds have passed."""
        ...

    def cut(self, target: str) -> list[str]:
        """Give a target's answers that a stop has cut, each once, as the server calls them."""
        ...


class Cuttable(Protocol):
    """A flow, as a sweep sees it. Each may be called in any state, and twice."""

    def sever(self) -> None:
        """Abort what goes on at the upstream."""
        ...

    def tell(self) -> None:
        """End what the client gets."""
        ...

    def freeze(self) -> None:
        """Pass on nothing more for now."""
        ...

    def thaw(self) -> None:
        """Go on where it was."""
        ...


def _cut(flow: Cuttable) -> None:
    """End a flow where nobody sweeps."""
    flow.sever()
    flow.tell()


class Site:
    """One worker's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        front: Front,
        words: Words,
        slots: Mapping[str, int],
        stewards: Stewards,
        *,
        table: FlowTable | None = None,
        sense: Sense | None = None,
        upstream_context: ssl.SSLContext | None = None,
    ) -> None:
        """Have no flow yet; `slots` names the word of each of the front's targets."""
        self.loop = loop
        self.front = front
        self.words = words
        self.slots = slots
        self.stewards = stewards
        self.table = table
        self.sense = sense
        self.flows: dict[int, set[Cuttable]] = {}
        """By slot."""
        self.cut: Callable[[Cuttable], None] = _cut
        """What is done with a flow that is found to be stopped: the sweep's."""
        self.frozen: set[int] = set()
        """Slots of which flows may be frozen."""
        self._pools: dict[Upstream, Pool] = {}
        self._pool_of: dict[int, Pool] = {}
        self._context = upstream_context
        for route in front.routes:
            if route.upstream not in self._pools:
                context = self._tls(route.upstream)
                self._pools[route.upstream] = Pool(loop, words, route.upstream, context)
            self._pool_of[id(route)] = self._pools[route.upstream]

    def _tls(self, upstream: Upstream) -> ssl.SSLContext | None:
        if not upstream.tls:
            return None
        if self._context is None:
            self._context = client_context(self.front)
        return self._context

    # --- words --------------------------------------------------------------------

    def level(self, target: str) -> Level | None:
        """At which level a target is held now; None: it may run. One nobody knows is killed."""
        slot = self.slots.get(target)
        return Level.KILL if slot is None else self.words.level(slot)

    def held(self, route: Route, level: Level | None) -> Held:
        """What of a route is held back, its target being held at `level`."""
        if level is None and not route.steps:
            return _NOTHING_HELD
        steps = {step for step in route.steps if self.level(f"{route.target}/{step}") is not None}
        if level is not None:
            steps |= route.restrict
        return Held(level, frozenset[Step](steps)) if steps or level else _NOTHING_HELD

    def why(self, route: Route, level: Level) -> Why:
        """Say why a request of a route is refused or ended."""
        cause = Cause.STOPPED if self.words.vouched else Cause.NO_LEASE
        label = level.label if cause is Cause.STOPPED else None
        return Why(cause, route.target, label, ask=route.ask)

    def probe(self, head: Head) -> Reply:
        """Say whether a target is latched, by its word alone."""
        target = (head.get(b"x-offswitch-target") or b"").decode("utf-8", "replace")
        kind = ((b"content-type", b"text/plain"), (b"cache-control", b"no-store"))
        if target not in self.slots:
            return Reply(404, kind, b"unknown\n")
        level = self.level(target)
        if level is None or level is Level.RESTRICT:
            return Reply(200, kind, b"open\n")
        return Reply(503, kind, b"latched\n")

    # --- flows --------------------------------------------------------------------

    def enter(self, flow: Cuttable, slot: int, client: Ends | None) -> int:
        """Enter a flow; give its row, or -1. `Busy` where the table is full."""
        row = -1 if self.table is None or client is None else self.table.take(slot, client)
        self.flows.setdefault(slot, set()).add(flow)
        return row

    def stage(self, row: int, stage: Stage) -> None:
        """Say how far a flow has come."""
        if self.table is not None and row >= 0:
            self.table.state(row, stage)

    def goes_by(self, row: int, upstream: Ends | None) -> None:
        """Say by which socket a flow goes on."""
        if self.table is not None and row >= 0:
            self.table.upstream(row, upstream)

    def leave(self, flow: Cuttable, slot: int, how: How) -> None:
        """Strike a flow off; its row is freed by itself."""
        self.flows[slot].discard(flow)
        if how is How.STOPPED and self.table is not None:
            self.table.cut(slot)

    def free(self, row: int) -> None:
        """No socket of a flow can bring anything more."""
        if self.table is not None and row >= 0:
            self.table.free(row)

    # --- upstreams ----------------------------------------------------------------

    def pool(self, route: Route) -> Pool:
        """Give the connections to a route's upstream."""
        return self._pool_of[id(route)]

    def tidy(self) -> None:
        """End connections that have waited too long."""
        for pool in self._pools.values():
            pool.tidy()

    def turn_page(self, words: Words, slots: Mapping[str, int]) -> None:
        """Read another page from here on."""
        self.words = words
        self.slots = slots
        for pool in self._pools.values():
            pool.turn_page(words)

    def close(self) -> None:
        """End all connections to upstreams."""
        for pool in self._pools.values():
            pool.close()

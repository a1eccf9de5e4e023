"""One worker: an event loop, the sockets it was given, and the page that it obeys.

    accept ─► ClientConnection ─► Flow ─► UpstreamConnection ─► back        (wire)
    `changed`, told by whoever hears the warden ─► Sweep                    (stop)
    every 50 ms: the beat in the flow table, and a sweep if the lease ran out or a wake-up was lost

It has no threads, opens no files, and imports everything before it serves: its rights may have
been shed by then. Whoever starts it gives it everything (`Worker`), and may wake it (`changed`).
"""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Mapping, Sequence

from offswitch.control.flows import FlowTable
from offswitch.gateway.evidence.inquiries import Inquiries, Tell
from offswitch.gateway.exchange import Cause, Reply, Why
from offswitch.gateway.plan.front import Front
from offswitch.gateway.plan.route import Api
from offswitch.gateway.stewards import Stewards
from offswitch.gateway.stop.leave import leave
from offswitch.gateway.stop.sweep import Sweep
from offswitch.gateway.stop.unsent import Unsent
from offswitch.gateway.wire.client import ClientConnection
from offswitch.gateway.wire.flow import Flow
from offswitch.gateway.wire.outlet import tune
from offswitch.gateway.wire.patience import Patience
from offswitch.gateway.wire.rules import Refusal, Rules
from offswitch.gateway.wire.site import PROBE, Sense, Site
from offswitch.gateway.wire.strict import Begun
from offswitch.gateway.words import Words

__all__ = ["Worker"]

_BEAT_S = 0.05
_BACKLOG = 4096
_COLLECT = (20_000, 20, 20)
"""When garbage is looked for: requests leave no cycles behind, so seldom."""
_MOST_TOLD = 256
"""Clients that are told at the same time that there is no room for them."""
_CAUSES = {
    413: Cause.TOO_LARGE,
    408: Cause.TIMED_OUT,
    503: Cause.BUSY,
}


class Worker:
    """One worker of a front."""

    def __init__(
        self,
        front: Front,
        words: Words,
        slots: Mapping[str, int],
        stewards: Stewards,
        *,
        table: FlowTable | None = None,
        sense: Sense | None = None,
        context: ssl.SSLContext | None = None,
        upstream_context: ssl.SSLContext | None = None,
    ) -> None:
        """Made inside the running loop; `context` is for TLS towards clients."""
        self.loop = asyncio.get_running_loop()
        self.rules = Rules.of(front)
        self.site = Site(
            self.loop,
            front,
            words,
            slots,
            stewards,
            table=table,
            sense=sense,
            upstream_context=upstream_context,
        )
        self.clients: set[ClientConnection] = set()
        self._context = context
        self._sweep = Sweep(self.site)
        self._unsent = Unsent(self.loop)
        self._upstream_context = upstream_context
        self._inquiries: Inquiries | None = None
        self._servers: list[asyncio.Server] = []
        self._beat: asyncio.TimerHandle | None = None
        self._patience = Patience(self.loop, front.limits, self.clients)
        self.leaving = False

    # --- serving ------------------------------------------------------------------

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on bound sockets, which are the worker's from now on."""
        for sock in sockets:
            tune(sock)
            server = await self.loop.create_server(
                lambda: ClientConnection(self),
                sock=sock,
                backlog=_BACKLOG,
                ssl=self._context,
                ssl_handshake_timeout=self.site.front.limits.header_s if self._context else None,
            )
            self._servers.append(server)
        gc.collect()
        gc.set_threshold(*_COLLECT)
        gc.freeze()  # what is there now stays: no collection need look at it again
        self._tick()
        self._patience.start()

    def changed(self, turn: int | None = None) -> None:
        """Words have changed: do what they say now, and tell in the table when `turn` is done."""
        self._sweep.look(turn)
        if self._inquiries is not None:
            self._inquiries.look()

    def inquire(self, tell: Tell, *, looks: bool = True) -> None:
        """Ask upstreams after each cut whether they have stopped; of several workers one `looks`.

        `tell` hears what they say: it confirms nothing (VER-6).
        """
        sense = self.site.sense
        self._inquiries = Inquiries(
            self.site.front,
            self.site.level,
            tell,
            answers=sense.cut if sense is not None else lambda _target: [],
            looks=looks,
            context=self._upstream_context,
        )
        self._inquiries.look()  # of what was cut before us, by one that did not live to ask

    def turn_page(self, words: Words, slots: Mapping[str, int]) -> None:
        """Obey another page from here on, of a warden that came after."""
        self.site.turn_page(words, slots)
        if self._inquiries is not None:
            self._inquiries.forget()
        self.changed()

    def _tick(self) -> None:
        """Show that the loop turns, and catch what nobody told."""
        self._beat = self.loop.call_later(_BEAT_S, self._tick)  # first: it comes whatever is raised
        site = self.site
        if site.table is not None:
            site.table.beat()
        self._sweep.look()
        if site.sense is not None:
            site.sense.tick()
        site.tidy()

    async def drain(self, deadline_s: float) -> bool:
        """Accept no more, let what is in flight end; true: it did, within `deadline_s`.

        The sockets that are listened on are closed in this process only. Where another process has
        the same ones, nobody who connects meanwhile notices anything.
        """
        self.leaving = True
        servers, self._servers = self._servers, []
        return await leave(self.loop, servers, self.clients, deadline_s)

    async def close(self) -> None:
        """End everything at once."""
        if self._beat is not None:
            self._beat.cancel()
        self._patience.stop()
        for server in self._servers:
            server.close()
        for client in list(self.clients):
            client.abort()
        if self._inquiries is not None:
            self._inquiries.close()
        self.site.close()
        await asyncio.sleep(0)

    # --- clients ------------------------------------------------------------------

    def came(self, client: ClientConnection) -> None:
        """Take a client in, or say that there is no room; if many are being told, say nothing."""
        self.clients.add(client)
        room = self.site.front.limits.connections
        if len(self.clients) > _MOST_TOLD + room:
            client.abort()
        elif len(self.clients) > room:
            client.refuse(503, "too many connections")

    def left(self, client: ClientConnection) -> None:
        """A client has gone."""
        self.clients.discard(client)

    def serve(self, client: ClientConnection, begun: Begun) -> None:
        """Begin to serve a request."""
        if begun.head.path == PROBE and begun.framing == 0:
            client.reply(self.site.probe(begun.head), keep=begun.keep)
            return
        flow = Flow(self.site, self._unsent, client, begun)
        client.serving = flow
        flow.start()

    def refusal(self, refused: Refusal) -> Reply:
        """Word a refusal of what is no request, in the shape that most clients know."""
        cause = _CAUSES.get(refused.status, Cause.MALFORMED)
        steward = self.site.stewards.by_api[Api.PLAIN]
        reply = steward.refusal(None, Why(cause, text=refused.text))
        return Reply(refused.status, (*reply.headers, *refused.headers), reply.body)

"""One request from its head to the end of its answer: to whom it belongs, whether it may, where to.

    head ─► routes that may fit ─ body, if it must be read ─► read ─► route ─ word ─► admit
         ─► upstream: a connection that waits, or a new one ─ word ─► sent ─► passage ─► over

It ends in exactly one way (`How`), and says so once to whoever follows it. A stop ends it in two
steps, `sever` and `tell`, so that a sweep can abort every upstream before it words any ending.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

from offswitch.control.flows import Stage
from offswitch.errors import Busy
from offswitch.gateway.exchange import (
    Cause,
    Held,
    How,
    Later,
    Pass,
    Reply,
    Rewritten,
    Tap,
    Verdict,
    Why,
)
from offswitch.gateway.stop.unsent import Unsent
from offswitch.gateway.wire.answer import Answer
from offswitch.gateway.wire.asking import Asking
from offswitch.gateway.wire.client import ClientConnection
from offswitch.gateway.wire.emit import emit
from offswitch.gateway.wire.passage import Passage, chunk
from offswitch.gateway.wire.patience import Awaits
from offswitch.gateway.wire.site import Site
from offswitch.gateway.wire.strict import CHUNKED, Begun
from offswitch.gateway.wire.upstream import UpstreamConnection
from offswitch.gateway.wire.websocket import Websocket, opens
from offswitch.model.level import Level

__all__ = ["Flow"]

_LARGE = 16 << 10
"""Bytes of a body whose parsed form is not kept while its answer lasts."""
_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""What may be sent again, should a connection that waited be found to have ended."""


class Flow(Asking):
    """One request."""

    __slots__ = (
        "_connecting",
        "_connection",
        "_framing",
        "_frozen",
        "_handed_on",
        "_later",
        "_passage",
        "_row",
        "_severed",
        "_slot",
        "_started_ns",
        "_stuffed",
        "_tap",
        "_unsent",
        "_verdict",
        "_websocket",
    )

    def __init__(self, site: Site, unsent: Unsent, client: ClientConnection, begun: Begun) -> None:
        """A head has come."""
        super().__init__(site, client, begun)
        self._unsent = unsent
        self._started_ns = time.monotonic_ns()
        self._framing = begun.framing
        self._slot = -1
        self._row = -1
        self._later: Later | None = None
        self._verdict: Pass | Rewritten = Pass()
        self._tap: Tap | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._connection: UpstreamConnection | None = None
        self._passage: Passage | None = None
        self._handed_on = True
        """False: the answer is complete, and some of it waits for the client."""
        self._frozen = False
        self._severed = False
        self._websocket: Websocket | None = None
        self._stuffed = False
        """Whether the upstream takes no more of the body just now."""

    # --- whether it may -----------------------------------------------------------

    def _admit(self) -> None:
        if not self._may():
            return
        site, route = self._site, self._route
        level = site.level(route.target)
        try:
            if level is None or level < Level.FREEZE:
                slot = site.slots[route.target]
                self._row = site.enter(self, slot, self._client.ends)
                self._slot = slot
        except Busy:
            self._refuse(Why(Cause.BUSY, route.target, ask=route.ask))
            return
        held = site.held(route, level)
        verdict = self._served.steward.admit(self._asked, self._begun.head, self._body, route, held)
        if isinstance(verdict, Later):
            self._later = verdict
            verdict.then(partial(self._at_last, held))
        else:
            self._decided(verdict)

    def _at_last(self, then: Held, verdict: Verdict) -> None:
        """Go on, if no more is held back than `then`, when somebody was asked."""
        self._later = None
        if self._over:
            return
        if not isinstance(verdict, Reply):
            self._verdict = verdict  # whoever follows it hears how it ends, whatever comes of it
        if not self._may():
            return
        site, route = self._site, self._route
        level = site.level(route.target)
        if site.held(route, level).steps <= then.steps:
            self._decided(verdict)
            return
        text = "it was held back while somebody was asked"
        label = level.label if level is not None else None
        self._refuse(Why(Cause.RESTRICTED, route.target, label, text, route.ask))

    def _decided(self, verdict: Verdict) -> None:
        if isinstance(verdict, Reply):
            self._answer(verdict, How.REFUSED)
            return
        if isinstance(verdict, Rewritten):
            self._body = verdict.body
            self._replaced = self._whole = True
            self._pieces.clear()
        if self._whole:
            self._framing = len(self._body)
        self._verdict = verdict
        self._go()

    # --- on to the upstream -------------------------------------------------------

    def _go(self) -> None:
        """Send it; the word has just been tested."""
        pool = self._site.pool(self._route)
        connection = pool.take()
        if connection is None:
            self._connecting = self._site.loop.create_task(self._connect())
        else:
            self._send(connection)

    async def _connect(self) -> None:
        pool = self._site.pool(self._route)
        try:
            async with asyncio.timeout(self._site.front.limits.connect_s):
                connection = await pool.connect()
        except OSError as error:  # a TimeoutError is one, too
            self._connecting = None
            late = isinstance(error, TimeoutError)
            self._fail(Cause.TIMED_OUT if late else Cause.UPSTREAM, "it cannot be reached")
            return
        self._connecting = None
        if self._over or self._severed or not self._may():
            pool.give(connection)
        else:
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        """Send it; the word has just been tested."""
        site, route, begun, client = self._site, self._route, self._begun, self._client
        self._connection = connection
        if self._tap is None and site.sense is not None:
            self._tap = site.sense.tap(route.target, self._asked, self._started_ns, self._body)
        if len(self._body) > _LARGE:
            self._asked = replace(self._asked, body=None)  # ten times as large as its bytes
        verdict, send = self._verdict, client.outlet.send
        passage = Passage(connection, self, begun, send, verdict.filter, self._tap)
        self._passage = passage
        connection.send = send
        connection.tap = self._tap
        instead = verdict.headers if isinstance(verdict, Rewritten) else ()
        data = emit(
            begun.head,
            route.upstream,
            self._framing,
            websocket=begun.websocket,
            instead=instead,
            without=route.evidence.kind.withheld,
        )
        if self._whole:
            data += self._body
        site.goes_by(self._row, connection.ends)
        if verdict.follow is not None:
            verdict.follow.sent()
        connection.begin(self, self._slot, passage.take, data)
        if not self._whole:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                self._upload(piece)
            self._read_client()
        elif self._replaced:
            client.read(on=True)
        elif begun.head.method not in _REPEATABLE:
            self._body = b""

    def _read_client(self) -> None:
        """Read more of the body if there is room for it."""
        self._client.read(on=not (self._stuffed or self._frozen))

    def _upload(self, piece: bytes) -> None:
        if self._connection is None or self._frozen or not self.goes_on():
            self._pieces.append(piece)
        else:
            self._connection.write(chunk(piece) if self._framing == CHUNKED else piece)

    def _uploaded(self) -> None:
        if self._framing == CHUNKED:
            self._upload(b"")  # in chunks, none is the last; it waits as any other piece does

    # --- the answer ---------------------------------------------------------------

    def answering(self, _answer: Answer) -> None:
        """Its head has come."""
        self._site.stage(self._row, Stage.STREAMING)

    def answered(self, *, keep: bool) -> None:
        """All of it was handed on."""
        if self._over:
            return
        self._give_back(keep=keep)
        if self._client.outlet.waiting:
            self._handed_on = False  # until it is, a stop can still take it back
        else:
            self._done()

    def _done(self) -> None:
        keep = self._passage is not None and not self._passage.closing
        self._end(How.COMPLETE)
        self._client.done(keep=keep)

    def replied(self, reply: Reply, *, keep: bool) -> None:
        """The filter has made the whole answer."""
        if not self._over:
            self._give_back(keep=keep)
            self._answer(reply, How.COMPLETE)

    def _give_back(self, *, keep: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if keep and self._complete:
                self._site.pool(self._route).give(connection)
            else:
                connection.abort()

    def faulty(self, text: str) -> None:
        """The answer cannot be handed on, or broke off."""
        self._fail(Cause.UPSTREAM, text)

    def switching(self, answer: Answer, rest: bytes) -> None:
        """The server speaks another protocol from here on: right, if a websocket was asked for."""
        connection, client = self._connection, self._client
        if connection is None or not self._begun.websocket or not opens(self._begun.head, answer):
            self._fail(Cause.UPSTREAM, "it switched to another protocol")
            return
        self._site.stage(self._row, Stage.STREAMING)
        self._websocket = websocket = Websocket(client, answer)
        connection.take = websocket.from_upstream
        if rest:
            websocket.from_upstream(rest)
        client.tunnel(self._from_client)

    def _from_client(self, data: bytes) -> None:
        """Hand on what the client of a websocket says."""
        if self._connection is None:
            return
        if self._frozen or not self.goes_on():
            self._pieces.append(data)
        else:
            self._connection.write(data)

    def _fail(self, cause: Cause, text: str, how: How = How.UPSTREAM) -> None:
        """End it for a reason that lies behind us."""
        if self._over:
            return
        route, passage = self._route, self._passage
        self._give_back(keep=False)
        why = Why(cause, route.target, text=text, ask=route.ask)
        if passage is None or not (passage.sent or self._websocket):
            self._refuse(why, how=how)
            return
        words = self._last_words(passage, why)
        client = self._client
        self._end(how)
        if words is not None:
            client.outlet.send(words)
            client.done(keep=False)
        elif self._begun.minor:
            client.done(keep=False)  # its framing shows that something is missing
        else:
            client.abort()

    def _last_words(self, passage: Passage, why: Why) -> bytes | None:
        steward = self._served.steward
        if self._websocket is not None:
            return self._websocket.last_words(why, steward.refusal(self._asked, why))
        return passage.last_words(steward.ending(self._asked, why))

    # --- what comes from the sockets ----------------------------------------------

    def stopped(self) -> None:
        """Bytes came, and the word says that it is to be cut."""
        self._site.cut(self)

    def paused(self) -> None:
        """Bytes came, and the word says that it is to be frozen."""
        self.freeze()

    def upstream_ended(self) -> None:
        """The server has ended the connection."""
        connection, self._connection = self._connection, None
        passage = self._passage
        if self._over or passage is None or connection is None:
            return
        if self._websocket is not None and self._websocket.closed:
            self._end(How.COMPLETE)
            self._client.done(keep=False)
            return
        head = self._begun.head
        fresh = passage.untouched and connection.used > 1
        if fresh and head.method in _REPEATABLE and self._whole:
            self._passage = None
            if self._may():
                self._go()
        else:
            passage.ended()

    def upstream_full(self, *, full: bool) -> None:
        """The server takes no more of the body just now, or takes more."""
        self._stuffed = full
        self._client.moved = True
        self._read_client()

    def client_full(self, *, full: bool) -> None:
        """The client reads too slowly, or reads again."""
        if self._connection is not None:
            self._connection.hold_back(on=full)
        elif not self._handed_on and not full and not self._over:
            self._done()

    def client_gone(self) -> None:
        """Nobody waits for the answer."""
        if not self._over:
            self._drop(How.CLIENT)
            self._end(How.CLIENT)

    # --- waiting --------------------------------------------------------------------

    def awaits(self) -> Awaits:
        """Say what is waited for."""
        connection = self._connection
        if self._frozen or self._over or self._later is not None or self._connecting is not None:
            return Awaits.NOTHING
        if not self._handed_on or (connection is not None and connection.held_back):
            return Awaits.READER
        return Awaits.ANSWER if self._complete or self._stuffed else Awaits.BODY

    def moves(self) -> bool:
        """Say whether the upstream sent anything since this was asked."""
        connection = self._connection
        if connection is None or not connection.moved:
            return False
        connection.moved = False
        return True

    def late(self, awaits: Awaits) -> None:
        """It did not come in time."""
        if awaits is Awaits.READER:
            self._client.abort()
        elif awaits is Awaits.BODY and (self._passage is None or not self._passage.sent):
            self._give_up(How.TIMEOUT)
            self._client.refuse(408, "the body of the request did not come in time")
        else:
            self._fail(Cause.TIMED_OUT, "nothing came from it in time", How.TIMEOUT)

    def go_down(self) -> None:
        """End it, since the gateway goes down and its time is over."""
        self._fail(Cause.BUSY, "the gateway goes down", How.TIMEOUT)

    # --- stopping -----------------------------------------------------------------

    def goes_on(self) -> bool:
        """Test the word again, and do what it says; true: bytes may be passed on."""
        if self._slot < 0 or self._site.words.running(self._slot):
            return True
        level = self._site.words.level(self._slot)
        if level is None or level < Level.FREEZE:
            return True
        if level is Level.FREEZE:
            self.freeze()
        else:
            self.stopped()
        return False

    def _drop(self, how: How) -> None:
        """Give up what goes on behind us."""
        if self._later is not None:
            later, self._later = self._later, None
            later.drop(how)
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.abort()

    def sever(self) -> None:
        """Abort what goes on at the upstream."""
        if not self._over and not self._severed:
            self._severed = True
            self._drop(How.STOPPED)

    def tell(self) -> None:
        """End what the client gets, in its API's words where that is possible."""
        if self._over:
            return
        site, route, client, passage = self._site, self._route, self._client, self._passage
        why = site.why(route, site.words.level(self._slot) or Level.KILL)
        site.stage(self._row, Stage.ENDING)
        if passage is None or not (passage.sent or self._websocket):
            self._refuse(why, how=How.STOPPED)
            return
        whole = client.outlet.drop()
        words = self._last_words(passage, why)
        row, self._row = self._row, -1
        self._end(How.STOPPED)
        client.serving = None
        if whole and words is not None:
            client.outlet.send(words)
            self._unsent.end(client, lambda: site.free(row))
        else:
            client.abort()
            site.free(row)

    def freeze(self) -> None:
        """Pass on nothing more for now."""
        if self._frozen or self._over:
            return
        self._frozen = True
        self._site.frozen.add(self._slot)
        self._site.stage(self._row, Stage.PAUSED)
        self._client.outlet.freeze()
        if not self._complete or self._websocket is not None:
            self._client.read(on=False)
        if self._connection is not None:
            self._connection.freeze()

    def thaw(self) -> None:
        """Go on where it was."""
        if not self._frozen or self._over:
            return
        self._frozen = False
        self._site.stage(self._row, Stage.STREAMING)
        self._client.outlet.thaw()
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            (self._upload if self._websocket is None else self._from_client)(piece)
        if not self._complete or self._websocket is not None:
            self._read_client()
        if self._connection is not None:
            self._connection.thaw()

    # --- the end ------------------------------------------------------------------

    def _give_up(self, how: How) -> None:
        self._drop(how)
        self._end(how)

    def _end(self, how: How) -> None:
        if self._over:
            return
        self._over = True
        self._passage = None  # each knows the other
        if self._slot >= 0:
            self._site.leave(self, self._slot, how)
            self._site.free(self._row)
        if self._tap is not None:
            self._tap.end(how)
        if self._verdict.follow is not None:
            self._verdict.follow.ended(how)

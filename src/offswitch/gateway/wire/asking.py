"""A request until it is known what is asked and of whom: head, body if it must be read, route.

    head ─► routes that may fit ─ one only, and latched ─► refused before anything more is read
         ─► body, whole, if a steward or a route must read it ─► asked ─► the first route that fits
         ─► else the body goes on as it comes, and is never kept

What goes on from there is the flow's, which this is the first half of.
"""

from __future__ import annotations

from dataclasses import replace

from offswitch.gateway.exchange import Asked, Cause, How, Malformed, Reply, Shape, Why
from offswitch.gateway.plan.match import by_head, choose
from offswitch.gateway.plan.route import Route
from offswitch.gateway.wire.client import ClientConnection
from offswitch.gateway.wire.site import Site
from offswitch.gateway.wire.strict import Begun
from offswitch.model.level import Level

__all__ = ["Asking"]

_UNREAD = Asked(Shape.PLAIN)


class Asking:
    """One request, as it comes in."""

    __slots__ = (
        "_asked",
        "_begun",
        "_body",
        "_client",
        "_complete",
        "_over",
        "_pieces",
        "_replaced",
        "_route",
        "_routes",
        "_served",
        "_site",
        "_size",
        "_whole",
    )

    def __init__(self, site: Site, client: ClientConnection, begun: Begun) -> None:
        """A head has come."""
        self._site = site
        self._client = client
        self._begun = begun
        self._routes: list[Route] = by_head(site.front.routes, begun.head)
        self._route = self._routes[0] if self._routes else site.front.routes[0]
        self._served = site.stewards.served(self._route.api, begun.head)
        self._asked = _UNREAD
        self._pieces: list[bytes] = []
        """Of the body, until it is read or sent on."""
        self._size = 0
        self._body = b""
        self._whole = True
        """Whether the body is read whole before anything goes on."""
        self._replaced = False
        """Whether another body goes on: what still comes of this one is thrown away."""
        self._complete = False
        """Whether all of it has come."""
        self._over = False

    # --- what the flow does -------------------------------------------------------

    def _admit(self) -> None:
        """It is known what is asked, and of whom."""
        raise NotImplementedError

    def _upload(self, piece: bytes) -> None:
        """Some of a body has come that is not read."""
        raise NotImplementedError

    def _uploaded(self) -> None:
        """All of it has."""
        raise NotImplementedError

    def _give_up(self, how: How) -> None:
        """It is over."""
        raise NotImplementedError

    # --- the request comes in -----------------------------------------------------

    def start(self) -> None:
        """See by the head whether it may come at all, and whether its body must be read."""
        begun = self._begun
        if not self._routes:
            self._refuse(Why(Cause.NO_ROUTE))
            return
        if len(self._routes) == 1 and not self._served.names and not self._may():
            return
        self._whole = begun.framing == 0 or self._must_be_read()
        if self._whole:
            if begun.framing > self._site.front.limits.body:
                self._refuse(Why(Cause.TOO_LARGE, self._route.target, ask=self._route.ask))
            elif begun.expects:
                self._client.proceed()
            return
        if begun.expects:
            self._client.proceed()
        self._client.read(on=False)  # until there is somebody to hand it on to
        self._read(b"")

    def _must_be_read(self) -> bool:
        if self._served.reads:
            return True
        head, served = self._begun.head, self._site.stewards.served
        return any(route.model or served(route.api, head).reads for route in self._routes)

    def body(self, piece: bytes) -> None:
        """Some of its body has come."""
        if self._over or self._replaced:
            return
        if self._whole:
            self._size += len(piece)
            if self._size > self._site.front.limits.body:
                self._refuse(Why(Cause.TOO_LARGE, self._route.target, ask=self._route.ask))
                return
            self._pieces.append(piece)
        else:
            self._upload(piece)

    def complete(self) -> None:
        """All of its body has come."""
        self._complete = True
        if self._over or self._replaced:
            return
        if self._whole:
            pieces, self._pieces = self._pieces, []
            self._read(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        else:
            self._uploaded()

    # --- what is asked, and whether it may ----------------------------------------

    def _read(self, body: bytes) -> None:
        head = self._begun.head
        try:
            asked = self._served.steward.read(head, body)
            route = choose(self._routes, asked)
            if route is None:
                self._refuse(Why(Cause.NO_ROUTE))
                return
            if route is not self._route:
                served = self._site.stewards.served(route.api, head)
                if served.steward is not self._served.steward:
                    self._served = served
                    asked = served.steward.read(head, body)
        except Malformed as error:
            route = self._route
            self._refuse(Why(Cause.MALFORMED, route.target, text=str(error), ask=route.ask))
            return
        if route.session:
            session = head.get(route.session) or b""
            asked = replace(asked, session=session.decode("utf-8", "replace"))
        self._asked = asked
        self._route = route
        self._body = body
        self._admit()

    # --- whether it may ----

    def _may(self) -> bool:
        """Test the word; refuse where it forbids new work."""
        site, target = self._site, self._route.target
        slot = site.slots.get(target)
        if slot is not None and site.words.running(slot):
            return True
        level = site.level(target)
        if level is None or level is Level.RESTRICT or self._passes(level):
            return True
        self._refuse(site.why(self._route, level))
        return False

    def _passes(self, level: Level) -> bool:
        """Tell whether it only ends something: no stop holds that back.

        Its head alone tells too little where it was read: what calls a tool ends nothing.
        """
        return not self._asked.calls and self._served.steward.passes(self._begun.head, level)

    def _refuse(self, why: Why, how: How = How.REFUSED) -> None:
        """Answer that it may not, or cannot, be done."""
        if self._site.sense is not None:
            self._site.sense.refused(why.target, why)
        asked = None if self._asked is _UNREAD else self._asked
        self._answer(self._served.steward.refusal(asked, why), how)

    def _answer(self, reply: Reply, how: How) -> None:
        """Give an answer of our own."""
        client = self._client
        self._give_up(how)
        keep = self._begun.keep and how in {How.COMPLETE, How.REFUSED}
        client.reply(reply, keep=keep, bodiless=self._begun.head.method == b"HEAD")

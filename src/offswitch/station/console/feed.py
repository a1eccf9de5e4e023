"""The live feed, `GET /events`: what has changed on a page, as server-sent events.

    event: patch   {"set": {id: html}, "lists": {id: [ids]}}    parts that are drawn otherwise now
    event: beat    {"live": true, "time_us": …}                 each second, and when that changes
    event: end     {"why": "…"}                                 signed out, or a newer page took it

A page comes with its drawing's version; who connects with that version is sent what has changed
since, anybody else everything. Each change is drawn once for all who look at the same, and the
difference between two drawings is spelled once. Who is slow has no queue: it gets the difference
between what it has and what is now. A browser keeps four feeds at the most, as it opens no more
than six connections, and a press must find one.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from offswitch.errors import NotFound
from offswitch.model.scope import parse_scope
from offswitch.station.console.drawing import Drawn, Paint, View, Viewer, frame
from offswitch.station.console.scene import Eye
from offswitch.station.people.visitor import SignedIn, Visitor, find

__all__ = ["Feeds", "router"]

router = APIRouter()

_BEAT_S = 1.0
_APART_S = 0.01
"""From a change to its drawing: others often come with it."""
_AT_ONCE = 4
_SPELLED = 64


@dataclass(slots=True)
class _Kept:
    """One drawing that somebody looks at."""

    drawn: Drawn
    seen: int
    """The version of the scene that it shows."""
    spelled: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    """The difference to it, by the version that the other one has."""


class Feeds:
    """Keeps drawings for all who look."""

    def __init__(self, eye: Eye, paint: Paint, views: Mapping[str, View]) -> None:
        """Draw what `eye` sees, by `views`."""
        self._eye = eye
        self._paint = paint
        self._views = views
        self._kept: OrderedDict[tuple[str, Viewer], _Kept] = OrderedDict()
        self._open: dict[str, list[asyncio.Event]] = {}
        self.boot = secrets.token_hex(4)
        """Versions of another run of the station say nothing."""

    def drawn(self, view: str, viewer: Viewer) -> Drawn:
        """Give the drawing of a page as it is now."""
        return self._look(view, viewer).drawn

    def mark(self, drawn: Drawn) -> str:
        """Name a drawing, for who comes back with it."""
        return f"{self.boot}.{drawn.version}"

    def now_us(self) -> int:
        """Tell the time that pages show."""
        return self._eye.clock.wall_us()

    def _look(self, view: str, viewer: Viewer) -> _Kept:
        work = self._views.get(view)
        if work is None:
            raise NotFound(f"there is no view {view[:40]!r}")
        scene = self._eye.scene
        kept = self._kept.get((view, viewer))
        if kept is not None and kept.seen == scene.number:
            self._kept.move_to_end((view, viewer))
            return kept
        base, more = frame(self._paint, scene, viewer), work(self._paint, scene, viewer)
        drawn = replace(base, parts={**base.parts, **more.parts}, lists=more.lists)
        if kept is not None and _same(kept.drawn, drawn):
            kept.seen = scene.number
        else:
            kept = _Kept(drawn, scene.number)
            self._kept[view, viewer] = kept
            if len(self._kept) > _SPELLED:
                self._kept.popitem(last=False)
                self._paint.forget(scene)
        return kept

    def _difference(self, kept: _Kept, old: Drawn | None) -> bytes:
        version = -1 if old is None else old.version
        if version not in kept.spelled:
            kept.spelled[version] = _patch(old, kept.drawn)
            if len(kept.spelled) > _SPELLED:
                kept.spelled.popitem(last=False)
        return kept.spelled[version]

    async def follow(
        self, request: Request, visitor: Visitor, view: str, viewer: Viewer, mark: str
    ) -> AsyncIterator[bytes]:
        """Give the events of one page, until it leaves, is pushed out, or its session ends."""
        session = visitor.session.key if visitor.session else visitor.name
        out, ours = asyncio.Event(), self._open.setdefault(session, [])
        ours.append(out)
        for oldest in ours[:-_AT_ONCE]:
            oldest.set()
        try:
            async for event in self._events(request, out, (view, viewer), mark):
                yield event
        finally:
            ours.remove(out)
            if not ours:
                self._open.pop(session, None)

    async def _events(
        self, request: Request, out: asyncio.Event, key: tuple[str, Viewer], mark: str
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        kept = self._look(*key)
        last = kept.drawn if mark == self.mark(kept.drawn) else None
        yield b"retry: 500\n\n"
        beat_at = 0.0
        live = None
        while True:
            kept = self._look(*key)
            if kept.drawn is not last:
                patch = self._difference(kept, last)
                if patch:
                    yield patch
                last = kept.drawn
            if loop.time() >= beat_at or last.live is not live:
                live = last.live
                beat_at = loop.time() + _BEAT_S
                if find(request) is None:
                    yield _event("end", {"why": "signed out"})
                    return
                yield _event("beat", self._beat(last))
            if self._eye.scene.number != kept.seen:
                continue
            try:
                await asyncio.wait_for(self._eye.changed(), max(beat_at - loop.time(), 0))
                await asyncio.sleep(_APART_S)
            except TimeoutError:
                pass
            if out.is_set():
                yield _event("end", {"why": "newer pages of this browser took the feed"})
                return

    def _beat(self, drawn: Drawn) -> dict[str, Any]:
        return {
            "live": drawn.live,
            "why": self._eye.scene.picture.why,
            "time_us": self._eye.clock.wall_us(),
            "mark": self.mark(drawn),
        }


def _same(one: Drawn, other: Drawn) -> bool:
    return one.live is other.live and one.lists == other.lists and one.parts == other.parts


def _patch(old: Drawn | None, new: Drawn) -> bytes:
    before = {} if old is None else old.parts
    parts = {name: text for name, text in new.parts.items() if before.get(name) != text}
    known = {} if old is None else old.lists
    lists = {name: ids for name, ids in new.lists.items() if known.get(name) != ids}
    return _event("patch", {"set": parts, "lists": lists}) if parts or lists else b""


def _event(name: str, said: Mapping[str, Any]) -> bytes:
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    return f"event: {name}\ndata: {text}\n\n".encode(errors="replace")


@router.get("/events")
async def events(
    request: Request,
    who: SignedIn,
    view: Annotated[str, Query(max_length=40)] = "frame",
    scope: Annotated[str, Query(max_length=500)] = "/",
    about: Annotated[str, Query(max_length=500)] = "",
    mark: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Follow a page."""
    feeds: Feeds = request.app.state.feeds
    viewer = Viewer.of(who, parse_scope(scope), about)
    feeds.drawn(view, viewer)
    said = feeds.follow(request, who, view, viewer, mark)
    return StreamingResponse(said, media_type="text/event-stream")

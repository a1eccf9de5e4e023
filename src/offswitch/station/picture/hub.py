"""Where whoever shows the picture hears that it has changed: every open page, and anything else.

    with hub.subscribe() as subscription ─► await subscription.next() ─► kind, names, version

A subscriber that is slow is not waited for and not queued for: what it has yet to hear is kept as
names by kind, and where these become many they become one word, `reload`. So fifty pages cost
fifty wake-ups and no memory. A row that has not changed is the same object in the next picture, so
whoever draws can tell what they have drawn already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from offswitch.errors import Busy
from offswitch.station.picture.picture import Desk, Picture
from offswitch.station.picture.readiness import Proof

__all__ = ["RELOAD", "Event", "Hub", "Subscription"]

RELOAD = "reload"
"""The kind that means: take everything anew."""
_MOST_NAMES = 2000
_MOST_SUBSCRIBERS = 500


@dataclass(frozen=True, slots=True)
class Event:
    """Something has changed."""

    kind: str
    """Of the picture: `live`, `targets`, `stops`, `alarms`, `notes`, `untracked`, `processes`,
    `doubts`, `resetting`, `warden`, `desk`, `proofs`; whatever else was told; or `reload`."""
    names: tuple[str, ...]
    """Which of them, where they have names: targets by name, stops by digest."""
    version: int
    """The picture's version that shows it."""


class Subscription:
    """What one subscriber has yet to hear. To be closed."""

    __slots__ = ("_hub", "_pending", "_wake")

    def __init__(self, hub: Hub) -> None:
        """Hear of `hub` from now on."""
        self._hub = hub
        self._pending: dict[str, dict[str, None]] = {}
        self._wake = asyncio.Event()

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Hear no more."""
        self._hub.left(self)

    def tell(self, kind: str, names: Iterable[str]) -> None:
        """Note what there is to hear. Never waits, never grows beyond a bound."""
        if RELOAD not in self._pending:
            self._pending.setdefault(kind, {}).update(dict.fromkeys(names))
            if kind == RELOAD or sum(map(len, self._pending.values())) > _MOST_NAMES:
                self._pending = {RELOAD: {}}
        self._wake.set()

    async def next(self, patience_s: float | None = None) -> list[Event]:
        """Wait for what there is to hear; nothing, if that takes longer than `patience_s`."""
        if not self._pending:
            try:
                async with asyncio.timeout(patience_s):
                    await self._wake.wait()
            except TimeoutError:
                return []
        self._wake.clear()
        pending, self._pending = self._pending, {}
        version = self._hub.picture.version
        return [Event(kind, tuple(names), version) for kind, names in pending.items()]

    def __aiter__(self) -> Self:
        """Go through what there is to hear, for ever."""
        return self

    async def __anext__(self) -> Event:
        """Give the next event; what else is pending stays so."""
        while not self._pending:
            self._wake.clear()
            await self._wake.wait()
        kind = next(iter(self._pending))
        return Event(kind, tuple(self._pending.pop(kind)), self._hub.picture.version)


class Hub:
    """Holds the picture, and tells who subscribes what has changed of it."""

    def __init__(self) -> None:
        """Begin with a picture of nothing, which is not live."""
        self.picture = Picture()
        self._subscribers: set[Subscription] = set()

    def __len__(self) -> int:
        """Count who subscribes."""
        return len(self._subscribers)

    # --- who hears ----------------------------------------------------------------

    def subscribe(self) -> Subscription:
        """Hear of every change from now on; `Busy` where too many do."""
        if len(self._subscribers) >= _MOST_SUBSCRIBERS:
            raise Busy(f"{_MOST_SUBSCRIBERS} pages are open already", "close some")
        subscription = Subscription(self)
        self._subscribers.add(subscription)
        return subscription

    def left(self, subscription: Subscription) -> None:
        """Forget a subscriber."""
        self._subscribers.discard(subscription)

    def tell(self, kind: str, names: Iterable[str] = ()) -> None:
        """Tell everybody of something, of the picture or not (`incident`, `page`, …)."""
        names = list(names)
        for each in self._subscribers:
            each.tell(kind, names)

    # --- who knows ----------------------------------------------------------------

    def take(self, said: Sequence[Mapping[str, Any]], now_us: int) -> None:
        """Take in frames of the feed that belong together."""
        self.picture, changed = self.picture.told(said, now_us)
        for kind, names in changed.items():
            self.tell(RELOAD if kind == "live" else kind, names)

    def beat(self, now_us: int) -> None:
        """Nothing has changed, and that is known."""
        if self.picture.live:
            self.picture = self.picture.heard(now_us)

    def lose(self, why: str) -> None:
        """Nothing is known any more, and `why`."""
        was_live, self.picture = self.picture.live, self.picture.lost(why)
        if was_live:
            self.tell("live")

    def heard_watch(self, desk: Desk, *, changed: bool) -> None:
        """Take in what watch's desk says."""
        version = self.picture.version + changed
        self.picture = replace(self.picture, desk=desk, version=version)
        if changed:
            self.tell("desk")

    def prove(self, layer: str, proof: Proof) -> None:
        """A layer was seen to act."""
        known = self.picture.proofs.get(layer)
        if known is None or known.time_us < proof.time_us:
            proofs = {**self.picture.proofs, layer: proof}
            self.picture = replace(self.picture, proofs=proofs, version=self.picture.version + 1)
            self.tell("proofs", [layer])

    def unprove(self, layer: str) -> None:
        """What a layer was seen to do says nothing any more: it has changed since."""
        if layer in self.picture.proofs:
            proofs = {name: one for name, one in self.picture.proofs.items() if name != layer}
            self.picture = replace(self.picture, proofs=proofs, version=self.picture.version + 1)
            self.tell("proofs", [layer])

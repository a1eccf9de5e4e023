"""The sweep: after a change of words every flow is looked at, also those in which nothing moves.

Chunks that come are tested as they come, so this is for silent streams, and for the proof: `swept`
in the flow table says that nothing that the words of that turn forbid is in flight any more. First
the upstreams of all are aborted, then the clients are told; in slices, so that the streams of other
targets go on meanwhile.
"""

from __future__ import annotations

from collections import deque

from offswitch.gateway.wire.site import Cuttable, Site
from offswitch.model.level import Level

__all__ = ["SLICE", "Sweep"]

SLICE = 32
"""Flows that are ended before others get their turn."""


class Sweep:
    """One worker's."""

    __slots__ = ("_closing", "_queued", "_runs", "_site", "_to_sever", "_to_tell", "_turn")

    def __init__(self, site: Site) -> None:
        """Sweep nothing yet."""
        self._site = site
        site.cut = self.cut
        self._to_sever: deque[Cuttable] = deque()
        self._to_tell: deque[Cuttable] = deque()
        self._queued: set[Cuttable] = set()
        """Those in one of the two."""
        self._turn = 0
        self._runs = False
        self._closing = False
        """Whether sockets were closed since the loop's last turn: it does so at the next."""

    def look(self, turn: int | None = None) -> None:
        """Do to every flow what its word says now; `turn` is told when that is done."""
        if turn is not None:
            self._turn = max(self._turn, turn)
        words = self._site.words
        for slot, flows in self._site.flows.items():
            if not flows:
                continue
            level = words.level(slot)
            if level is not None and level >= Level.KILL:
                self._to_sever.extend(flows - self._queued)
                self._queued |= flows
            elif level is Level.FREEZE:
                for flow in list(flows):
                    flow.freeze()
            elif slot in self._site.frozen:
                self._site.frozen.discard(slot)
                for flow in list(flows):
                    flow.thaw()
        if not self._runs:
            self._runs = True
            self._run()

    def cut(self, flow: Cuttable) -> None:
        """Bytes came for a flow that may not go on: look at all of them now.

        Its client is told in its turn: whatever has to be worded would keep other upstreams waiting
        to be aborted.
        """
        flow.sever()
        if flow not in self._queued:
            self._queued.add(flow)
            self._to_tell.append(flow)
        if not self._runs:
            self.look()

    def _run(self) -> None:
        """End a slice of what is to be ended, and come again while there is more.

        Also where one of them raises: the loop tells of it, and the others are ended all the same.
        """
        again = True
        try:
            again = self._slice()
        finally:
            if again:
                self._site.loop.call_soon(self._run)

    def _slice(self) -> bool:
        """False: all is ended, and told."""
        if self._to_sever:
            self._closing = True
            for _ in range(min(SLICE, len(self._to_sever))):
                flow = self._to_sever.popleft()
                self._to_tell.append(flow)
                flow.sever()
        elif self._to_tell:
            self._closing = True
            for _ in range(min(SLICE, len(self._to_tell))):
                flow = self._to_tell.popleft()
                self._queued.discard(flow)
                flow.tell()
        elif self._closing:
            self._closing = False
        else:
            self._runs = False
            if self._site.table is not None:
                self._site.table.swept = self._turn
            return False
        return True

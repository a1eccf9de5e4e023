"""One worker as a process: attached to the warden, serving, attached again when that was lost.

    fork ─► attach ─► map the page ─► serve ─► words, turn N ─► the worker sweeps
                 └◄─ every 50 ms, while nobody answers: the page's lease decides ─┘

It serves nobody before it is attached, since it would not know whom it may serve. SIGTERM has it
end what is in flight within seconds, SIGHUP lets that end by itself, for a reload.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import uvloop

from offswitch.control.flows import FlowTable
from offswitch.control.gate import Attachment, Gate
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.gateway.api.anthropic import Anthropic
from offswitch.gateway.api.openai import OpenAi
from offswitch.gateway.api.plain import Plain
from offswitch.gateway.exchange import Steward
from offswitch.gateway.kit import Kit
from offswitch.gateway.plan.route import Api
from offswitch.gateway.sense import Sense
from offswitch.gateway.stewards import Stewards
from offswitch.gateway.tools.cancel import Cancels
from offswitch.gateway.tools.leave import DeskLeaves
from offswitch.gateway.tools.steward import McpSteward
from offswitch.gateway.words import Words
from offswitch.gateway.worker import Worker

__all__ = ["DRAIN_S", "RELOAD_S", "serve"]

DRAIN_S = 5.0
"""How long what is in flight has to end when the gateway is told to end."""
RELOAD_S = 600.0
"""Likewise when another generation has taken over."""
_AGAIN_S = 0.05


class Serving:
    """One worker's life."""

    def __init__(
        self, place: Place, kit: Kit, number: int, table: FlowTable, table_fd: int
    ) -> None:
        """Serve as worker `number` of a front."""
        self._place = place
        self._kit = kit
        self._number = number
        self._table = table
        said = Attachment(
            kit.front.name, kit.front.targets, kit.places, kit.upstreams, worker=number
        )
        self._gate = Gate(place.warden_socket, said, table_fd)
        self._worker: Worker | None = None
        self._words: Words | None = None
        self._fd = -1
        self._leaving: asyncio.Future[float]

    async def run(self, ready: int) -> None:
        """Serve until told to end; `ready` is written to when clients are served."""
        loop = asyncio.get_running_loop()
        self._leaving = loop.create_future()
        for number, patience in ((signal.SIGTERM, DRAIN_S), (signal.SIGHUP, RELOAD_S)):
            loop.add_signal_handler(number, self._leave, patience)
        await self._first_attach()
        worker = self._worker = Worker(
            self._kit.front,
            self._map(),
            dict(self._gate.slots),
            self._stewards(),
            table=self._table,
            sense=self._sense(),
            context=self._kit.context,
            upstream_context=self._kit.upstream_context,
        )
        worker.changed(self._gate.turn)
        worker.inquire(self._tell, looks=self._number == 0)
        self._listen_to_warden()
        await worker.listen(self._kit.sockets[self._number])
        with suppress(OSError):
            os.write(ready, bytes([1]))
        await worker.drain(await self._leaving)
        await worker.close()
        self._gate.end()

    def _leave(self, patience_s: float) -> None:
        if not self._leaving.done():
            self._leaving.set_result(patience_s)

    # --- what it is made of -------------------------------------------------------

    def _stewards(self) -> Stewards:
        by_api: dict[Api, Steward] = {
            Api.OPENAI: OpenAi(),
            Api.ANTHROPIC: Anthropic(),
            Api.PLAIN: Plain(),
        }
        if self._number < len(self._kit.books):
            book = self._kit.books[self._number]
            book.take_over()
            leaves = DeskLeaves(f"{self._place.control}/watch")
            by_api[Api.MCP] = McpSteward(book, leaves, Cancels(self._kit.upstream_context))
        return Stewards(by_api)

    def _sense(self) -> Sense | None:
        sensed = self._kit.sensed
        if self._number >= len(sensed.fds):
            return None
        return Sense(sensed.fds[self._number], sensed.canaries)

    # --- the warden ---------------------------------------------------------------

    async def _first_attach(self) -> None:
        while True:
            try:
                self._gate.attach()
            except OffswitchError as error:
                sys.stderr.write(f"offswitch gateway: {error.message}\n")
                await asyncio.sleep(_AGAIN_S * 10)
            else:
                return

    def _map(self) -> Words:
        self._words = Words(self._gate.page)
        return self._words

    def _listen_to_warden(self) -> None:
        self._fd = self._gate.fileno()
        asyncio.get_running_loop().add_reader(self._fd, self._heard)

    def _heard(self) -> None:
        attached = self._gate.attached
        try:
            turn = self._gate.hear()
        except OffswitchError:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._again()
            return
        if self._worker is None:
            return
        if self._gate.attached and not attached:
            self._worker.turn_page(self._map(), dict(self._gate.slots))
        if turn is not None:
            self._worker.changed(turn)

    def _again(self) -> None:
        """Look for a warden; until one answers the page's lease decides."""
        if self._leaving.done():
            return
        try:
            self._gate.begin()
        except OffswitchError:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._again)
        else:
            self._listen_to_warden()

    def _tell(self, target: str, upstream: str, found: Any) -> None:  # noqa: ANN401 - evidence.Found
        self._gate.note(
            "upstream", target=target, upstream=upstream, found=str(found.standing), text=found.text
        )


def serve(place: Place, kit: Kit, number: int, table: tuple[FlowTable, int], ready: int) -> None:
    """Be worker `number`; returns when it was told to end and nothing is in flight any more."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Serving(place, kit, number, *table).run(ready))

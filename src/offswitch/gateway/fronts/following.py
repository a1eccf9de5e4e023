"""What the page says of some targets, for a front that is not ours; woken at each change.

The process attaches to the warden as a gateway's supervisor does, so that its targets exist, have
words, and a change wakes it at once. What holds is the page: where nobody vouches for it, or it was
never seen, a target counts as stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from offswitch.control.gate import Attachment, Gate
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.gateway.words import Words
from offswitch.model.level import Level

__all__ = ["Following"]

_LOOK_S = 0.05
"""How soon a page that nobody vouches for is noticed."""
_AGAIN_S = 0.5


class Following:
    """Follows the words of some targets."""

    def __init__(self, place: Place, name: str, targets: Sequence[str]) -> None:
        """`name` is what the warden knows this front by."""
        self._gate = Gate(place.warden_socket, Attachment(name, tuple(targets)))
        self._words: Words | None = None
        self._changed = asyncio.Event()
        self._watched = -1
        self.targets = tuple(targets)

    def attach(self) -> None:
        """Attach, and wait for the answer; raises what the warden says, or that none is there."""
        self._gate.attach()
        self._attached()

    @property
    def page(self) -> str:
        """Where the page lies, for others who read it."""
        return str(self._gate.answer.get("page") or "")

    @property
    def slots(self) -> dict[str, int]:
        """Target → its word's number in the page."""
        return dict(self._gate.slots)

    def level(self, target: str) -> Level | None:
        """Give the level at which a target is held; None: it may run."""
        slot = self._gate.slots.get(target)
        if slot is None or self._words is None:
            return Level.KILL
        return self._words.level(slot)

    def note(self, target: str, text: str) -> None:
        """Have the warden write down what was seen behind a target's front."""
        self._gate.note("upstream", target=target, text=text)

    async def changed(self) -> None:
        """Wait until a word may have changed; at the latest a twentieth of a second."""
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self._changed.clear()

    async def run(self) -> None:
        """Stay attached for as long as this runs."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self._gate.fileno() < 0:
                    self._again()
                if self._gate.fileno() >= 0 and self._watched < 0:
                    self._watched = self._gate.fileno()
                    loop.add_reader(self._watched, self._hear)
                await asyncio.sleep(_AGAIN_S)
        finally:
            self._unwatch()
            self._gate.end()

    def _again(self) -> None:
        try:
            self._gate.begin()
        except OffswitchError:
            return  # until it is back the lease decides

    def _hear(self) -> None:
        before = self._gate.attached
        try:
            self._gate.hear()
        except OffswitchError:
            self._unwatch()
        if self._gate.attached and not before:
            self._attached()
        self._changed.set()

    def _attached(self) -> None:
        before, self._words = self._words, Words(self._gate.page)
        if before is not None:
            before.close()

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = -1

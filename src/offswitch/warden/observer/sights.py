"""The observer's eyes elsewhere: processes that look at what hands have done, each with its link.

    observer ─ {"op": "look", "id"} ─► look: a connection of its own, a credential of its own
             ◄─ {"id", "stands", "detail"} ─┘

The observer can speak to no database and no server. A process that can, that did none of the
stopping and has a user of its own, looks for it (`offswitch.actuators.hands`); the warden made the
link and keeps no end of it. A layer stands when every look at it says so, in answer to a question
that was put after the command. One that does not answer has seen nothing.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

from offswitch.warden.observer.looks import Look, Picture, Seen
from offswitch.warden.observer.questions import Questions

__all__ = ["Both", "HandLook", "Sights"]

_FIRST_S, _LONGEST_S = 0.002, 0.1
"""How soon a look that saw no standstill is asked again: longer and longer."""
_LONGEST_DETAIL = 1000
_LATE_S = 10.0
"""After which an answer is not waited for: another question may be put."""


class _Question:
    """One question; filled in when it is answered."""

    __slots__ = ("asked", "seen")

    def __init__(self) -> None:
        self.asked = time.monotonic()
        self.seen: Seen | None = None


class Sights:
    """All links to looks, by number."""

    def __init__(self, epoll: select.epoll) -> None:
        """Register them with `epoll`."""
        self._epoll = epoll
        self._by_number: dict[int, Questions[_Question]] = {}
        self._by_fd: dict[int, int] = {}

    def show(self, number: int, fd: int) -> None:
        """Take one in, or another one in its place."""
        self.hide(number)
        sight: Questions[_Question] = Questions(socket.socket(fileno=fd))
        self._by_number[number] = sight
        self._by_fd[sight.fileno()] = number
        self._epoll.register(sight.fileno(), select.EPOLLIN)

    def hide(self, number: int) -> None:
        """Let one go."""
        sight = self._by_number.pop(number, None)
        if sight is not None:
            self._epoll.unregister(sight.fileno())
            del self._by_fd[sight.fileno()]
            for question in sight.close():
                question.seen = Seen(None, "whoever looks has gone; another one is started")

    def hear(self, fd: int) -> bool:
        """Take in what came; false: that is no link of ours."""
        number = self._by_fd.get(fd)
        if number is None:
            return False
        found = self._by_number[number].hear()
        for question, message in found or ():
            stands = message.get("stands")
            detail = str(message.get("detail", ""))[:_LONGEST_DETAIL]
            question.seen = Seen(stands if isinstance(stands, bool) else None, detail)
        if found is None:
            self.hide(number)
        return True

    def ask(self, number: int) -> _Question:
        """Put a question; answered at once where nobody is there."""
        question, sight = _Question(), self._by_number.get(number)
        why = "nobody is there" if sight is None else sight.put({"op": "look"}, question)
        if why:
            question.seen = Seen(None, f"whoever looks cannot be asked just now: {why}")
        return question


class HandLook(Look):
    """What all looks at one layer of one target see."""

    def __init__(self, numbers: Sequence[int], sights: Sights, every_s: float = 0.0) -> None:
        """Ask those; again after `every_s`, or, where that is 0, sooner at first and then later."""
        self._numbers = list(numbers)
        self._sights = sights
        self._every_s = every_s
        self._pause_s = every_s or _FIRST_S
        self._open: dict[int, _Question] = {}
        # Whoever acts has just been told: to be looked at at once would only keep it from that.
        self._next = 0.0 if every_s else time.monotonic() + _FIRST_S
        self._last = Seen(None, "not looked at yet")

    @property
    def pending(self) -> bool:
        """Whether something was asked and is not answered."""
        return bool(self._open)

    def once(self, _picture: Picture | None = None) -> Seen:
        """Take what was answered, and ask anew when it is time. Never waits."""
        now = time.monotonic()
        if not self._open:
            if now < self._next:
                return self._last
            self._open = {number: self._sights.ask(number) for number in self._numbers}
        late = [each for each in self._open.values() if each.seen is None]
        if late and now - min(each.asked for each in late) < _LATE_S:
            return self._last
        for each in late:
            each.seen = Seen(None, f"whoever looks has not answered for {_LATE_S:g} s")
        self._last = _all_of([each.seen for each in self._open.values() if each.seen is not None])
        self._open = {}
        self._next = now + self._pause_s
        self._pause_s = self._every_s or min(self._pause_s * 2, _LONGEST_S)
        return self._last


class Both(Look):
    """A layer with two ways: it stands when both say so."""

    def __init__(self, here: Look, hand: HandLook) -> None:
        """Look here, and by hands."""
        self._here, self._hand = here, hand

    def pose(self, cells: set[int], uids: set[int]) -> None:
        """Say what is looked for here."""
        self._here.pose(cells, uids)

    def once(self, picture: Picture | None = None) -> Seen:
        """Look both ways."""
        return _all_of([self._here.once(picture), self._hand.once()])

    def close(self) -> None:
        """Let go of what is held."""
        self._here.close()


def _all_of(seen: Sequence[Seen]) -> Seen:
    """Say it of several: what moves counts most, then what is unknown."""
    for doubt in (False, None):
        found = [each for each in seen if each.stands is doubt]
        if found:
            return Seen(doubt, "; ".join(dict.fromkeys(each.detail for each in found)))
    return Seen(True, "; ".join(dict.fromkeys(each.detail for each in seen)))

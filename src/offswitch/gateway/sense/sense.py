"""What a worker senses of all its targets, and what it leaves for later.

A tap belongs to one request. At its first bytes and about three times a second it digests what
has passed since; `tick` does it for those that fell silent, and finishes those that were ended
from outside. Each call of `tick` is bounded, whatever has piled up.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from offswitch.control.canary import Canaries
from offswitch.control.sensed import CAUSES, SHAPES, At, SensedFile, TextKind
from offswitch.gateway.exchange import Asked, Call, Why
from offswitch.gateway.sense.digest import Block, Digest
from offswitch.gateway.sense.prompt import arguments_of, last_words
from offswitch.gateway.sense.tap import Ended, StreamTap
from offswitch.gateway.sense.texts import Texts

__all__ = ["Sense"]

_SHAPES = {shape: number for number, shape in enumerate(SHAPES)}
_CAUSES = {cause: number for number, cause in enumerate(CAUSES)}
_LOOKED_AT = 64
"""Taps that a tick looks at."""
_BUDGET_NS = 500_000
"""What a tick may take before it leaves the rest to the next one."""
_LEAST_ROOM = 1024
"""Taps for which there is always room, whether they have ended or not."""
_MOST_SESSIONS = 4096
_SEARCHED = 8192
"""Of a request's body, its end: what was added to it last stands there."""


class Sense:
    """Counts for one worker, in the file that `fd` is open on."""

    __slots__ = (
        "_canaries",
        "_ended",
        "_file",
        "_left",
        "_needles",
        "_oldest",
        "_open",
        "_room",
        "_sessions",
        "_texts",
    )

    def __init__(
        self,
        fd: int,
        canaries: Canaries | None = None,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Go on counting where the worker before ended; the descriptor stays the caller's.

        `now`, in nanoseconds, is by what texts get so much room a second.
        """
        self._file = SensedFile(fd)
        self._canaries = canaries if canaries is not None and canaries.names else None
        self._needles = self._canaries.plain if self._canaries is not None else ()
        self._texts = Texts(self._file, now)
        self._open: deque[StreamTap] = deque()
        self._room = _LEAST_ROOM
        self._ended = Ended()
        self._sessions: dict[tuple[int, str], None] = {}
        self._oldest: dict[int, int] = {}
        """By target, the last bytes of the stream that is silent the longest, as far as looked."""
        self._left = 0
        """How many taps are still to be looked at before all were."""

    def tap(
        self, target: str, asked: Asked, started_ns: int, body: bytes = b""
    ) -> StreamTap | None:
        """Begin to sense the answer of a request that was let through; None: no such target.

        `started_ns` is CLOCK_MONOTONIC's, `body` the request's, where it was read.
        """
        number = self._file.targets.get(target)
        if number is None:
            return None
        words, base = self._file.words, self._file.block(number)
        words[base + At.REQUESTS + _SHAPES[asked.shape]] += 1
        place = (words, base, number)
        tap = StreamTap(place, asked, body, started_ns, self._begin, self._ended)
        self._open.append(tap)
        if len(self._open) > self._room:
            self._forget_ended()
        return tap

    def _forget_ended(self) -> None:
        """Let go of taps that have ended faster than ticks, which look at few, come by them."""
        self._open = deque(one for one in self._open if not one.over)
        self._room = 2 * len(self._open) + _LEAST_ROOM

    def _begin(self, place: Block, asked: Asked, body: bytes) -> Digest:
        """Take in what was asked."""
        words, base, number = place
        if asked.session:
            self._session(number, base, asked.session)
        for at, needle in self._needles:
            if needle in body[-_SEARCHED:]:
                words[base + At.IN_PROMPT + at] += 1
        wanted = asked.body is not None and self._texts.wants_prompt(number)
        said = last_words(asked.body) if wanted else b""
        if said:
            self._texts.put(TextKind.PROMPT, number, said)
        for call in asked.calls:
            self._called(number, base, call)
        canaries = self._canaries.stream() if self._canaries is not None else None
        return Digest(place, asked.shape, canaries, self._texts)

    def refused(self, target: str, why: Why) -> None:
        """Count a request that was refused."""
        number = self._file.targets.get(target)
        if number is not None:
            at = self._file.block(number) + At.REFUSED + _CAUSES[why.cause]
            self._file.words[at] += 1

    def cut(self, target: str) -> list[str]:
        """Give the answers that a stop has cut, each once, as the server calls them."""
        number = self._file.targets.get(target)
        taps = [*self._ended.cut]
        self._ended.cut.clear()
        self._ended.cut.extend(one for one in taps if one.number != number)
        return [one.ident for one in taps if one.number == number and one.ident]

    def called(self, target: str, name: str, arguments: Mapping[str, object]) -> None:
        """Tell of a call of a tool that no request's `calls` name (a wrapper's, over a pipe)."""
        number = self._file.targets.get(target)
        if number is not None:
            self._called(number, self._file.block(number), Call(name, arguments))

    def _called(self, number: int, base: int, call: Call) -> None:
        self._file.words[base + At.TOOL_CALLS] += 1
        said = call.name.encode("utf-8", "replace")[:100] + b"\n" + arguments_of(call.arguments)
        self._texts.put(TextKind.TOOL, number, said)

    def _session(self, number: int, base: int, session: str) -> None:
        key = (number, session[:200])
        if key in self._sessions:
            return
        if len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[key] = None
        self._file.words[base + At.SESSIONS] += 1

    def tick(self) -> None:
        """Do a bounded part of what is left to do; call it every 10 to 50 ms."""
        now = time.monotonic_ns()
        until = now + _BUDGET_NS
        self._file.beat()
        ended, taps = self._ended.waiting, self._open
        while ended and time.monotonic_ns() < until:
            ended.popleft().finish()
        for _ in range(min(len(taps), _LOOKED_AT)):
            self._left -= 1
            tap = taps.popleft()
            if tap.over:
                continue
            tap.look(now)
            taps.append(tap)
            self._oldest[tap.number] = min(tap.last_ns, self._oldest.get(tap.number, now))
            if time.monotonic_ns() > until:
                break
        if self._left <= 0:
            self._tell_silence(now)

    def _tell_silence(self, now: int) -> None:
        """All taps were looked at: say since when the most silent ones are."""
        words, block, oldest = self._file.words, self._file.block, self._oldest
        ahead = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now
        for number in self._file.targets.values():
            words[block(number) + At.SILENT] = oldest[number] + ahead if number in oldest else 0
        oldest.clear()
        self._left = len(self._open)

    def close(self) -> None:
        """Let go of the file, with what was ended counted."""
        for tap in self._ended.waiting:
            tap.finish()
        self._ended.waiting.clear()
        self._open.clear()
        self._file.close()

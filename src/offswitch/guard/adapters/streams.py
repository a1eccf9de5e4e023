"""What a client gives back, handed on in such a way that each chunk asks first.

A stream asks before it waits for a chunk and again before it hands it on: nothing that arrives
after a stop is seen by the program. When it may not go on, the stream is closed, so that the
server notices, and `Stopped` is raised. What is wrapped is told by its shape alone: what has
`__next__` or `__anext__` is a stream; what has `__enter__` or `__aenter__` gives one; an
awaitable will be one of these. Everything else is the answer itself, and goes out untouched.

A stream's other methods (`get_final_message`, `until_done`, `recv`, `iter_lines`) ask, too. Those
that read to the end do so chunk by chunk through us first, and then are called on a stream that
has nothing left to read.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Self

from offswitch.guard.step import Step
from offswitch.guard.stopped import Stopped

__all__ = ["asked"]

_CLOSING = frozenset({"close", "aclose"})
_TO_THE_END = ("get_final", "until_done")


def asked(step: Step, value: Any, owner: Any = None) -> Any:  # noqa: ANN401 - what a client gives
    """Hand on `value`: a stream, what becomes one, or an answer, which is left as it is.

    `owner` is what a stream is read from, if not from itself, and is closed when it is cut.
    """
    kind = type(value)
    if inspect.isawaitable(value):
        return _later(step, value)
    if hasattr(kind, "__anext__") or (hasattr(kind, "__aiter__") and hasattr(value, "recv")):
        return _AsyncStream(step, value, owner)
    if hasattr(kind, "__next__") or (hasattr(kind, "__iter__") and hasattr(value, "recv")):
        return _Stream(step, value, owner)
    if hasattr(kind, "__aenter__") or hasattr(kind, "__enter__"):
        return _Entered(step, value)
    if hasattr(value, "http_response") and hasattr(value, "parse"):
        return _Held(step, value)
    return value


async def _later(step: Step, value: Awaitable[Any]) -> Any:  # noqa: ANN401 - likewise
    try:
        step.go_on()
    except Stopped:
        if inspect.iscoroutine(value):
            value.close()
        raise
    return asked(step, await value)


class _Held:
    """Something of a client's whose methods ask before they do anything."""

    def __init__(self, step: Step, inner: Any, owner: Any = None) -> None:  # noqa: ANN401 - theirs
        self._step = step
        self._inner = inner
        self._owner = owner
        """What is closed along with it: the stream that `inner` is only a view of."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - theirs
        value = getattr(self._inner, name)
        if name.startswith("_") or name in _CLOSING:
            return value
        if not callable(value):
            return asked(self._step, value, self._inner)
        if name.startswith(_TO_THE_END):
            return self._to_the_end(value)

        def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - theirs
            self._step.go_on()
            return asked(self._step, value(*args, **kwargs), self._inner)

        return call

    def _to_the_end(self, method: Callable[..., Any]) -> Callable[..., Any]:
        return method


class _Stream(_Held):
    """A stream of chunks, or of whatever else a client iterates over."""

    _items: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:  # noqa: ANN401 - a chunk
        if self._items is None:
            inner = self._inner
            self._items = inner if hasattr(type(inner), "__next__") else iter(inner)
        try:
            self._step.go_on()
            chunk = next(self._items)
            self._step.go_on()
        except Stopped:
            self._cut()
            raise
        return chunk

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *what: object) -> Any:  # noqa: ANN401 - theirs
        return self._inner.__exit__(*what)

    def _cut(self) -> None:
        for each in (self._inner, self._owner):
            close = getattr(each, "close", None)
            try:
                if close is not None:
                    close()
            except Exception:  # noqa: BLE001, S110 - a connection that is gone must not hide the stop
                pass

    def _to_the_end(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - theirs
            for _ in self:
                pass
            return method(*args, **kwargs)

        return call


class _AsyncStream(_Held):
    """The same for those who await their chunks."""

    _items: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a chunk
        if self._items is None:
            inner = self._inner
            self._items = inner if hasattr(type(inner), "__anext__") else aiter(inner)
        try:
            self._step.go_on()
            chunk = await anext(self._items)
            self._step.go_on()
        except Stopped:
            await self._cut()
            raise
        return chunk

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *what: object) -> Any:  # noqa: ANN401 - theirs
        return await self._inner.__aexit__(*what)

    async def _cut(self) -> None:
        for each in (self._inner, self._owner):
            close = getattr(each, "aclose", None) or getattr(each, "close", None)
            try:
                done = close() if close is not None else None
                if inspect.isawaitable(done):
                    await done
            except Exception:  # noqa: BLE001, S110 - likewise
                pass

    def _to_the_end(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - theirs
            async for _ in self:
                pass
            return await method(*args, **kwargs)

        return call


class _Entered(_Held):
    """What gives a stream when it is entered: `with client.messages.stream(…) as stream`."""

    def __enter__(self) -> Any:  # noqa: ANN401 - a stream
        self._step.go_on()
        return asked(self._step, self._inner.__enter__())

    def __exit__(self, *what: object) -> Any:  # noqa: ANN401 - theirs
        return self._inner.__exit__(*what)

    async def __aenter__(self) -> Any:  # noqa: ANN401 - a stream
        self._step.go_on()
        return asked(self._step, await self._inner.__aenter__())

    async def __aexit__(self, *what: object) -> Any:  # noqa: ANN401 - theirs
        return await self._inner.__aexit__(*what)

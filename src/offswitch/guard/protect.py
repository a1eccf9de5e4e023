"""`@guard.protect`: a function that runs only while it may, with something else to do if not.

It knows four kinds of functions by their look: plain ones and coroutine functions are tested
before they run, generators and asynchronous generators before each item, so that a stream
of tokens ends with the stop and not with the answer. A fallback is called with the same
arguments; a stream has none, since half an answer and half a fallback are neither.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from offswitch.guard.stopped import Stopped

__all__ = ["protected"]

Function = Callable[..., Any]


def protected(begin: Callable[[], None], function: Function, fallback: Function | None) -> Function:
    """Wrap `function` so that `begin`, which may raise `Stopped`, comes first."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        if fallback is not None:
            raise TypeError(f"{function.__qualname__}: a stream has no fallback; catch Stopped")
        if inspect.isasyncgenfunction(function):
            return _async_stream(begin, function)
        return _stream(begin, function)
    if inspect.iscoroutinefunction(function):
        return _coroutine(begin, function, fallback)
    return _plain(begin, function, fallback)


def _plain(begin: Callable[[], None], function: Function, fallback: Function | None) -> Function:
    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        try:
            begin()
            return function(*args, **kwargs)
        except Stopped:
            if fallback is None:
                raise
            return fallback(*args, **kwargs)

    return call


def _coroutine(
    begin: Callable[[], None], function: Function, fallback: Function | None
) -> Function:
    @functools.wraps(function)
    async def call(*args: object, **kwargs: object) -> object:
        try:
            begin()
            return await function(*args, **kwargs)
        except Stopped:
            if fallback is None:
                raise
            answer = fallback(*args, **kwargs)
            return await answer if inspect.isawaitable(answer) else answer

    return call


def _stream(begin: Callable[[], None], function: Function) -> Function:
    @functools.wraps(function)
    def items(*args: object, **kwargs: object) -> Iterator[Any]:
        begin()
        for item in function(*args, **kwargs):
            begin()
            yield item

    return items


def _async_stream(begin: Callable[[], None], function: Function) -> Function:
    @functools.wraps(function)
    async def items(*args: object, **kwargs: object) -> AsyncIterator[Any]:
        begin()
        async for item in function(*args, **kwargs):
            begin()
            yield item

    return items

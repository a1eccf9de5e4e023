"""OpenAI's and Anthropic's plain clients: each call is a model step, each chunk asks again.

    from offswitch.guard.adapters.clients import guarded

    client = guarded(OpenAI())                     # AsyncOpenAI, Anthropic, AsyncAnthropic, too
    for chunk in client.chat.completions.create(model="m", messages=[…], stream=True):
        …                                          # `Stopped` comes between two chunks

What comes back looks like the client: the way to a method is walked with it, and calling the
method asks first. Both clients are made to one pattern, so one file serves both. Any call at
all counts as a model step, also that of a method which did not exist when this was written:
nothing is let through for want of a name. Copies (`with_options`) are guarded as well.

A client repeats a request that failed by itself, seconds later. So each request of its HTTP
client asks, too, by the hook that this has for it; a client whose HTTP client has none is refused.
That holds for whoever uses the client unwrapped, as its own page iterators and tool runners do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self, TypeVar, cast

from offswitch.guard.adapters.streams import asked
from offswitch.guard.guard import Guard
from offswitch.guard.step import Step

__all__ = ["guarded"]

Client = TypeVar("Client")

_COPIES = frozenset({"with_options", "copy"})
_LOCAL = frozenset({"close", "is_closed"})
_TOLD = ("model", "stream")
_EVERYBODYS = frozenset({"builtins", "typing", "abc"})


def guarded(client: Client, guard: Guard | None = None) -> Client:
    """Give `client` such that every call asks `guard` (unless given: this cell's)."""
    asks = guard if guard is not None else Guard.from_env()
    _ask_each_request(client, asks.step("model", "request"))
    # Also those of its bases: whose client it is says their package, not that of who derives.
    roots = {kind.__module__.partition(".")[0] for kind in type(client).__mro__}
    return cast("Client", _Way(asks, client, "", frozenset(roots - _EVERYBODYS)))


def _ask_each_request(client: object, step: Step) -> None:
    """Have the HTTP client ask before each request that it sends, retries included."""
    http = getattr(client, "_client", None)
    hooks = getattr(http, "event_hooks", None)
    if http is None or not isinstance(hooks, dict):
        raise TypeError(
            f"{type(client).__name__} has no HTTP client that can be asked: its retries would go "
            "on after a stop. Use guard.step() around its calls"
        )

    def ask(_request: object) -> None:
        step.go_on()

    async def ask_later(_request: object) -> None:
        step.go_on()

    hook: Callable[..., Any] = ask_later if hasattr(type(http), "aclose") else ask
    http.event_hooks = {**hooks, "request": [*hooks.get("request", []), hook]}


class _Way:
    """The client, or something on the way from it to a method."""

    def __init__(self, guard: Guard, inner: Any, path: str, roots: frozenset[str]) -> None:  # noqa: ANN401 - theirs
        self._guard = guard
        self._inner = inner
        self._path = path
        self._roots = roots
        """The packages whose objects lie on the way."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - theirs
        value = getattr(self._inner, name)
        if name.startswith("_") or name in _LOCAL:
            return value
        path = f"{self._path}.{name}" if self._path else name
        if name in _COPIES:
            return self._copy(value)
        if callable(value) and not inspect.isclass(value):
            return self._call(value, path)
        if type(value).__module__.partition(".")[0] in self._roots:
            return _Way(self._guard, value, path, self._roots)
        return value

    def _copy(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - theirs
            copied = method(*args, **kwargs)
            given = kwargs.get("http_client")
            if given is not None:
                _ask_each_request(copied, self._guard.step("model", "request"))
            return _Way(self._guard, copied, self._path, self._roots)

        return call

    def _call(self, method: Callable[..., Any], path: str) -> Callable[..., Any]:
        def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - theirs
            step = self._guard.step("model", path, {k: kwargs[k] for k in _TOLD if k in kwargs})
            step.begin()
            return asked(step, method(*args, **kwargs))

        return call

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *what: object) -> Any:  # noqa: ANN401 - theirs
        return self._inner.__exit__(*what)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *what: object) -> Any:  # noqa: ANN401 - theirs
        return await self._inner.__aexit__(*what)

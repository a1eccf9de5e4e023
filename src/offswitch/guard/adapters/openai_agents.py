"""The OpenAI Agents SDK: hooks of a run that ask before each model call and each tool.

    from agents import Agent, Runner
    from offswitch.guard.adapters.openai_agents import Hooks

    hooks = Hooks()
    result = await Runner.run(agent, "…", hooks=hooks)

    streamed = Runner.run_streamed(agent, "…", hooks=hooks)
    async for event in hooks.events(streamed):     # instead of streamed.stream_events()
        …

The SDK turns a tool's `Exception` into text for the model; `Stopped` is none, and ends the run.
A streamed run goes on in a task of its own, and its hooks are not called for each event: `events`
asks before each, and where it may not go on cancels the run and raises `Stopped`.
Tools that run on the provider's side (hosted search, hosted MCP) are seen by no hook.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from offswitch.guard.guard import Guard
from offswitch.guard.kin import kindred
from offswitch.guard.stopped import Stopped

__all__ = ["Hooks"]

_THEIRS = ("agents.lifecycle", "RunHooksBase")
_HOOK = "on_"


class Hooks:
    """`hooks=` of `Runner.run`, `run_sync` and `run_streamed`; may serve many runs at once."""

    def __new__(cls, *_: object, **__: object) -> Self:
        """Derive from the SDK's class, too, where it is loaded."""
        made: Self = object.__new__(kindred(cls, _THEIRS))
        return made

    def __init__(self, guard: Guard | None = None) -> None:
        """Ask `guard` (unless given: this cell's)."""
        self._guard = guard if guard is not None else Guard.from_env()

    async def on_llm_start(self, _context: object, agent: object, *_: object, **__: object) -> None:
        """Ask before a model call."""
        self._guard.step("model", _name(agent)).begin()

    async def on_tool_start(
        self, context: object, _agent: object, tool: object, *_: object, **__: object
    ) -> None:
        """Ask before a tool call."""
        self._guard.step("tool", _name(tool), _arguments(context)).begin()

    async def events(self, streamed: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - theirs
        """Give the events of a streamed run, asking before each; `Stopped` ends the run, too."""
        step = self._guard.step("model", "stream")
        try:
            async for event in streamed.stream_events():
                step.go_on()
                yield event
            step.go_on()
        except Stopped:
            streamed.cancel()
            raise

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a hook of a later version
        """Do nothing in every other hook, whatever later versions call."""
        if name.startswith(_HOOK):
            return _nothing
        raise AttributeError(name)


async def _nothing(*_: object, **__: object) -> None:
    """Be a hook that has nothing to do."""


def _name(thing: object) -> str:
    return str(getattr(thing, "name", "") or type(thing).__name__)


def _arguments(context: object) -> Mapping[str, object] | None:
    """Read what a function tool is called with: JSON, written by the model."""
    text = getattr(context, "tool_arguments", None)
    if not isinstance(text, str):
        return None
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {"arguments": text}
    return read if isinstance(read, dict) else {"arguments": text}

"""The real OpenAI Agents SDK with its scripted model: runs, tools, threads, streams."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
import tempfile
from pathlib import Path
from typing import Any

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from guard.adapters.ground import Ground, stopped
from offswitch.guard import Stopped
from offswitch.guard.adapters.openai_agents import Hooks

DONE: list[str] = []
GROUND: list[Ground] = []


@function_tool
def send_mail(to: str) -> str:
    """Send a mail."""
    DONE.append(to)
    return "sent"


@function_tool
def press(to: str) -> str:
    """Be stopped while it runs: the next model call must not be."""
    GROUND[0].latch("kill")
    return "pressed"


@function_tool
def asks(to: str) -> str:
    """Ask the guard within: what is raised in a tool's own thread must come out as well."""
    GROUND[0].guard.check()
    return "asked"


def agent(*steps: Any, tools: Any = (send_mail, press, asks)) -> Agent:
    return Agent(name="clerk", model=ScriptedModel(list(steps)), tools=list(tools))


def text(said: str) -> Any:
    return [assistant_message(said)]


def call(tool: str) -> Any:
    return [function_call(tool, {"to": "ann"}, call_id="c1")]


def runs(ground: Ground, hooks: Any) -> None:
    done = Runner.run_sync(agent(call("send_mail"), text("fine")), "go", hooks=hooks)
    assert done.final_output == "fine"
    assert DONE == ["ann"]
    steps = [("step", "model", "clerk"), ("step", "tool", "send_mail"), ("step", "model", "clerk")]
    assert ground.told() == steps
    ground.latch("restrict")
    assert stopped(lambda: Runner.run_sync(agent(call("send_mail")), "go", hooks=hooks)) == (
        "restrict"
    )
    ground.latch("kill")
    assert stopped(lambda: Runner.run_sync(agent(text("no")), "go", hooks=hooks)) == ("kill")
    assert DONE == ["ann"], "no tool ran"
    ground.latch(None)
    assert stopped(
        lambda: Runner.run_sync(agent(call("press"), text("no")), "go", hooks=hooks)
    ) == ("kill")
    ground.latch(None)


def within(ground: Ground, hooks: Any) -> None:
    """A guard that is asked in the tool itself, while another tool runs beside it."""

    @function_tool
    async def slow(to: str) -> str:
        """Take long."""
        ground.latch("kill")
        await asyncio.sleep(0.05)
        ground.guard.check()
        return to

    both = [
        function_call("slow", {"to": "a"}, call_id="c1"),
        function_call("asks", {"to": "b"}, call_id="c2"),
    ]
    one = agent(both, text("no"), tools=(slow, asks))
    assert stopped(lambda: Runner.run_sync(one, "go", hooks=hooks)) == "kill"
    ground.latch(None)


async def streamed(ground: Ground, hooks: Any) -> None:
    run = Runner.run_streamed(agent(call("send_mail"), text("fine")), "go", hooks=hooks)
    events = [event async for event in hooks.events(run)]
    assert run.final_output == "fine"
    assert len(events) > 3
    for begin in ("before", "between"):
        ground.latch("kill" if begin == "before" else None)
        run = Runner.run_streamed(agent(call("send_mail"), text("no")), "go", hooks=hooks)
        level: object = None
        seen = 0
        try:
            async for _ in hooks.events(run):
                seen += 1
                ground.latch("kill")
        except Stopped as stop:
            level = stop.level
        assert level == "kill", (begin, level, run.final_output)
        assert seen == (0 if begin == "before" else 1)
        assert run.final_output is None
    # What the SDK's own reader sees of a stop:
    ground.latch(None)
    run = Runner.run_streamed(agent(call("press"), text("no")), "go", hooks=hooks)
    how = "ended silently"
    try:
        async for _ in run.stream_events():
            pass
    except Stopped:
        how = "Stopped"
    print(f"stream_events() of a stopped run: {how}, final output {run.final_output!r}")
    ground.latch(None)


async def beside(ground: Ground, hooks: Any) -> None:
    """Many runs at once; all end."""
    ground.latch(None)
    runs = [Runner.run(agent(call("press"), text("no")), "go", hooks=hooks) for _ in range(5)]
    got = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(each, Stopped) for each in got), got
    ground.latch(None)


def main() -> None:
    set_tracing_disabled(True)
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        GROUND.append(ground)
        hooks: Any = Hooks()
        runs(ground, hooks)
        within(ground, hooks)
        asyncio.run(streamed(ground, hooks))
        asyncio.run(beside(ground, hooks))
    print(f"openai-agents {importlib.metadata.version('openai-agents')}")


if __name__ == "__main__":
    sys.exit(main())

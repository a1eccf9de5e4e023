"""Hooks, callbacks and middleware ask before each step; what they raise is no `Exception`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from guard.adapters.ground import Ground, stopped
from offswitch.guard import Stopped
from offswitch.guard.adapters.langchain import Callback, Middleware
from offswitch.guard.adapters.openai_agents import Hooks

AGENT = SimpleNamespace(name="clerk")
TOOL = SimpleNamespace(name="send_mail")
CONTEXT = SimpleNamespace(tool_arguments='{"to": "ann"}')


def sdk(hooks: Any) -> None:
    """Call what the SDK's run loop calls in a turn with a tool."""

    async def turn() -> None:
        await hooks.on_agent_start(None, AGENT)
        await hooks.on_llm_start(None, AGENT, "system", [])
        await hooks.on_llm_end(None, AGENT, "response")
        await hooks.on_tool_start(CONTEXT, AGENT, TOOL)
        await hooks.on_tool_end(CONTEXT, AGENT, TOOL, "sent")

    asyncio.run(turn())


def chain(callback: Any) -> None:
    """Call what LangChain's callback manager calls below a graph with one tool."""
    callback.on_chain_start({}, {}, run_id=1, name="graph")
    callback.on_chat_model_start({"name": "Fake"}, [[]], run_id=2, name="clerk")
    callback.on_llm_new_token("good", run_id=2)
    callback.on_llm_end("response", run_id=2)
    callback.on_tool_start({"name": "send_mail"}, "{'to': 'ann'}", run_id=3, inputs={"to": "ann"})
    callback.on_tool_end("sent", run_id=3)


def middle(middleware: Any) -> None:
    """Call what an agent of `create_agent` calls."""
    request = SimpleNamespace(model=SimpleNamespace(model="clerk"))
    assert middleware.wrap_model_call(request, lambda _: "said") == "said"
    call = SimpleNamespace(tool_call={"name": "send_mail", "args": {"to": "ann"}})
    assert middleware.wrap_tool_call(call, lambda _: "sent") == "sent"


@pytest.mark.parametrize(("make", "run"), [(Hooks, sdk), (Callback, chain), (Middleware, middle)])
def test_ACT_1_each_model_call_and_each_tool_call_asks_and_is_told(
    ground: Ground, make: Callable[..., Any], run: Callable[[Any], None]
) -> None:
    adapter = make()
    run(adapter)
    model, tool = ground.lines()
    assert (model["step"], model["name"]) == ("model", "clerk")
    assert (tool["step"], tool["name"], tool["args"]) == ("tool", "send_mail", {"to": "ann"})
    ground.latch("restrict")
    assert stopped(lambda: run(adapter)) == "restrict"
    assert ground.told() == [("step", "model", "clerk"), ("refused", "tool", "send_mail")]
    for level in ("drain", "freeze", "kill", "poweroff"):
        ground.latch(level)
        assert stopped(lambda: run(adapter)) == level
        assert [each[0] for each in ground.told()] == ["refused"]
    ground.latch(None)
    ground.page.renew(-1)
    assert stopped(lambda: run(adapter)) is None


def test_one_who_awaits_a_middleware_is_asked_as_well(ground: Ground) -> None:
    middleware = Middleware()
    request = SimpleNamespace(tool_call={"name": "send_mail"}, model=None)

    async def handler(_request: object) -> str:
        return "done"

    async def both() -> list[str]:
        return [
            await middleware.awrap_model_call(request, handler),
            await middleware.awrap_tool_call(request, handler),
        ]

    assert asyncio.run(both()) == ["done", "done"]
    ground.latch("kill")
    assert stopped(lambda: asyncio.run(both())) == "kill"


def test_a_token_is_not_handed_on_after_a_stop(ground: Ground) -> None:
    callback = Callback()
    callback.on_llm_new_token("good")
    ground.latch("drain")
    callback.on_llm_new_token("day")
    for level in ("freeze", "kill"):
        ground.latch(level)
        assert stopped(lambda: callback.on_llm_new_token("!")) == level
        assert stopped(lambda: callback.on_stream_event({})) == level
        assert stopped(lambda: callback.on_chain_start({}, {}, name="node")) == level


def test_a_streamed_run_is_cancelled_where_it_may_not_go_on(ground: Ground) -> None:
    hooks = Hooks()
    cancelled: list[bool] = []

    async def stream_events() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    streamed = SimpleNamespace(stream_events=stream_events, cancel=lambda: cancelled.append(True))

    async def read() -> list[int]:
        seen = []
        try:
            async for event in hooks.events(streamed):
                seen.append(event)
                if event == 2:
                    ground.latch("kill")
        except Stopped:
            pass
        return seen

    assert asyncio.run(read()) == [0, 1, 2]
    assert cancelled == [True]
    ground.latch(None)
    assert asyncio.run(read()) == [0, 1, 2]


def test_what_a_model_wrote_for_a_tool_fails_no_step(ground: Ground) -> None:
    hooks = Hooks()
    for arguments in ("{", "[1]", "[" * 100_000, None, 7):
        context = SimpleNamespace(tool_arguments=arguments)
        asyncio.run(hooks.on_tool_start(context, AGENT, TOOL))
    assert len(ground.told()) == 5
    ground.latch("kill")
    assert stopped(lambda: asyncio.run(hooks.on_tool_start(None, None, None))) == "kill"


@pytest.mark.parametrize(
    ("make", "module", "name", "hook"),
    [
        (Hooks, "agents.lifecycle", "RunHooksBase", "on_agent_start"),
        (Callback, "langchain_core.callbacks.base", "BaseCallbackHandler", "on_text"),
        (Middleware, "langchain.agents.middleware.types", "AgentMiddleware", "before_agent"),
    ],
)
def test_an_adapter_is_the_frameworks_own_where_that_is_loaded_and_only_then(
    ground: Ground,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    module: str,
    name: str,
    hook: str,
) -> None:
    assert type(make()) is make
    theirs = type(name, (), {hook: lambda _self: "theirs", "wrap_model_call": "theirs"})
    loaded = ModuleType(module)
    setattr(loaded, name, theirs)
    monkeypatch.setitem(sys.modules, module, loaded)
    both = make()
    assert isinstance(both, theirs)
    assert isinstance(both, make)
    assert getattr(both, hook)() == "theirs"
    if make is Middleware:
        assert type(both).wrap_model_call is Middleware.wrap_model_call, "ours comes first"
    with pytest.raises(AttributeError):
        both.something_else  # noqa: B018


def test_no_framework_is_ever_imported() -> None:
    ours = "clients openai_agents langchain training"
    code = f"import sys; before = set(sys.modules)\nfor name in {ours.split()!r}:\n"
    code += "    __import__('offswitch.guard.adapters.' + name)\n"
    code += "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    import subprocess  # noqa: PLC0415 - only here

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = set(done.stdout.split())
    assert "offswitch" in roots
    assert roots <= {*sys.stdlib_module_names, "offswitch"}

"""The real LangChain and LangGraph with a fake chat model: sync, async, threads, streams."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from guard.adapters.ground import Ground, stopped
from offswitch.guard import Stopped
from offswitch.guard.adapters.langchain import Callback, Middleware

DONE: list[str] = []
GROUND: list[Ground] = []


class Model(GenericFakeChatModel):
    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self


@tool
def send_mail(to: str) -> str:
    """Send a mail."""
    DONE.append(to)
    return "sent"


@tool
def asks(to: str) -> str:
    """Be stopped while it runs, and ask within."""
    GROUND[0].latch("kill")
    GROUND[0].guard.check()
    return to


@tool
def press(to: str) -> str:
    """Be stopped while it runs: the next model call must not be."""
    GROUND[0].latch("kill")
    return "pressed"


def model(*said: Any) -> Model:
    return Model(
        messages=iter([each if isinstance(each, AIMessage) else text(each) for each in said])
    )


def text(said: str) -> AIMessage:
    return AIMessage(content=said)


def call(name: str) -> AIMessage:
    return AIMessage(content="", tool_calls=[{"name": name, "args": {"to": "ann"}, "id": "c1"}])


ASK = {"messages": [{"role": "user", "content": "go"}]}


def models(ground: Ground) -> None:
    with_us: Any = {"callbacks": [Callback()]}
    assert model("good day").invoke("hello", config=with_us).content == "good day"
    assert [each[:2] for each in ground.told()] == [("step", "model")]
    ground.latch("restrict")
    assert model("good day").invoke("hello", config=with_us).content == "good day"
    for level in ("drain", "kill"):
        ground.latch(level)
        assert stopped(lambda: model("no").invoke("hello", config=with_us)) == level
        assert stopped(lambda: model("no", "no").batch(["a", "b"], config=with_us)) == level
        assert stopped(lambda: list(model("no").stream("hello", config=with_us))) == level
        assert stopped(lambda: asyncio.run(model("no").ainvoke("a", config=with_us))) == level
        assert stopped(lambda: send_mail.invoke({"to": "bob"}, config=with_us)) == level
        chain = RunnableLambda(lambda said: said) | model("no")
        again, instead = chain.with_retry(), chain.with_fallbacks([model("no")])
        assert stopped(lambda one=again: one.invoke("a", config=with_us)) == level
        assert stopped(lambda one=instead: one.invoke("a", config=with_us)) == level
    assert DONE == []
    ground.latch(None)
    ground.told()


def tokens(ground: Ground) -> None:
    with_us: Any = {"callbacks": [Callback()]}
    words = "one two three four five six seven"
    seen: list[str] = []

    def read() -> None:
        for chunk in model(words).stream("hello", config=with_us):
            seen.append(str(chunk.content))
            if len(seen) == 3:
                ground.latch("kill")

    assert stopped(read) == "kill"
    assert len(seen) == 3

    async def later() -> None:
        ground.latch(None)
        seen.clear()
        async for chunk in model(words).astream("hello", config=with_us):
            seen.append(str(chunk.content))
            if len(seen) == 3:
                ground.latch("kill")

    assert stopped(lambda: asyncio.run(later())) == "kill"
    assert len(seen) == 3
    ground.latch(None)
    ground.told()


def agents(ground: Ground, make: Callable[..., Any], with_us: Any) -> None:
    def run(*said: Any) -> Any:
        return make(*said).invoke(ASK, config=with_us)

    def arun(*said: Any) -> Any:
        return asyncio.run(_async(make(*said).ainvoke(ASK, config=with_us)))

    for go in (run, arun):
        DONE.clear()
        ground.told()
        assert go(call("send_mail"), "fine")["messages"][-1].content == "fine"
        assert DONE == ["ann"]
        steps = [each[:2] for each in ground.told()]
        assert steps == [("step", "model"), ("step", "tool"), ("step", "model")], steps
        ground.latch("restrict")
        assert stopped(lambda go=go: go(call("send_mail"), "no")) == "restrict"
        ground.latch("kill")
        assert stopped(lambda go=go: go("no")) == "kill"
        assert DONE == ["ann"]
        for name in ("press", "asks"):
            ground.latch(None)
            assert stopped(lambda go=go, name=name: go(call(name), "no")) == "kill"
        ground.latch(None)

    seen: list[Any] = []

    def stream() -> None:
        for each in make(call("send_mail"), "fine").stream(ASK, config=with_us):
            seen.append(each)
            ground.latch("kill")

    assert stopped(stream) == "kill"
    assert len(seen) == 1
    ground.latch(None)
    ground.told()


async def _async(what: Awaitable[Any]) -> Any:
    return await what


class State(TypedDict):
    number: int


def nodes(ground: Ground) -> None:
    """A graph without models: each node asks."""
    ran: list[int] = []

    def node(state: State) -> State:
        ran.append(state["number"])
        if state["number"] == 3:
            ground.latch("kill")
        return {"number": state["number"] + 1}

    graph = StateGraph(State)
    graph.add_node("count", node)
    graph.add_edge(START, "count")
    graph.add_conditional_edges("count", lambda state: END if state["number"] > 9 else "count")
    made = graph.compile()
    assert stopped(lambda: made.invoke({"number": 0}, config={"callbacks": [Callback()]})) == "kill"
    assert ran == [0, 1, 2, 3]
    ground.latch(None)


def main() -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        GROUND.append(ground)
        models(ground)
        tokens(ground)

        def plain(*said: Any) -> Any:
            return create_agent(model(*said), tools=[send_mail, asks, press])

        def middled(*said: Any) -> Any:
            return create_agent(
                model(*said), tools=[send_mail, asks, press], middleware=[Middleware()]
            )

        agents(ground, plain, {"callbacks": [Callback()]})
        agents(ground, middled, {})
        nodes(ground)
    assert issubclass(Stopped, BaseException)
    for name in ("langchain", "langchain-core", "langgraph"):
        print(f"{name} {importlib.metadata.version(name)}")


if __name__ == "__main__":
    sys.exit(main())

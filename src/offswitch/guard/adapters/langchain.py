"""LangChain and LangGraph: a callback for anything that runs, a middleware for their agents.

    from offswitch.guard.adapters.langchain import Callback, Middleware

    chain.invoke(question, config={"callbacks": [Callback()]})
    graph.invoke(state, config={"callbacks": [Callback()]})       # each node, model and tool below
    agent = create_agent(model, tools=[…], middleware=[Middleware()])

The callback sees all that runs below the call it is given to: model calls (begun, and each token
of a stream), tools, retrievers (which are tools here) and chains, of which a LangGraph node is
one. It raises what it has to say (`raise_error`) and runs where it is called (`run_inline`), not
in some thread later. The middleware stands around each model call and each tool call of an agent
made by `create_agent`; use one of the two, or each step is told twice.

Both derive from LangChain's own classes where the program has loaded them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from offswitch.guard.guard import Guard
from offswitch.guard.kin import kindred

__all__ = ["Callback", "Middleware"]

_CALLBACK = ("langchain_core.callbacks.base", "BaseCallbackHandler")
_MIDDLEWARE = ("langchain.agents.middleware.types", "AgentMiddleware")
_HOOK = "on_"


class Callback:
    """`callbacks=[Callback()]`, of a run, a model, a chain or a graph; may serve many at once."""

    raise_error = True
    run_inline = True
    ignore_llm = False
    ignore_retry = True
    ignore_chain = False
    ignore_agent = False
    ignore_retriever = False
    ignore_chat_model = False
    ignore_custom_event = True

    def __new__(cls, *_: object, **__: object) -> Self:
        """Derive from LangChain's class, too, where it is loaded."""
        made: Self = object.__new__(kindred(cls, _CALLBACK))
        return made

    def __init__(self, guard: Guard | None = None) -> None:
        """Ask `guard` (unless given: this cell's)."""
        self._guard = guard if guard is not None else Guard.from_env()
        self._flying = self._guard.step("model", "stream")

    def on_chat_model_start(self, serialized: object, *_: object, **more: object) -> None:
        """Ask before a chat model is called."""
        self._guard.step("model", _named(serialized, more)).begin()

    def on_llm_start(self, serialized: object, *_: object, **more: object) -> None:
        """Ask before a model that completes text is called."""
        self._guard.step("model", _named(serialized, more)).begin()

    def on_llm_new_token(self, *_: object, **__: object) -> None:
        """Ask before a token of a stream is handed on."""
        self._flying.go_on()

    def on_stream_event(self, *_: object, **__: object) -> None:
        """Ask before an event of a stream is handed on."""
        self._flying.go_on()

    def on_tool_start(self, serialized: object, text: object = "", **more: object) -> None:
        """Ask before a tool is called."""
        given = more.get("inputs")
        args = given if isinstance(given, Mapping) else {"input": text}
        self._guard.step("tool", _named(serialized, more), args).begin()

    def on_retriever_start(self, serialized: object, query: object = "", **more: object) -> None:
        """Ask before a retriever is called."""
        self._guard.step("tool", _named(serialized, more), {"query": query}).begin()

    def on_chain_start(self, *_: object, **__: object) -> None:
        """Ask before a chain, or a node of a graph, begins; that is not told, its steps are."""
        self._flying.go_on()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Do nothing in every other hook, whatever later versions call."""
        if name.startswith(_HOOK):
            return _nothing
        raise AttributeError(name)


class Middleware:
    """`create_agent(…, middleware=[Middleware()])`."""

    tools: Sequence[object] = ()

    def __new__(cls, *_: object, **__: object) -> Self:
        """Derive from LangChain's class, too, where it is loaded."""
        made: Self = object.__new__(kindred(cls, _MIDDLEWARE))
        return made

    def __init__(self, guard: Guard | None = None) -> None:
        """Ask `guard` (unless given: this cell's)."""
        self._guard = guard if guard is not None else Guard.from_env()

    @property
    def name(self) -> str:
        """What the agent's graph calls it."""
        return "offswitch"

    def wrap_model_call(self, request: object, handler: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - theirs
        """Ask before the model is called."""
        self._model(request)
        return handler(request)

    async def awrap_model_call(
        self, request: object, handler: Callable[[Any], Awaitable[Any]]
    ) -> Any:  # noqa: ANN401 - theirs
        """Ask before the model is called."""
        self._model(request)
        return await handler(request)

    def wrap_tool_call(self, request: object, handler: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - theirs
        """Ask before a tool is called."""
        self._tool(request)
        return handler(request)

    async def awrap_tool_call(
        self, request: object, handler: Callable[[Any], Awaitable[Any]]
    ) -> Any:  # noqa: ANN401 - theirs
        """Ask before a tool is called."""
        self._tool(request)
        return await handler(request)

    def _model(self, request: object) -> None:
        model = getattr(request, "model", None)
        name = getattr(model, "model_name", None) or getattr(model, "model", None)
        self._guard.step("model", str(name or type(model).__name__)).begin()

    def _tool(self, request: object) -> None:
        call = getattr(request, "tool_call", None)
        told = call if isinstance(call, Mapping) else {}
        args = told.get("args")
        given = args if isinstance(args, Mapping) else None
        self._guard.step("tool", str(told.get("name", "")), given).begin()


def _nothing(*_: object, **__: object) -> None:
    """Be a hook that has nothing to do."""


def _named(serialized: object, more: Mapping[str, object]) -> str:
    """Give the name under which LangChain runs something."""
    name = more.get("name")
    if not name and isinstance(serialized, Mapping):
        name = serialized.get("name") or (serialized.get("id") or [""])[-1]
    return str(name or "")

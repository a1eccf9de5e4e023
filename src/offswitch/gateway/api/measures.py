"""How a request goes on: by what its route declares, and by what is held back just now (DEC-6).

    sessions  a request that begins a session is refused. A chat or a message has begun if an
              assistant or a tool has spoken in it; a response, if it names what it continues or
              brings an earlier output along. A client could make such a turn up: this holds back
              those who begin, it locks nobody in. Completions know no turns, so each of them
              begins one, unless a header that the route declares names its session. Embeddings
              have none.
    model     the fallback answers: a smaller model, by its name in the body, or a fixed text
    writes    tools that change something are no longer offered
    tools     none is
    allow     of the route: others are never offered, and calls of others never passed on

Each is entered by a stop of its own and left by that stop's reset; nothing is kept here, so the
next request sees the change. A tool that the client forces cannot be taken away quietly: such a
request is refused. What we do not read (another call of the API, a websocket) is refused while
anything is held, or only some tools are allowed, unless it begins nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from offswitch.gateway.api import answers, paths
from offswitch.gateway.api.offers import REMOVE, without
from offswitch.gateway.api.onward import PASS, onward
from offswitch.gateway.api.verdicts import ANYTHING, Judges, is_named, judges_calls
from offswitch.gateway.exchange import (
    Asked,
    Cause,
    Head,
    Held,
    Malformed,
    Reply,
    Shape,
    Steward,
    Verdict,
    Why,
)
from offswitch.gateway.plan.route import Route, Step

__all__ = ["begins_session", "weigh"]

_SPOKEN = frozenset(("assistant", "tool", "function"))
_WITH_TOOLS = frozenset((Shape.CHAT, Shape.RESPONSES, Shape.MESSAGES))
_MODEL_CALLS = frozenset(
    (Shape.CHAT, Shape.COMPLETION, Shape.RESPONSES, Shape.MESSAGES, Shape.EMBEDDINGS)
)


class _Refused(Exception):
    """What is asked cannot be had just now."""

    def __init__(self, cause: Cause, step: Step | None, text: str) -> None:
        """Say by which step, if any."""
        super().__init__(text)
        self.cause = cause
        self.step = step
        self.text = text


def weigh(
    steward: Steward,
    judges: Judges,
    asked: Asked,
    head: Head,
    body: bytes,
    route: Route,
    held: Held,
) -> Verdict:
    """Say how a request goes on."""
    try:
        if asked.body is None:
            return _unread(asked, head, route, held)
        if asked.shape is Shape.MODELS:
            return PASS  # tokens are counted: no model runs, and no tool
        changes = _changes(asked, head, route, held)
        if isinstance(changes, Reply):
            return changes
        return onward(steward, judges, asked, body, changes, route, held)
    except _Refused as no:
        target, level = route.target, None
        if no.step is not None:
            level = "restrict" if held.level is not None else None
            target = target if held.level is not None else f"{target}/{no.step}"
        return steward.refusal(asked, Why(no.cause, target, level, no.text, route.ask))
    except RecursionError:
        why = Why(Cause.MALFORMED, route.target, None, "nested too deep")
        return steward.refusal(asked, why)
    except Malformed as wrong:
        return steward.refusal(asked, Why(Cause.MALFORMED, route.target, None, str(wrong)))


def begins_session(asked: Asked) -> bool:
    """Tell whether a request begins a session."""
    said = cast("Mapping[str, object]", asked.body)
    if asked.shape in (Shape.CHAT, Shape.MESSAGES):
        return not _has_spoken(said.get("messages"))
    if asked.shape is Shape.RESPONSES:
        continues = said.get("conversation") or said.get("previous_response_id")
        return not (continues or _has_spoken(said.get("input")))
    return asked.shape is Shape.COMPLETION and not asked.session


def _has_spoken(turns: object) -> bool:
    if type(turns) is not list:
        return False
    for turn in turns:
        if type(turn) is dict:
            kind = turn.get("type")
            if turn.get("role") in _SPOKEN or (type(kind) is str and kind.endswith("_output")):
                return True
    return False


def _changes(asked: Asked, head: Head, route: Route, held: Held) -> dict[str, object] | Reply:
    """Give what is changed in the body; or a fixed answer."""
    changes: dict[str, object] = {}
    if held.steps:
        if Step.SESSIONS in held.steps and begins_session(asked):
            raise _Refused(Cause.RESTRICTED, Step.SESSIONS, "No new sessions are begun just now")
        if Step.MODEL in held.steps and asked.shape in _MODEL_CALLS:
            fixed = _other_model(asked, head, route, changes)
            if fixed is not None:
                return fixed
    if asked.shape is Shape.RESPONSES:
        _stored_prompt(asked, route, held)
    if asked.shape in _WITH_TOOLS and asked.tools and (route.tools.allow != ANYTHING or held.steps):
        changes.update(_fewer_tools(asked, route, held))
    return changes


def _unread(asked: Asked, head: Head, route: Route, held: Held) -> Verdict:
    if asked.shape is not Shape.REALTIME and paths.begins_nothing(head):
        return PASS
    if held.steps:
        step = min(held.steps)
        raise _Refused(
            Cause.RESTRICTED,
            step,
            "While anything is held back, only calls that the gateway can read go on",
        )
    if judges_calls(route):
        raise _Refused(
            Cause.NOT_ALLOWED,
            None,
            "Only some tools are allowed here, and in this "
            "call the gateway cannot tell which are used",
        )
    return PASS


def _other_model(
    asked: Asked, head: Head, route: Route, changes: dict[str, object]
) -> Reply | None:
    fallback = route.fallback
    if fallback is None:
        raise _Refused(
            Cause.RESTRICTED, Step.MODEL, "The model is held back, and no other is declared"
        )
    if asked.shape is Shape.EMBEDDINGS:
        raise _Refused(
            Cause.RESTRICTED,
            Step.MODEL,
            "The model is held back, and another's embeddings would mean something else",
        )
    if not fallback.model:
        return answers.fixed(asked, fallback.answer)
    if b"/deployments/" in head.path:
        raise _Refused(
            Cause.RESTRICTED, Step.MODEL, "The model is held back, and the path names it"
        )
    if asked.model != fallback.model:
        changes["model"] = fallback.model
    return None


def _stored_prompt(asked: Asked, route: Route, held: Held) -> None:
    """Refuse a prompt that lies with the provider, where it may bring tools that may not be."""
    if cast("Mapping[str, object]", asked.body).get("prompt") is None:
        return
    text = "Tools are held back, and a stored prompt may bring some along"
    for step in (Step.TOOLS, Step.WRITES):
        if step in held.steps:
            raise _Refused(Cause.RESTRICTED, step, text)
    if route.tools.allow != ANYTHING:
        text = "Only some tools are allowed here, and a stored prompt may bring others along"
        raise _Refused(Cause.NOT_ALLOWED, None, text)


def _fewer_tools(asked: Asked, route: Route, held: Held) -> Mapping[str, object]:
    said = cast("Mapping[str, object]", asked.body)
    tools = route.tools
    cut = without(said, lambda name: is_named(tools.allow, name))
    if cut.refused is not None:
        raise _Refused(Cause.NOT_ALLOWED, None, "The tool that is to be called is not allowed here")
    changes = dict(cut.changes)
    step = next((each for each in (Step.TOOLS, Step.WRITES) if each in held.steps), None)
    if step is not None:
        rest = {name: value for name, value in {**said, **changes}.items() if value is not REMOVE}
        changes.update(_held_tools(asked, rest, step, route))
    return changes


def _held_tools(
    asked: Asked, said: Mapping[str, object], step: Step, route: Route
) -> Mapping[str, object]:
    writes = () if step is Step.TOOLS else route.tools.writes
    cut = without(said, lambda name: step is Step.WRITES and not is_named(writes, name))
    if cut.refused is not None:
        raise _Refused(
            Cause.RESTRICTED, step, "The tool that is to be called is held back just now"
        )
    if cut.changes and not cut.left and asked.shape is Shape.MESSAGES and _tools_spoke(said):
        # Where tools have spoken the API wants to know them still; none may be called.
        return {"tool_choice": {"type": "none"}, "mcp_servers": REMOVE}
    return cut.changes


def _tools_spoke(said: Mapping[str, object]) -> bool:
    turns = said.get("messages")
    return type(turns) is list and any(
        type(block) is dict and block.get("type") in ("tool_use", "tool_result")
        for turn in turns
        if type(turn) is dict and type(turn.get("content")) is list
        for block in turn["content"]
    )

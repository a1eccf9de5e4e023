"""What a tool server's answers say: how a call went, and which tools it lists. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from offswitch.gateway.tools.book import State
from offswitch.gateway.tools.jsonrpc import Answer, Parsed, loads

__all__ = ["Allowed", "narrowed", "state_of"]

Allowed = Callable[[str], bool]
"""Whether the tool of a name is listed."""


def state_of(answer: Answer) -> State:
    """Say how the call went to which this is the answer."""
    if answer.error is not None:
        return State.FAILED
    if isinstance(answer.result, Mapping):
        if answer.result.get("isError") is True:
            return State.FAILED
        task = answer.result.get("task")
        if isinstance(task, Mapping) and "taskId" in task:
            return State.ACCEPTED
    return State.DONE


def narrowed(data: bytes, parsed: Parsed, allowed: Allowed) -> bytes | None:
    """Leave out of lists of tools what is not `allowed`; None: there is nothing to leave out."""
    tools = [
        tool
        for message in parsed.messages
        if isinstance(message, Answer)
        for tool in _tools_of(message.result)
    ]
    if all(_lists(tool, allowed) for tool in tools):
        return None
    value = loads(data)
    for message in value if isinstance(value, list) else [value]:
        result = message.get("result") if isinstance(message, dict) else None
        if isinstance(result, dict) and isinstance(result.get("tools"), list):
            result["tools"] = [tool for tool in result["tools"] if _lists(tool, allowed)]
    return json.dumps(value, separators=(",", ":")).encode()


def _tools_of(result: object) -> list[object]:
    tools = result.get("tools") if isinstance(result, Mapping) else None
    return tools if isinstance(tools, list) else []


def _lists(tool: object, allowed: Allowed) -> bool:
    name = tool.get("name") if isinstance(tool, dict) else None
    return isinstance(name, str) and allowed(name)

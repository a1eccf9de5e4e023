"""The tools that a request offers to the model, and which of them it may.

OpenAI's chats offer {"type": "function", "function": {"name"}}, responses and Anthropic's messages
{"name"}; tools that the provider runs itself (web search, a remote MCP server) have a type and
perhaps a label. Each is known by all its names, and offered only if all of them may be.

A tool that the client forces cannot be taken away quietly, since the answer would be another than
was asked for: such a request is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from offswitch.gateway.api.strict import name_of, names_of
from offswitch.gateway.exchange import Malformed

__all__ = ["REMOVE", "Cut", "forced_tool", "offered_names", "without"]

REMOVE = object()
"""In the place of a value: the name is taken out of the body."""
_IN_TOOL = frozenset(
    (
        "custom",
        "description",
        "function",
        "input_schema",
        "name",
        "parameters",
        "strict",
        "tools",
        "type",
    )
)
"""Names that we go by, and those that usually stand beside them."""
_FUNCTION = frozenset(("type", "function"))
_MOST = 4096
_FREE = frozenset(("none", "auto"))
_LISTS = ("tools", "functions", "mcp_servers")
_AROUND = (
    "tools",
    "functions",
    "mcp_servers",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "max_tool_calls",
    "web_search_options",
)
"""What has no meaning, or is itself a tool, where no tool is offered."""

May = Callable[[str], bool]


def _usual(tool: object) -> str:
    """Give the name of a function of a chat that has nothing unusual about it; empty: it has."""
    if type(tool) is not dict or tool.keys() != _FUNCTION:
        return ""
    function = tool["function"]
    if tool["type"] != "function" or type(function) is not dict or not function.keys() <= _IN_TOOL:
        return ""
    return name_of(function, "name")


def _names(tool: object, depth: int = 0) -> tuple[str, ...]:
    """Give the names that a tool is known by; one that has none is known by its type."""
    usual = _usual(tool)
    if usual:
        return (usual,)
    said = names_of(tool, _IN_TOOL, "a tool")
    inner = said.get("tools")
    if type(inner) is list and said.get("type") == "namespace" and depth == 0:
        return tuple(name for each in inner for name in _names(each, 1))
    nests = [said[nest] for nest in ("function", "custom") if nest in said]
    found = [name_of(names_of(nest, _IN_TOOL, "a tool"), "name") for nest in nests]
    found.append(name_of(said, "name"))
    found.append(name_of(said, "server_label") or name_of(said, "mcp_server_name"))
    named = tuple(filter(None, found)) or (name_of(said, "type"),)
    if not named[0]:
        raise Malformed("a tool has no name")
    return named


def _listed(said: Mapping[str, object], name: str) -> list[object]:
    value = said.get(name)
    if value is None:
        return []
    if type(value) is not list or len(value) > _MOST:
        raise Malformed(f"{name} is no list of at most {_MOST}")
    return value


def offered_names(said: Mapping[str, object]) -> tuple[str, ...]:
    """List the names of all tools that a request offers."""
    offered: list[str] = []
    for name in _LISTS:
        if name in said:
            for tool in _listed(said, name):
                offered.extend(_names(tool))
    if said.get("web_search_options") is not None:
        offered.append("web_search")
    return tuple(dict.fromkeys(offered))


def forced_tool(said: Mapping[str, object]) -> str | None:
    """Give the name of the tool that must be called; empty: any; None: none must."""
    for name in ("tool_choice", "function_call"):
        choice = said.get(name)
        if choice is None or (type(choice) is str and choice in _FREE):
            continue
        if type(choice) is str:
            return ""
        said_of = names_of(choice, _IN_TOOL | {"mode", "allowed_tools"}, name)
        kind = said_of.get("type")
        if kind in _FREE:
            continue
        if kind == "allowed_tools":
            nested = said_of.get("allowed_tools")
            mode = nested if type(nested) is dict else said_of
            if mode.get("mode") in (None, "auto"):
                continue
            return ""
        return (_names(said_of) or ("",))[0]
    return None


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left of an offer."""

    changes: Mapping[str, object] = field(default_factory=dict)
    """New values by name, or `REMOVE`; empty: nothing was taken away."""
    refused: str | None = None
    """The tool that the client forces, though it may not be offered; empty: any."""
    left: tuple[str, ...] = ()
    """Names that are still offered."""


def without(said: Mapping[str, object], may: May) -> Cut:
    """Take away the tools that may not be offered."""
    changes: dict[str, object] = {}
    left: list[str] = []
    for name in _LISTS:
        tools = _listed(said, name)
        kept = []
        for tool in tools:
            names = _names(tool)
            if all(map(may, names)):
                kept.append(tool)
                left.extend(names)
        if len(kept) < len(tools):
            changes[name] = kept or REMOVE
    if said.get("web_search_options") is not None:
        if may("web_search"):
            left.append("web_search")
        else:
            changes["web_search_options"] = REMOVE
    if not changes:
        return Cut(left=tuple(left))
    forced = forced_tool(said)
    if forced is not None and (not left or (forced and forced not in left)):
        return Cut(refused=forced)
    if not left:
        changes = {name: REMOVE for name in _AROUND if name in said}
    elif _narrowed(said.get("tool_choice")):
        changes["tool_choice"] = "required" if forced is not None else "auto"
    return Cut(changes, left=tuple(left))


def _narrowed(choice: object) -> bool:
    """Tell whether a choice lists tools, some of which may be gone."""
    return type(choice) is dict and cast("dict[str, object]", choice).get("type") == "allowed_tools"

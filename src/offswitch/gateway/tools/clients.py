"""Configurations of MCP clients, rewritten so that each server is wrapped. Pure.

    { "mcpServers": { NAME: { "command", "args", "env", … } | { "url", … } } }

That is how Claude Desktop, Claude Code (`.mcp.json`), Cursor, Windsurf and Gemini write it; VS Code
says `servers`. A server that is started gets our wrapper in front of its command; one that is
reached by a URL gets the gateway's, where it is said which. All else stays as it is, in its order,
and what is wrapped already is left alone. It can be taken back word by word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from offswitch.errors import BadConfig

__all__ = ["Change", "Rewritten", "unwrapped", "wrapped"]

_LISTS = ("mcpServers", "servers", "mcp_servers")
_WORDS = ["mcp", "wrap"]
_UNLAWFUL = re.compile(r"[^A-Za-z0-9._-]+")
_INDENT = re.compile(r"^([ \t]+)\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one server."""

    server: str
    what: str
    """`wrapped`, `unwrapped`, `through the gateway`, `as it was`, or why it is left alone."""
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A configuration, anew."""

    text: str
    changes: Sequence[Change] = field(default=())


def wrapped(
    text: str, program: str, *, gateway: str = "", only: Sequence[str] = (), prefix: str = "mcp"
) -> Rewritten:
    """Put `program` in front of each server, and `gateway`'s address in the place of its URL."""
    value = _read(text)
    changes = []
    for name, server in _servers(value):
        if only and name not in only:
            continue
        changes.append(_wrap(name, server, program, gateway, prefix))
    return Rewritten(_written(value, text), changes)


def unwrapped(text: str, before: str = "", *, only: Sequence[str] = ()) -> Rewritten:
    """Take it back; `before` is the text as it was, which knows the URLs."""
    value = _read(text)
    urls = {name: one.get("url") for name, one in _servers(_read(before))} if before else {}
    changes = []
    for name, server in _servers(value):
        if only and name not in only:
            continue
        if _is_wrapped(server):
            words = server["args"][server["args"].index("--") + 1 :]
            server["command"], server["args"] = words[0], words[1:]
            changes.append(Change(name, "unwrapped", changed=True))
        elif "url" in server and urls.get(name) not in {None, server["url"]}:
            server["url"] = urls[name]
            changes.append(Change(name, "unwrapped", changed=True))
        else:
            changes.append(Change(name, "as it was"))
    return Rewritten(_written(value, text), changes)


def _wrap(name: str, server: dict[str, Any], program: str, gateway: str, prefix: str) -> Change:
    if _is_wrapped(server):
        return Change(name, "as it was")
    command, args, url = server.get("command"), server.get("args", []), server.get("url")
    if isinstance(command, str) and command:
        if not isinstance(args, list) or not all(isinstance(one, str) for one in args):
            return Change(name, "left alone: its args are no list of texts")
        target = f"{prefix}/{_UNLAWFUL.sub('-', name).strip('-.')[:60] or 'server'}"
        server["command"] = program
        server["args"] = [*_WORDS, "--target", target, "--", command, *args]
        return Change(name, f"wrapped, as target {target}", changed=True)
    if not isinstance(url, str):
        return Change(name, "left alone: it names neither a command nor a url")
    if not gateway:
        return Change(name, "left alone: it is reached by a url; say --gateway URL, which is a"
                      ' [[gateway]] with a route api = "mcp" to it')  # fmt: skip
    there, ours = urlsplit(url), urlsplit(gateway)
    through = urlunsplit((ours.scheme, ours.netloc, there.path, there.query, ""))
    if through == url:
        return Change(name, "as it was")
    server["url"] = through
    return Change(name, f"through the gateway: {through}", changed=True)


def _is_wrapped(server: dict[str, Any]) -> bool:
    args = server.get("args")
    return (
        isinstance(args, list) and args[:2] == _WORDS and "--" in args and args[-1] != "--"
        and all(isinstance(one, str) for one in args)
    )  # fmt: skip


def _servers(value: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    inner = value.get("mcp")
    for place in (value, inner if isinstance(inner, dict) else {}):
        for key in _LISTS:
            servers = place.get(key)
            if isinstance(servers, dict):
                found += [(name, one) for name, one in servers.items() if isinstance(one, dict)]
    return found


def _read(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadConfig(
            f"this is no plain JSON: {error}",
            "take its comments out, or put the wrapper in by hand: offswitch mcp wrap -- CMD…",
        ) from None
    if not isinstance(value, dict):
        raise BadConfig("this is no configuration of a client", 'it holds "mcpServers"')
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _written(value: dict[str, Any], like: str) -> str:
    indent = _INDENT.search(like)
    end = "\n" if like.endswith("\n") else ""
    return json.dumps(value, indent=indent[1] if indent else 2, ensure_ascii=False) + end

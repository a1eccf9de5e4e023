"""An agent's settings file: our entries put in or taken out, all else left as it was.

A file that we cannot read as JSON is left alone: some agents allow comments in theirs, and to
write it anew would lose them. It is replaced as a whole, where it really lies (people link
theirs from elsewhere), with the rights it had.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from contextlib import suppress
from typing import Any

from offswitch.errors import Refused, Storage
from offswitch.host.hooks.agents import Agent, Shape
from offswitch.host.hooks.line import is_ours

__all__ = [
    "Settings",
    "entries",
    "lines",
    "loosely",
    "names_us",
    "off_switch",
    "read",
    "with_ours",
    "without_ours",
    "write",
]

Settings = dict[str, Any]
"""An agent's settings, of which we know its hooks and the keys that turn them off."""

_LONGEST = 1 << 22
_NAME = "offswitch"


def read(path: str) -> Settings:
    """Read a settings file; one that is not there is empty."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Storage(f"{path} cannot be read: {error}", "see what it is") from None
    try:
        settings = json.loads(text) if text.strip() and len(text) <= _LONGEST else {}
    except (ValueError, RecursionError):
        settings = None
    hooks = settings.get("hooks", {}) if isinstance(settings, dict) else None
    if len(text) > _LONGEST or not isinstance(settings, dict) or not isinstance(hooks, dict):
        hint = "put the entries in by hand: offswitch hook show AGENT prints them"
        raise Refused(f"{path} is not plain JSON as we know it, and is left alone", hint)
    return settings


def entries(agent: Agent, line: str) -> Settings:
    """Give what is put into the file for each event."""
    hook = _hook(agent, line)
    if agent.shape is Shape.FLAT:
        return dict.fromkeys(agent.events, hook)
    return {
        event: {**({"matcher": "*"} if event == agent.tools else {}), "hooks": [hook]}
        for event in agent.events
    }


def _hook(agent: Agent, line: str) -> Settings:
    hook: Settings = {"command": line, "timeout": agent.timeout}
    if agent.shape is Shape.FLAT:
        return {**hook, "failClosed": True}
    hook = {"type": "command", **hook}
    return {**hook, "name": _NAME} if agent.name == "gemini" else hook


def with_ours(settings: Settings, agent: Agent, line: str) -> Settings:
    """Give the settings with our hooks, in place of older ones of ours."""
    changed = without_ours(settings)
    hooks = {**changed.get("hooks", {})}
    for event, entry in entries(agent, line).items():
        hooks[event] = [*hooks.get(event, []), entry]
    changed["hooks"] = hooks
    if agent.shape is Shape.FLAT:
        changed = {"version": 1, **changed}
    return changed


def without_ours(settings: Settings) -> Settings:
    """Give the settings without any hook of ours; what is left empty by that goes as well."""
    hooks: Settings = {}
    for event, listed in settings.get("hooks", {}).items():
        kept = _kept(listed) if isinstance(listed, list) else listed
        if kept or kept == listed:
            hooks[event] = kept
    rest = {key: value for key, value in settings.items() if key != "hooks"}
    if hooks or ("hooks" in settings and not settings["hooks"]):
        rest["hooks"] = hooks
    return rest


def _kept(listed: list[Any]) -> list[Any]:
    kept = []
    for entry in listed:
        if isinstance(entry, dict) and is_ours(entry.get("command")):
            continue
        inner = entry.get("hooks") if isinstance(entry, dict) else None
        if isinstance(inner, list):
            left = [h for h in inner if not (isinstance(h, dict) and is_ours(h.get("command")))]
            if inner and not left:
                continue
            kept.append({**entry, "hooks": left})
        else:
            kept.append(entry)
    return kept


def lines(settings: Settings, agent: Agent) -> dict[str, str]:
    """Give our command line of each event that has one that the agent calls for every step.

    A hook with anything changed or added is none: an agent would not wait for it (`async`, a
    shorter `timeout`), not for every step (`if`), or take its failure for a yes (`failClosed`).
    """
    found: dict[str, str] = {}
    for event in agent.events:
        listed = settings.get("hooks", {}).get(event)
        for entry in listed if isinstance(listed, list) else []:
            if not isinstance(entry, dict) or entry.get("matcher", "*") not in {"*", "", ".*"}:
                continue
            inner = entry.get("hooks") if agent.shape is Shape.GROUPS else [entry]
            for hook in inner if isinstance(inner, list) else []:
                if isinstance(hook, dict) and is_ours(hook.get("command")):
                    line = str(hook["command"])
                    asked = {key: value for key, value in hook.items() if key != "matcher"}
                    if asked == _hook(agent, line):
                        found[event] = line
    return found


def names_us(path: str) -> bool:
    """Whether a file that cannot be read as settings has a hook of ours in it all the same."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return is_ours(file.read(_LONGEST))
    except OSError:
        return False


def off_switch(agent: Agent, path: str, folder: str) -> str:
    """Say by which key of which file the hooks of `path` are turned off; empty: they are not.

    Looked at are the agent's own files, those of `folder`, and root's.
    """
    file, key = agent.firm_alone
    if file and path != agent.root_file and loosely(file).get(key) is True:
        return f"{key} in {file}"
    project = os.path.join(folder, agent.project_file)
    for main in dict.fromkeys([agent.settings, project, agent.root_file]):
        beside = [os.path.join(os.path.dirname(main), name) for name in agent.beside]
        for looked in [main, *beside]:
            key = _turned_off(loosely(looked), agent)
            if key:
                return f"{key} in {looked}"
    return ""


def loosely(path: str) -> Settings:
    """Read a file that is only looked at; what cannot be read says nothing."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST).decode()
        found = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _turned_off(settings: Settings, agent: Agent) -> str:
    for keys in agent.switch:
        value: Any = settings
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        listed = isinstance(value, list) and _NAME in value
        if listed or (isinstance(value, bool) and value is (keys[-1].startswith("disable"))):
            return ".".join(keys)
    return ""


def write(path: str, settings: Settings) -> None:
    """Put the settings in the place of the file, as a whole, with the rights it had."""
    real = os.path.realpath(path)
    body = (json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode()
    os.makedirs(os.path.dirname(real), mode=0o755, exist_ok=True)
    mode, owner = 0o644, (-1, -1)
    with suppress(FileNotFoundError):
        info = os.stat(real)
        mode, owner = stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid)
    fresh = f"{real}.offswitch-new"
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(fresh, flags, mode)
    try:
        os.fchmod(fd, mode)
        if os.geteuid() == 0:
            os.fchown(fd, *owner)
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(body)
            file.flush()
        os.fsync(fd)
    except BaseException:
        os.unlink(fresh)
        raise
    finally:
        os.close(fd)
    os.replace(fresh, real)

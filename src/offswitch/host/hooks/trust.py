"""Whether Codex was told to trust our hooks: it passes over those that it was not.

A person looks at a new hook in Codex (/hooks) and trusts it; Codex keeps the hash of what was
looked at in its `config.toml`, under the hook's file, event and place in the list. A hook that was
changed since is not run either. Hooks of /etc/codex are trusted by being there.

The hash is over what Codex makes of a hook, in JSON with sorted keys (seen in Codex 0.171).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any

from offswitch.host.hooks.agents import Agent
from offswitch.host.hooks.line import is_ours
from offswitch.host.hooks.settings import Settings, loosely

__all__ = ["untrusted"]

_STATE = "config.toml"


def untrusted(agent: Agent, path: str, settings: Settings) -> str:
    """Say why the agent passes over our hooks of the file at `path`; empty: it does not."""
    if agent.name != "codex" or path == agent.root_file:
        return ""
    config = loosely(os.path.join(os.path.dirname(agent.settings), _STATE))
    hooks = config.get("hooks")
    kept = hooks.get("state") if isinstance(hooks, dict) else None
    for event in agent.events:
        for key, hash_ in _ours(path, event, settings):
            state = kept.get(key) if isinstance(kept, dict) else None
            state = state if isinstance(state, dict) else {}
            if state.get("enabled") is False:
                return f"it was turned off in {agent.title}: {event}"
            if state.get("trusted_hash") != hash_:
                was = "was changed since it was trusted" if state else "is not trusted yet"
                return f"{event} {was}, so {agent.title} does not run it: type /hooks there"
    return ""


def _ours(path: str, event: str, settings: Settings) -> list[tuple[str, str]]:
    """Give key and hash of each hook of ours for an event."""
    label = re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()
    found = []
    listed = settings.get("hooks", {}).get(event)
    for group_at, group in enumerate(listed if isinstance(listed, list) else []):
        inner = group.get("hooks") if isinstance(group, dict) else None
        for hook_at, hook in enumerate(inner if isinstance(inner, list) else []):
            if isinstance(hook, dict) and is_ours(hook.get("command")):
                key = f"{path}:{label}:{group_at}:{hook_at}"
                found.append((key, _hash(label, event, group, hook)))
    return found


def _hash(label: str, event: str, group: dict[str, Any], hook: dict[str, Any]) -> str:
    identity: dict[str, Any] = {"event_name": label, "hooks": [{"async": False, **hook}]}
    if "matcher" in group and event == "PreToolUse":
        identity["matcher"] = group["matcher"]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

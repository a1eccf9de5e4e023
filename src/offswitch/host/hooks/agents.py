"""The coding agents whose hooks we know: their events, their files, and how they are told.

Facts of November 2026, from their own documentation and sources. What they share: a hook is a
command line, gets the event as JSON on stdin, and blocks by exit code 2, whose stderr the model
is shown. Any other failure (1, 127, a signal, a time-out) lets the step go on in three of the
four; Cursor has `failClosed` for it. None of them can be kept from a model call without a tool,
but Gemini CLI, which has an event for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from offswitch.errors import NotFound

__all__ = ["AGENTS", "Agent", "Shape", "named"]


class Shape(StrEnum):
    """How an agent's file lists the hooks of an event."""

    GROUPS = "groups"
    """Groups with a matcher, each with its hooks: Claude Code's, taken over by others."""
    FLAT = "flat"
    """The hooks themselves: Cursor's."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One coding agent."""

    name: str
    """What it is called on our command line."""
    title: str
    """What people call it."""
    program: str
    """What starts it."""
    user_file: str
    """Its settings, below the home folder."""
    folder_variable: str
    """The variable that names another folder than the one in `user_file`; empty: none."""
    project_file: str
    """Its settings, below a project's folder."""
    root_file: str
    """Its settings that only root writes."""
    events: tuple[str, ...]
    """The events before a step, by the names it gives them; first the one before each tool."""
    shape: Shape = Shape.GROUPS
    timeout: int = 30
    """How long it waits for a hook, in its own unit; our own limit is a sixth of it."""
    switch: tuple[tuple[str, ...], ...] = ()
    """Keys of its settings by which all hooks are turned off, or (a list) the ones it names."""
    beside: tuple[str, ...] = ()
    """Other files, beside its settings, in which these keys count as well."""
    firm_alone: tuple[str, str] = ("", "")
    """File and key by which root leaves it no hooks but root's own; empty: there is none."""
    hint: str = ""
    """What a person has to do before it calls the hook."""

    @property
    def tools(self) -> str:
        """The event that comes before each tool."""
        return self.events[0]

    @property
    def settings(self) -> str:
        """Where the settings of whoever runs this lie."""
        folder = os.environ.get(self.folder_variable) if self.folder_variable else None
        name = os.path.basename(self.user_file)
        home = os.path.join(os.path.expanduser("~"), self.user_file)
        return os.path.join(os.path.abspath(folder), name) if folder else home


AGENTS = (
    Agent(
        name="claude-code",
        title="Claude Code",
        program="claude",
        user_file=".claude/settings.json",
        folder_variable="CLAUDE_CONFIG_DIR",
        project_file=".claude/settings.json",
        root_file="/etc/claude-code/managed-settings.json",
        events=("PreToolUse", "UserPromptSubmit"),
        switch=(("disableAllHooks",),),
        beside=("settings.local.json",),
        firm_alone=("/etc/claude-code/managed-settings.json", "allowManagedHooksOnly"),
    ),
    Agent(
        name="codex",
        title="Codex",
        program="codex",
        user_file=".codex/hooks.json",
        folder_variable="CODEX_HOME",
        project_file=".codex/hooks.json",
        root_file="/etc/codex/hooks.json",
        events=("PreToolUse", "UserPromptSubmit"),
        switch=(("features", "hooks"), ("features", "codex_hooks")),
        beside=("config.toml",),
        firm_alone=("/etc/codex/requirements.toml", "allow_managed_hooks_only"),
        hint="in Codex type /hooks and trust the new hooks: it does not run them before",
    ),
    Agent(
        name="gemini",
        title="Gemini CLI",
        program="gemini",
        user_file=".gemini/settings.json",
        folder_variable="",
        project_file=".gemini/settings.json",
        root_file="/etc/gemini-cli/settings.json",
        events=("BeforeTool", "BeforeAgent", "BeforeModel"),
        timeout=30_000,
        switch=(("hooksConfig", "enabled"), ("hooksConfig", "disabled"), ("tools", "enableHooks")),
    ),
    Agent(
        name="cursor",
        title="Cursor",
        program="cursor-agent",
        user_file=".cursor/hooks.json",
        folder_variable="",
        project_file=".cursor/hooks.json",
        root_file="/etc/cursor/hooks.json",
        events=("preToolUse", "beforeSubmitPrompt", "subagentStart"),
        shape=Shape.FLAT,
    ),
)


def named(name: str) -> Agent:
    """Give the agent of that name."""
    for agent in AGENTS:
        if agent.name == name:
            return agent
    known = ", ".join(agent.name for agent in AGENTS)
    raise NotFound(f"there is no hook for {name[:40]!r}", f"known agents: {known}")

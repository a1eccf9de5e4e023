"""Tool scope: which tools it may call, how often, and with what; anything else is an alarm.

    { kind = "tool_scope", series = 'guard.step{kind="tool"}', tools = {
        search = {}, "db.*" = { most = 30, per = "1m" },
        write_file = { paths = ["/srv/shop"] },
        fetch = { hosts = ["api.acme.example"] },
        mail = { arguments = { to = "*@acme.example" }, never = ["*password*"] } } }

A call is outside if its tool is not named (unless `others = "allow"`); if it is one too many
within `per`; if an argument points at a path below none of `paths`, or at a host that is none
of `hosts` nor below one; if a named argument is missing or does not match; if any argument
matches one of `never`; or if what limits it cannot be judged, because part of it was left out
or only a shell could spell it out. Where a tool has `paths`, `hosts` or `arguments` and nobody
tells its arguments, every call is outside: what cannot be seen is not taken for harmless.

Patterns are a shell's (`*`, `?`, `[…]`), whose cost does not depend on what the target writes.
score = 2 outside, else the largest share of a `most`. The alarm falls `clear_after` after the
last call that was outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Duration, Section
from offswitch.watch.detectors.call import Call, call_of
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.words import hosts, inside_any, paths, unclear

__all__ = ["ToolRange", "ToolScope", "ToolScopeSection"]

_SHOWN = 120


class ToolRange(Section):
    """What one tool may be used for."""

    most: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many calls within `per`."""
    per: Duration = 60_000_000
    paths: list[str] = Field(default_factory=list)
    """Files, and folders with all below them, that its arguments may point at."""
    hosts: list[str] = Field(default_factory=list)
    """Hosts, and domains with all below them, that its arguments may point at."""
    arguments: dict[str, str] = Field(default_factory=dict)
    """What an argument must match."""
    never: list[str] = Field(default_factory=list)
    """What no argument may match."""


class ToolScopeSection(DeadbandSection):
    """The keys of a tool scope."""

    kind: Literal["tool_scope"]
    tools: dict[str, ToolRange] = Field(min_length=1, max_length=1000)
    """By the tool's name, or a pattern of names; the first that matches counts."""
    others: Literal["refuse", "allow"] = "refuse"
    """What a tool is that is not named."""


class ToolScope:
    """Declared tool scopes."""

    Settings: ClassVar[type[ToolScopeSection]] = ToolScopeSection
    EVENTS: ClassVar[bool] = True

    __slots__ = ("_alarm", "_recent", "_settings")

    def __init__(self, settings: ToolScopeSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._recent: dict[str, deque[int]] = {}
        """The times of each limited tool's last calls, one more than allowed at most."""

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Judge one call; a reading of 0 says that there was none."""
        if not value > 0:
            raised = self._alarm.update(mono_us, beyond=False, inside=True)
            return Verdict(0.0, raised, "no call")
        call = call_of(detail or {})
        why, share = self._judge(mono_us, call)
        raised = self._alarm.update(mono_us, beyond=bool(why), inside=not why)
        name = call.name[:_SHOWN]
        if not why:
            return Verdict(share, raised, f"{name}: inside of what is declared")
        return Verdict(
            2.0,
            raised,
            f"{name}: {why}",
            {
                "band": ", ".join(self._settings.tools)[:_SHOWN],
                "contradicts": "the task needs this call, and the declaration lacks it",
            },
        )

    def _judge(self, mono_us: int, call: Call) -> tuple[str, float]:
        """Say why a call is outside, and which share of its number is used."""
        found = self._range(call.name)
        if found is None:
            refused = self._settings.others == "refuse"
            return ("a tool that is not declared" if refused else ""), 0.0
        pattern, limits = found
        why = _outside(call, limits)
        if limits.most is None:
            return why, 0.0
        recent = self._recent.setdefault(pattern, deque(maxlen=limits.most + 1))
        recent.append(mono_us)
        while recent and recent[0] <= mono_us - limits.per:
            recent.popleft()
        if len(recent) > limits.most:
            why = why or f"more than {limits.most} calls in its time"
        return why, len(recent) / (limits.most or 1)

    def _range(self, name: str) -> tuple[str, ToolRange] | None:
        tools = self._settings.tools
        if name in tools:
            return name, tools[name]
        for pattern, limits in tools.items():
            if fnmatchcase(name, pattern):
                return pattern, limits
        return None

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._recent.clear()
        self._alarm.rearm()


def _outside(call: Call, limits: ToolRange) -> str:
    for pattern in limits.never:
        for text in call.args.values():
            if fnmatchcase(text, pattern):
                return f"an argument is what it must never be ({pattern})"
    if not (limits.paths or limits.hosts or limits.arguments):
        return ""
    if call.cut or not call.args:
        return "its arguments were not told, or not all of them"
    for name, pattern in limits.arguments.items():
        if name not in call.args:
            return f"its argument {name} is missing"
        if not fnmatchcase(call.args[name], pattern):
            return f"{name} = {call.args[name][:_SHOWN]!r} is not {pattern}"
    return _points_outside(call, limits)


def _points_outside(call: Call, limits: ToolRange) -> str:
    if not (limits.paths or limits.hosts):
        return ""
    odd = unclear(call.args)
    if odd:
        return f"where {odd[:_SHOWN]!r} leads cannot be told"
    if limits.paths:
        for path in paths(call.args):
            if not inside_any(path, limits.paths):
                return f"it points at {path[:_SHOWN]!r}"
    if limits.hosts:
        for host in hosts(call.args):
            if not any(host == one or host.endswith("." + one) for one in limits.hosts):
                return f"it points at the host {host[:_SHOWN]!r}"
    return ""

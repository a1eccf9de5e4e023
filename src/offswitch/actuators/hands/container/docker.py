"""Containers, by the API of Docker or Podman (`podman system service`): killed, and none returns.

The warden kills an adopted container by its cgroup, in less than a millisecond; this hand is the
second way, and tells the engine, which would else start it again: a restart policy that would bring
it back is taken away (Docker; Podman has that call since 5), or it is told to stop until it was the
engine that stopped it: then it counts as stopped by hand. A Podman without that call may come too
late each time, since the warden kills every start in its first milliseconds, and what has exited
can be told nothing: its count of starts says so, *not stopped*, and the hand is told again.

*Stopped* is said when the engine has no process of it and waits for no restart, and the cgroup that
it had is empty, where that can be seen. A paused container is not stopped: it goes on when anybody
says so, and under a v1 freezer no kill reaches it until it is thawed.

Whoever may speak to that socket is root on its machine. It is opened before rights are given away;
the process that acts keeps the right to connect anew (CAP_DAC_OVERRIDE) and no file to use it on
(Landlock); the one that looks has no right, and is started again where its connection is lost.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.cgroup_of import CgroupOf, bears
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.serving.server import Still
from offswitch.clock import Clock, SystemClock, new_nonce
from offswitch.config.section import ActuatorSection
from offswitch.printable import printable

__all__ = ["Docker"]

_DAC_OVERRIDE = 1
_DOCKER = "/var/run/docker.sock"
_GONE = 404
_BRINGS_BACK = frozenset({"always", "unless-stopped", "on-failure"})
_STOPPED = frozenset({204, 404})
_AGAIN_S, _SELDOM_S = 0.005, 0.05
"""How soon it is told again at first, and later: an engine that restarts it has enough to do."""
_STILL_US = 1_200_000
"""For how long one that its engine might start again must not have been."""
_KILLS = frozenset({"kill", "poweroff"})
_MOST = 64
_UPDATES = 5
"""Since this Podman a restart policy can be taken away."""
_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,200}$"


class DockerSettings(ActuatorSection):
    """Which containers, and where their engine listens."""

    LAYER = "container"
    FILES = frozenset({"socket", "ca_file"})
    KEEPS = frozenset({_DAC_OVERRIDE})
    READS = ("/sys/fs/cgroup",)

    kind: Literal["docker"]
    container: str | None = None
    """Its name; or its id, which a new one does not have."""
    label: str | None = None
    """Or all that bear this label: `key=value` or `key`."""
    socket: str | None = None
    """The engine's socket: Docker's unless given; Podman's is /run/podman/podman.sock."""
    url: str | None = None
    """Instead of a socket: where it listens by TCP, as `http://…` or `https://…`."""
    ca_file: str | None = None
    """Who vouches for its certificate."""

    @model_validator(mode="before")
    @classmethod
    def _docker_unless_said(cls, said: Any) -> Any:  # noqa: ANN401 - as it is written
        if isinstance(said, dict) and "socket" not in said and "url" not in said:
            return said | {"socket": _DOCKER}
        return said

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.container is None) == (self.label is None):
            raise ValueError("name either a `container` or a `label`")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("`url` begins with http:// or https://")
        if (self.socket is None) == (self.url is None):
            raise ValueError("name either a `socket` or a `url`")
        return self


@dataclass(frozen=True, slots=True)
class _Found:
    """A container as its engine tells of it."""

    identity: str
    name: str
    status: str
    alive: bool
    """Whether it runs, is paused, or waits for its restart."""
    paused: bool
    pid: int
    policy: str
    """Its restart policy; empty: none."""
    sessions: int
    """Programs that were started in it from outside (`exec`) and are not gone."""
    since: str
    restarts: int
    """How often its engine has started it again."""

    def words(self) -> str:
        """Say what it is, in one line."""
        more = f", {self.sessions} exec sessions" if self.sessions else ""
        return f"{self.name} ({self.identity[:12]}), {self.status} since {self.since}{more}"


class Docker(Hand):
    """Kills containers through their engine."""

    Settings = DockerSettings
    settings: DockerSettings

    def __init__(self, settings: DockerSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        seconds = max(0.2, settings.deadline / 1e6 * 0.8)
        self._line = Line(
            settings.url or "http://engine",
            timeout_s=seconds,
            ca_file=settings.ca_file,
            unix=settings.socket,
        )
        self._engine = "Docker or Podman"
        self._cgroups = CgroupOf()
        self._cgroups.learn(context.remembered)
        self.clock: Clock = SystemClock()
        self._still = Still(_STILL_US)
        self._starts: int | None = None
        """How often it had been started again when it was looked at last."""
        self._known: dict[str, _Found] = {}
        """Those seen alive when it was proven last."""
        self._policies: dict[str, str] = {}
        """Restart policies that a trip took away."""

    def prepare(self) -> None:
        """Connect while it may: the socket is root's."""
        self.open()

    def open(self) -> None:
        """Connect; who looks and may not any more has a new process looked for (see above)."""
        try:
            self._line.open()
        except Trouble as trouble:
            refused = isinstance(trouble.__context__, PermissionError)
            if refused and self.context.role is Role.LOOK and os.geteuid() != 0:
                os._exit(os.EX_UNAVAILABLE)
            raise

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def arm(self) -> Readiness:
        """Have a container killed that nobody has: the engine says so, a proxy would refuse."""
        self._still, self._starts = Still(_STILL_US), None  # of a stop that is over
        headers = self._asked("GET", "/_ping").headers  # /version takes Podman most of a second
        podman = headers.get("libpod-api-version")
        engine = f"Podman {podman}" if podman else headers.get("server", "an engine")
        self._engine = printable(engine, 40)
        canary = f"offswitch-canary-{new_nonce()}"
        answer = self._line.ask("POST", f"/containers/{canary}/kill?signal=KILL")
        if answer.status != _GONE:
            raise self._wrong("kill", answer)
        found = self._found()
        self._known = {each.identity: each for each in found if each.alive}
        for each in self._known.values():
            self._cgroups.note(each.identity, each.pid)
        if not found:
            return Readiness(Ready.READY, f"{self._engine} answers; nothing is called that now")
        if podman and _major(podman) < _UPDATES and (name := self._outrun()):
            detail = (
                f"it may start {name} again before it is told not to: Podman 5, or no --restart"
            )
            return Readiness(Ready.DEGRADED, f"{self._engine} answers; {detail}")
        alive = len(self._known)
        return Readiness(Ready.READY, f"{self._engine} answers; {alive} of {len(found)} alive")

    def trip(self, level: str) -> Acted:
        """Kill each, and take away what would start it again."""
        if level not in _KILLS:
            raise Trouble(
                f"no {level} of containers: whoever may speak to their engine undoes a pause",
                "name the process layer for this level",
            )
        end = self.clock.mono_us() + int(self.settings.deadline * 0.7)
        named = self.settings.container
        by_engine = {named} if named is not None and self._kill(named) else set()
        found = self._found()
        happened = tuple(each.words() for each in (*self._known.values(),) or found)
        loose = []
        for each in found:
            if not by_engine and each.alive and self._kill(each.identity):
                by_engine.add(each.identity)
            if not self._stays_down(each) and not by_engine & {named, each.identity}:
                loose.append(each)
        loose = [each for each in loose if not self._caught(each, end)]
        words = f"{self._engine} was told to kill {len(found) or 'what is called that: nothing is'}"
        if loose:
            words += f"; it may start {', '.join(each.name for each in loose)} again"
        return Acted(words, happened)

    def look(self) -> Sight:
        """Ask the engine, and the cgroups that they had."""
        found = self._found()
        for each in found:
            if each.paused:
                return Sight(False, f"{each.name} is paused: that is not stopped")
            if each.alive:
                self._still = Still(_STILL_US)
                self._cgroups.note(each.identity, each.pid)
                return Sight(False, f"{each.name} is {each.status}, process {each.pid}")
        left = self._cgroups.populated()
        self.memory = self._cgroups.told
        if left:
            return Sight(False, f"its engine calls it stopped, and processes are left in {left}")
        names = ", ".join(f"{each.name} {each.status}" for each in found[:8])
        coming = [each for each in found if each.policy in _BRINGS_BACK]
        starts = sum(each.restarts for each in coming)
        before, self._starts = self._starts, starts
        if before is not None and starts > before:
            self._still = Still(_STILL_US)
            return Sight(False, f"{names}; its engine starts it again, {starts} times by now")
        if coming and not self._still.holds(starts, self.clock.mono_us()):
            return Sight(None, f"{names}; its engine may be about to start it again")
        return Sight(True, names or "nothing is called that any more")

    def release(self) -> Acted:
        """Give back the restart policies that a trip took away; nothing is started."""
        given: list[str] = []
        lost: list[str] = []
        for identity, policy in self._policies.items():
            body = {"RestartPolicy": {"Name": policy}}
            answer = self._line.ask("POST", f"/containers/{identity}/update", body)
            (given if answer.ok else lost).append(f"restart policy of {identity[:12]}: {policy}")
        self._policies.clear()
        words = f"given back: {', '.join(given)}" if given else "nothing is started"
        return Acted(words, reissue=tuple(lost))

    def holds(self) -> tuple[str, ...]:
        """List those that are alive."""
        return tuple(each.words() for each in self._known.values())

    def route(self) -> Route:
        """Say what it rests on."""
        line, socket = self._line, self.settings.socket
        credential = f"may connect to {line.place}" if line.transport == "unix" else "none"
        needs = (socket,) if line.transport == "unix" and socket else ()
        return Route(line.transport, line.place, credential, self._engine, needs)

    def _outrun(self) -> str:
        """Name one that comes again and that the warden, which is faster, kills by its cgroup."""
        path = (self.cell and self.cell.path) or ""
        comes = (each for each in self._known.values() if each.policy in _BRINGS_BACK)
        return next((each.name for each in comes if each.identity in path), "")

    # --- the engine's words -----------------------------------------------------------

    def _caught(self, each: _Found, end_us: int) -> bool:
        """Have its engine stop one itself: else it counts as ended of itself, and comes again.

        The warden kills its cgroup meanwhile, and mostly comes first. Then this waits for the
        engine to start it again, a tenth of a second or so, and is told once more.
        """
        path, pause_s = f"/containers/{each.identity}/stop?t=0", _AGAIN_S
        while self._line.ask("POST", path).status not in _STOPPED:
            if self.clock.mono_us() > end_us:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _SELDOM_S)
        return True

    def _kill(self, who: str) -> bool:
        """Kill one; whether it was the engine that did it, or there is none.

        How an engine says that there is nothing to kill differs, so it is looked.
        """
        path = f"/containers/{quote(who, safe='')}"
        answer = self._line.ask("POST", f"{path}/kill?signal=KILL")
        if answer.ok or answer.status == _GONE:
            return True
        found = self._inspected(who)
        if found is not None and found.paused:
            self._line.ask("POST", f"{path}/unpause")
            answer = self._line.ask("POST", f"{path}/kill?signal=KILL")
            found = None if answer.ok else self._inspected(who)
        if found is not None and found.alive:
            raise self._wrong("kill", answer)
        return found is None

    def _stays_down(self, each: _Found) -> bool:
        """Take a restart policy away that would bring it back; whether none is left."""
        if each.policy not in _BRINGS_BACK:
            return True
        body = {"RestartPolicy": {"Name": "no"}}
        answer = self._line.ask("POST", f"/containers/{each.identity}/update", body)
        if answer.ok:
            self._policies[each.identity] = each.policy
        return answer.ok

    def _found(self) -> list[_Found]:
        if self.settings.container is not None:
            one = self._inspected(self.settings.container)
            return [one] if one is not None else []
        filters = quote(json.dumps({"label": [self.settings.label]}), safe="")
        listed = self._asked("GET", f"/containers/json?all=true&filters={filters}").json()
        if not isinstance(listed, list):
            raise Trouble(f"{self._line.place}: no list of containers in its answer")
        if len(listed) > _MOST:
            raise Trouble(f"{len(listed)} containers bear {self.settings.label}: too many")
        named = [each.get("Id") for each in listed if isinstance(each, dict)]
        found = [self._inspected(each) for each in named if isinstance(each, str)]
        return [each for each in found if each is not None]

    def _inspected(self, who: str) -> _Found | None:
        answer = self._line.ask("GET", f"/containers/{quote(who, safe='')}/json")
        if answer.status == _GONE:
            return None
        if not answer.ok:
            raise self._wrong("inspect", answer)
        said = answer.json()
        try:
            found = _read(said)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise Trouble(f"{self._line.place}: what it says of {who} is not understood") from None
        if found.alive or found.pid <= 0:
            return found
        # Podman goes on naming the process of one that it stopped before it had begun.
        lives = self.settings.url is not None or bears(found.pid, found.identity)
        return replace(found, alive=lives)

    def _asked(self, method: str, path: str) -> Answer:
        answer = self._line.ask(method, path)
        if not answer.ok:
            raise self._wrong(path.partition("?")[0], answer)
        return answer

    def _wrong(self, what: str, answer: Answer) -> Trouble:
        text = printable(answer.text, 160)
        return Trouble(f"{self._line.place}: {what} is answered {answer.status}: {text}")


def _major(version: str) -> int:
    """Give the first part of a version; one that is not understood counts as old."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def _read(said: Any) -> _Found:  # noqa: ANN401 - what an engine sends
    """Understand what an engine says of a container, or raise."""
    state = said["State"]
    running, paused = state["Running"], state["Paused"]
    restarting, pid = state.get("Restarting", False), state["Pid"]
    if not all(isinstance(each, bool) for each in (running, paused, restarting)):
        raise TypeError(state)
    status = str(state.get("Status"))
    alive = running or paused or restarting or status == "stopping"
    return _Found(
        identity=str(said["Id"]),
        name=printable(str(said["Name"]).lstrip("/"), 80),
        status=printable(status, 20),
        alive=alive,
        paused=paused,
        pid=int(pid),
        policy=str((said["HostConfig"].get("RestartPolicy") or {}).get("Name") or ""),
        sessions=len(said.get("ExecIDs") or ()),
        since=printable(str(state.get("StartedAt"))[:19], 20),
        restarts=int(said.get("RestartCount") or 0),
    )

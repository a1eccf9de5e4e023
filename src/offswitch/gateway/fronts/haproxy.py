"""HAProxy, by its runtime socket: a stop puts a server into maintenance and shuts its sessions.

    run      ready, if it was us who shut it          drain   drain: nothing new, what flows may end
    kill     maint; `shutdown sessions`; then its own figures are read until no session is left

HAProxy can neither pause a stream nor tell tools from talk, so *freeze* is done as a kill, and
*restrict* not at all. A stream is torn off, with no word of why, within some 30 to 60 ms for a
thousand of them. It comes back only when the target's word says run again, that is after a reset.
What is held is looked at four times a second: an HAProxy that was started anew knows of no stop.

Should this process die, HAProxy goes on by itself; therefore `standing` answers its health check,
with `on-marked-down shutdown-sessions` beside it: then a front that nobody stands for is shut too.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from offswitch.errors import Unreachable, Usage
from offswitch.gateway.fronts.following import Following
from offswitch.model.level import Level
from offswitch.printable import printable

__all__ = ["Haproxy", "Runtime", "Server", "State", "server_given"]

_PATIENCE_S = 0.5
_LONGEST = 1 << 20
_AGAIN_S = 0.02
_COMPLAIN_S = 1.0
_LOOK_S = 0.25
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Server:
    """A server of HAProxy's, and the target that what goes through it belongs to."""

    backend: str
    name: str
    target: str

    @property
    def path(self) -> str:
        """As HAProxy writes it."""
        return f"{self.backend}/{self.name}"


class State(StrEnum):
    """What a server is to be."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


def server_given(text: str) -> Server:
    """Read `BACKEND/SERVER=TARGET`."""
    path, _, target = text.partition("=")
    backend, _, name = path.partition("/")
    if not _NAME.fullmatch(backend) or not _NAME.fullmatch(name) or not target:
        raise Usage(f"not a server: {printable(text)}", "--server BACKEND/SERVER=TARGET")
    return Server(backend, name, target)


class Runtime:
    """HAProxy's runtime socket; a connection for each command, as it wants it."""

    def __init__(self, path: str) -> None:
        """`path` is what `stats socket` names, with `level admin`."""
        self.path = path

    async def tell(self, command: str) -> str:
        """Give its answer; `Unreachable` if there is none within half a second."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(self.path, limit=_LONGEST)
                try:
                    writer.write(f"{command}\n".encode())
                    await writer.drain()
                    return (await reader.read(-1))[:_LONGEST].decode(errors="replace")
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            what = getattr(error, "strerror", None) or "it does not answer"
            hint = "global: stats socket PATH level admin"
            raise Unreachable(f"HAProxy's runtime socket {self.path}: {what}", hint) from None

    async def put(self, server: Server, state: State) -> None:
        """Put a server into a state; from maintenance on, shut what flows."""
        command = f"set server {server.path} state {state}"
        if state is State.MAINT:
            command += f"; shutdown sessions server {server.path}"
        said = (await self.tell(command)).strip()
        if said:
            raise Unreachable(f"HAProxy refuses: {printable(said)[:200]}", f"to {command}")

    async def sessions(self, server: Server) -> tuple[int, str]:
        """Give how many sessions a server has, and the state that HAProxy says it is in."""
        rows = (await self.tell("show stat -1 4 -1")).lstrip("# ").splitlines()
        names = rows[0].split(",") if rows else []
        for row in rows[1:]:
            found = dict(zip(names, row.split(","), strict=False))
            if (found.get("pxname"), found.get("svname")) != (server.backend, server.name):
                continue
            count = found.get("scur", "")
            if not (count.isascii() and count.isdigit()):
                raise Unreachable(f"HAProxy tells no sessions of {server.path}", "show stat")
            return int(count), found.get("status", "")
        raise Unreachable(f"HAProxy has no server {server.path}", "show servers state")


@dataclass(slots=True)
class _Of:
    """What is known of one server."""

    put: State | None = None
    """What it was put into, by us; None: it was left as it is."""
    since: float = 0.0
    empty: bool = True
    """Whether no session is left since it was shut."""
    looked: float = 0.0
    """When it was last looked at."""
    complained: float = 0.0


class Haproxy:
    """Sees to it that each server is what its target's word says."""

    def __init__(
        self,
        runtime: Runtime,
        servers: Sequence[Server],
        following: Following,
        say: Callable[[str], None],
    ) -> None:
        """`say` tells people what was done, and what was seen after it."""
        self._runtime = runtime
        self._following = following
        self._say = say
        self._of = {server: _Of() for server in servers}

    async def run(self) -> None:
        """Act whenever a word changes, and look until what was commanded is seen."""
        while True:
            await self.step()
            if all(each.empty for each in self._of.values()):
                await self._following.changed()
            else:
                await asyncio.sleep(_AGAIN_S)

    async def step(self) -> None:
        """Bring all servers to where they are to be, those that are to be shut first."""
        wanted = {server: _state(self._following.level(server.target)) for server in self._of}
        for server in sorted(wanted, key=lambda each: wanted[each] is not State.MAINT):
            try:
                await self._bring(server, wanted[server])
            except Unreachable as error:
                self._complain(server, str(error))

    async def _bring(self, server: Server, state: State) -> None:
        of = self._of[server]
        if state is State.READY and of.put is None:
            return  # whoever else put it into maintenance is to take it out
        if state is not of.put:
            before = of.put
            of.put, of.since, of.empty = state, time.monotonic(), state is not State.MAINT
            try:
                await self._runtime.put(server, state)
            except Unreachable:
                of.put, of.empty = before, True  # it is tried again, for as long as it takes
                raise
            if state is not State.MAINT:
                self._say(f"haproxy {server.path}: {state}, as {server.target} may")
            if state is State.READY:
                of.put = None
        elif not of.empty or time.monotonic() - of.looked > _LOOK_S:
            await self._look(server, of, state)

    async def _look(self, server: Server, of: _Of, state: State) -> None:
        of.looked = time.monotonic()
        left, status = await self._runtime.sessions(server)
        if of.empty:
            if not status.startswith(state.upper()) or (left and state is State.MAINT):
                self._say(f"haproxy {server.path}: {printable(status)}, though it is to be {state}")
                of.put = None  # it is begun anew
            return
        took = round((time.monotonic() - of.since) * 1000)
        if left == 0 and status.startswith("MAINT"):
            of.empty = True
            text = f"haproxy {server.path} in maintenance, no session left after {took} ms"
            self._say(f"{text} ({server.target} is stopped)")
            self._following.note(server.target, text)
            return
        await self._runtime.put(server, State.MAINT)
        if time.monotonic() - of.since > _COMPLAIN_S:
            self._complain(server, f"{left} sessions left after {took} ms, {printable(status)}")

    def _complain(self, server: Server, text: str) -> None:
        of, now = self._of[server], time.monotonic()
        if now - of.complained > _COMPLAIN_S:
            of.complained = now
            self._say(f"haproxy {server.path}: NOT CONFIRMED: {text}")
            self._following.note(server.target, f"haproxy {server.path}: not confirmed: {text}")


def _state(level: Level | None) -> State:
    if level is None or level is Level.RESTRICT:
        return State.READY
    return State.DRAIN if level is Level.DRAIN else State.MAINT

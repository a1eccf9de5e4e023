"""A world for the console that does what a test says: warden and watch's desk, in a thread.

The station beside it is a real one. What is real of the world the other tests show; here rows,
alarms and questions are set as they are wanted, hundreds at once, and the warden falls silent when
it is told to.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from typing import Any, cast

from house import House
from installation import Installation
from offswitch import __version__
from offswitch.clock import SystemClock
from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.place import Place
from offswitch.warden.installation import prepare

__all__ = ["World", "row"]

LAYERS = ("guard", "network", "process", "sweep")

Message = dict[str, Any]


def row(name: str, state: str = "running", **said: Any) -> Message:  # noqa: ANN401
    """Give a target as the warden's feed spells it."""
    return {
        "target": name,
        "kind": "agent",
        "labels": {},
        "state": state,
        "level": None,
        "confirmed": False,
        "blind": False,
        "stops": [],
        "layers": {},
        "signals": ["engine", "tools"],
        "stale": [],
        "readiness": dict.fromkeys(LAYERS, "ready"),
        "sharing": False,
        "escapable": False,
        "user": "",
        "adopted": None,
        "trouble": "",
        "since_us": 1,
        **said,
    }


class World:
    """One, with a house on it. Every change is told to who follows at once."""

    def __init__(self) -> None:
        self.home = tempfile.mkdtemp(prefix="offswitch-world-")
        self.run_folder = tempfile.mkdtemp(prefix="offswitch-test-", dir="/dev/shm")
        self.place = Place(self.home, self.run_folder)
        prepare(self.place)
        os.makedirs(self.place.spool, mode=0o777)
        os.chmod(self.place.spool, 0o1777)
        station = user_of("station")
        os.makedirs(f"{self.home}/station", mode=0o700)
        if station is not None:
            os.chown(f"{self.home}/station", station.uid, station.gid)
        self.rows: dict[str, Message] = {}
        self.stops: list[Message] = []
        self.alarms: list[Message] = []
        self.decisions: list[Message] = []
        self.leaves: list[Message] = []
        self.sensors: list[Message] = []
        self.said: Message = {}
        self.heard: list[Message] = []
        """What was asked, besides looking."""
        self.silent = False
        self.confirms = True
        self._version = 1
        self._followers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._do(self._open())
        self.house = House(cast("Installation", self))

    # --- what a test says ---------------------------------------------------------

    def put(self, *rows: Message, **said: Any) -> None:  # noqa: ANN401
        """Have rows, and whatever else the feed carries, be so from now on."""
        self._do(self._put(rows, said))

    def stop(self, scope: str, *names: str, by: str = "person:ada", **said: Any) -> Message:  # noqa: ANN401
        """Have a live stop cover `names`, all of them stopped and confirmed."""
        digest = f"{len(self.stops) + 1:064x}"
        live = {
            "digest": digest,
            "scope": scope,
            "level": "kill",
            "by": by,
            "channel": "console",
            "time_us": SystemClock().wall_us(),
            "reason": "",
            "count": 1,
            "durable": True,
            **said,
        }
        self.stops.append(live)
        held = {"level": live["level"], "state": "stopped", "confirmed": True, "stops": [digest]}
        self.put(*({**self.rows[name], **held} for name in names), stops=[live])
        return live

    def clear(self) -> None:
        """Begin anew, with nothing in it."""
        self.rows, self.stops, self.alarms, self.decisions = {}, [], [], []
        self.leaves = []
        self.sensors = []
        self.said, self.heard, self.silent, self.confirms = {}, [], False, True
        self._do(self._hang_up())

    async def _hang_up(self) -> None:
        for writer in self._followers:
            writer.close()

    def close(self) -> None:
        self.house.close()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        shutil.rmtree(self.run_folder, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    # --- how it is done -----------------------------------------------------------

    def _do(self, work: Any) -> Any:  # noqa: ANN401
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._beat())
        self._loop.run_forever()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _open(self) -> None:
        for name, serve in (("warden", self._warden), ("watch", self._watch)):
            path = f"{self.place.control}/{name}"
            self._servers.append(await asyncio.start_unix_server(self._serving(serve), path))
            os.chmod(path, 0o666)

    def _serving(self, serve: Callable[[Message, asyncio.StreamWriter], None]) -> Any:  # noqa: ANN401
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            decoder = frames.Decoder()
            try:
                while data := await reader.read(1 << 16):
                    for message in decoder.feed(data):
                        if not self.silent:
                            serve(message, writer)
            except OSError:
                pass
            finally:
                self._followers.discard(writer)
                writer.close()

        return served

    async def _put(self, rows: tuple[Message, ...], said: Message) -> None:
        self.rows.update({one["target"]: one for one in rows})
        stops = said.pop("stops", [])
        self.said |= said
        self._version += 1
        told = {"targets": list(rows), "stops": stops, **said}
        self._tell({"event": "changes", "version": self._version, "more": False, **told})

    def _tell(self, message: Message) -> None:
        frame = frames.encode(message, frames.MAX_ANSWER)
        for writer in () if self.silent else self._followers:
            writer.write(frame)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._tell({"event": "beat", "version": self._version})

    def _warden(self, message: Message, writer: asyncio.StreamWriter) -> None:
        op = message.get("op")
        if op == "follow":
            self._followers.add(writer)
            facts = {"installation": "test", "run": self.run_folder, "rung": "root-cgroup"}
            processes = dict.fromkeys(("keeper", "observer", "recorder", "sweeper"), True)
            picture = {
                "event": "picture",
                "version": self._version,
                "more": False,
                "targets": list(self.rows.values()),
                "stops": self.stops,
                "notes": [],
                "alarms": [],
                "doubts": {},
                "resetting": [],
                "untracked": [],
                "processes": processes,
                "warden": {**facts, "version": __version__, "mode": "act", "epoch": 1},
                **self.said,
            }
            self._reply(writer, picture)
        elif op == "ping":
            self._reply(writer, {"pong": True, "installation": "test", "version": __version__})
        elif op == "people":
            self._reply(writer, {"mode": "local", "people": [], "problems": []})
        elif op == "resets":
            self._reply(writer, {"mode": "local", "resets": []})
        elif op == "status":
            self._reply(writer, {"targets": [], "latched": self.stops, "notes": [], "alarms": []})
        elif op == "stop":
            self.heard.append(message)
            self._reply(writer, {"accepted": True, "order": f"{len(self.heard):064x}"})
            self._loop.call_later(0.05, self._stopped, message, writer)
        else:
            self._reply(writer, {"error": {"kind": "not-found", "message": "no", "hint": ""}})

    def _stopped(self, message: Message, writer: asyncio.StreamWriter) -> None:
        targets = [
            {
                "target": name,
                "state": "stopped" if self.confirms else "stopping",
                "confirmed": self.confirms,
                "layers": [{"layer": "process", "confirmed": self.confirms, "detail": "7 live"}],
            }
            for name in self.rows
            if message["scopes"] == ["/"] or any(name.startswith(s) for s in message["scopes"])
        ]
        confirmed = self.confirms and bool(targets)
        self._reply(writer, {"order": "", "confirmed": confirmed, "targets": targets})

    def _watch(self, message: Message, writer: asyncio.StreamWriter) -> None:
        op = str(message.get("op"))
        looks = {
            "alarms": {"alarms": self.alarms, "near": []},
            "decisions": {"decisions": self.decisions, "leaves": self.leaves},
            "rules": {"rules": [], "lowered": [], "waiting": [], "proposals": [], "problem": ""},
            "sensors": {"sensors": self.sensors, "left_out": 0},
        }
        if op not in looks:
            self.heard.append(message)
        self._reply(writer, looks.get(op, {}))

    def _reply(self, writer: asyncio.StreamWriter, message: Message) -> None:
        writer.write(frames.encode(message, frames.MAX_ANSWER))

"""Following a warden as the station does, but blocking: for tests."""

from __future__ import annotations

import socket
import time
from typing import Any, Self

from offswitch.control import frames
from offswitch.control.client import connect
from offswitch.control.place import Place

__all__ = ["Following"]


class Following:
    """One feed, and what it has told so far."""

    def __init__(self, place: Place, sock: socket.socket | None = None) -> None:
        self.sock = sock or connect(place.warden_socket, 10.0)
        frames.send(self.sock, {"op": "follow"})
        self.targets: dict[str, dict[str, Any]] = {}
        self.stops: dict[str, dict[str, Any]] = {}
        self.said: dict[str, Any] = {}
        self.frames: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def next(self) -> dict[str, Any]:
        """Take in one frame."""
        got = frames.receive(self.sock)
        assert got is not None, "the warden hung up"
        message = got[0]
        self.frames.append(message)
        if message.get("event") == "picture":
            self.targets, self.stops = {}, {}
        self.targets.update({row["target"]: row for row in message.get("targets", ())})
        self.stops.update({one["digest"]: one for one in message.get("stops", ())})
        for name in message.get("gone", ()):
            self.targets.pop(name, None)
        for digest in message.get("cleared", ()):
            self.stops.pop(digest, None)
        lists = {"targets", "gone", "stops", "cleared"}
        self.said.update({key: value for key, value in message.items() if key not in lists})
        return message

    def whole(self) -> Self:
        """Take in frames until nothing more is on its way."""
        while self.next().get("more") is not False:
            pass
        return self

    def until(self, true: Any, seconds: float = 10.0) -> Self:  # noqa: ANN401
        """Take in frames until `true(self)` is."""
        end = time.monotonic() + seconds
        while not true(self):
            assert time.monotonic() < end, f"in vain; the last frames: {self.frames[-3:]}"
            self.next()
        return self

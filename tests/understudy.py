"""An understudy of the warden: it keeps the page and a keeper, and does nothing by itself.

Run as a program it is a process that a test can freeze and kill; each line on its stdin is
a call of `Understudy`, each line on its stdout the answer. It uses the real page writer and
the real link, so that the keeper at the other end cannot tell the difference.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

from offswitch.control.place import Place
from offswitch.warden.keeper.left import forget_left
from offswitch.warden.keeper_link import KeeperLink
from offswitch.warden.page_writer import PageWriter


class Understudy:
    """What the program can be told to do."""

    def __init__(self, home: str, run: str) -> None:
        self.place = Place(home, run)
        self.page = PageWriter.take(self.place)
        self.link: KeeperLink | None = None
        self.heard: list[dict[str, Any]] = []
        self.until = 0.0

    def facts(self) -> dict[str, Any]:
        keeper = self.link.pid if self.link is not None else 0
        return {"pid": os.getpid(), "epoch": self.page.epoch, "keeper": keeper}

    def keep(self, kill_after_s: float) -> dict[str, Any]:
        """Start a keeper."""
        epoch = self.page.epoch
        self.link = KeeperLink.start(self.place, self.page.path, epoch, kill_after_s)
        return self.facts()

    def renew(self, for_s: float = 3600.0, lease_s: float = 3.0) -> None:
        """Keep the lease fresh for so long."""
        self.until = time.monotonic() + for_s
        self.lease_ns = int(lease_s * 1e9)
        self.page.renew(self.lease_ns)

    def hand(self, name: str, cgroup: str, target: str, labels: dict[str, str], word: int) -> int:
        """Hand a cell over and wait for the word that it is held; give its slot."""
        assert self.link is not None
        slot = self.page.allot()
        self.page.set(slot, word)
        fds = {
            "kill": os.open(f"{cgroup}/cgroup.kill", os.O_WRONLY),
            "freeze": os.open(f"{cgroup}/cgroup.freeze", os.O_WRONLY),
            "events": os.open(f"{cgroup}/cgroup.events", os.O_RDONLY),
        }
        self.link.hand({"name": name}, fds, target, labels, slot)
        for fd in fds.values():
            os.close(fd)
        self.expect("ack", name)
        return slot

    def expect(self, key: str, value: str | None = None) -> dict[str, Any]:
        """Wait until the keeper says it."""
        assert self.link is not None
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for message in self.heard:
                if key in message and value in {None, message[key]}:
                    self.heard.remove(message)
                    return message
            select.select([self.link], [], [], 0.05)
            self.heard += self.link.messages()
        raise TimeoutError(f"{key} {value}: heard {self.heard}")

    def heard_last(self, key: str) -> str:
        """Give the last thing of this kind that the keeper has said."""
        while True:
            message = self.expect(key)
            if not self.heard:
                return str(message[key])

    def set(self, slot: int, word: int) -> None:
        self.page.set(slot, word)

    def word(self, slot: int) -> int:
        return self.page.word(slot)

    def ready(self) -> None:
        """Say in the page that the keeper has everything."""
        self.page.keeper_ready(self.page.epoch)

    def settle(self, durable: list[str]) -> None:
        """Let the orders go that are durable."""
        assert self.link is not None
        self.link.joined(durable)
        for folder in (self.place.memory, self.place.home):
            forget_left(folder, set(durable).__contains__, [self.link.pid])

    def say(self, method: str, *args: Any) -> None:  # noqa: ANN401
        """Call a method of the link."""
        getattr(self.link, method)(*args)

    def serve(self) -> None:
        """Do what stdin says, and renew the lease in between."""
        rest = b""
        while True:
            ready = select.select([0], [], [], 0.02)[0]
            if time.monotonic() < self.until:
                self.page.renew(self.lease_ns)
            if not ready:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                method, *args = json.loads(line)
                answer = getattr(self, method)(*args)
                os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    Understudy(*sys.argv[1:]).serve()

"""A gateway's worker in a hundred lines, for tests of what others do about one: it may misbehave.

    scripted_gate.py SOCKET LISTEN_PORT UPSTREAM_PORT TARGET,TARGET,… [HABIT,HABIT…]

A client's first line names the target; from then on whatever the upstream sends is passed on, until
the words forbid it. Habits: `deaf` heeds no words; `forgetful` takes rows out of its table without
ending their flows; `eager` answers each probe with 200; `mute` answers none.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import sys
import time
from typing import Any

from offswitch.control.flows import Ends, FlowTable, Stage
from offswitch.control.gate import Attachment, Gate
from offswitch.control.page import FIRST_WORD, LEASE_SECONDS, PAGE_SIZE, RUN
from offswitch.errors import OffswitchError

FREEZE = RUN + 3
DRAIN = RUN + 2


class Worker:
    def __init__(self, path: str, listen: int, upstream: int, targets: list[str]) -> None:
        self.listener = socket.create_server(("127.0.0.1", listen), reuse_port=True)
        self.upstream = ("127.0.0.1", upstream)
        self.table, fd = FlowTable.create(2048)
        at = f"127.0.0.1:{self.listener.getsockname()[1]}"
        said = Attachment("scripted", targets, [at], [f"127.0.0.1:{upstream}"], worker=0)
        self.gate = Gate(path, said, fd)
        self.flows: dict[socket.socket, tuple[socket.socket, int, int]] = {}
        """Upstream's socket → client's, row, slot."""
        self.page: mmap.mmap | None = None
        self.retry = 0.0
        print(at.rpartition(":")[2], flush=True)

    def word(self, slot: int) -> int:
        if self.page is None:
            return 0
        (deadline,) = struct.unpack_from("=d", self.page, LEASE_SECONDS * 8)
        if time.clock_gettime(time.CLOCK_BOOTTIME) >= deadline:
            return 0
        return int(struct.unpack_from("=Q", self.page, (FIRST_WORD + slot) * 8)[0])

    def run(self) -> None:
        self.gate.attach()
        self.turned()
        while True:
            wanted: list[Any] = [
                self.listener,
                *(up for up, flow in self.flows.items() if self.reads(flow)),
            ]
            if self.gate.fileno() >= 0:
                wanted.append(self.gate)
            ready = select.select(wanted, [], [], 0.02)[0]
            self.table.beat()
            for each in ready:
                if each is self.listener:
                    self.accept()
                elif each is not self.gate:
                    self.pass_on(each)
            self.hear()
            self.sweep()

    def reads(self, flow: tuple[socket.socket, int, int]) -> bool:
        return "deaf" in HABITS or self.word(flow[2]) != FREEZE

    def hear(self) -> None:
        try:
            if self.gate.fileno() >= 0:
                if self.gate.hear() is not None:
                    self.turned()
            elif time.monotonic() > self.retry:
                self.retry = time.monotonic() + 0.02
                self.gate.begin()
        except OffswitchError:
            pass

    def turned(self) -> None:
        if self.gate.page >= 0:
            self.page = mmap.mmap(self.gate.page, PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self.sweep()
        if "deaf" not in HABITS:
            self.table.swept = self.gate.turn

    def sweep(self) -> None:
        for upstream, (client, row, slot) in list(self.flows.items()):
            word = self.word(slot)
            if word == FREEZE:
                self.table.state(row, Stage.PAUSED)
            if "deaf" in HABITS or RUN <= word <= FREEZE:
                continue
            if "forgetful" in HABITS:
                self.table.free(row)
                self.flows[upstream] = (client, self.table.take(4000, Ends.of(client)), 4000)
                continue
            self.table.cut(slot)
            self.end(upstream)

    def end(self, upstream: socket.socket) -> None:
        client, row, _slot = self.flows.pop(upstream)
        for each in (upstream, client):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        self.table.free(row)

    def accept(self) -> None:
        client, _address = self.listener.accept()
        line = client.recv(4096).decode()
        if line.startswith("GET /.offswitch/probe "):
            name = line.partition("x-offswitch-target: ")[2].partition("\r\n")[0]
            latched = not RUN <= self.word(self.gate.slots[name]) < DRAIN
            if "mute" not in HABITS:
                status = 503 if latched and "eager" not in HABITS else 200
                client.sendall(f"HTTP/1.1 {status} It\r\ncontent-length: 0\r\n\r\n".encode())
            client.close()
            return
        if not line:  # somebody only looked whether it is open
            client.close()
            return
        slot = self.gate.slots[line.strip()]
        if not RUN <= self.word(slot) < DRAIN and "deaf" not in HABITS:
            client.sendall(b"refused\n")
            client.close()
            return
        row = self.table.take(slot, Ends.of(client))
        upstream = socket.create_connection(self.upstream)
        self.table.upstream(row, Ends.of(upstream))
        self.table.state(row, Stage.STREAMING)
        upstream.sendall(line.encode())
        client.setblocking(False)
        self.flows[upstream] = (client, row, slot)

    def pass_on(self, upstream: socket.socket) -> None:
        if upstream not in self.flows:
            return
        client = self.flows[upstream][0]
        try:
            data = upstream.recv(65536)
            if data:
                client.send(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.end(upstream)


if __name__ == "__main__":
    HABITS = sys.argv[5].split(",") if len(sys.argv) > 5 else []
    os.set_inheritable(1, False)
    Worker(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")).run()

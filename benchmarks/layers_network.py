"""The part of `layers.py` about the network: the last packet of a cell, a slow reader's last byte.

last-packet   four programs in a cell send datagrams and write to a connection; a packet socket on
              the loopback, which none of them knows of, has the kernel stamp each packet. The order
              is given, and the last packet with a payload counts (0: none came after the order was
              accepted; a bare reset, by which the other side learns of the end, carries none of
              theirs). Beside it, turn by turn, an `nft` command that adds such a cell to a set that
              is prepared, which is how one would do it by hand; and what our own hand does, without
              the command, on stderr.
slow-reader   a cell streams to a reader with a small buffer that reads 4 KiB every 10 ms; megabytes
              wait in the kernel. The order is given, and the last byte that the reader gets counts.
              Beside it a bare write to `cgroup.kill`: what was queued goes on being delivered, for
              as long as we look, which is a second.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from figures import Figures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from installation import PYTHON, Installation, Running
from offswitch.actuators.hands.network.nftables.canary import depth_of
from offswitch.actuators.hands.network.nftables.table import CUT, Table
from offswitch.control import frames
from offswitch.control.client import Conversation

KEYS = ("last-packet", "slow-reader")
_RUNS, _QUICK_RUNS = 40, 3
_ETH_IP = 0x0800
_PACKETS = 35
"""SO_TIMESTAMPNS, as an option and as what comes with a packet."""
_SETTLE_S = 0.05
_LOOK_S = 1.0
_SENDERS = """
import os, socket, sys, time
to = ("127.0.0.1", {port})
for _ in range(3):
    if os.fork() == 0:
        break
kept = socket.create_connection(to)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    udp.sendto(b"x" * 64, to)
    kept.send(b"y" * 64)
    time.sleep(0.00005)
"""
_STREAM = """
import socket
kept = socket.socket()
kept.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
kept.connect(("127.0.0.1", {port}))
while True:
    kept.sendall(b"z" * 65536)
"""


class _Witness:
    """Sees every packet on the loopback to one port, stamped by the kernel."""

    def __init__(self, port: int) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        self._sock = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_IP))
        self._sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._sock.setsockopt(socket.SOL_SOCKET, _PACKETS, 1)
        self._sock.bind(("lo", _ETH_IP))
        self._sock.setblocking(False)
        self._port = port
        self._ahead = time.time_ns() - time.monotonic_ns()

    def last(self) -> int:
        """Give when the last packet with a payload came (CLOCK_MONOTONIC); 0: none did."""
        last = 0
        with suppress(BlockingIOError):
            while True:
                data, beside, _flags, _address = self._sock.recvmsg(128, 64)
                if self._counts(data):
                    seconds, nanos = struct.unpack("=qq", beside[0][2][:16])
                    last = seconds * 1_000_000_000 + nanos - self._ahead
        return last

    def _counts(self, data: bytes) -> bool:
        head, length = (data[0] & 15) * 4, int.from_bytes(data[2:4])
        if data[9] not in {socket.IPPROTO_TCP, socket.IPPROTO_UDP}:
            return False
        if int.from_bytes(data[head + 2 : head + 4]) != self._port:
            return False
        size = (data[head + 12] >> 4) * 4 if data[9] == socket.IPPROTO_TCP else 8
        return length > head + size

    def close(self) -> None:
        self._sock.close()


class _Bench:
    """One installation, and a server that reads all it is sent."""

    def __init__(self, folder: Path) -> None:
        self.home = Installation(folder)
        self.home.start()
        self.count = 0

    def run(self, text: str) -> tuple[str, Running]:
        self.count += 1
        name = f"bench/{self.count}"
        return name, self.home.run(PYTHON, "-c", text, target=name, user="root")

    def path(self, name: str) -> str:
        return str(self.home.ask({"op": "target", "name": name})["cell"]["path"])

    def kill(self, name: str) -> int:
        """Order it; give when that was accepted."""
        conversation = Conversation(self.home.place.warden_socket, 10.0)
        try:
            conversation.sock.sendall(frames.encode(self.home.stop_message(name)))
            accepted, final = conversation.receive(), conversation.receive()
        finally:
            conversation.close()
        if accepted is None or final is None or not final["confirmed"]:
            raise AssertionError(f"not confirmed: {final}")
        return int(accepted["accepted_ns"])


def _last_packet(bench: _Bench, cut: Callable[[str], int]) -> float:
    """Milliseconds from the cut to the last packet."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        port = server.getsockname()[1]
        name, running = bench.run(_SENDERS.format(port=port))
        taken = [server.accept()[0] for _ in range(4)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
            sink.bind(("127.0.0.1", port))
            time.sleep(_SETTLE_S)
            witness = _Witness(port)
            time.sleep(0.005)
            began = cut(name)
            time.sleep(_SETTLE_S)
            last = witness.last()
            witness.close()
        if not last:
            raise AssertionError("the witness has seen nothing")
        with suppress(Exception):
            bench.home.stop(name)
        running.close()
        for each in taken:
            each.close()
    return max(0.0, (last - began) / 1e6)


def _slow_reader(bench: _Bench, cut: Callable[[str], int]) -> float:
    """Milliseconds from the cut to the last byte that the reader gets."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    server.bind(("127.0.0.1", 0))
    server.listen()
    name, running = bench.run(_STREAM.format(port=server.getsockname()[1]))
    reader, _address = server.accept()
    time.sleep(0.15)  # until its buffers are full
    began = cut(name)
    last = began
    with suppress(ConnectionResetError):
        while time.monotonic_ns() < began + _LOOK_S * 1e9 and reader.recv(4096):
            last = time.monotonic_ns()
            time.sleep(0.01)
    reader.close()
    server.close()
    with suppress(Exception):
        bench.home.stop(name)
    running.close()
    return (last - began) / 1e6


def measure(figures: Figures, seconds: float | None) -> None:
    """Take the figures; `seconds` is how long they may take, None: as long as it takes."""
    if os.geteuid() != 0:
        for key in KEYS:
            figures.absent(key, "without root there is no cell with a cgroup of its own")
        return
    runs = _RUNS if seconds is None else _QUICK_RUNS
    folder = Path(tempfile.mkdtemp(prefix="offswitch-layers-"))
    bench = _Bench(folder)
    try:
        _packets(figures, bench, runs)
        _readers(figures, bench, runs)
    finally:
        bench.home.close()
        shutil.rmtree(folder, ignore_errors=True)


def _packets(figures: Figures, bench: _Bench, runs: int) -> None:
    table, cut = _table(), set[int]()

    def by_command(name: str) -> int:
        path = bench.path(name).removeprefix("/sys/fs/cgroup/")
        table.prepare({depth_of(bench.path(name))})
        cut.add(os.stat(bench.path(name)).st_ino)
        began = time.monotonic_ns()
        words = ["nft", "add", "element", "inet", "offswitch", CUT, f'{{ "{path}" }}']
        subprocess.run(words, check=True)
        return began

    def by_hand(name: str) -> int:
        path = bench.path(name)
        table.prepare({depth_of(path)})
        cut.add(number := os.stat(path).st_ino)
        began = time.monotonic_ns()
        table.put(CUT, number, 60_000)
        return began

    ours: list[float] = []
    command: list[float] = []
    hand: list[float] = []
    has_nft = shutil.which("nft") is not None
    try:
        for _ in range(runs):
            ours.append(_last_packet(bench, bench.kill))
            hand.append(_last_packet(bench, by_hand))
            if has_nft:
                command.append(_last_packet(bench, by_command))
    finally:
        for number in cut:
            table.take(number)
        table.leave()
        table.close()
    what = "order → last packet of a cell's four senders; beside it an `nft` command"
    figures.value("last-packet", ours, "ms", target="≤ 1 ms", what=what, baseline=command or None)
    middle = statistics.median(hand)
    print(f"layers: our hand for nf_tables, by itself: {middle:.3g} ms", file=sys.stderr)


def _readers(figures: Figures, bench: _Bench, runs: int) -> None:
    def bare(name: str) -> int:
        kill = os.open(f"{bench.path(name)}/cgroup.kill", os.O_WRONLY)
        began = time.monotonic_ns()
        os.write(kill, b"1")
        os.close(kill)
        return began

    ours: list[float] = []
    beside: list[float] = []
    for number in range(runs):
        ours.append(_slow_reader(bench, bench.kill))
        if number % 4 == 0:
            beside.append(_slow_reader(bench, bare))
    what = "order → a slow reader's last byte; beside it a bare cgroup.kill, looked at for 1 s"
    figures.value("slow-reader", ours, "ms", target="≤ 150 ms", what=what, baseline=beside)


def _table() -> Table:
    table = Table()
    table.prepare({2})
    table.join()
    return table


__all__ = ["KEYS", "measure"]

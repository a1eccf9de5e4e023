"""How soon a real llama.cpp server is idle after a stop, through the gateway.

    benchmarks/llama.py [--quick] [--json] [--data DIR]

idle-streaming           order sent → the server's threads have stopped running; its one client had
                         a stream.
idle-non-streaming-busy  order sent → the server's log says that the task was given up; its client
                         wanted no stream, and two others go on meanwhile. Beside it the same client
                         without a gateway, which closes its connection: the server notices nothing.

The model is tiny and random; scripts/llama builds the server, once, in some twelve minutes. Nothing
asks the server anything meanwhile, since that would keep it from noticing.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figures
from fronting import Missing
from ours import Ours, confirmed

from peers.llama_server import (
    LlamaServer,
    chat,
    missing,
)  # on the path by now: `ours` puts it there

KEYS = ("idle-streaming", "idle-non-streaming-busy")
NEVER_S = 2.0
"""How long it is waited for a task that is never given up."""
LONG = "ba da fi go mu "
"""Twenty-five tokens."""


class Asking:
    """One client, that reads what comes in a thread of its own."""

    def __init__(self, port: int, body: bytes, more: str = "") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.got = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: llama\r\n{more}"
        self.sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.sock.recv(1 << 16):
                self.got += len(data)

    def flows(self) -> None:
        """Wait until something has come."""
        end = time.monotonic() + 10
        while not self.got:
            if time.monotonic() > end:
                raise TimeoutError("llama.cpp says nothing")
            time.sleep(0.001)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.sock.close()


class Bench:
    """The server, and the gateway in front of it."""

    def __init__(self, server: LlamaServer, ours: Ours) -> None:
        self.server = server
        self.ours = ours
        self.told = ""
        """What the warden said of the last stop."""

    def _begin(self, body: bytes) -> tuple[Asking, int]:
        after = len(self.server.lines)
        client = Asking(self.ours.port, body, self.ours.header)
        return client, self.server.began(after)

    def _order(self) -> int:
        self.ours.prepare()
        time.sleep(random.uniform(0.05, 0.1))
        now = time.monotonic_ns()
        self.ours.order()
        return now

    def streaming(self, prompt: str = "") -> float:
        """Milliseconds until the server's threads run no more; a long `prompt` is being read."""
        client, _task = self._begin(chat(stream=True, prompt=prompt or "Is it open?"))
        if not prompt:
            client.flows()
        ordered = self._order()
        idle = self.server.idle_at()
        self.told = confirmed(self.ours.answer())
        client.close()
        return (idle - ordered) / 1e6 if idle is not None else NEVER_S * 1e3

    def whole(self) -> float:
        """Milliseconds until the task of a client that wanted no stream is given up."""
        client, task = self._begin(chat(stream=False))
        ordered = self._order()
        ended = self.server.ended(task, NEVER_S)
        self.told = confirmed(self.ours.answer())
        client.close()
        return (ended - ordered) / 1e6 if ended is not None else NEVER_S * 1e3

    def direct(self) -> float:
        """Milliseconds until it is given up where the client itself closes its connection."""
        after = len(self.server.lines)
        client = Asking(self.server.port, chat(stream=False))
        task = self.server.began(after)
        time.sleep(random.uniform(0.05, 0.1))
        closed = time.monotonic_ns()
        client.close()
        ended = self.server.ended(task, NEVER_S)
        return (ended - closed) / 1e6 if ended is not None else NEVER_S * 1e3

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Keep the server busy with two streams of another target."""
        others = []
        for _ in range(2):
            after = len(self.server.lines)
            others.append(Asking(self.ours.port, chat(stream=True)))
            self.server.began(after)
        try:
            yield
        finally:
            for each in others:
                each.close()


def measure(figures: Figures, bench: Bench) -> None:
    """Take both figures."""
    runs = figures.runs(30, 5)
    figures.say(f"idle-streaming: {runs} stops")
    took = [bench.streaming() for _ in range(runs)]
    figures.say(f"  the warden says: {bench.told}")
    long = [bench.streaming(LONG * 400) for _ in range(figures.runs(5, 1))]
    what = "order sent → llama.cpp's threads run no more, one stream; while it reads a prompt of"
    what += f" 10,000 tokens in batches of 128: {max(long):.1f} ms at most"
    figures.value("idle-streaming", took, "ms", what=what, target="≤ 15 ms")
    figures.say(f"idle-non-streaming-busy: {runs} stops, two other streams going on")
    took = []
    for _ in range(runs):
        with bench.busy():
            took.append(bench.whole())
    figures.say(f"  the warden says: {bench.told}")
    with bench.busy():
        bare = [bench.direct() for _ in range(figures.runs(3, 1))]
    never = "never" if min(bare) == NEVER_S * 1e3 else f"{min(bare):.1f} ms at best"
    what = (
        "order sent → the task of a client that wanted no stream is given up, the server busy with"
    )
    what += f" two others; without a gateway, its connection closed: {never} (in {NEVER_S:g} s)"
    figures.value("idle-non-streaming-busy", took, "ms", what=what, target="≤ 15 ms")


def main() -> int:
    """Measure and print."""
    figures = Figures("llama", "How soon a real llama.cpp is idle after a stop.")
    why = missing() or ("" if os.geteuid() == 0 else "our gateway needs root here")
    if why:
        for key in KEYS:
            figures.absent(key, why)
        figures.show()
        return 0
    folder = Path(tempfile.mkdtemp(prefix="offswitch-bench-"))
    try:
        with LlamaServer(slots=6) as server:
            evidence = (
                f'evidence = {{ kind = "llama.cpp", url = "http://127.0.0.1:{server.port}" }}'
            )
            ours = Ours(folder / "ours", server.port, more=evidence, by_header=True)
            try:
                measure(figures, Bench(server, ours))
            finally:
                ours.close()
    except Missing as missed:
        for key in KEYS:
            figures.absent(key, str(missed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

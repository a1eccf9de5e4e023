"""What the gateway costs, and how fast it cuts, beside gateways that others use.

    benchmarks/gateway.py [--quick] [--json] [--data DIR]

chunk-cpu-haproxy     CPU that the gateway takes for a chunk, 1,000 streams of 50 a second, ours
chunk-cpu-nginx       over theirs; a third of a second each in turn, all of them up all the time.
last-token            order sent → the last token that any of 1,000 clients reads.
last-token-haproxy    the same over HAProxy's, whose order is `shutdown sessions` on its runtime
                      socket, with the server disabled; turn by turn.
clean-endings         streams that end with a well-formed error event and a proper terminator.
upstream-closed       order sent → the last of the upstream's 1,000 connections is seen closed.
new-request-accepted  order sent → the last time that a new request reaches the upstream.
stalled-worker        likewise last-token, the worker being stopped (SIGSTOP) before the order, some
                      clients reading slowly, so that bytes wait in the worker's sockets.
request-cpu           CPU of a small request that is answered whole; beside it HAProxy's.

All gateways have one worker on one core; both ends of all streams are this process, on another.
Times are CLOCK_MONOTONIC of this process: a token counts when it has been read.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from figures import Figures
from fronting import CORE, Envoy, Haproxy, LiteLlm, Missing, Nginx, Peer
from ours import Ours
from streams import Lane, Streams, small_request

ROOT = Path(__file__).resolve().parents[1]
STREAMS = 1000
CHUNK_S = 0.3
"""How long the streams of one flow before it is the next one's turn."""
SETTLE_S = 0.05
PROBES = 60
"""New requests around an order, one in each millisecond."""
ASKING = 16
"""Clients that ask for whole answers."""
LITELLM_STREAMS = 40
"""It takes a core for some three thousand tokens a second."""
ERROR = re.compile(rb"data: (\{[^\n]*\})\n\n")


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was seen of one stop."""

    last_token_ms: float
    upstream_ms: float
    """Until the last of the upstream's connections was closed; infinite if one was not."""
    accepted_ms: float
    """Until the last new request reached the upstream; 0: none did after the order."""
    clean: float
    """The share of streams that ended well, in percent."""


class Bench:
    """All gateways that are here, each with a lane of its own."""

    def __init__(self, figures: Figures, both: Streams, folder: Path) -> None:
        self.figures = figures
        self.both = both
        self.folder = folder
        self.peers: dict[str, tuple[Peer, Lane]] = {}

    def add(self, kind: type[Haproxy | Nginx | Envoy | LiteLlm | Ours]) -> bool:
        """Start one, if it is installed here."""
        lane = self.both.lane(kind.name)
        try:
            self.peers[kind.name] = (kind(self.folder / kind.name, lane.upstream), lane)
        except Missing as missing:
            self.figures.say(str(missing))
            return False
        return True

    def close(self) -> None:
        """End all."""
        for peer, _lane in self.peers.values():
            peer.close()

    # --- CPU a chunk ------------------------------------------------------------------

    def chunk_cpu(self, rounds: int, seldom: int) -> dict[str, list[float]]:
        """Give µs a chunk, for each round; of those that have no key only each `seldom` round."""
        for peer, lane in self.peers.values():
            lane.open(peer.port, LITELLM_STREAMS if peer.name == "litellm" else STREAMS)
        took: dict[str, list[float]] = {name: [] for name in self.peers}
        self.both.late_ms = 0
        for number in range(rounds):
            names = list(self.peers)
            random.shuffle(names)
            for name in names:
                if number % seldom and name not in {"ours", "haproxy", "nginx"}:
                    continue
                took[name].append(self._chunk(*self.peers[name]))
        for _peer, lane in self.peers.values():
            lane.close()
        self.both.run(0.1)
        share = self.both.late_ms / (rounds * len(self.peers) * CHUNK_S * 10)
        self.figures.say(f"this end could not keep up for {share:.0f} % of the time")
        return took

    def _chunk(self, peer: Peer, lane: Lane) -> float:
        self.both.run(SETTLE_S, lane)
        tokens, ran = lane.tokens, peer.cpu_ns()
        self.both.run(CHUNK_S, lane)
        return (peer.cpu_ns() - ran) / 1e3 / max(lane.tokens - tokens, 1)

    # --- stops ------------------------------------------------------------------------

    def stop(self, name: str) -> Stopped:
        """Stop one with all its streams flowing; give what was seen."""
        peer, lane = self.peers[name]
        lane.open(peer.port, STREAMS)
        streams, serving = set(lane.clients), set(lane.serving)
        asking = [lane.connect(peer.port) for _ in range(PROBES)]
        probe = small_request("/v1/embeddings")
        self.both.run(0.1, lane)
        lane.forget()
        self.both.watching = lane
        before = random.randint(PROBES // 3, PROBES // 3 + 20)
        ordered: list[int] = []

        def each_ms() -> None:
            nonlocal before
            before -= 1
            if before == 0:
                ordered.append(time.monotonic_ns())
                peer.order()
            if asking and before < PROBES // 3:
                with contextlib.suppress(OSError):
                    asking.pop().send(probe)

        self.both.run(0.35, lane, every_ms=each_ms)
        self.both.watching = None
        seen = _seen(lane, ordered[0], streams, serving)
        lane.close()
        peer.ready()
        return seen

    # --- small requests ---------------------------------------------------------------

    def request_cpu(self, names: list[str], rounds: int, path: str) -> dict[str, list[float]]:
        """Give µs a small request."""
        took: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                peer, lane = self.peers[name]
                lane.ask(peer.port, ASKING, small_request(path))
                self.both.run(SETTLE_S)
                answers, ran = lane.answers, peer.cpu_ns()
                self.both.run(CHUNK_S)
                took[name].append((peer.cpu_ns() - ran) / 1e3 / max(lane.answers - answers, 1))
                lane.close()
                self.both.run(0.01)
        return took


def _seen(lane: Lane, ordered: int, streams: set[int], serving: set[int]) -> Stopped:
    def since(when: int) -> float:
        return max(when - ordered, 0) / 1e6

    closed = [lane.closed_ns.get(fd) for fd in serving]
    last = max((when for when in closed if when is not None), default=ordered)
    return Stopped(
        since(lane.last_token_ns),
        since(last) if None not in closed else float("inf"),
        since(max(lane.probes, default=0)),
        100 * sum(_well(bytes(lane.tails.get(fd, b""))) for fd in streams) / len(streams),
    )


def _well(tail: bytes) -> bool:
    """Tell whether a stream ended with an error event that can be read, and was terminated."""
    text, rest = b"", tail
    while True:
        size, found, rest = rest.partition(b"\r\n")
        if not found:
            return False
        try:
            length = int(size, 16)
        except ValueError:
            return False
        text += rest[:length]
        if rest[length : length + 2] != b"\r\n":
            return False
        rest = rest[length + 2 :]
        if length == 0:
            break
    events = ERROR.findall(text)
    try:
        return not rest and bool(events) and "error" in json.loads(events[-1])
    except ValueError:
        return False


def medians(took: dict[str, list[float]]) -> str:
    """Say what each took."""
    middle = {name: sorted(each)[len(each) // 2] for name, each in took.items() if each}
    return ", ".join(f"{name} {value:.1f}" for name, value in middle.items())


@contextlib.contextmanager
def benched(figures: Figures) -> Iterator[Bench]:
    """Give all gateways that are here."""
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {CORE} or {CORE})
    packages = [str(ROOT / "scripts/packages"), "haproxy", "nginx-light"]
    subprocess.run(packages, stdout=sys.stderr, check=False)
    folder = Path(tempfile.mkdtemp(prefix="offswitch-bench-"))
    try:
        with Streams() as both:
            bench = Bench(figures, both, folder)
            try:
                yield bench
            finally:
                bench.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Measure and print."""
    figures = Figures("gateway", "What the gateway costs, and how fast it cuts.")
    with benched(figures) as bench:
        bench.add(Ours)
        bench.add(Haproxy)
        bench.add(Nginx)
        bench.add(Envoy)
        took = bench.chunk_cpu(figures.runs(20, 8), 5)
        figures.say(medians(took))
        for name in list(bench.peers):
            figures.say(f"{name} {bench.stop(name)}")
        took = bench.request_cpu(list(bench.peers), 3, "/v1/embeddings")
        figures.say(medians(took))
        took = bench.request_cpu(list(bench.peers), 3, "/v1/chat/completions")
        figures.say(medians(took))
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

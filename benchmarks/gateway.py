"""What the gateway costs, and how fast it cuts, beside gateways that others use.

    benchmarks/gateway.py [--quick] [--json] [--data DIR]

chunk-cpu-haproxy     CPU that the gateway takes for a chunk, 1,000 streams of 50 a second, ours
chunk-cpu-nginx       over theirs; a third of a second each in turn, all of them up all the time.
last-token            order sent → the last token that any of 1,000 clients reads.
last-token-haproxy    the same over HAProxy's, whose order is `shutdown sessions` on its runtime
                      socket, with the server disabled; turn by turn.
clean-endings         streams that end with a well-formed error event and a proper terminator.
upstream-closed       order sent → the last of the upstream's 1,000 connections is seen closed.
new-request-accepted  order sent → the last time that a new request reaches the upstream; the order
                      is given only once new requests do.
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
import statistics
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
from streams import Lane, Streams, small_request, stream_request

ROOT = Path(__file__).resolve().parents[1]
STREAMS = 1000
CHUNK_S = 0.3
"""How long the streams of one flow before it is the next one's turn."""
SETTLE_S = 0.05
WATCHED_S = 0.35
"""How long a stop is watched."""
PROBES = 400
"""New requests around an order, one in each millisecond."""
PATIENCE_S = 5.0
"""For the first of them to come through: before that there is nothing that a stop could refuse."""
ASKING = 16
"""Clients that ask for whole answers."""
SLOW = 20
"""Clients that read slowly, of 1,000."""
AGAIN = 3
STOP_KEYS = ("clean-endings", "upstream-closed", "new-request-accepted")
LITELLM_STREAMS = 40
"""It takes a core for some three thousand tokens a second."""
ERROR = re.compile(rb"data: (\{[^\n]*\})\n\n")


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was seen of one stop."""

    last_token_ms: float
    upstream_ms: float
    """Until the last of the upstream's connections was closed; if one was not, all that time."""
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

    def add(self, kind: type[Haproxy | Nginx | Envoy | LiteLlm | Ours]) -> None:
        """Start one, if it is installed here."""
        lane = self.both.lane(kind.name)
        try:
            self.peers[kind.name] = (kind(self.folder / kind.name, lane.upstream), lane)
        except Missing as missing:
            self.figures.say(str(missing))

    def close(self) -> None:
        """End all, whichever of them makes trouble."""
        with contextlib.ExitStack() as all_of_them:
            for peer, _lane in self.peers.values():
                all_of_them.callback(peer.close)

    # --- CPU a chunk ------------------------------------------------------------------

    def chunk_cpu(self, names: list[str], rounds: int) -> dict[str, list[float]]:
        """Give µs a chunk, for each round; those of one round were taken side by side."""
        for name in names:
            peer, lane = self.peers[name]
            lane.request = stream_request()
            lane.open(peer.port, LITELLM_STREAMS if name == "litellm" else STREAMS)
        took: dict[str, list[float]] = {name: [] for name in names}
        late = 0
        for _ in range(rounds):
            for name in random.sample(names, len(names)):
                cost, slow = self._chunk(*self.peers[name])
                took[name].append(cost)
                late += slow
        for name in names:
            self.peers[name][1].close()
        self.both.run(0.1)
        share = 100 * late / (rounds * len(names))
        self.figures.say(f"  {medians(took)}; in {share:.0f} % of the rounds this end was late")
        return took

    def _chunk(self, peer: Peer, lane: Lane) -> tuple[float, bool]:
        """Take one; again where this end was kept from sending, which batches what is sent."""
        for _ in range(self.figures.runs(AGAIN, 1)):
            self.both.run(SETTLE_S, lane)
            tokens, ran, late = lane.tokens, peer.cpu_ns(), self.both.late_ms
            self.both.run(CHUNK_S, lane)
            cost = (peer.cpu_ns() - ran) / 1e3 / max(lane.tokens - tokens, 1)
            if self.both.late_ms == late:
                return cost, False
        return cost, True

    # --- stops ------------------------------------------------------------------------

    def stop(self, name: str, *, stalled: bool = False) -> Stopped:
        """Stop one with all its streams flowing; give what was seen.

        `stalled`: its worker does nothing any more when the order comes; of its clients some read
        slowly.
        """
        peer, lane = self.peers[name]
        prefix = peer.prefix if isinstance(peer, Ours) else ""
        lane.request = stream_request(f"{prefix}/v1/chat/completions")
        lane.open(peer.port, STREAMS, SLOW if stalled else 0)
        streams, serving = set(lane.clients), set(lane.serving)
        asking = [lane.connect(peer.port) for _ in range(PROBES)]
        probe = small_request(f"{prefix}/v1/embeddings")
        self.both.run(0.1, lane)
        lane.forget()
        self.both.watching = lane
        if isinstance(peer, Ours):
            peer.prepare()
        if stalled:
            assert isinstance(peer, Ours)
            self.both.run(1.0, lane)  # bytes pile up for those who do not read
            peer.stall()
        before = random.randint(10, 30)
        ordered: list[int] = []

        def each_ms() -> None:
            nonlocal before
            if lane.probes or stalled:
                before -= 1
            if before == 0 and not ordered:
                ordered.append(time.monotonic_ns())
                peer.order()
            if asking:
                with contextlib.suppress(OSError):
                    asking.pop().send(probe)
            if ordered:
                lane.read_slowly()

        end = time.monotonic() + PATIENCE_S
        while not ordered:
            if time.monotonic() > end:
                raise TimeoutError(f"{name}: no new request comes through beside {STREAMS} streams")
            self.both.run(0.005, lane, every_ms=each_ms)
        self.both.run(WATCHED_S, lane, every_ms=each_ms)
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
        self.figures.say(f"  {path}: {medians(took)}")
        return took


def _seen(lane: Lane, ordered: int, streams: set[int], serving: set[int]) -> Stopped:
    def since(when: int) -> float:
        return max(when - ordered, 0) / 1e6

    closed = [lane.closed_ns.get(fd) for fd in serving]
    last = max((when for when in closed if when is not None), default=ordered)
    return Stopped(
        since(lane.last_token_ns),
        since(last) if None not in closed else WATCHED_S * 1e3,
        since(max(lane.probes, default=0)),
        100 * sum(well(bytes(lane.tails.get(fd, b""))) for fd in streams) / len(streams),
    )


def well(tail: bytes) -> bool:
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
    return ", ".join(f"{name} {statistics.median(each):.1f}" for name, each in took.items() if each)


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


def chunks(bench: Bench) -> None:
    """CPU a chunk, ours and theirs."""
    figures = bench.figures
    names = [name for name in ("ours", "haproxy", "nginx") if name in bench.peers]
    rounds = figures.runs(200, 6)
    figures.say(f"chunk-cpu: {rounds} rounds of {', '.join(names)}")
    took = bench.chunk_cpu(names, rounds)
    for name, target in (("haproxy", "≤ 1.3 ×"), ("nginx", "≤ 1.0 ×")):
        if name not in took or "ours" not in took:
            figures.absent(f"chunk-cpu-{name}", f"ours or {name} is not here")
            continue
        what = f"CPU a chunk, 1,000 streams × 50/s, against {name}"
        key = f"chunk-cpu-{name}"
        figures.against(key, took["ours"], took[name], "µs", what=what, target=target)
    others = [name for name in ("envoy", "litellm") if name in bench.peers]
    if others and not figures.quick:
        figures.say(f"beside them: {', '.join(others)}")
        bench.chunk_cpu(others, 10)


def stops(bench: Bench) -> None:
    """What is seen of a stop, ours and theirs, turn by turn."""
    figures = bench.figures
    names = [name for name in ("ours", "haproxy") if name in bench.peers]
    runs = figures.runs(50, 3)
    figures.say(f"last-token: {runs} stops of {', '.join(names)}")
    seen: dict[str, list[Stopped]] = {name: [] for name in bench.peers}
    for number in range(runs):
        for name in names if number % 2 else reversed(names):
            seen[name].append(bench.stop(name))
    for name in ("nginx", "envoy"):
        if name in bench.peers:
            seen[name] = [bench.stop(name) for _ in range(figures.runs(10, 1))]
    for name, rows in seen.items():
        figures.say(f"  {name}: {_told(rows)}")
    ours, theirs = seen.get("ours"), seen.get("haproxy")
    if not ours:
        for key in ("last-token", "last-token-haproxy", *STOP_KEYS):
            figures.absent(key, "ours needs root")
        return
    last = [each.last_token_ms for each in ours]
    what = "order sent → last token read by any of 1,000 clients"
    figures.value("last-token", last, "ms", what=what, target="≤ 2 ms")
    if theirs:
        bare = [each.last_token_ms for each in theirs]
        what = "the same against HAProxy's `shutdown sessions`"
        figures.against("last-token-haproxy", last, bare, "ms", what=what, target="≤ 0.1 ×")
    else:
        figures.absent("last-token-haproxy", "haproxy is not here")
    clean = [each.clean for each in ours]
    bare = [each.clean for each in theirs] if theirs else None
    what = "streams that end with a well-formed error and a terminator; the worst run"
    figures.value("clean-endings", clean, "%", what=what, target="100 %", baseline=bare, share=0)
    closed = [each.upstream_ms for each in ours]
    bare = [each.upstream_ms for each in theirs] if theirs else None
    what = "order sent → the last of the upstream's 1,000 connections is closed"
    figures.value("upstream-closed", closed, "ms", what=what, target="≤ 40 ms", baseline=bare)
    late = [each.accepted_ms for each in ours]
    what = "order sent → the last new request that reached the upstream; the worst run"
    figures.value("new-request-accepted", late, "ms", what=what, target="≤ 1 ms", share=1)


def stalled(bench: Bench) -> None:
    """A worker that does nothing any more when the order comes."""
    figures = bench.figures
    if "ours" not in bench.peers:
        figures.absent("stalled-worker", "sockets are destroyed by root only")
        return
    runs = figures.runs(20, 2)
    figures.say(f"stalled-worker: {runs} stops of a worker that is stopped itself")
    seen = [bench.stop("ours", stalled=True) for _ in range(runs)]
    figures.say(f"  {_told(seen)}")
    what = (
        f"SIGSTOP of the worker, order sent → last token read by any client, {SLOW} reading slowly"
    )
    last = [each.last_token_ms for each in seen]
    figures.value("stalled-worker", last, "ms", what=what, target="≤ 50 ms")


def requests(bench: Bench) -> None:
    """CPU of a small request that is answered whole."""
    figures = bench.figures
    names = [name for name in ("ours", "haproxy") if name in bench.peers]
    rounds = figures.runs(100, 3)
    figures.say(f"request-cpu: {rounds} rounds of {', '.join(names)}")
    took = bench.request_cpu(names, rounds, "/v1/embeddings")
    if "ours" not in took:
        figures.absent("request-cpu", "ours needs root")
        return
    whole = bench.request_cpu(["ours"], figures.runs(20, 1), "/v1/chat/completions")
    what = "CPU of a small request that is answered whole (embeddings); a chat that is put together"
    what += f" again from a stream: {medians(whole)} µs"
    bare = took.get("haproxy")
    figures.value("request-cpu", took["ours"], "µs", what=what, target="≤ 90 µs", baseline=bare)


def _told(rows: list[Stopped]) -> str:
    def middle(values: list[float]) -> str:
        return f"{statistics.median(values):.2f} (most {max(values):.2f})"

    return (
        f"last token {middle([each.last_token_ms for each in rows])} ms,"
        f" upstream closed {middle([each.upstream_ms for each in rows])} ms,"
        f" new request {middle([each.accepted_ms for each in rows])} ms,"
        f" ended well {min(each.clean for each in rows):.1f} %"
    )


def main() -> int:
    """Measure and print."""
    figures = Figures("gateway", "What the gateway costs, and how fast it cuts.")
    with benched(figures) as bench:
        for kind in (Ours, Haproxy, Nginx, Envoy):
            bench.add(kind)
        if not figures.quick:
            bench.add(LiteLlm)
        chunks(bench)
        stops(bench)
        stalled(bench)
        requests(bench)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a stop leaves of streams in every state in which it may find them.

    benchmarks/cutting.py [--quick] [--json] [--data DIR]

last-token-N-W    order sent → the last token that any of N clients reads, with W workers; the
                  worst run. No later byte can have been handed to the kernel for them.
clean-N-W         their streams that end with a well-formed error and a terminator; the worst run.
silent-ended      nothing moves in 100 streams: order sent → the last client has read its ending.
slow-last-byte    20 of 100 clients read half a kilobyte in a millisecond: order sent → the last
                  byte that any of these reads; the worst run.
half-sent         requests whose heads were half sent at the order and are completed after it, and
                  that reach the upstream all the same.
pipelined         likewise requests that were sent behind another one on the same connection.

Real warden, supervisor and workers, both ends of all streams in this process; 50 runs each.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from figures import Figures
from fronting import CORE, Missing
from ours import Ours
from streams import Lane, Streams, small_request, stream_request

from gateway import well

RUNS = 50
WATCHED_S = 0.4
SLOW = 20
COUNTS = (1, 100, 1000)


@dataclass(frozen=True, slots=True)
class Case:
    """In which state the streams are."""

    streams: int
    slow: int = 0
    silent: bool = False
    half: int = 0
    """Connections with half a head."""
    behind: int = 0
    """Connections with a stream, and a request behind it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen of one stop."""

    last_token_ms: float
    ended_ms: float
    """Until the last client had read its ending."""
    slow_ms: float
    """Until the last of the slow ones read its last byte."""
    clean: float
    late: int
    """Requests that reached the upstream after the order."""


def stop(both: Streams, ours: Ours, lane: Lane, case: Case) -> Found:
    """Stop one target with its streams as the case has them."""
    lane.request = stream_request(f"{ours.prefix}/v1/chat/completions")
    lane.open(ours.port, case.streams, case.slow)
    streams, slow = set(lane.clients), set(lane.slow)
    probe = small_request(f"{ours.prefix}/v1/embeddings")
    halves = [lane.connect(ours.port) for _ in range(case.half)]
    for sock in halves:
        sock.send(probe[:40])
    for _ in range(case.behind):
        lane.connect(ours.port).send(lane.request + probe)
    both.run(0.5 if slow else 0.1, None if case.silent else lane)
    lane.forget()
    both.watching = lane
    ours.prepare()
    ordered: list[int] = []

    def each_ms() -> None:
        if not ordered:
            ordered.append(time.monotonic_ns())
            ours.order()
            return
        lane.read_slowly()
        while halves and time.monotonic_ns() - ordered[0] > 2_000_000:
            finish(halves.pop(), probe)

    both.run(WATCHED_S, None if case.silent else lane, every_ms=each_ms)
    both.watching = None
    found = _found(lane, ordered[0], streams, slow)
    lane.close()
    ours.ready()
    both.run(0.02)
    return found


def finish(sock: socket.socket, request: bytes) -> None:
    """Send the rest of a head."""
    try:
        sock.send(request[40:])
    except OSError:
        return


def _found(lane: Lane, ordered: int, streams: set[int], slow: set[int]) -> Found:
    def since(when: int) -> float:
        return max(when - ordered, 0) / 1e6

    quick = streams - slow
    ended = [lane.last_byte_ns.get(fd, ordered + int(WATCHED_S * 1e9)) for fd in quick]
    lasts = [lane.last_byte_ns.get(fd, ordered) for fd in slow]
    return Found(
        since(lane.last_token_ns),
        since(max(ended, default=ordered)),
        since(max(lasts, default=ordered)),
        100 * sum(well(bytes(lane.tails.get(fd, b""))) for fd in quick) / max(len(quick), 1),
        sum(when > ordered for when in lane.probes),
    )


def measure(figures: Figures, folder: Path, workers: int) -> None:
    """Go through the cases with so many workers."""
    runs = figures.runs(RUNS, 2)
    cases = {f"{count}-{workers}": Case(count) for count in COUNTS}
    if workers == 1:
        cases |= {
            "silent": Case(100, silent=True),
            "slow": Case(100, slow=SLOW),
            "half": Case(10, half=20),
            "behind": Case(10, behind=20),
        }
    with Streams() as both:
        lane = both.lane("ours")
        ours = Ours(folder, lane.upstream, runs=len(cases) * runs, workers=workers)
        try:
            for name, case in cases.items():
                figures.say(f"{name}: {runs} stops")
                tell(figures, name, [stop(both, ours, lane, case) for _ in range(runs)])
        finally:
            ours.close()


def tell(figures: Figures, name: str, seen: list[Found]) -> None:
    """Say what was found."""
    if name == "silent":
        what = "100 streams in which nothing moves: order sent → the last client has its ending"
        figures.value("silent-ended", [one.ended_ms for one in seen], "ms", what=what, share=1)
    elif name == "slow":
        what = f"{SLOW} of 100 clients read slowly: order sent → the last byte that one reads"
        times = [one.slow_ms for one in seen]
        figures.value("slow-last-byte", times, "ms", what=what, target="≤ 150 ms", share=1)
    elif name in {"half", "behind"}:
        key = "half-sent" if name == "half" else "pipelined"
        what = "requests that reach the upstream after the order; the worst run"
        late = [float(one.late) for one in seen]
        figures.value(key, late, "", what=what, target="0", share=1)
    else:
        what = "order sent → the last token that any client reads; the worst run"
        times = [one.last_token_ms for one in seen]
        figures.value(f"last-token-{name}", times, "ms", what=what, target="≤ 2 ms", share=1)
        what = "streams that end with a well-formed error and a terminator; the worst run"
        clean = [one.clean for one in seen]
        figures.value(f"clean-{name}", clean, "%", what=what, target="100 %", share=0)


def main() -> int:
    """Measure and print."""
    figures = Figures("cutting", "What a stop leaves of streams in every state.")
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {CORE} or {CORE})
    with tempfile.TemporaryDirectory(prefix="offswitch-bench-") as folder:
        for workers in (1, 2):
            try:
                measure(figures, Path(folder, str(workers)), workers)
            except Missing as missing:
                figures.say(str(missing))
                return 1
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a hand-over costs: a warden is renewed in place, again and again, under load (SR-23).

    benchmarks/hand_over.py [--quick] [--json] [--data DIR]

upgrade-frozen  cells that were seen frozen, by the kernel's own `cgroup.events` and by what the
                keeper says that it did, while eight programs run that nobody stops
upgrade-lost    presses that got no answer and whose order is not in the latch afterwards;
                forty connections press all the time, each press a scope and a nonce of its own
upgrade-stop    a tree of ten processes writes the clock; while the warden's code is exchanged
                (between its exec and its first answer) the order goes out as `offswitch stop`
                sends it; the last time that any of them wrote, counted from the call

It uses a real warden on folders of its own in /dev/shm, and needs root and cgroups.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from acting import Acting
from figures import Figures

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import Installation  # noqa: E402 - the tests' own stage
from offswitch.cli import pressing  # noqa: E402
from offswitch.errors import OffswitchError  # noqa: E402
from renewing import Renewal  # noqa: E402

STANDING, PRESSERS = 8, 40
PAUSE_S = 4.0
"""How long a presser rests: the latch keeps each of its presses, and is to stay a usual size."""
PATIENCE_S = 20.0


@dataclass(slots=True)
class Seen:
    """What was seen over all hand-overs."""

    upgrades: int = 0
    frozen: int = 0
    lost: int = 0
    presses: int = 0
    stops_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    """From the exec to the first answer of the new code."""
    by_keeper: int = 0
    """How many of the measured stops the keeper accepted before the warden did."""


class Pressers:
    """Forty connections that press without end, and remember what they were told."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._ending = threading.Event()
        self._count = 0
        self._lock = threading.Lock()
        self.unanswered: list[str] = []
        self.presses = 0
        self._threads = [threading.Thread(target=self._press) for _ in range(PRESSERS)]
        for thread in self._threads:
            thread.start()

    def _press(self) -> None:
        while not self._ending.wait(random.uniform(0, PAUSE_S)):
            with self._lock:
                self._count += 1
                scope = f"pressed/{self._count}"
            try:
                answer = self._installation.press(scope)
                answered = answer.get("accepted") is True
            except (OffswitchError, OSError):
                answered = False
            with self._lock:
                self.presses += 1
                if not answered:
                    self.unanswered.append(scope)

    def end(self) -> None:
        """Press no more."""
        self._ending.set()
        for thread in self._threads:
            thread.join()


class FrozenWatch:
    """Looks at `cgroup.events` of the cells that nobody stops; the kernel wakes it at a change."""

    def __init__(self, paths: list[str]) -> None:
        self.seen: set[tuple[str, int]] = set()
        self._ending = False
        self._events = {os.open(f"{path}/cgroup.events", os.O_RDONLY): path for path in paths}
        self._round = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def next_round(self) -> None:
        """Count what is seen from now on for the next hand-over."""
        self._round += 1

    def _look(self) -> None:
        poll = select.poll()
        for fd in self._events:
            poll.register(fd, select.POLLPRI)
        while not self._ending:
            poll.poll(5)
            for fd, path in self._events.items():
                if b"frozen 1" in os.pread(fd, 256, 0):
                    self.seen.add((path, self._round))

    def end(self) -> None:
        """Look no more."""
        self._ending = True
        self._thread.join()
        for fd in self._events:
            os.close(fd)


def stop_in_the_gap(installation: Installation, victim: Acting, seen: Seen) -> None:
    """Renew the warden, and press while its code is being exchanged."""
    renewal = Renewal(installation)
    began = renewal.await_exec()
    time.sleep(random.uniform(0, 0.08))
    message = installation.stop_message(victim.name)
    victim.await_act()
    pressed = time.monotonic_ns()
    presses = pressing.press([installation.place], message)
    pressing.follow(presses, "kill", [victim.name], patient=False)
    installation.ask({"op": "ping"})
    renewal.done()
    seen.stops_ms.append(max(0.0, (victim.last_act() - pressed) / 1e6))
    seen.gaps_ms.append((presses[0].warden.heard_ns - began) / 1e6)
    seen.by_keeper += (presses[0].kept or {}).get("by") == "keeper"
    if not presses[0].commanded:
        seen.lost += 1


def missing(installation: Installation, scopes: list[str]) -> int:
    """Count the scopes that are not in the latch."""
    latched = {live["scope"] for live in installation.status()["latched"]}
    return len(set(scopes) - latched)


def paths(installation: Installation) -> list[str]:
    """Give the cgroups of all cells."""
    rows = installation.ask({"op": "cells"})["cells"]
    return [str(row["path"]) for row in rows if row["path"]]


def keepers_freezes(installation: Installation) -> int:
    """Count how often a keeper says that it froze anything."""
    return sum("froze" in str(entry.get("detail", "")) for entry in installation.entries())


def measure(upgrades: int, say: Callable[[str], None] = lambda _text: None) -> Seen:
    """Renew a warden so often, under load; give what was seen."""
    seen = Seen()
    with tempfile.TemporaryDirectory() as folder, raised(Path(folder)) as installation:
        spin = ("sh", "-c", "while :; do sleep 0.01; done")
        for number in range(STANDING):
            installation.run(*spin, target=f"standing/{number}")
        frozen = FrozenWatch(paths(installation))
        pressers = Pressers(installation)
        try:
            for number in range(upgrades):
                victim = Acting(installation, f"victim/{number}")
                frozen.next_round()
                stop_in_the_gap(installation, victim, seen)
                seen.upgrades += 1
                if number % 10 == 9:
                    say(f"{number + 1} hand-overs")
        finally:
            pressers.end()
            frozen.end()
        seen.presses = pressers.presses
        seen.lost += missing(installation, pressers.unanswered)
        seen.frozen = len(frozen.seen) + keepers_freezes(installation)
    return seen


@contextlib.contextmanager
def raised(folder: Path) -> Iterator[Installation]:
    """Give an installation with its warden running."""
    os.chmod(folder, 0o755)
    installation = Installation(folder)
    try:
        yield installation.start()
    finally:
        installation.close()


def add(figures: Figures) -> None:
    """Measure, and add the three figures."""
    upgrades = figures.runs(100, 3)
    seen = measure(upgrades, figures.say)
    what = f"in {seen.upgrades} hand-overs"
    figures.value(
        "upgrade-frozen", [float(seen.frozen)], "cells", target="0", what=f"cells frozen {what}"
    )
    figures.value(
        "upgrade-lost",
        [float(seen.lost)],
        "stops",
        target="0",
        what=f"neither answered nor latched, of {seen.presses + seen.upgrades} {what}",
    )
    figures.value(
        "upgrade-stop",
        seen.stops_ms,
        "ms",
        target="≤ 20 ms",
        what=f"pressed between exec and first answer → last act, {seen.by_keeper} by the keeper",
    )
    figures.value(
        "upgrade-gap", seen.gaps_ms, "ms", what="exec → the new code's first answer to that stop"
    )


def main() -> None:
    """Measure and say it."""
    figures = Figures("hand_over", "what a hand-over costs")
    if os.geteuid():
        for key in ("upgrade-frozen", "upgrade-lost", "upgrade-stop"):
            figures.absent(key, "it needs root and cgroups")
    else:
        add(figures)
    figures.show()


if __name__ == "__main__":
    main()

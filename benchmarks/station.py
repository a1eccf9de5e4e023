"""What the station costs, and how soon a person sees what has changed.

    benchmarks/station.py [--quick] [--json] [--data DIR]

press-to-gate      the hold of STOP in a browser is over → the target's word in the page is set: its
                   guard refuses from then on. Beside it a bare HTTP round trip to `/healthz`.
press-to-confirmed likewise → *confirmed* is painted.
change-to-pixel-N  a stop is sent to the warden → the row of the Board says so, painted; with N
                   targets in all.
first-page-bytes   all that a browser with nothing kept is sent for the Board, in kilobytes.
idle-cpu           the station's processes, of one core, with 1,000 targets of which watch reports
                   two signals each second, and a Board open.
stop-beside-load   stop sent → confirmed while the station, confined to one core, is asked without a
                   pause over 64 connections, against the same without; turn by turn.

All on this machine's loopback, with a real warden, a real station and a real Chromium. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
from browsing import Visit, Word, cpu_s, declare, family, housed, visiting
from figures import Figures

from house import CHROMIUM, House  # on the path by now: `browsing` puts it there
from offswitch.control.client import Conversation

SLEEP = ("/bin/sleep", "1000")
LIVE = ("shop/live/0", "shop/live/1", "shop/live/2", "shop/live/3")
"""Targets that run; all others are known and idle."""
BROWSED = ("first-page-bytes", "change-to-pixel-120", "press-to-gate", "press-to-confirmed",
           "change-to-pixel-1000", "idle-cpu")  # fmt: skip

# --- press-to-gate, press-to-confirmed --------------------------------------------------


def presses(figures: Figures, visit: Visit) -> None:
    """Hold STOP on a target's page, again and again, each time on a target of its own."""
    runs = figures.runs(60, 5)
    figures.say(f"press-to-gate, press-to-confirmed: {runs} presses in Chromium")
    gate, confirmed, bare = [], [], []
    with httpx2.Client(base_url=visit.house.url) as client:
        for number in range(runs):
            pressed, set_, shown = _press(visit, f"bench/p{number}")
            gate.append(set_ - pressed)
            confirmed.append(shown - pressed)
            bare.append(_round_trip(client))
    visit.house.installation.reset("bench")
    what = "STOP held to its end in Chromium → the page's word is set; beside it, GET /healthz"
    figures.value("press-to-gate", gate, "ms", what=what, target="≤ 50 ms", baseline=bare)
    what = "STOP held to its end in Chromium → CONFIRMED is painted; beside it, GET /healthz"
    figures.value("press-to-confirmed", confirmed, "ms", what=what, target="≤ 1 s", baseline=bare)


def _press(visit: Visit, name: str) -> tuple[float, float, float]:
    """Give when the hold was over, the word was set, and the confirmation painted (UTC, ms)."""
    one = visit.house
    running = one.installation.run(*SLEEP, target=name)
    word = Word(one, running)
    visit.to(f"/target/{name}")
    before = visit.page.get_attribute("#press", "data-press") or ""
    visit.expect(
        f"((press) => press.dataset.done && press.dataset.press !== {json.dumps(before)}"
        " && press.textContent.includes('CONFIRMED'))(document.getElementById('press'))"
    )
    heard: list[float] = []
    thread = threading.Thread(target=lambda: heard.append(word.set_ms()))
    thread.start()
    try:
        pressed = visit.hold_stop()
    finally:
        thread.join()
        word.close()
    shown = visit.seen_ms()
    running.close()
    return pressed, heard[0], shown


def _round_trip(client: httpx2.Client) -> float:
    began = time.perf_counter()
    client.get("/healthz")
    return (time.perf_counter() - began) * 1000


# --- change-to-pixel --------------------------------------------------------------------


def change_to_pixel(figures: Figures, visit: Visit, targets: int, target: str) -> None:
    """Stop a target, see its row come up on the Board, and reset it; again and again."""
    runs = figures.runs(100, 6)
    figures.say(f"change-to-pixel-{targets}: {runs} stops")
    one, took = visit.house, []
    declare(one, targets - len(LIVE))
    visit.to("/")
    for number in range(runs):
        name = LIVE[number % len(LIVE)]
        there = f"document.querySelector('#loud a[href=\"/target/{name}\"]')"
        with Conversation(one.installation.place.warden_socket) as line:
            visit.expect(there)
            began = time.time_ns() / 1e6
            line.ask(one.installation.stop_message(name, level="restrict"))
            took.append(visit.seen_ms() - began)
        visit.expect(f"!{there}")
        one.installation.reset(name)  # which waits for a disk: no figure of the console's
        visit.seen_ms()
    what = f"order sent to the warden → the Board's row is painted, {targets} targets"
    figures.value(f"change-to-pixel-{targets}", took, "ms", what=what, target=target)


# --- first-page-bytes -------------------------------------------------------------------


def first_page_bytes(figures: Figures, visit: Visit) -> None:
    """Load the Board with an empty cache, and count what the network sent."""
    figures.say("first-page-bytes")
    session = visit.page.context.new_cdp_session(visit.page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    asked: list[str] = []
    sent: list[float] = []
    session.on("Network.requestWillBeSent", lambda said: asked.append(said["request"]["url"]))
    session.on("Network.loadingFinished", lambda said: sent.append(said["encodedDataLength"]))
    visit.to("/")
    visit.page.wait_for_timeout(500)
    session.detach()
    ours = (visit.house.url, "data:", "blob:")
    strangers = [url for url in asked if not url.startswith(ours)]
    what = f"sent for the Board with nothing kept, {len(asked)} requests, "
    what += f"{len(strangers)} of them to another host"
    figures.value("first-page-bytes", [sum(sent) / 1000], "kB", what=what, target="≤ 100 kB")


# --- idle-cpu ---------------------------------------------------------------------------


def idle_cpu(figures: Figures, one: House) -> None:
    """Report signals of a thousand targets each second, and count the station's time."""
    seconds = figures.runs(20, 3)
    figures.say(f"idle-cpu: {seconds} s with 1,000 targets")
    with _reporting(one):
        time.sleep(2)
        idle, warden = _used(one, seconds)
        rows = [row["target"] for row in one.installation.status()["targets"]]
    with _reporting(one, flicker=rows):
        time.sleep(1)
        busy, _warden = _used(one, seconds)
    what = (
        "of a core, the station's processes; 1,000 targets with two signals a second, a Board open;"
        " baseline: the warden. With a signal of each turning stale or fresh every second:"
        f" {busy:.1f} %"
    )
    figures.value("idle-cpu", [idle], "%", what=what, target="≤ 10 %", baseline=[warden])


def _used(one: House, seconds: float) -> tuple[float, float]:
    """Give what station and warden use of a core, in percent."""
    assert one.station is not None
    assert one.installation.warden is not None
    ours, wardens = family(one.station.pid), [one.installation.warden.pid]
    before, warden_before = cpu_s(ours), cpu_s(wardens)
    time.sleep(seconds)
    used, warden = cpu_s(ours) - before, cpu_s(wardens) - warden_before
    return used / seconds * 100, warden / seconds * 100


@contextlib.contextmanager
def _reporting(one: House, flicker: list[str] | None = None) -> Iterator[None]:
    """Report as watch does, once a second; of what is to `flicker` every signal changes."""
    names = flicker or [row["target"] for row in one.installation.status()["targets"]]
    over = threading.Event()

    def report() -> None:
        stale = False
        with Conversation(one.installation.place.warden_socket) as line:
            while not over.is_set():
                stale = not stale and flicker is not None
                signals = {
                    name: {
                        "logs": {"age_ms": 40, "stale": stale},
                        "metrics": {"age_ms": 400, "stale": False},
                    }
                    for name in names
                }
                parts = [names[at : at + 500] for at in range(0, len(names), 500)]
                for number, part in enumerate(parts):
                    some = {name: signals[name] for name in part}
                    message = {"op": "report", "part": number, "of": len(parts), "signals": some}
                    line.ask(message)
                over.wait(1.0)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# --- stop-beside-load -------------------------------------------------------------------


def stop_beside_load(figures: Figures) -> None:
    """Stop targets at the warden while the station is kept busy, and while it is not."""
    if shutil.which("wrk") is None:
        figures.absent("stop-beside-load", "wrk is not installed")
        return
    pairs = figures.runs(200, 10)
    figures.say(f"stop-beside-load: {pairs} pairs")
    loaded, quiet, rates = [], [], []
    with housed(12) as one:
        assert one.station is not None
        core = {max(os.sched_getaffinity(0))}
        for pid in family(one.station.pid):
            os.sched_setaffinity(pid, core)
        for number in range(0, pairs, 10):  # ten of each in a turn: a load takes a while to build
            some = min(10, pairs - number)
            with _load(one, os.sched_getaffinity(0) - core or core) as rate:
                loaded += [_stop_ms(one, f"bench/l{number + each}") for each in range(some)]
            rates.append(rate())
            quiet += [_stop_ms(one, f"bench/q{number + each}") for each in range(some)]
    p99 = statistics.quantiles(loaded, n=100)[98], statistics.quantiles(quiet, n=100)[98]
    what = (
        f"order sent → confirmed, the station at its limit of {statistics.median(rates):.0f}"
        f" requests/s, against none; p99 {p99[0]:.2f} against {p99[1]:.2f} ms"
    )
    goal = "≤ 1.25 ×, p99 ≤ 5 ms more"
    figures.against("stop-beside-load", loaded, quiet, "ms", what=what, target=goal)


def _stop_ms(one: House, name: str) -> float:
    """Stop a target of its own; give what it took until it was confirmed, in milliseconds."""
    running = one.installation.run(*SLEEP, target=name)
    time.sleep(0.02)
    with Conversation(one.installation.place.warden_socket) as line:
        message = one.installation.stop_message(name)
        began = time.perf_counter()
        line.ask(message)
        final = line.receive()
        took = (time.perf_counter() - began) * 1000
    assert final is not None
    assert final["confirmed"], final
    running.close()
    return took


@contextlib.contextmanager
def _load(one: House, others: set[int]) -> Iterator[Callable[[], float]]:
    """Ask the station as often as it answers; gives what asks how often that was, in a second."""
    argv = ["wrk", "-t1", "-c64", "-d600s", f"{one.url}/healthz"]
    wrk = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(wrk.pid, others)
    said: list[str] = []
    try:
        time.sleep(0.3)
        yield lambda: _rate(said[0])
    finally:
        wrk.send_signal(2)
        said.append(wrk.communicate()[0])


def _rate(said: str) -> float:
    [line] = [each for each in said.splitlines() if each.startswith("Requests/sec")]
    return float(line.split()[1])


# ----------------------------------------------------------------------------------------


def seen(figures: Figures) -> None:
    """All that takes a browser, in one house that grows."""
    with housed(8) as one, contextlib.ExitStack() as running:
        for name in LIVE:
            running.callback(one.installation.run(*SLEEP, target=name).close)
        with visiting(one) as visit:
            first_page_bytes(figures, visit)
            change_to_pixel(figures, visit, 120, "≤ 50 ms")
            presses(figures, visit)
            change_to_pixel(figures, visit, 1000, "≤ 200 ms")
            idle_cpu(figures, one)  # with the Board open, as it is on a wall


def main() -> int:
    """Measure and print."""
    figures = Figures("station", "What the station costs, and how soon a person sees a change.")
    if os.geteuid() != 0:
        for key in (*BROWSED, "stop-beside-load"):
            figures.absent(key, "the installation needs root")
        figures.show()
        return 0
    if os.path.exists(CHROMIUM):
        seen(figures)
    else:
        for key in BROWSED:
            figures.absent(key, "chromium is not installed")
    stop_beside_load(figures)
    figures.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())

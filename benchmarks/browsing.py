"""A real Chromium on a real station, for figures of what a person sees: `benchmarks/station.py`.

An installation of its own with so many targets, a station beside it, and one signed-in browser. All
times are UTC as the kernel's clock has it: a page counts by `performance.timeOrigin`, which is that
clock's, and a pixel is what was painted, so it is counted after the frame in which it was.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from house import House, chromium, house  # noqa: E402 - the tests' own stage
from installation import Running, until  # noqa: E402
from offswitch.control.page import PageReader  # noqa: E402

__all__ = ["Visit", "housed", "visiting"]

PATIENCE_MS = 15_000
WATCH = """
(() => {
  const now = () => performance.timeOrigin + performance.now();
  const late = (what) => new Promise((_, fail) => setTimeout(() => fail(new Error(what)), 15000));
  const bench = window.bench = { down: 0 };
  addEventListener("pointerdown", (e) => {
    bench.down = performance.timeOrigin + e.timeStamp;
  }, true);
  const bare = window.fetch;
  window.fetch = function (url, ...more) {
    if (String(url).startsWith("/stop") && bench.told) bench.told(now());
    return bare.call(this, url, ...more);
  };
  // When the next press leaves.
  bench.press = () => { bench.sent = new Promise((done) => { bench.told = done; }); };
  bench.left = () => Promise.race([bench.sent, late("no press has left")]);
  // When `seen()` was painted for the first time.
  bench.wait = (seen) => {
    bench.painted = new Promise((done) => {
      const look = () => {
        if (!seen()) return;
        observer.disconnect();
        const channel = new MessageChannel();
        channel.port1.onmessage = () => done(now());
        requestAnimationFrame(() => channel.port2.postMessage(0));
      };
      const observer = new MutationObserver(look);
      const all = { subtree: true, childList: true, characterData: true, attributes: true };
      observer.observe(document.documentElement, all);
      look();
    });
  };
  bench.shown = () => Promise.race([bench.painted, late("it is not painted")]);
})();
"""
"""Watches in the page: when the pointer went down, the press left, and something was painted."""


@contextlib.contextmanager
def housed(targets: int, config: str = "") -> Iterator[House]:
    """Give a house with so many targets, all declared and none of them running."""
    with tempfile.TemporaryDirectory() as folder, house(Path(folder), config) as one:
        declare(one, targets)
        yield one


def declare(one: House, targets: int) -> None:
    """Have the warden know so many targets, in scopes of fifty."""
    names = [f"shop/s{number // 50:02}/t{number:04}" for number in range(targets)]
    one.installation.ask({"op": "declare", "targets": [{"name": name} for name in names]})


class Visit:
    """One browser that looks at one page."""

    def __init__(self, one: House, page: Any) -> None:  # noqa: ANN401 - playwright's
        """Use a page that is signed in."""
        self.house = one
        self.page = page

    def to(self, path: str) -> None:
        """Go to a page, and wait until it is live."""
        self.page.goto(self.house.url + path, wait_until="load")
        self.page.wait_for_selector('body[data-live="yes"]', timeout=PATIENCE_MS)
        self.page.wait_for_timeout(150)  # its feed has connected, and nothing is under way

    def expect(self, condition: str) -> None:
        """Begin to wait for what is to be painted, a condition in the page's own words."""
        self.page.evaluate(f"() => {{ bench.wait(() => {condition}); }}")

    def seen_ms(self) -> float:
        """Give when it was painted, UTC in milliseconds."""
        return float(self.page.evaluate("() => bench.shown()"))

    def hold_stop(self) -> float:
        """Press STOP as a hand does, and give when the hold was over, UTC in milliseconds."""
        box = self.page.locator("#stop").bounding_box()
        self.page.evaluate("() => bench.press()")
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.evaluate("() => bench.left()")
        self.page.mouse.up()
        return float(self.page.evaluate("() => bench.down + 400"))


@contextlib.contextmanager
def visiting(one: House) -> Iterator[Visit]:
    """Give a browser that has signed in as the first operator."""
    name, password = one.first
    with chromium() as browser:
        context = browser.new_context()
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(f"{one.url}/sign-in")
        page.fill("input[name=name]", name)
        page.fill("input[name=password]", password)
        page.click("form.sign-in button")
        page.wait_for_url(f"{one.url}/")
        yield Visit(one, page)
        context.close()


class Word:
    """A running target's word in the page, polled without a pause."""

    def __init__(self, one: House, running: Running) -> None:
        """Watch the word of `running`."""
        self._slot = one.installation.slot(running.target)
        self._page = PageReader(one.installation.place.page)
        self._free = self._page.word(self._slot)

    def set_ms(self) -> float:
        """Wait until it is set, looking twenty times a millisecond; give when, UTC in ms."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while self._page.word(self._slot) == self._free:
            if time.monotonic() > end:
                raise TimeoutError("the word is not set")
            time.sleep(0.00005)
        return time.time_ns() / 1e6

    def close(self) -> None:
        """Let go of the page."""
        self._page.close()


def cpu_s(pids: list[int]) -> float:
    """Give the processor's time that processes have used so far."""
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """List a process and its children, as the kernel does."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        found += [child for each in children for child in family(int(each))]
    return found


__all__ += ["Word", "cpu_s", "declare", "family", "until"]

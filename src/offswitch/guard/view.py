"""How a guard sees its own word of the page, and which way it fails.

Two words of a read-only mapping and the clock are all that a check looks at: the word must
be RUN, and the lease must lie in the future of CLOCK_BOOTTIME, which counts a suspend (what
is no number lies nowhere). The
clock is compared here, inside the program, because a flag that says "fresh" would outlive
the daemon that set it. Whatever is wrong (no page, a short one, another boot's, a word that
nobody has) reads as *stop*. A page that is removed or replaced leaves us with a mapping that
nobody renews, so its lease runs out.
A program whose CLOCK_BOOTTIME is behind the warden's (a time namespace does that) would see one
that lasts for hours: it is found out at the beginning. The mapping is shared with forked children
and cannot be written through: a stopped program cannot un-stop itself.
"""

from __future__ import annotations

import os
import time

from offswitch.control.page import FIRST_WORD, LEASE_SECONDS, OBSERVED_NS, RUN, SLOTS, PageReader
from offswitch.guard.report import Report
from offswitch.guard.stopped import Stopped

__all__ = ["View", "attach", "blank"]

_LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")
_BOOT_ID = slice(16, 32)
_LONGEST_LEASE_NS = 60_000_000_000
"""No warden gives more. What lies further ahead was given on another clock than ours."""


class View:
    """One word and the lease; `why` of a view without a page."""

    __slots__ = ("index", "path", "report", "seconds", "why", "words")

    def __init__(self, page: memoryview, index: int, path: str, why: str = "") -> None:
        """Look at the word `index` of `page` (bytes); `why`: what is wrong with a made-up one."""
        self.report = Report(None)
        """Whom steps are reported to; nobody unless the environment names it."""
        # Signed words: CPython turns them into numbers a little faster, and what does not fit is
        # negative, which is nobody's word.
        self.words = page.cast("q")
        self.seconds = page.cast("d")
        self.index = index
        self.path = path
        self.why = why

    def stopped(self, kind: str = "", name: str = "") -> Stopped:
        """Make the exception that tells why this program may not go on, and report it."""
        reason, level = self._reason()
        doing = f"{kind} step {name!r}" if kind else ""
        self.report.tell("refused", kind or "check", name)
        return Stopped(f"{doing} refused: {reason}" if doing else reason, level)

    def _reason(self) -> tuple[str, str | None]:
        if self.why:
            return self.why, None
        word = self.words[self.index]
        if RUN < word <= RUN + len(_LEVELS):
            level = _LEVELS[word - RUN - 1]
            return f"stopped: latched at level {level}", level
        if word != RUN:
            return f"stopped: word {self.index - FIRST_WORD} of the page is nobody's", None
        late = time.clock_gettime(time.CLOCK_BOOTTIME) - self.seconds[LEASE_SECONDS]
        gone = "" if os.path.exists(self.path) else f", and {self.path} is gone"
        if late < 0:
            return "stopped: the lease had run out, and was renewed just now", None
        return f"stopped: the lease ran out {late:.3f} s ago{gone}", None


def blank(why: str) -> View:
    """Give the view of a page that cannot be read: no lease, no word, stop."""
    return View(memoryview(bytes((FIRST_WORD + 1) * 8)), FIRST_WORD, "", why)


def attach(path: str, word: str) -> View:
    """Map the page at `path` and look at the word numbered `word`; never raises, see `blank`."""
    if not word.isascii() or not word.isdecimal() or int(word) >= SLOTS:
        return blank(f"stopped: OFFSWITCH_WORD={word[:40]!r} is no word of a page")
    try:
        reader = PageReader(path)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError) as error:
        return blank(f"stopped: the page cannot be read: {error}")
    data = reader.words.cast("B")
    if bytes(data[_BOOT_ID]) != boot:
        return blank(f"stopped: {path} is the page of another boot")
    left_ns = reader.lease_left_ns()
    if left_ns > OBSERVED_NS // 2:
        left_ns -= OBSERVED_NS  # the mode `observe`: a lease that nobody waits for (SR-15)
    if left_ns > _LONGEST_LEASE_NS:
        return blank("stopped: this program's clock is behind the warden's (a time namespace?)")
    return View(data, FIRST_WORD + int(word), path)

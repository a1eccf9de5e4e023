"""Where time and randomness come from.

Drills and tests replace these two, so that they never sleep and can be repeated.
Three clocks are kept apart because they answer different questions: `wall_us` is for
people and may jump by a day; `mono_us` orders what happened on this boot and stands
still in a suspend; `boot_us` counts a suspend too, which is what a lease wants: a
laptop that slept must not believe that its lease is fresh.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

__all__ = ["Clock", "SimulatedClock", "SystemClock", "boot_id", "new_nonce"]


class Clock(Protocol):
    """A source of time, in microseconds. Never blocks, never fails."""

    def wall_us(self) -> int:
        """UTC since the epoch; may jump."""
        ...

    def mono_us(self) -> int:
        """Since some point of this boot; never jumps, stands still in a suspend."""
        ...

    def boot_us(self) -> int:
        """Since boot, a suspend included."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def wall_us(self) -> int:
        """UTC since the epoch, in microseconds."""
        return time.time_ns() // 1000

    def mono_us(self) -> int:
        """CLOCK_MONOTONIC in microseconds."""
        return time.monotonic_ns() // 1000

    def boot_us(self) -> int:
        """CLOCK_BOOTTIME in microseconds."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class SimulatedClock:
    """A clock that moves only when told to, for drills and tests."""

    __slots__ = ("_skew", "_suspended", "now")

    def __init__(self, now_us: int = 0) -> None:
        """Start all three clocks at `now_us` (microseconds)."""
        self.now = now_us
        self._skew = 0
        self._suspended = 0

    def advance(self, us: int) -> None:
        """Let `us` microseconds pass on all three."""
        self.now += us

    def suspend(self, us: int) -> None:
        """Let `us` pass as in a suspend: `mono_us` does not see it."""
        self.now += us
        self._suspended += us

    def jump(self, us: int) -> None:
        """Set the wall clock by `us`, as an administrator or NTP would."""
        self._skew += us

    def wall_us(self) -> int:
        """Simulated UTC, in microseconds."""
        return self.now + self._skew

    def mono_us(self) -> int:
        """Simulated CLOCK_MONOTONIC, in microseconds."""
        return self.now - self._suspended

    def boot_us(self) -> int:
        """Simulated CLOCK_BOOTTIME, in microseconds."""
        return self.now


def new_nonce() -> str:
    """Give 128 random bits as 32 hex digits."""
    return os.urandom(16).hex()


def boot_id() -> str:
    """Name this boot (the kernel's random boot id, 32 hex digits)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip().replace("-", "")

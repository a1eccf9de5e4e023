"""The station drills by itself, when the schedule says so and no sooner (DRL-1)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from installation import until
from offswitch.control.place import Place
from offswitch.errors import Latched
from offswitch.ledger.reader import ShownEntry
from offswitch.station import drilling
from offswitch.station.drilling import Drilling

HOUR = 3_600_000_000


class Clock:
    """One that is set by hand."""

    now_us = 100 * HOUR

    def wall_us(self) -> int:
        return self.now_us

    def mono_us(self) -> int:
        return self.now_us

    def boot_us(self) -> int:
        return self.now_us


def drilled(at_us: int) -> list[ShownEntry]:
    """Give the entries of a clean drill."""
    same: dict[str, Any] = {"kind": "drill", "via": "journal", "drill": f"canary-{at_us}"}
    same |= {"demand": "resisting", "time_us": at_us}
    told = [{"what": "begin"}, {"what": "end", "state": "passed"}]
    clean = {"seen": "yes", "confirmed": "yes", "passed": "yes"}
    told[1:1] = [{"what": "layer", "layer": "process", **clean}]
    return [ShownEntry(0, {**same, **one}, {}, intact=True) for one in told]


def test_DRL_1_the_station_drills_by_the_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ran = Clock(), []
    one = Drilling(Place("home", "run"), clock, HOUR)

    def drill(_place: Place, *, channel: str, by: str) -> None:
        ran.append((clock.now_us, channel, by))
        if len(ran) == 1:
            raise Latched("everything is stopped")
        for entry in drilled(clock.now_us):
            one.take(entry)

    monkeypatch.setattr(drilling, "run_canary", drill)
    monkeypatch.setattr(drilling, "_SETTLED_S", 0.0)
    monkeypatch.setattr(drilling, "_LOOK_S", 0.001)

    def over_after(count: int) -> bool:
        return len(ran) >= count and not one.running

    async def hours() -> None:
        going = asyncio.create_task(one.go_on())
        for count in range(1, 5):
            over = partial(over_after, count)
            await asyncio.to_thread(until, over, "a drill is over")
            clock.now_us += HOUR - 1
            await asyncio.sleep(0.02)
            assert len(ran) == count, "no sooner than an hour after the last"
            clock.now_us += 1
        going.cancel()

    asyncio.run(hours())
    assert [at - 100 * HOUR for at, _channel, _by in ran][:4] == [0, HOUR, 2 * HOUR, 3 * HOUR]
    assert {(channel, by) for _at, channel, by in ran} == {("drill", "drill:schedule")}
    assert one.trouble == "", "the first one could not take place, the others did"
    assert one.figures().counted >= 3


def test_drills_that_are_off_are_run_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Drilling(Place("home", "run"), Clock(), None)
    monkeypatch.setattr(drilling, "run_canary", lambda *_a, **_k: pytest.fail("it drilled"))
    monkeypatch.setattr(drilling, "_SETTLED_S", 0.0)
    monkeypatch.setattr(drilling, "_LOOK_S", 0.001)

    async def a_while() -> None:
        going = asyncio.create_task(one.go_on())
        await asyncio.sleep(0.05)
        assert not going.done()
        going.cancel()

    asyncio.run(a_while())
    assert "degraded" in one.due().note

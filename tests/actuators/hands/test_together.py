"""Doing the same at several places at once: nobody waits for another, and the worst counts."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Sight, Trouble
from offswitch.actuators.hands.together import at_once, everywhere, troubles, worst


def test_ACT_1_calls_are_made_at_once_and_each_ones_trouble_is_its_own() -> None:
    meet = threading.Barrier(3, timeout=10)

    def fails() -> int:
        meet.wait()
        raise Trouble("refused")

    def breaks() -> int:
        meet.wait()
        raise ValueError("a defect")

    calls: list[Callable[[], int]] = [fails, breaks, meet.wait]
    came = at_once(calls)
    assert isinstance(came[2], int), "all three met, so none waited for another"
    assert troubles(came) == "refused; ValueError: a defect"
    assert at_once([]) == []


def test_ACT_1_where_no_thread_is_to_be_had_all_calls_are_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert at_once([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("stand", "whole"),
    [
        ([True, True], True),
        ([True, False], False),
        ([True, None], None),
        ([None, False], False),
        ([], None),
    ],
)
def test_VER_2_cut_is_what_is_cut_everywhere(
    stand: list[bool | None],
    whole: bool | None,  # noqa: FBT001 - a verdict
) -> None:
    seen = [Sight(one, str(one)) for one in stand]
    assert everywhere(seen).stands is whole
    if whole is True:
        assert everywhere([*seen, Trouble("silent")]).stands is None


def test_no_part_makes_the_whole_readier_than_it_is() -> None:
    ready, degraded = Readiness(Ready.READY, "fine"), Readiness(Ready.DEGRADED, "alone")
    assert worst([ready, degraded]) == degraded
    assert worst([ready, Trouble("silent"), degraded]).state is Ready.UNPROVEN
    assert worst([ready]) == ready
    assert worst([]).state is Ready.UNPROVEN

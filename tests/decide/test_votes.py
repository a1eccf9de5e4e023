"""DET-4 and the vote of a rule: every state of every channel."""

from __future__ import annotations

from itertools import product

import pytest

from offswitch.decide.votes import Channel, OnFailed, Vote, count
from offswitch.errors import Internal

O, T, S, F = Channel.OK, Channel.TRIP, Channel.STALE, Channel.FAILED  # noqa: E741
DEGRADE, TRIP = OnFailed.DEGRADE, OnFailed.TRIP

# vote, channels, on_failed → tripped, blind, as it was counted
ROWS = [
    ("1oo1", (O,), DEGRADE, False, False, "1oo1"),
    ("1oo1", (T,), DEGRADE, True, False, "1oo1"),
    ("1oo1", (S,), DEGRADE, False, True, "blind"),
    ("1oo1", (F,), DEGRADE, False, True, "blind"),
    ("1oo1", (S,), TRIP, True, True, "1oo1"),
    ("1oo1", (F,), TRIP, True, True, "1oo1"),
    ("1oo2", (O, O), DEGRADE, False, False, "1oo2"),
    ("1oo2", (T, O), DEGRADE, True, False, "1oo2"),
    ("1oo2", (O, F), DEGRADE, False, False, "1oo1"),
    ("1oo2", (T, F), DEGRADE, True, False, "1oo1"),
    ("1oo2", (S, F), DEGRADE, False, True, "blind"),
    ("1oo2", (O, S), TRIP, True, False, "1oo2"),
    ("2oo3", (O, O, O), DEGRADE, False, False, "2oo3"),
    ("2oo3", (T, O, O), DEGRADE, False, False, "2oo3"),
    ("2oo3", (T, T, O), DEGRADE, True, False, "2oo3"),
    ("2oo3", (T, T, T), DEGRADE, True, False, "2oo3"),
    ("2oo3", (F, O, O), DEGRADE, False, False, "1oo2"),
    ("2oo3", (F, T, O), DEGRADE, True, False, "1oo2"),
    ("2oo3", (F, S, O), DEGRADE, False, False, "1oo1"),
    ("2oo3", (F, S, T), DEGRADE, True, False, "1oo1"),
    ("2oo3", (F, S, F), DEGRADE, False, True, "blind"),
    ("2oo3", (F, O, O), TRIP, False, False, "2oo3"),
    ("2oo3", (F, T, O), TRIP, True, False, "2oo3"),
    ("2oo3", (F, S, O), TRIP, True, False, "2oo3"),
    ("2oo3", (F, F, F), TRIP, True, True, "2oo3"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {'+'.join(row[1])} {row[2]}")
def test_DET_4_a_vote_follows_the_table(
    row: tuple[str, tuple[Channel, ...], OnFailed, bool, bool, str],
) -> None:
    vote, channels, on_failed, tripped, blind, counted = row
    outcome = count(Vote(vote), channels, on_failed)
    assert (outcome.tripped, outcome.blind, outcome.counted) == (tripped, blind, counted)


@pytest.mark.parametrize("vote", list(Vote))
@pytest.mark.parametrize("on_failed", list(OnFailed))
def test_DET_4_over_all_states_a_worse_channel_never_takes_a_trip_back(
    vote: Vote, on_failed: OnFailed
) -> None:
    for channels in product(Channel, repeat=vote.channels):
        before = count(vote, channels, on_failed)
        for place in range(vote.channels):
            if channels[place] is O:
                worse = (*channels[:place], T, *channels[place + 1 :])
                assert count(vote, worse, on_failed).tripped >= before.tripped
                failed = (*channels[:place], F, *channels[place + 1 :])
                assert count(vote, failed, on_failed).tripped >= before.tripped
        assert before.blind == all(channel in {S, F} for channel in channels)
        order = count(vote, tuple(reversed(channels)), on_failed)
        assert order == before, "which channel it was makes no difference"


@pytest.mark.parametrize("channels", [(), (O,), (O, O, O)])
def test_a_vote_without_its_channels_is_a_defect(channels: tuple[Channel, ...]) -> None:
    with pytest.raises(Internal):
        count(Vote.ONE_OF_TWO, channels, DEGRADE)

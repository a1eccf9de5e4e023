"""DET-4 and the vote of a rule: every state of every channel."""

from __future__ import annotations

from itertools import product

import pytest

from offswitch.decide.votes import Channel, OnFailed, Vote, count
from offswitch.errors import Internal

O, T, S, F = Channel.OK, Channel.TRIP, Channel.STALE, Channel.FAILED  # noqa: E741
B = Channel.BYPASSED
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
                left_out = (*channels[:place], B, *channels[place + 1 :])
                if channels != (O,) * len(channels):
                    assert count(vote, left_out, on_failed).tripped >= before.tripped
        assert before.blind == all(channel in {S, F, B} for channel in channels)
        order = count(vote, tuple(reversed(channels)), on_failed)
        assert order == before, "which channel it was makes no difference"


# What is left of a vote, by how many channels are left out of it: needed, of how many.
LEFT = {
    "1oo1": {0: (1, 1), 1: None},
    "1oo2": {0: (1, 2), 1: (1, 1), 2: None},
    "2oo3": {0: (2, 3), 1: (1, 2), 2: (1, 1), 3: None},
}


@pytest.mark.parametrize("vote", list(Vote))
@pytest.mark.parametrize("on_failed", list(OnFailed))
def test_DET_4_the_whole_table_of_all_states_of_all_channels(
    vote: Vote, on_failed: OnFailed
) -> None:
    for channels in product(Channel, repeat=vote.channels):
        bypassed = channels.count(B)
        unwell = channels.count(S) + channels.count(F)
        out = bypassed + (unwell if on_failed is DEGRADE else 0)
        voting = channels.count(T) + (unwell if on_failed is TRIP else 0)
        left = LEFT[vote.value][out]
        outcome = count(vote, channels, on_failed)
        if left is None:
            assert (outcome.tripped, outcome.counted) == (False, "blind"), channels
        else:
            needed, of = left
            assert outcome.counted == f"{needed}oo{of}", channels
            assert outcome.tripped == (voting >= needed), channels


def test_DET_4_a_bypassed_channel_votes_for_nothing_and_all_of_them_are_blind() -> None:
    for on_failed in OnFailed:
        assert count(Vote.ONE_OF_ONE, (B,), on_failed).blind
        assert not count(Vote.ONE_OF_ONE, (B,), on_failed).tripped
        assert not count(Vote.TWO_OF_THREE, (B, O, O), on_failed).tripped
        assert count(Vote.TWO_OF_THREE, (B, T, O), on_failed).tripped


@pytest.mark.parametrize("channels", [(), (O,), (O, O, O)])
def test_a_vote_without_its_channels_is_a_defect(channels: tuple[Channel, ...]) -> None:
    with pytest.raises(Internal):
        count(Vote.ONE_OF_TWO, channels, DEGRADE)

"""Events are cut the same way whatever pieces they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.gateway.api.sse import Events, TooLong, data_of

LINES = st.lists(
    st.sampled_from(["data: x", "data:y", "event: e", ": a comment", "id: 1", "data", ""]),
    max_size=12,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def said(events: list[bytes]) -> list[tuple[str, bytes]]:
    return [each for each in map(data_of, events) if each[1]]


@given(LINES, st.lists(ENDS, min_size=12, max_size=12), st.data())
def test_any_split_gives_the_same_events(
    lines: list[str], ends: list[str], d: st.DataObject
) -> None:
    whole = "".join(line + end for line, end in zip(lines, ends, strict=False)).encode() + b"\n\n"
    at_once = Events().feed(whole)
    cuts = sorted(d.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    cutter = Events()
    pieces = []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        pieces += cutter.feed(whole[begin:end])
    assert said(pieces) == said(at_once)
    assert b"".join(pieces).replace(b"\r", b"\n").replace(b"\n", b"") == whole.replace(
        b"\r", b"\n"
    ).replace(b"\n", b"")


def test_an_event_comes_as_it_was() -> None:
    event = b"event: x\r\ndata: a\r\ndata: b\r\n\r\n"
    assert Events().feed(event) == [event]
    assert data_of(event) == ("x", b"a\nb")


def test_an_event_beyond_all_measure_is_not_kept() -> None:
    events = Events()
    for _ in range(15):
        assert events.feed(b"x" * (1 << 20)) == []
    with pytest.raises(TooLong):
        events.feed(b"x" * (2 << 20))

"""What passes is counted as it is, however it is cut, and nothing that passes can break it."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.control.canary import Canaries
from offswitch.control.sensed import (
    CAUSES,
    ENDS,
    REASONS,
    SHAPES,
    At,
    Sensed,
    SensedFile,
    TextKind,
    bucket_of,
    seconds_of,
)
from offswitch.errors import Storage
from offswitch.gateway.exchange import Asked, Call, Cause, Shape, Why
from offswitch.gateway.sense import Sense, marks
from offswitch.gateway.sense.tap import StreamTap
from offswitch.watch.detectors import refusal_collapse
from speaking_models import (
    PROSE,
    chat,
    chat_calls,
    event,
    messages,
    messages_call,
    responses,
    words,
)

TOKEN = "Zebra-7431-quiet-Harbour"
TARGET = "shop/agent"
REFUSAL = "I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I can't do that."


class Ground:
    """A worker's sense and a reader of what it writes."""

    def __init__(self, folder: Path, *targets: str) -> None:
        self.path = f"{folder}/models.0"
        self.canaries = Canaries({"prompt": TOKEN.encode(), "other": b"zz81-hPlw03-TqMerida"})
        self.targets = targets or (TARGET, "shop/other")
        self.fd = SensedFile.make(self.path, "models", self.targets, self.canaries.names)
        self.sense = Sense(self.fd, self.canaries)
        self.reader = Sensed(self.path)

    def tap(self, shape: Shape = Shape.CHAT, target: str = TARGET, **more: object) -> StreamTap:
        tap = self.sense.tap(target, Asked(shape, "m-7", **more), time.monotonic_ns())
        assert tap is not None
        return tap

    def passes(
        self, chunks: Iterable[bytes], shape: Shape = Shape.CHAT, how: str = "complete"
    ) -> None:
        tap = self.tap(shape)
        tap.head(200)
        for chunk in chunks:
            tap.data(chunk)
        tap.end(how)
        self.sense.tick()

    def count(self, at: int, target: int = 0) -> int:
        return self.reader.block(target)[at]

    def texts(self, *kinds: TextKind) -> list[bytes]:
        return [one.payload for one in self.reader.texts() if not kinds or one.kind in kinds]

    def close(self) -> None:
        self.sense.close()
        self.reader.close()
        os.close(self.fd)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    one = Ground(tmp_path)
    yield one
    one.close()


def cut(data: bytes, chance: random.Random) -> Iterator[bytes]:
    while data:
        size = chance.randrange(1, 40)
        yield data[:size]
        data = data[size:]


def test_the_tables_of_both_sides_are_the_same() -> None:
    assert tuple(Shape) == SHAPES
    assert tuple(Cause) == CAUSES
    assert {text.decode() for text in marks._PHRASES} == set(refusal_collapse._PHRASES)


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_stream_is_counted_as_it_is(ground: Ground, *, spaced: bool, at_once: bool) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    events = [*chat(["Of", " course", ' "sir"', "\n"], spaced=spaced, usage=usage)]
    ground.passes([b"".join(events)] if at_once else events)
    assert ground.count(At.REQUESTS + SHAPES.index("chat")) == 1
    assert ground.count(At.ENDED + ENDS.index("complete")) == 1
    assert ground.count(At.FINISHED + REASONS.index("stop")) == 1
    assert ground.count(At.EVENTS) == 8
    assert ground.count(At.TOKENS_IN) == 9
    assert ground.count(At.TOKENS_OUT) == 5, "four pieces came, and the server says five"
    assert ground.count(At.ANSWERS) == 1
    assert ground.count(At.REFUSALS) == 0
    assert ground.texts() == [b'Of course "sir"\n']
    assert ground.count(At.REQUESTS, 1) == 0, "another target's"


@pytest.mark.parametrize(
    ("shape", "chunks", "tokens", "reason"),
    [
        (Shape.MESSAGES, [*messages(["Good", " day"])], (25, 15), "stop"),
        (Shape.MESSAGES, [*messages(["x"], finish="refusal")], (25, 15), "refusal"),
        (Shape.RESPONSES, [*responses(["Good", " day"])], (7, 11), "stop"),
        (
            Shape.COMPLETION,
            [event({"choices": [{"text": "Good day", "finish_reason": "length"}]})],
            (0, 1),
            "length",
        ),
    ],
)
def test_each_api_is_read_in_its_own_shape(
    ground: Ground, shape: Shape, chunks: list[bytes], tokens: tuple[int, int], reason: str
) -> None:
    ground.passes(chunks, shape)
    assert (ground.count(At.TOKENS_IN), ground.count(At.TOKENS_OUT)) == tokens
    assert ground.count(At.FINISHED + REASONS.index(reason)) == 1
    assert ground.count(At.REFUSALS) == (reason == "refusal")
    assert b"".join(ground.texts()) in {b"Good day", b"x"}


def test_an_answer_that_is_no_stream_is_read_too(ground: Ground) -> None:
    message = {"role": "assistant", "content": REFUSAL}
    usage = {"prompt_tokens": 4, "completion_tokens": 9}
    said = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    ground.passes([json.dumps(said).encode()])
    assert (ground.count(At.TOKENS_IN), ground.count(At.TOKENS_OUT)) == (4, 9)
    assert ground.count(At.REFUSALS) == 1
    assert ground.texts() == [REFUSAL.encode()]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_wherever_a_stream_is_cut_the_numbers_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    chance = random.Random(seed)
    one = Ground(tmp_path_factory.mktemp("cut"))
    try:
        pieces = [*words(PROSE, 400), TOKEN[:7], TOKEN[7:9], TOKEN[9:], " end"]
        chance.shuffle(pieces[:50])
        one.passes(cut(b"".join(chat(pieces)), chance))
        assert one.count(At.EVENTS) == len(pieces) + 3
        assert one.count(At.TOKENS_OUT) == len(pieces)
        assert one.count(At.IN_ANSWER) == 1
        assert b"".join(one.texts(TextKind.TEXT)) == "".join(pieces).encode()
    finally:
        one.close()


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        (Shape.CHAT, [*chat_calls("send_mail", ['{"to":', ' "ann"}'])]),
        (Shape.MESSAGES, [*messages_call("send_mail", ['{"to":', ' "ann"}'])]),
        (Shape.RESPONSES, [*responses([], ("send_mail", '{"to": "ann"}'))]),
        (
            Shape.MESSAGES,
            [
                json.dumps(
                    {
                        "content": [
                            {"type": "tool_use", "name": "send_mail", "input": {"to": "ann"}}
                        ],
                        "stop_reason": "tool_use",
                    }
                ).encode()
            ],
        ),
    ],
)
def test_a_call_of_a_tool_is_told_with_its_arguments(
    ground: Ground, shape: Shape, chunks: list[bytes]
) -> None:
    ground.passes(chunks, shape)
    assert ground.count(At.TOOL_CALLS) == 1
    assert ground.texts(TextKind.TOOL) == [b'send_mail\n{"to": "ann"}']


def test_calls_that_a_request_makes_are_told_before_it_is_answered(ground: Ground) -> None:
    ground.tap(Shape.MCP, calls=(Call("rm", {"path": "/srv", "deep": [1, {"x": None}]}),))
    ground.sense.called(TARGET, "ls", {})
    ground.sense.tick()
    assert ground.count(At.TOOL_CALLS) == 2
    second, first = ground.texts(TextKind.TOOL)
    assert first == b'rm\n{"path": "/srv", "deep": [1, {"x": null}]}'
    assert second == b"ls\n{}"


def test_what_a_model_writes_cannot_look_like_what_the_api_says(ground: Ground) -> None:
    hostile = '"}}]}\n\ndata: {"content":"x"} "finish_reason":"length" "tool_calls":[{"name":"rm"}]'
    ground.passes(chat([hostile, hostile]))
    assert ground.count(At.TOKENS_OUT) == 2
    assert ground.count(At.TOOL_CALLS) == 0
    assert ground.count(At.FINISHED + REASONS.index("stop")) == 1
    assert ground.count(At.FINISHED + REASONS.index("length")) == 0
    assert ground.texts() == [(hostile * 2).encode()]


def test_DET_2_a_canary_is_found_across_the_borders_of_chunks_and_events(ground: Ground) -> None:
    pieces = [*words(PROSE, 30), *TOKEN, " and so on"]
    tap = ground.tap()
    for chunk in cut(b"".join(chat(pieces)), random.Random(4)):
        tap.data(chunk)
    tap.end("complete")
    ground.sense.tick()
    assert ground.count(At.IN_ANSWER) == 1
    assert ground.count(At.IN_ANSWER + 1) == 0, "the other one was not there"


def test_DET_2_a_canary_in_what_a_model_is_given_and_in_a_plain_answer(ground: Ground) -> None:
    body = json.dumps({"messages": [{"role": "tool", "content": f"row: {TOKEN}"}]}).encode()
    ground.sense.tap(TARGET, Asked(Shape.CHAT), 0, body)
    ground.sense.tick()
    assert ground.count(At.IN_PROMPT) == 1
    ground.passes([b"<html>", TOKEN[:5].encode(), TOKEN[5:].upper().encode()], Shape.PLAIN)
    assert ground.count(At.IN_ANSWER) == 1


@pytest.mark.parametrize("begin", [b'{"choices": "', b"data: ", b"<html>"])
def test_DET_2_a_canary_far_out_in_an_answer_that_is_too_long_to_be_read_is_found(
    ground: Ground, begin: bytes
) -> None:
    tap = ground.tap()
    tap.data(begin + b"x" * 100)
    for _ in range(10):
        tap.data(b"y" * 20_000)
    for half in (TOKEN[:9], TOKEN[9:]):
        tap.data(half.encode() + b"z" * 70_000 if half == TOKEN[9:] else half.encode())
    tap.end("complete")
    ground.sense.tick()
    assert ground.count(At.IN_ANSWER) == 1


def test_DET_2_a_text_that_goes_in_circles_is_told_from_prose(ground: Ground) -> None:
    chance = random.Random(1)
    each = PROSE.split()
    ground.passes(chat([f" {chance.choice(each)}" for _ in range(900)]))
    trapped = sum(ground.count(At.REPEATED + tenth) for tenth in range(4, 11))
    assert trapped == 0, "random words repeat hardly any run of letters"
    ground.passes(chat([f"Step {number} failed, I will try again. " for number in range(200)]))
    assert sum(ground.count(At.REPEATED + tenth) for tenth in (9, 10)) > 3


@pytest.mark.parametrize("how", ENDS)
def test_how_it_ended_is_counted_once(ground: Ground, how: str) -> None:
    tap = ground.tap()
    tap.data(b"data: {}\n\n")
    tap.end(how)
    tap.end("client")
    ground.sense.tick()
    ends = [ground.count(At.ENDED + number) for number in range(len(ENDS))]
    assert ends == [int(name == how) for name in ENDS]


def test_a_thousand_streams_that_are_cut_at_once_keep_nobody_waiting(ground: Ground) -> None:
    taps = [ground.tap() for _ in range(1000)]
    chunks = [*chat(words(PROSE, 3))]
    for tap in taps:
        for chunk in chunks:
            tap.data(chunk)
    begin = time.thread_time()
    for tap in taps:
        tap.end("stopped")
    assert time.thread_time() - begin < 0.002, "2 µs a stream"
    ticks = []
    while ground.count(At.ENDED + ENDS.index("stopped")) < 1000:
        begin = time.thread_time()
        ground.sense.tick()
        ticks.append(time.thread_time() - begin)
    assert sorted(ticks)[len(ticks) // 2] < 0.002


def test_a_chunk_costs_little(ground: Ground) -> None:
    tap = ground.tap()
    chunks = [*chat(words(PROSE, 2000))]
    begin = time.thread_time()
    for chunk in chunks:
        tap.data(chunk)
    each = (time.thread_time() - begin) / len(chunks)
    print(f"{each * 1e6:.2f} µs a chunk")
    assert each < 10e-6


def test_refusals_of_the_gateway_and_errors_are_counted_by_cause(ground: Ground) -> None:
    ground.sense.refused(TARGET, Why(Cause.STOPPED))
    ground.sense.refused("nobody", Why(Cause.NO_ROUTE))
    ground.tap().head(503)
    ground.tap().head(429)
    assert ground.count(At.REFUSED + CAUSES.index("stopped")) == 1
    assert (ground.count(At.ERRORS_5XX), ground.count(At.ERRORS_4XX)) == (1, 1)
    assert ground.sense.tap("nobody", Asked(Shape.CHAT), 0) is None


def test_sessions_are_counted_when_they_are_first_seen(ground: Ground) -> None:
    for session in ("a", "b", "a", "", "b"):
        ground.tap(session=session)
    ground.sense.tick()
    assert ground.count(At.SESSIONS) == 2


def test_a_stream_that_is_silent_is_told_and_its_last_words_are_read(ground: Ground) -> None:
    tap = ground.tap()
    begin = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    *most, _done = chat(["a", "b"])
    for chunk in most:
        tap.data(chunk)
    tap._due = 0
    ground.sense.tick()
    ground.sense.tick()
    assert ground.count(At.TOKENS_OUT) == 2
    assert abs(ground.count(At.SILENT) - begin) < 1e9
    tap.end("complete")
    ground.sense.tick()
    ground.sense.tick()
    assert ground.count(At.SILENT) == 0


def test_SR_6_a_target_that_talks_without_end_takes_no_room_of_others(ground: Ground) -> None:
    for _ in range(3):
        ground.passes(chat([PROSE * 3] * 400))
    assert ground.count(At.DROPPED) > 0
    ground.reader.texts()
    tap = ground.tap(target="shop/other")
    for chunk in chat(["I", " am here"]):
        tap.data(chunk)
    tap.end("complete")
    ground.sense.tick()
    assert ground.texts(TextKind.WHOLE) == [b"I am here"]
    assert ground.count(At.DROPPED, 1) == 0


def test_of_many_requests_a_second_a_part_is_told_in_words_and_all_are_counted(
    ground: Ground,
) -> None:
    said = {"messages": [{"role": "user", "content": "hello"}]}
    ground.sense._texts._now = lambda: 5  # one and the same second
    for _ in range(300):
        ground.passes(chat(["Good day"]))
        ground.tap(body=said).end("client")
        ground.sense.tick()
    prompts, answers = ground.texts(TextKind.PROMPT), ground.count(At.ANSWERS)
    assert len(prompts) == 200
    assert ground.count(At.DROPPED) == 100
    assert answers == 300


def test_a_reader_that_is_too_slow_loses_texts_and_nobody_waits(ground: Ground) -> None:
    file = ground.sense._file
    for number in range(2000):
        file.put(TextKind.TEXT, 0, f"{number} ".encode() + b"x" * 1000)
    assert ground.reader.texts() == []
    assert ground.reader.gone == 1
    file.put(TextKind.TEXT, 0, b"later")
    assert ground.texts() == [b"later"]


def test_a_reader_gets_each_text_whole_round_after_round(ground: Ground) -> None:
    file, chance = ground.sense._file, random.Random(7)
    for number in range(4000):
        text = f"{number}:".encode() + chance.randbytes(chance.randrange(900))
        file.put(TextKind.TEXT, 1, text)
        [got] = ground.reader.texts()
        assert got.payload == text
        assert got.target == 1


def test_a_worker_that_dies_leaves_its_answers_as_lost(ground: Ground) -> None:
    ground.tap()
    ground.tap().end("complete")
    ground.sense.tick()
    again = Sense(ground.fd)
    assert ground.count(At.ENDED + ENDS.index("lost")) == 1
    assert ground.reader.life == 2
    again.close()


@given(data=st.binary(max_size=300), shape=st.sampled_from(list(Shape)))
def test_whatever_passes_nothing_is_raised(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, shape: Shape
) -> None:
    one = Ground(tmp_path_factory.mktemp("any"))
    try:
        call = b'data: {"tool_calls":[{"name":"x","arguments":"\\'
        for begin in (b"", b"data: ", b'{"choices":', call):
            one.passes([begin + data, data], shape)
    finally:
        one.close()


@given(st.integers(0, 10**12))
def test_a_time_is_in_its_bucket(nanoseconds: int) -> None:
    seconds = seconds_of(bucket_of(nanoseconds))
    if nanoseconds < 40e9:
        assert nanoseconds / 1e9 <= seconds <= max(nanoseconds / 1e9 * 1.34, 3e-6)


def test_SEC_4_answers_that_end_faster_than_ticks_look_at_them_are_not_kept(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    going_on = [ground.tap() for _ in range(10)]
    for _second in range(20):
        for _ in range(1000):
            tap = ground.tap(Shape.EMBEDDINGS)
            tap.data(b"{}")
            tap.end("complete")
        ground.sense.tick()
    assert len(ground.sense._open) < 2000
    assert set(going_on) <= set(ground.sense._open)
    ground.close()


def test_a_file_for_which_there_is_no_room_gives_back_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _at: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Storage):
        SensedFile.make(f"{tmp_path}/models.0", "models", [TARGET])
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before

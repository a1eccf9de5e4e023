"""The ring: never waits, never fails, loses nothing silently, survives every crash."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offswitch.control.journal import Ring
from offswitch.errors import Corrupt, Refused, Storage
from scale import runs

SMALL = 16 << 10
HEAD_WORD, NEXT_WORD, TAIL_WORD = 128, 136, 256
RECORDS = 4096


def record(number: int, size: int = 60) -> bytes:
    return f"record {number} ".encode().ljust(size, b".")


def poke(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_what_is_appended_is_read_once_in_order(path: Path) -> None:
    producer, consumer = Ring.take(str(path), SMALL), None
    assert [producer.append(record(n)) for n in range(1, 4)] == [1, 2, 3]
    consumer = Ring.open(str(path))
    assert consumer.read() == [(n, record(n)) for n in range(1, 4)]
    assert consumer.read() == []
    producer.append(record(4))
    assert consumer.read() == [(4, record(4))]


def test_the_file_is_private_and_preallocated(path: Path) -> None:
    Ring.take(str(path), SMALL)
    info = path.stat()
    assert info.st_mode & 0o777 == 0o600
    assert info.st_blocks * 512 >= info.st_size >= SMALL


def test_records_of_every_size_wrap_round_unharmed(path: Path, rng: random.Random) -> None:
    producer, consumer = Ring.take(str(path), SMALL), Ring.open(str(path))
    for number in range(1, 2000):
        text = rng.randbytes(rng.randrange(0, 900))
        assert producer.append(text) == number
        assert consumer.read() == [(number, text)]
        consumer.release(number)
    assert producer.lost == 0


def test_REC_3_a_full_ring_neither_waits_nor_fails_and_the_gap_shows_as_a_jump(path: Path) -> None:
    producer, consumer = Ring.take(str(path), SMALL), Ring.open(str(path))
    numbers = [producer.append(record(n)) for n in range(1, 501)]
    assert numbers == list(range(1, 501))
    kept = [seq for seq, _ in consumer.read()]
    assert 100 < len(kept) < 500
    assert producer.lost == 500 - len(kept)
    consumer.release(kept[-1])
    assert producer.append(record(501)) == 501
    assert consumer.read() == [(501, record(501))]


def test_a_lost_record_is_never_called_durable(path: Path) -> None:
    producer, consumer = Ring.take(str(path), SMALL), Ring.open(str(path))
    numbers = [producer.append(record(n)) for n in range(1, 501)]
    kept = consumer.read()[-1][0]
    consumer.set_durable(500)
    assert producer.durable(kept)
    assert not producer.durable(kept + 1)
    assert not producer.durable(numbers[-1])
    assert not producer.durable(501)


def test_a_record_that_never_fits_is_lost_at_once(path: Path) -> None:
    producer, consumer = Ring.take(str(path), SMALL), Ring.open(str(path))
    producer.append(bytes(SMALL))
    assert producer.lost == 1
    producer.append(record(2))
    assert consumer.read() == [(2, record(2))]


def test_what_was_not_released_is_read_again_by_the_next_consumer(path: Path) -> None:
    producer, consumer = Ring.take(str(path), SMALL), Ring.open(str(path))
    for number in range(1, 11):
        producer.append(record(number))
    consumer.read(4)
    consumer.release(2)
    assert [seq for seq, _ in Ring.open(str(path)).read()] == list(range(3, 11))


def test_the_next_producer_goes_on_with_ring_and_numbers(path: Path) -> None:
    first = Ring.take(str(path), SMALL)
    for number in range(1, 6):
        first.append(record(number))
    first.close()
    second = Ring.take(str(path), SMALL)
    assert second.damage is None
    assert second.append(record(6)) == 6
    assert [seq for seq, _ in Ring.open(str(path)).read()] == [1, 2, 3, 4, 5, 6]


def test_a_producer_that_died_between_head_and_number_repeats_no_number(path: Path) -> None:
    first = Ring.take(str(path), SMALL)
    for number in range(1, 6):
        first.append(record(number))
    poke(path, NEXT_WORD, struct.pack("=Q", 5))  # as if killed before the number moved on
    assert Ring.take(str(path), SMALL).append(record(6)) == 6
    consumer = Ring.open(str(path))
    consumer.read()
    consumer.release(6)
    poke(path, NEXT_WORD, struct.pack("=Q", 6))  # the same, and everything was taken already
    assert Ring.take(str(path), SMALL).append(record(7)) == 7


def test_a_garbled_record_is_stepped_over_and_counted(path: Path) -> None:
    producer = Ring.take(str(path), SMALL)
    for number in range(1, 11):
        producer.append(record(number))
    size = 16 + 64
    poke(path, RECORDS + 3 * size + 20, b"\xff")
    poke(path, RECORDS + 6 * size, struct.pack("=I", 1 << 30))
    consumer = Ring.open(str(path))
    assert [seq for seq, _ in consumer.read()] == [1, 2, 3, 5, 6, 8, 9, 10]
    assert consumer.garbled == 2 * size


def test_garbage_in_the_head_heals_with_the_next_append(path: Path) -> None:
    producer, consumer = Ring.take(str(path), SMALL), Ring.open(str(path))
    producer.append(record(1))
    poke(path, HEAD_WORD, b"\xff" * 8)
    assert consumer.read() == []
    producer.append(record(2))
    assert [seq for seq, _ in consumer.read()] == [1, 2]


def test_garbage_in_the_tail_loses_nothing_that_was_kept(path: Path) -> None:
    producer = Ring.take(str(path), SMALL)
    for number in range(1, 6):
        producer.append(record(number))
    poke(path, TAIL_WORD, b"\xff" * 8)
    assert producer.append(record(6)) == 6
    assert producer.lost == 1  # nobody can tell how much room there is
    consumer = Ring.open(str(path))
    assert [seq for seq, _ in consumer.read()] == [1, 2, 3, 4, 5]
    consumer.release(5)
    assert producer.append(record(7)) == 7
    assert [seq for seq, _ in consumer.read()] == [7]


def test_a_new_producer_finds_the_records_of_a_garbled_header(path: Path) -> None:
    first = Ring.take(str(path), SMALL)
    for number in range(1, 8):
        first.append(record(number))
    ring_id = first.id
    poke(path, HEAD_WORD, b"\xff" * 8)
    second = Ring.take(str(path), SMALL)
    assert "7 records" in str(second.damage)
    assert second.id == ring_id
    assert second.append(record(8)) == 8
    assert [seq for seq, _ in Ring.open(str(path)).read()] == list(range(1, 9))


def test_one_copy_of_the_static_header_is_enough_and_without_any_a_new_ring_begins(
    path: Path,
) -> None:
    first = Ring.take(str(path), SMALL)
    first.append(record(1))
    poke(path, 0, b"garbage!" * 5)
    again = Ring.take(str(path), SMALL)
    assert (again.id, again.damage) == (first.id, None)
    assert Ring.open(str(path)).read() == [(1, record(1))]
    poke(path, 2048, b"garbage!" * 5)
    new = Ring.take(str(path), SMALL)
    assert new.id != first.id
    assert new.damage == "the header is garbled"
    assert Ring.open(str(path)).read() == []
    assert new.append(record(1)) == 1


def test_only_a_plain_file_of_ours_is_taken(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Storage):
        Ring.open(str(path))
    path.write_bytes(b"nothing like a ring" * 300)
    with pytest.raises(Corrupt):
        Ring.open(str(path))
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(Storage):
        Ring.take(str(link), SMALL)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        with pytest.raises(Refused):
            Ring.take(str(path), SMALL)


_PRODUCER = """
import sys
from offswitch.control.journal import Ring
ring = Ring.take(sys.argv[1], int(sys.argv[2]))
print("ready", flush=True)
while True:
    number = ring.next_seq
    ring.append(f"record {number} ".encode() + b"." * (number % 700))
"""


def test_a_producer_killed_at_any_instruction_leaves_whole_records_and_no_gap(
    path: Path, rng: random.Random
) -> None:
    expected = 1
    for _ in range(runs(100)):
        child = subprocess.Popen(
            [sys.executable, "-c", _PRODUCER, str(path), str(1 << 20)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        consumer = Ring.open(str(path))
        end = time.monotonic() + 0.01 + rng.random() / 20
        seen: list[tuple[int, bytes]] = []
        while time.monotonic() < end:
            seen += _drain(consumer)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        seen += _drain(consumer)
        lost = consumer.lost
        for seq, text in seen:
            assert text.startswith(f"record {seq} ".encode())
            assert len(text) == len(f"record {seq} ") + seq % 700
        numbers = [seq for seq, _ in seen]
        assert numbers == sorted(set(numbers))
        assert numbers[0] >= expected
        expected = numbers[-1] + 1
        # Every number that is missing was counted, but for one that was being counted.
        missing = consumer.next_seq - 1 - (numbers[0] - 1) - len(numbers)
        assert missing <= lost + 1
        assert consumer.garbled == 0


def _drain(consumer: Ring) -> list[tuple[int, bytes]]:
    found = consumer.read()
    if found:
        consumer.release(found[-1][0])
    return found

"""The recorder, as a process: nothing acknowledged is lost, nothing is entered twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import needs_root
from offswitch.control import frames
from offswitch.control.client import Conversation
from offswitch.control.journal import Ring
from offswitch.errors import OffswitchError, Refused, Usage
from offswitch.ledger.intake import admit_outside_cells
from offswitch.ledger.store import lock
from offswitch.ledger.verifier import Verdict
from recordings import INSTALLATION, Recording, payload, until
from scale import runs


def orders(recording: Recording) -> list[int]:
    """Give the numbers of all orders in the ledger, in their order there."""
    return [int(body["digest"], 16) for body in recording.bodies() if body["kind"] == "order"]


def of_kind(recording: Recording, kind: str) -> list[dict[str, object]]:
    return [body for body in recording.bodies() if body["kind"] == kind]


def consistent(recording: Recording) -> None:
    outcome = recording.verify()
    assert outcome.verdict is Verdict.UNWITNESSED, outcome


def test_what_the_warden_journals_is_in_the_ledger_and_the_warden_can_see_it(
    recording: Recording,
) -> None:
    recording.start()
    last = [recording.append(number) for number in range(50)][-1]
    recording.await_durable(last)
    assert recording.ring.durable(last)
    assert recording.hang_up() == 0
    assert orders(recording) == list(range(50))
    bodies = recording.bodies()
    assert (bodies[0]["kind"], bodies[0]["what"]) == ("restart", "recorder begins")
    assert bodies[0]["sqlite"] == sqlite3.sqlite_version
    assert bodies[0]["vkey"] == (recording.pin.key() or "").strip()
    assert (bodies[-1]["kind"], bodies[-1]["what"]) == ("restart", "recorder ends")
    assert all("missing" not in body for body in bodies)
    assert {body["via"] for body in bodies} == {"recorder", "journal"}
    consistent(recording)


def test_what_was_journalled_before_it_began_is_entered_when_it_begins(
    recording: Recording,
) -> None:
    for number in range(30):
        recording.append(number)
    recording.start()
    recording.await_durable(30)
    recording.hang_up()
    assert orders(recording) == list(range(30))


def test_files_are_private_and_the_pin_is_for_everybody(recording: Recording) -> None:
    recording.start()
    recording.append(0)
    recording.hang_up()
    folder = Path(recording.paths.folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in (*folder.iterdir(), Path(recording.paths.key)):
        assert path.stat().st_mode & 0o077 == 0, path
    for name in ("ledger.vkey", "head"):
        assert (recording.folder / "pin" / name).stat().st_mode & 0o777 == 0o644


def test_a_new_key_is_said_once(recording: Recording) -> None:
    for _ in range(2):
        recording.start()
        recording.append(0)
        assert recording.hang_up() == 0
    assert recording.said().count((recording.pin.key() or "?").strip()) == 1


def test_the_pin_is_the_latest_head_after_each_commit(recording: Recording) -> None:
    recording.start()
    for number in range(5):
        recording.await_durable(recording.append(number))
        note = recording.pin.head() or b""
        assert int(note.split(b"\n")[1]) >= number + 2  # it is pinned before it is acknowledged
    recording.hang_up()
    consistent(recording)


def test_REC_1_a_recorder_killed_at_any_instant_loses_nothing_and_repeats_nothing(
    recording: Recording, rng: random.Random
) -> None:
    number = 0
    durable = 0
    for _ in range(runs(100)):
        recording.start()
        end = time.monotonic() + 0.1 + rng.random() * 0.4
        while time.monotonic() < end:
            durable = recording.append(number)
            number += 1
            behind = number - recording.ring.durable_seq > 5000
            if number % 10 == 0 or behind:  # what a full ring loses is another test's
                time.sleep(0.05 if behind else 0.001)
        acknowledged = recording.ring.durable_seq
        recording.kill()
        assert recording.ring.durable_seq >= acknowledged
        if acknowledged:
            there = orders(recording)
            assert there == list(range(len(there)))
            assert len(there) >= acknowledged
    recording.start()
    recording.await_durable(durable)
    assert recording.hang_up() == 0
    assert orders(recording) == list(range(number))
    assert of_kind(recording, "gap") == []
    consistent(recording)


def test_entries_that_were_acknowledged_on_the_socket_survive_a_kill(
    recording: Recording, rng: random.Random
) -> None:
    acknowledged: list[tuple[int, int]] = []
    for turn in range(runs(60)):
        recording.start()
        conversation = recording.conversation()
        first = turn * 100_000
        doomed = first + rng.randrange(5, 100)
        try:
            for number in range(first, first + 100_000):
                if number == doomed:
                    threading.Timer(rng.random() / 200, recording.kill).start()
                request = {"op": "record", "entries": [payload(number)]}
                acknowledged.append((number, conversation.ask(request)["indexes"][0]))
        except OffswitchError:
            pass
        conversation.close()
        until(lambda: recording.wake < 0, "the recorder was killed")
    bodies = recording.bodies()
    assert len(acknowledged) > 10
    for number, index in acknowledged:
        assert int(bodies[index]["digest"], 16) == number
    assert len(set(orders(recording))) == len(orders(recording))
    consistent(recording)


def test_REC_3_a_full_ring_becomes_a_gap_entry_in_its_place(tmp_path: Path) -> None:
    recording = Recording(tmp_path, ring_size=16 << 10)
    try:
        for number in range(100):
            recording.append(number)
        lost = recording.ring.lost
        assert 0 < lost < 100
        recording.start()
        recording.await_durable(100)
        recording.await_durable(recording.append(500))
        recording.hang_up()
        kept = 100 - lost
        assert orders(recording) == [*range(kept), 500]
        gaps = of_kind(recording, "gap")
        assert [(gap["lost"], gap["first"], gap["last"]) for gap in gaps] == [(lost, kept + 1, 100)]
        assert gaps[0]["why"] == "the ring was full"
        consistent(recording)
    finally:
        recording.close()


def test_REC_3_while_the_recorder_hangs_nobody_waits_and_then_everything_is_entered(
    recording: Recording,
) -> None:
    """What a hung disk looks like from the warden's side: nothing moves on there."""
    process = recording.start()
    recording.await_durable(recording.append(0))
    process.send_signal(signal.SIGSTOP)
    numbers = [recording.append(number) for number in range(1, 2000)]
    assert numbers == sorted(numbers)  # each came back at once, or this would never end
    assert recording.ring.lost == 0
    assert not recording.ring.durable(numbers[0])
    process.send_signal(signal.SIGCONT)
    recording.await_durable(numbers[-1])
    recording.hang_up()
    assert orders(recording) == list(range(2000))
    consistent(recording)


def test_REC_3_a_damaged_record_becomes_a_gap_entry_in_its_place(recording: Recording) -> None:
    for number in range(5):
        recording.append(number)
    with open(recording.ring_path, "r+b") as file:
        file.seek(4096 + 40)
        file.write(b"\x00\xff\x00")
    recording.start()
    recording.await_durable(5)
    recording.hang_up()
    assert orders(recording) == [1, 2, 3, 4]
    gap = of_kind(recording, "gap")[0]
    assert (gap["why"], gap["lost"], gap["first"]) == ("records were damaged", 1, 1)


def test_a_record_that_is_no_entry_is_entered_as_a_note(recording: Recording) -> None:
    recording.start()
    for record in (b"\xff\xfe", b"{}", b'{"public": {"kind": "order"}, "sealed": 4}'):
        recording.append_raw(record)
    recording.await_durable(recording.append(3))
    recording.hang_up()
    assert [body["what"] for body in of_kind(recording, "note")] == [
        "a record that is no entry"
    ] * 3
    consistent(recording)


def test_a_journal_that_went_with_a_reboot_leaves_a_gap_entry(recording: Recording) -> None:
    recording.start()
    recording.await_durable(recording.append(1))
    recording.kill()
    recording.append(2)
    os.unlink(recording.ring_path)
    recording.ring.close()
    recording.ring = Ring.take(recording.ring_path)
    recording.start()
    recording.await_durable(recording.append(3))
    recording.hang_up()
    assert orders(recording) == [1, 3]
    assert "it may have held more" in str(of_kind(recording, "gap")[0]["why"])
    # After an orderly end nothing is amiss.
    os.unlink(recording.ring_path)
    recording.ring.close()
    recording.ring = Ring.take(recording.ring_path)
    recording.start()
    recording.await_durable(recording.append(4))
    recording.hang_up()
    assert len(of_kind(recording, "gap")) == 1


# --- bad disks --------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    needs_root()
    place = tmp_path / "small"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "offswitch-test", str(place)]
    subprocess.run(["mount", *options], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_REC_3_a_full_disk_is_waited_out_and_the_ring_holds_meanwhile(small_disk: Path) -> None:
    recording = Recording(small_disk)
    recording.log = small_disk.parent / "recorder.log"
    try:
        recording.start()
        recording.await_durable(recording.append(0))
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        number = 1
        while "full" not in recording.said():
            recording.append(number)
            number += 1
            assert number < 5000
            time.sleep(0.001)
        process = recording.process
        assert process is not None
        stuck = recording.ring.durable_seq
        last = recording.append(number)
        time.sleep(0.2)
        assert process.poll() is None  # it waits; it does not crash
        assert recording.ring.durable_seq == stuck
        conversation = recording.conversation()
        conversation.send({"op": "record", "entries": [payload(999_999)]})
        time.sleep(0.2)
        filler.unlink()
        answer = conversation.receive()  # a peer waits as the ring does
        conversation.close()
        recording.await_durable(last)
        assert recording.hang_up() == 0
        found = orders(recording)
        assert answer is not None
        assert int(recording.bodies()[answer["indexes"][0]]["digest"], 16) == 999_999
        assert [each for each in found if each != 999_999] == list(range(number + 1))
        assert recording.ring.lost == 0
        consistent(recording)
        assert recording.said().count("full") < 10
    finally:
        recording.close()


def test_a_locked_database_is_waited_out(recording: Recording) -> None:
    recording.start()
    recording.await_durable(recording.append(0))
    intruder = sqlite3.connect(recording.paths.database, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    last = recording.append(1)
    until(lambda: "locked" in recording.said(), "the recorder says that it is locked out")
    assert recording.ring.durable_seq < last
    intruder.execute("ROLLBACK")
    intruder.close()
    recording.await_durable(last)
    recording.hang_up()
    assert orders(recording) == [0, 1]
    consistent(recording)


@pytest.mark.parametrize("what", ["tail", "head", "key", "pin", "restored"])
def test_nothing_is_signed_on_top_of_a_ledger_that_is_not_what_was_signed(
    recording: Recording, what: str
) -> None:
    recording.start()
    recording.await_durable(recording.append(0))
    recording.hang_up()
    backup = Path(recording.paths.database).read_bytes()
    recording.start()
    recording.await_durable(recording.append(1))
    recording.hang_up()
    if what == "tail":
        recording.change("UPDATE entries SET leaf = zeroblob(32) WHERE idx = 1")
    elif what == "head":
        recording.change("UPDATE entries SET checkpoint = x'00' WHERE idx = 5")
    elif what == "key":
        os.unlink(recording.paths.key)
    elif what == "pin":
        other = (recording.pin.key() or "").replace("+", "x+", 1)
        Path(recording.pin.key_path).write_text(other)
    else:
        Path(recording.paths.database).write_bytes(backup)
    before = Path(recording.paths.database).read_bytes()
    pinned = recording.pin.head()
    process = recording.start()
    last = recording.append(2)
    said = recording.said()
    until(lambda: recording.said() != said, "the recorder complains")
    time.sleep(0.1)
    assert process.poll() is None
    assert recording.ring.durable_seq < last
    assert "next:" in recording.said()
    assert Path(recording.paths.database).read_bytes() == before
    assert recording.pin.head() == pinned
    assert recording.hang_up() == 1  # only a person can help, so it does not linger
    assert Ring.open(recording.ring_path).next_seq == last + 1


def test_a_pin_that_cannot_be_written_holds_up_nothing(recording: Recording) -> None:
    (recording.folder / "pin").write_text("in the way")
    recording.start()
    recording.await_durable(recording.append(9))
    assert "the key is not pinned" in recording.said()
    recording.hang_up()
    (recording.folder / "pin").unlink()
    recording.start()
    recording.await_durable(recording.append(0))
    pin = recording.folder / "pin"
    pin.rename(recording.folder / "pin.away")
    recording.await_durable(recording.append(1))
    recording.await_durable(recording.append(2))
    assert recording.said().count("the head is not pinned") == 2  # once by each of the two
    (recording.folder / "pin.away").rename(pin)
    recording.await_durable(recording.append(3))
    recording.hang_up()
    consistent(recording)


# --- one writer -------------------------------------------------------------------


def test_a_new_recorder_waits_for_the_old_one_to_let_go(recording: Recording) -> None:
    os.makedirs(recording.paths.folder, mode=0o700)
    held = lock(recording.paths.lock)
    assert held is not None
    recording.start()
    last = recording.append(1)
    time.sleep(0.5)
    assert recording.ring.durable_seq < last
    assert not os.path.exists(recording.paths.database)
    os.close(held)
    recording.await_durable(last)
    recording.hang_up()
    assert orders(recording) == [1]


def test_two_recorders_of_one_ring_enter_everything_once(recording: Recording) -> None:
    first = recording.start()
    old_wake = recording.wake
    for number in range(300):
        recording.append(number)
    recording.start()  # a new warden's, while the old one's still drains
    os.close(old_wake)
    for number in range(300, 400):
        recording.append(number)
    assert first.wait(20) == 0
    recording.await_durable(recording.append(400))
    recording.hang_up()
    assert orders(recording) == list(range(401))
    consistent(recording)


# --- the socket -------------------------------------------------------------------


def test_peers_get_their_indexes_after_the_commit(recording: Recording) -> None:
    recording.start()
    with recording.conversation() as conversation:
        answer = conversation.ask({"op": "record", "entries": [payload(1), payload(2)]})
        indexes = answer["indexes"]
        bodies = recording.bodies()
        assert [int(bodies[index]["digest"], 16) for index in indexes] == [1, 2]
        assert {bodies[index]["via"] for index in indexes} == {"socket"}
    recording.hang_up()


def test_many_peers_at_once_get_each_their_own_indexes(recording: Recording) -> None:
    recording.start()
    recording.conversation().close()
    got: dict[int, int] = {}

    def press(peer: int) -> None:
        with Conversation(recording.place.recorder_socket) as conversation:
            for turn in range(20):
                number = peer * 1000 + turn
                answer = conversation.ask({"op": "record", "entries": [payload(number)]})
                got[number] = answer["indexes"][0]

    peers = [threading.Thread(target=press, args=(peer,)) for peer in range(16)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join()
    recording.hang_up()
    bodies = recording.bodies()
    assert len(got) == 320
    assert len(set(got.values())) == 320
    for number, index in got.items():
        assert int(bodies[index]["digest"], 16) == number
    consistent(recording)


def test_a_peer_that_does_not_wait_is_read_no_faster_than_it_is_recorded(
    recording: Recording,
) -> None:
    recording.start()
    with recording.conversation() as conversation:
        count = 300
        sender = threading.Thread(
            target=lambda: [
                conversation.send({"op": "record", "entries": [payload(number)]})
                for number in range(count)
            ]
        )
        sender.start()
        answers = [conversation.receive() for _ in range(count)]
        sender.join()
    recording.hang_up()
    assert all(answer is not None and "indexes" in answer for answer in answers)
    assert orders(recording) == list(range(count))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"op": "erase"}, "takes entries"),
        ({"op": "record", "entries": []}, "0 entries"),
        ({"op": "record", "entries": [payload(1), {"public": 3}]}, "entries[1]"),
        ({"op": "record", "entries": [7]}, "entries[0]"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_its_place(
    recording: Recording, message: dict[str, object], told: str
) -> None:
    recording.start()
    with recording.conversation() as conversation, pytest.raises(Usage) as caught:
        conversation.ask(message)
    assert told in caught.value.message
    recording.hang_up()
    assert orders(recording) == []


def test_garbled_truncated_and_oversized_requests_harm_nobody(recording: Recording) -> None:
    recording.start()
    recording.conversation().close()
    whole = frames.encode({"op": "record", "entries": [payload(7)]})
    after = frames.encode({"op": "record", "entries": [payload(6)]}) + b"\xff" * 64
    broken = (b"\xff" * 64, struct.pack(">I", 1 << 30), b"\0\0\0\4nope", whole[:-5], b"", after)
    for garbage in broken:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(recording.place.recorder_socket)
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(5)
            while sock.recv(4096):
                pass
    with recording.conversation() as conversation:
        conversation.ask({"op": "record", "entries": [payload(8)]})
    recording.hang_up()
    assert orders(recording) == [6, 8]  # what was whole before the garbage counts


def test_who_may_hand_in_entries_is_the_owner_outside_of_every_cell(tmp_path: Path) -> None:
    admit = admit_outside_cells({0, 1234}, "offswitch-test-none")
    me = os.getpid()
    assert admit(me, 0, 0)
    assert admit(me, 1234, 5)
    assert not admit(me, 1235, 1234)
    assert not admit(2**22 + 1, 0, 0)
    cgroup = Path(f"/proc/{me}/cgroup").read_text().split("\n")[0].split(":", 2)[2]
    first = cgroup.strip("/").split("/")[0]
    if first:
        assert not admit_outside_cells({0}, first)(me, 0, 0)


def test_a_stranger_is_refused_by_the_kernels_word(recording: Recording) -> None:
    needs_root()
    recording.start()
    recording.conversation().close()
    for folder in (recording.run, recording.place.control):
        os.chmod(folder, 0o755)
    os.chmod(recording.place.recorder_socket, 0o666)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            with Conversation(recording.place.recorder_socket, 5) as conversation:
                conversation.ask({"op": "record", "entries": [payload(1)]})
        except Refused:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    recording.hang_up()
    assert orders(recording) == []


def test_a_listening_socket_may_be_handed_down(recording: Recording) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{recording.run}/handed")
        listener.listen()
        reader, recording.wake = os.pipe()
        arguments = ["--home", str(recording.folder), "--run", recording.run]
        arguments += ["--ring", recording.ring_path, "--wake", str(reader)]
        arguments += ["--listen", str(listener.fileno())]
        recording.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "offswitch.ledger.recorder", *arguments],
            pass_fds=[reader, listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        recording._all.append(recording.process)
        os.close(reader)
    with Conversation(f"{recording.run}/handed") as conversation:
        assert "indexes" in conversation.ask({"op": "record", "entries": [payload(1)]})
    assert recording.hang_up() == 0


def test_it_does_not_start_on_what_is_no_journal(recording: Recording, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"x" * 10_000)
    recording.ring_path = str(bad)
    process = recording.start()
    assert process.wait(20) == 1
    assert "is no journal" in recording.said()


def test_signals_of_a_terminal_do_not_end_it(recording: Recording) -> None:
    process = recording.start()
    recording.conversation().close()
    for number in (signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    recording.await_durable(recording.append(1))
    assert recording.hang_up() == 0
    assert json.loads(json.dumps(recording.bodies()))[0]["installation"] == INSTALLATION

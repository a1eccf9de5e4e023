"""The flow table as the warden meets it: what a worker says of its sockets, or garbage."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.control.flows import Ends, Flow, FlowReader, FlowTable, Stage
from offswitch.errors import Busy, Corrupt

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@pytest.fixture
def both() -> Iterator[tuple[FlowTable, FlowReader]]:
    table, fd = FlowTable.create(64)
    reader = FlowReader(fd)
    yield table, reader
    reader.close()
    table.close()


def pair(family: int = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as listener:
        mine = socket.create_connection(listener.getsockname()[:2])
        theirs, _address = listener.accept()
    return mine, theirs


def test_a_flow_is_seen_with_both_its_ends(both: tuple[FlowTable, FlowReader]) -> None:
    table, reader = both
    mine, theirs = pair()
    with mine, theirs:
        client, upstream = Ends.of(theirs), Ends.of(mine)
        row = table.take(7, client)
        assert reader.flows({7}) == [
            Flow(7, Stage.ADMITTED, reader.flows()[0].since_ns, client, None)
        ]
        table.upstream(row, upstream)
        table.state(row, Stage.STREAMING)
        [flow] = reader.flows({7})
        assert (flow.stage, flow.ends) == (Stage.STREAMING, [upstream, client])
        assert reader.any_of({7})
        assert not reader.any_of({6, 8})
        assert reader.flows({6, 8}) == []
        table.free(row)
        assert reader.flows() == []
        assert not reader.any_of({7})
    assert (len(table), reader.open) == (0, 0)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_ACT_4_an_end_names_exactly_its_socket_to_the_kernel(family: int) -> None:
    mine, theirs = pair(family)
    with mine, theirs, Diag() as diag:
        ends = Ends.of(theirs)
        [found] = diag.present([Sock.named(ends.family, ends.ident)])
        assert found.where().endswith(str(mine.getsockname()[1]))
        another = bytearray(ends.ident)
        another[-1] ^= 1  # the same addresses, but another socket's cookie
        assert diag.present([Sock.named(ends.family, bytes(another))]) == []


def test_ACT_4_what_a_worker_has_still_to_end_is_counted(
    both: tuple[FlowTable, FlowReader],
) -> None:
    table, reader = both
    rows = [table.take(slot, Ends(bytes(range(56)))) for slot in (1, 1, 2)]
    assert reader.progress({1}) == (2, 2)
    table.state(rows[0], Stage.ENDING)
    assert reader.progress({1}) == (2, 1)
    table.free(rows[0])
    assert reader.progress({1}) == (1, 1)
    assert reader.progress({3}) == (0, 0)


def test_a_full_table_takes_no_more_flows_and_a_freed_row_serves_again(
    both: tuple[FlowTable, FlowReader],
) -> None:
    table, reader = both
    ends = Ends(bytes(range(56)))
    rows = [table.take(number, ends) for number in range(64)]
    with pytest.raises(Busy):
        table.take(64, ends)
    assert {flow.slot for flow in reader.flows()} == set(range(64))
    table.free(rows[10])
    assert table.take(99, ends) == rows[10]


def test_turn_beat_pid_and_cuts_are_told(both: tuple[FlowTable, FlowReader]) -> None:
    table, reader = both
    assert (reader.swept, reader.pid) == (0, os.getpid())
    table.swept = 1 << 60
    before = reader.beat_ns
    table.beat()
    table.cut(5, 12)
    table.cut(6)
    table.cut(5)
    assert reader.swept == 1 << 60
    assert reader.beat_ns > before
    assert [reader.cut(slot) for slot in (5, 6, 7)] == [13, 1, 0]


def test_SEC_4_what_is_no_sealed_table_is_refused_and_nobody_waits_for_it() -> None:
    table, fd = FlowTable.create(4)
    size = os.fstat(fd).st_size
    whole = os.pread(fd, size, 0)
    os.close(fd)
    table.close()
    reading, writing = os.pipe()
    os.close(writing)
    unsealed = os.memfd_create("a", os.MFD_ALLOW_SEALING)
    os.write(unsealed, whole)
    with pytest.raises(Corrupt):
        FlowReader(unsealed)
    with pytest.raises(Corrupt):
        FlowReader(reading)
    lies = [b"", whole[:-1], whole + bytes(128), b"X" + whole[1:], bytes(len(whole))]
    lies += [whole[:40] + (1 << 63).to_bytes(8, "little") + whole[48:]]
    for lie in lies:
        fd = os.memfd_create("b", os.MFD_ALLOW_SEALING)
        os.write(fd, lie)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        with pytest.raises(Corrupt):
            FlowReader(fd)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)  # or each such table would cost the warden a descriptor for ever


def test_SEC_4_whatever_a_worker_writes_is_read_without_harm(
    both: tuple[FlowTable, FlowReader],
) -> None:
    _table, reader = both
    chance = random.Random(4)
    for _ in range(50):
        os.pwrite(reader.fileno(), chance.randbytes(64 * 128), 4096)
        for flow in reader.flows():
            for ends in flow.ends:
                assert len(ends.ident) == 48
                assert isinstance(ends.family, int)
        reader.cut(3)


def test_ACT_4_a_row_that_is_being_written_is_nobodys(
    both: tuple[FlowTable, FlowReader],
) -> None:
    """A reader must never put one flow's target to another flow's sockets."""
    table, reader = both
    ends = {slot: Ends(bytes([slot]) * 56) for slot in (1, 2)}
    over, ended = time.monotonic() + 0.2, threading.Event()

    def churn() -> None:
        while not ended.is_set():
            for slot in (1, 2):
                table.free(table.take(slot, ends[slot]))

    thread = threading.Thread(target=churn)
    thread.start()
    seen = 0
    try:
        while time.monotonic() < over or (not seen and time.monotonic() < over + 20):
            for flow in reader.flows():
                seen += 1
                assert flow.client == ends[flow.slot]
    finally:
        ended.set()
        thread.join()
    assert seen

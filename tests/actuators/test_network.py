"""The network layer: what is denied stays in, what was queued is destroyed, others go on."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import socket
import time
from collections.abc import Iterator

import pytest

from offswitch.actuators import bpf, sock_diag
from offswitch.actuators.contract import Ready
from offswitch.actuators.network import WARM, Network
from offswitch.actuators.sockets import Sockets
from offswitch.warden.cells.cgroups import find_trees, remove_tree
from scale import runs
from stage import PYTHON, Actor, Stage, until

HOSTS = ("127.0.0.1", "::1")
TALKER = """
import os, socket, sys
peer = (sys.argv[1], int(sys.argv[2]))
family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
tcp = socket.create_connection(peer)
udp = socket.socket(family, socket.SOCK_DGRAM)
ways = {
    "tcp": lambda: tcp.send(b"x"),
    "udp": lambda: udp.sendto(b"x", peer),
    "new": lambda: socket.socket(family).close(),
    "connect": lambda: socket.create_connection(peer, 0.2).close(),
}
print("READY", flush=True)
for line in sys.stdin:
    for name, way in ways.items():
        try:
            way()
            print(name, "ok", flush=True)
        except OSError as error:
            print(name, error.errno, flush=True)
    print("END", flush=True)
"""


class Talker:
    """A program in a cell that tries to talk to us whenever it is asked."""

    def __init__(self, stage: Stage, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.server = socket.create_server((host, 0), family=family)
        port = self.server.getsockname()[1]
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((host, port))
        self.udp.setblocking(False)
        out, self.into = os.pipe2(os.O_CLOEXEC)
        self.actor = stage.bear([PYTHON, "-I", "-c", TALKER, host, str(port)], stdin=out)
        os.close(out)
        self.peer, _address = self.server.accept()
        self.peer.setblocking(False)
        until(lambda: "READY" in self.actor.said(), "it is ready")

    def talk(self) -> dict[str, str]:
        """Have it try every way; return way → `ok` or an errno."""
        before = self.actor.said().count("END")
        os.write(self.into, b"go\n")
        until(lambda: self.actor.said().count("END") > before, "it has tried")
        lines = self.actor.said().splitlines()[-5:-1]
        return dict(line.split() for line in lines)  # type: ignore[arg-type]

    def heard(self) -> list[str]:
        """What has come here since last time."""
        found = []
        for name, sock in (("tcp", self.peer), ("udp", self.udp)):
            with contextlib.suppress(BlockingIOError):
                while sock.recv(100):
                    found.append(name)
        while select.select([self.server], [], [], 0)[0]:
            self.server.accept()[0].close()
            found.append("connect")
        return found

    def close(self) -> None:
        for each in (self.server, self.udp, self.peer):
            each.close()
        os.close(self.into)


@pytest.fixture(params=HOSTS)
def talker(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Talker]:
    talker = Talker(stage, request.param)
    yield talker
    talker.close()


def test_VER_2_nothing_comes_out_of_a_denied_cell_and_all_of_it_did_before(
    stage: Stage, talker: Talker
) -> None:
    assert set(talker.talk().values()) == {"ok"}
    assert sorted(set(talker.heard())) == ["connect", "tcp", "udp"]

    stage.network.trip(talker.actor.cell)
    told = talker.talk()
    assert told["udp"] == told["new"] == told["connect"] == str(errno.EPERM)
    time.sleep(0.05)
    assert talker.heard() == []
    assert stage.network.denied(talker.actor.cell)


def test_a_denial_may_be_repeated_and_taken_off_and_then_all_passes_again(
    stage: Stage, talker: Talker
) -> None:
    for _ in range(3):
        stage.network.trip(talker.actor.cell)
    for _ in range(2):
        stage.network.release(talker.actor.cell)
    assert not stage.network.denied(talker.actor.cell)
    assert set(talker.talk().values()) == {"ok"}


def test_a_denial_of_one_cell_leaves_the_next_one_alone(stage: Stage) -> None:
    one, other = Talker(stage, "127.0.0.1"), Talker(stage, "127.0.0.1")
    stage.network.trip(one.actor.cell)
    assert set(other.talk().values()) == {"ok"}
    one.close()
    other.close()


def test_a_denial_covers_the_cgroups_that_lie_in_the_cell(stage: Stage, talker: Talker) -> None:
    inner = f"{talker.actor.cell.path}/inner"
    os.mkdir(inner)
    with open(f"{inner}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(talker.actor.birth.pid))
    stage.network.trip(talker.actor.cell)
    assert talker.talk()["udp"] == str(errno.EPERM)
    assert stage.look(talker.actor, ["process"], deadline_ms=50) == {"process": False}
    assert stage.stop(talker.actor)["process"]


class SlowReader:
    """An outside reader of a stream, with a small buffer, that reads when told."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.socket(family)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        self._server.bind((host, 0))
        self._server.listen()
        self.address = (host, str(self._server.getsockname()[1]))
        self.sock: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.sock, _address = self._server.accept()
        self.sock.setblocking(False)
        return self.sock

    def close(self) -> None:
        self._server.close()
        if self.sock is not None:
            self.sock.close()


def streaming(stage: Stage, host: str) -> tuple[Actor, SlowReader, socket.socket]:
    """Give a program whose stream has filled the kernel's buffers, and its slow reader."""
    reader = SlowReader(host)
    actor = stage.bear([PYTHON, "-I", stage.program("stream"), *reader.address])
    sock = reader.accept()
    until(lambda: actor.acts > 3, "its buffers are full")
    until(lambda: queued(actor) > 1 << 19, "megabytes wait in the kernel")
    return actor, reader, sock


def queued(actor: Actor) -> int:
    assert actor.cell.cgroup_id is not None
    with sock_diag.Diag() as diag:
        return sum(each.queued for each in diag.sockets_of(actor.cell.cgroup_id))


def drain(sock: socket.socket, seconds: float) -> tuple[int, str]:
    """Read slowly for so long; return the bytes, and how the connection ended."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        select.select([sock], [], [], 0.01)
        try:
            data = sock.recv(1 << 12)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return count, "reset"
        if not data:
            return count, "end"
        count += len(data)
    return count, "open"


@pytest.mark.parametrize("host", HOSTS)
def test_SR_8_a_slow_reader_gets_no_more_data_after_the_stop(stage: Stage, host: str) -> None:
    for _run in range(runs(20)):
        actor, reader, sock = streaming(stage, host)
        assert stage.stop(actor) == {"process": True, "network": True, "sweep": True}
        assert queued(actor) == 0
        received, how = drain(sock, 0.5)
        # What lay in the reader's own machine cannot be called back; what lay with the dead
        # program's, some megabytes, is gone, and the reader learns at once that it is over.
        assert received < 1 << 18
        assert how == "reset"
        reader.close()


def test_SR_8_the_kill_alone_leaves_megabytes_to_a_slow_reader(stage: Stage) -> None:
    """The twin that fails: populated 0, and the stream goes on without a process."""
    actor, reader, sock = streaming(stage, "127.0.0.1")
    actor.cell.kill()
    until(lambda: actor.cell.populated() is False, "the cell is empty")
    received, _how = drain(sock, 0.6)
    assert received > 1 << 19
    reader.close()


def test_SR_8_a_denial_alone_is_a_pause(stage: Stage) -> None:
    """The twin that fails: what was queued goes out when the denial is taken off."""
    actor, reader, sock = streaming(stage, "127.0.0.1")
    stage.network.trip(actor.cell)
    actor.cell.kill()
    until(lambda: actor.cell.populated() is False, "the cell is empty")
    held, _how = drain(sock, 0.3)
    stage.network.release(actor.cell)
    received, _how = drain(sock, 1.5)
    assert received > held
    assert received > 1 << 18
    reader.close()


def test_SR_8_a_cell_is_not_removed_while_a_socket_bears_its_number(stage: Stage) -> None:
    actor, reader, _sock = streaming(stage, "127.0.0.1")
    actor.cell.kill()
    actor.wait()
    until(lambda: actor.cell.populated() is False, "the cell is empty")
    assert not actor.cell.remove()
    assert not stage.look(actor, ["network"], deadline_ms=50)["network"]
    stage.sockets.trip(actor.cell)
    assert stage.sockets.left(actor.cell) is False
    assert stage.look(actor, ["network"])["network"]
    reader.close()


def test_SR_8_a_socket_that_was_given_away_is_destroyed_with_the_cell(stage: Stage) -> None:
    """A broker outside holds the agent's connection; it was made in the cell, so it goes."""
    path = str(stage.root / "broker")
    broker = socket.socket(socket.AF_UNIX)
    broker.bind(path)
    os.chmod(path, 0o777)
    broker.listen()
    server = socket.create_server(("127.0.0.1", 0))
    program = (
        "import socket, sys, time\n"
        "unix = socket.socket(socket.AF_UNIX)\n"
        "unix.connect(sys.argv[1])\n"
        "tcp = socket.create_connection(('127.0.0.1', int(sys.argv[2])))\n"
        "socket.send_fds(unix, [b'x'], [tcp.fileno()])\n"
        "time.sleep(100)\n"
    )
    port = str(server.getsockname()[1])
    actor = stage.bear([PYTHON, "-I", "-c", program, path, port])
    unix, _address = broker.accept()
    _data, fds, _flags, _from = socket.recv_fds(unix, 1, 1)
    peer, _address = server.accept()
    peer.settimeout(5)
    given = socket.socket(fileno=fds[0])
    given.send(b"alive")
    assert peer.recv(100) == b"alive"

    stage.stop(actor)
    with pytest.raises(OSError, match=r"Errno"):
        given.send(b"dead?")
    with pytest.raises(ConnectionResetError):
        peer.recv(100)
    for each in (given, peer, unix, server, broker):
        each.close()


def test_sockets_are_listed_with_their_ends_and_only_those_of_the_cell(stage: Stage) -> None:
    mine = socket.create_server(("127.0.0.1", 0))
    talker = Talker(stage, "127.0.0.1")
    assert talker.actor.cell.cgroup_id is not None
    with sock_diag.Diag() as diag:
        found = diag.sockets_of(talker.actor.cell.cgroup_id)
    port = talker.server.getsockname()[1]
    assert [each.where().endswith(f"-> 127.0.0.1:{port}") for each in found] == [True]
    mine.close()
    talker.close()


def test_sockets_of_many_cells_are_listed_in_one_question(stage: Stage) -> None:
    talkers = [Talker(stage, host) for host in HOSTS]
    ids = [talker.actor.cell.cgroup_id or 0 for talker in talkers]
    strangers = range(1 << 40, (1 << 40) + 1500)
    with sock_diag.Diag() as diag:
        for asked in (ids, [*strangers, *ids], [*ids, *strangers]):
            assert {each.cgroup_id for each in diag.sockets_of(*asked)} == set(ids)
        assert {each.cgroup_id for each in diag.sockets_of(ids[1])} == {ids[1]}
        assert diag.sockets_of(*strangers) == []
        assert diag.sockets_of() == []
    for talker in talkers:
        talker.close()


def test_what_the_kernel_does_not_answer_is_unknown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    cell = stage.play("idle").cell
    monkeypatch.setattr(sock_diag.Diag, "__init__", refuse)
    without = Sockets()
    assert without.left(cell) is None
    without.trip(cell)
    assert without.arm(cell).state is Ready.ABSENT
    assert sock_diag.any_of(cell.cgroup_id or 0) is None
    assert cell.remove() is False


def test_a_stop_works_when_no_descriptor_is_left(stage: Stage) -> None:
    """All that the four steps need was opened before."""
    actor, reader, sock = streaming(stage, "127.0.0.1")
    assert all(step.arm(actor.cell).state is Ready.READY for step in stage.kill_steps)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open("/dev/null", os.O_RDONLY)
        for step in stage.kill_steps:
            step.trip(actor.cell)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    looks = stage.look(actor, ["process", "network", "sweep"])
    assert looks == {"process": True, "network": True, "sweep": True}
    assert drain(sock, 0.5)[1] == "reset"
    reader.close()


def test_ready_is_said_of_what_was_tried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = stage.play("idle").cell
    assert [step.arm(cell).state for step in stage.kill_steps] == [Ready.READY] * 4

    def refuse(*_args: object) -> int:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr("offswitch.actuators.bpf.load", refuse)
    without = Network()
    assert without.arm(cell).state is Ready.ABSENT
    without.trip(cell)
    assert not without.denied(cell)
    without.close()


def test_SR_22_what_one_warden_denied_the_next_one_can_let_go(stage: Stage, talker: Talker) -> None:
    """A program is taken off by itself alone, and the next warden has loaded others."""
    before = Network()
    before.trip(talker.actor.cell)
    before.close()
    assert stage.network.denied(talker.actor.cell)
    stage.network.release(talker.actor.cell)
    assert not stage.network.denied(talker.actor.cell)
    assert set(talker.talk().values()) == {"ok"}


def test_SR_23_a_hundred_wardens_in_a_row_leave_the_hooks_warm_and_one_program_each(
    stage: Stage,
) -> None:
    ground = f"{find_trees().v2}/offswitch-warm-{os.getpid()}"
    os.mkdir(ground)
    for _ in range(100):
        network = Network()
        network.keep_warm(ground)
        assert network.warm()
        network.close()
    fd = os.open(f"{ground}/{WARM}", os.O_RDONLY)
    assert bpf.attached(fd, bpf.Attach.EGRESS) == 1
    os.close(fd)
    remove_tree(ground)

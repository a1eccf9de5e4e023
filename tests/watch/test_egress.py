"""Whom a cell talks to for the first time: real sockets of real processes."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from offswitch.clock import SimulatedClock
from offswitch.watch.sensors.contract import CellFacts, SensorContext
from offswitch.watch.sensors.processes.egress import Egress, Tables, shown
from offswitch.watch.sensors.processes.sensor import Processes, ProcessesSection
from offswitch.watch.sensors.processes.tcp import LISTENS, sockets_of, table_of

TALKER = """
import socket, sys
held = []
for line in iter(sys.stdin.readline, ""):
    host, port = line.split()
    held.append(socket.create_connection((host, int(port))))
    print("connected", flush=True)
"""


class Talker:
    """A process that connects to what it is told, and keeps the connections."""

    def __init__(self) -> None:
        argv = [sys.executable, "-I", "-c", TALKER]
        self.child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def talk(self, host: str, port: int) -> None:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{host} {port}\n")
        self.child.stdin.flush()
        assert self.child.stdout.readline() == "connected\n"


@pytest.fixture
def talker() -> Iterator[Talker]:
    one = Talker()
    yield one
    one.child.kill()
    one.child.communicate()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """One that accepts nothing: connections are established all the same."""
    with socket.create_server(("0.0.0.0", 0)) as one:
        yield one


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 127.0.0.0/8 count as outside: a machine of tests has no other hosts."""
    monkeypatch.setattr(ipaddress.IPv4Address, "is_loopback", property(lambda _self: False))


def test_sockets_are_found_by_table_and_descriptor(server: socket.socket, talker: Talker) -> None:
    port = server.getsockname()[1]
    talker.talk("127.0.0.1", port)
    table = table_of(talker.child.pid)
    ours = [table[inode] for inode in sockets_of(talker.child.pid) if inode in table]
    assert [(str(one.remote), one.remote_port, one.state) for one in ours] == [
        ("127.0.0.1", port, "01")
    ]
    listening = table[os.fstat(server.fileno()).st_ino]
    assert (str(listening.local), listening.local_port, listening.state) == (
        "0.0.0.0",
        port,
        LISTENS,
    )
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        found = table_of()[os.fstat(six.fileno()).st_ino]
        assert (str(found.local), found.local_port) == ("::1", six.getsockname()[1])


def test_DET_2_a_host_that_was_never_talked_to_is_new_once(
    server: socket.socket, talker: Talker, outside: None
) -> None:
    port = server.getsockname()[1]
    clock = SimulatedClock()

    def look(one: Egress, *pids: int) -> dict[str, str] | None:
        clock.advance(1_000_000)
        return one.look([talker.child.pid, *pids])

    egress = Egress([], {}, Tables(clock))
    assert look(egress) == {}
    talker.talk("127.0.0.1", port)
    fresh = look(egress)
    assert fresh == {"127.0.0.1": f"127.0.0.1 port {port}, pid {talker.child.pid}"}
    assert shown(fresh) == {"host 0": f"127.0.0.1 port {port}, pid {talker.child.pid}"}
    talker.talk("127.0.0.2", port)
    assert look(egress, 2**22 - 1) is not None
    assert egress.hosts == 2
    assert look(egress) == {}
    again = Egress([], egress.memory(), Tables(clock))
    assert look(again) == {}, "what was known outlives the eye"
    allowed = Egress([ipaddress.ip_network("127.0.0.0/31")], {}, Tables(clock))
    assert list(look(allowed) or {}) == ["127.0.0.2"]


def test_loopback_never_counts(server: socket.socket, talker: Talker) -> None:
    talker.talk("127.0.0.1", server.getsockname()[1])
    egress = Egress([], {}, Tables(SimulatedClock()))
    assert egress.look([talker.child.pid]) == {}
    assert egress.hosts == 0


def test_what_is_talked_to_at_first_is_learnt_and_then_the_new_is_counted(
    server: socket.socket, talker: Talker, outside: None
) -> None:
    port, clock = server.getsockname()[1], SimulatedClock(1_000_000)
    cells = {"a": CellFacts(None, (talker.child.pid,), None, "running")}
    raw = {"name": "p", "target": "a", "kind": "processes", "learn_hosts": "10s"}
    sensor = Processes(ProcessesSection.model_validate(raw), SensorContext(clock, cells))

    def look() -> dict[str, float]:
        clock.advance(6_000_000)
        glance = sensor.look()
        look.memory = glance.memory  # type: ignore[attr-defined]
        return {one.what: one.value for one in glance.samples}

    talker.talk("127.0.0.1", port)
    assert (look()["hosts"], look()["new_hosts"]) == (1, 0)
    assert look()["new_hosts"] == 0
    talker.talk("127.0.0.3", port)
    seen = look()
    assert (seen["hosts"], seen["new_hosts"], seen["begun"]) == (2, 1, 0)
    assert look()["new_hosts"] == 0
    memory = look.memory  # type: ignore[attr-defined]
    again = Processes(
        ProcessesSection.model_validate(raw), SensorContext(clock, cells, memory=memory)
    )
    talker.talk("127.0.0.4", port)
    assert {one.what: one.value for one in again.look().samples}["new_hosts"] == 1
    with pytest.raises(ValueError, match="known_hosts"):
        ProcessesSection.model_validate({**raw, "known_hosts": ["nowhere"]})

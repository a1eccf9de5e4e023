"""Sockets that are older than the adoption, or than their owner's coming, are destroyed too."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adopted_ground import Ground, tree
from installation import PYTHON, Installation, until

SENDER = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
sys.stdin.readline()
while True: sock.sendall(b"x" * 65536)
"""


@contextlib.contextmanager
def slow_reader() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def received_after(reader: socket.socket) -> int:
    """Read slowly what still comes, until the end or for two seconds."""
    total, end = 0, time.monotonic() + 2
    reader.settimeout(0.5)
    with contextlib.suppress(OSError):
        while time.monotonic() < end and (data := reader.recv(65536)):
            total += len(data)
            time.sleep(0.001)
    return total


def sender(ground: Ground, listener: socket.socket, born_in: str) -> tuple[Any, socket.socket]:
    """Start a program that has connected in `born_in`, and sends when it is told to."""
    port = str(listener.getsockname()[1])
    child = ground.born(born_in, PYTHON, "-c", SENDER, port, stdin=-1, stdout=-1)
    assert child.stdout is not None
    assert child.stdout.readline() == b"connected\n"
    return child, listener.accept()[0]


@pytest.mark.parametrize("born_in", ["llm", "elsewhere"])
def test_SR_8_a_slow_reader_of_an_older_socket_gets_no_more_data_after_the_stop(
    installation: Installation, ground: Ground, born_in: str
) -> None:
    """`elsewhere`: its socket bears another cgroup's number, as one that was handed in does."""
    path, _other = ground.make("llm"), ground.make("elsewhere")
    name = f"shop/{born_in}"
    with slow_reader() as listener:
        child, reader = sender(ground, listener, born_in)
        Path(tree() + path, "cgroup.procs").write_text(str(child.pid))
        installation.ask({"op": "adopt", "target": name, "as": {"cgroup": path}})
        cell = lambda: installation.ask({"op": "target", "name": name})["cell"]  # noqa: E731
        if born_in == "elsewhere":
            until(lambda: len(cell()["older"]) == 1, "its older socket is known")
        else:
            until(lambda: installation.target(name)["user"], "it has been looked into")
            assert cell()["older"] == []
        child.stdin.write(b"go\n")
        child.stdin.flush()
        reader.recv(1)
        time.sleep(0.2)  # the queues fill: the reader does not read
        answer = installation.stop(name)
        assert answer["confirmed"] is True, answer
        assert child.wait() == -signal.SIGKILL
        left = reader.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert received_after(reader) <= left, "what had arrived, and not what was queued"
        reader.close()


def test_SR_8_the_kill_alone_leaves_an_older_socket_to_deliver(ground: Ground) -> None:
    """What the test above would see if the socket were not known."""
    path, _other = ground.make("llm"), ground.make("elsewhere")
    with slow_reader() as listener:
        child, reader = sender(ground, listener, "elsewhere")
        Path(tree() + path, "cgroup.procs").write_text(str(child.pid))
        child.stdin.write(b"go\n")
        child.stdin.flush()
        reader.recv(1)
        time.sleep(0.2)
        Path(tree() + path, "cgroup.kill").write_text("1")
        assert child.wait() == -signal.SIGKILL
        assert received_after(reader) > reader.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        reader.close()


def test_SR_8_what_is_queued_in_a_network_of_its_own_is_destroyed_and_looked_at_there(
    installation: Installation, ground: Ground
) -> None:
    """As of a container: the socket is neither in our network nor in the observer's."""
    path, _other = ground.make("llm"), ground.make("elsewhere")
    reader = (
        "import socket, time\nlistener = socket.create_server(('127.0.0.1', 7411))\n"
        "print('listens', flush=True)\nsock = listener.accept()[0]\ntime.sleep(1000)"
    )
    script = f'ip link set lo up; exec {PYTHON} -c "$0"'
    other = ground.born("elsewhere", "unshare", "-n", "sh", "-c", script, reader, stdout=-1)
    assert other.stdout is not None
    assert other.stdout.readline() == b"listens\n"
    enter = ("nsenter", f"--net=/proc/{other.pid}/ns/net")
    child = ground.born("llm", *enter, PYTHON, "-c", SENDER, "7411", stdin=-1, stdout=-1)
    assert child.stdout is not None
    assert child.stdout.readline() == b"connected\n"
    installation.ask({"op": "adopt", "target": "shop/net", "as": {"cgroup": path}})
    until(lambda: installation.target("shop/net")["user"], "it has been looked into")
    assert child.stdin is not None
    child.stdin.write(b"go\n")
    child.stdin.flush()
    time.sleep(0.2)  # the queues fill: nobody reads
    assert installation.stop("shop/net")["confirmed"] is True
    left = subprocess.run([*enter, "ss", "-tanH"], capture_output=True, text=True, check=True)
    assert "FIN-WAIT" not in left.stdout, "nothing queued is left to be delivered"

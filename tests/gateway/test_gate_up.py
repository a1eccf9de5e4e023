"""A declared gateway: `up` keeps it alive, `status` shows it, `doctor` asks whether it serves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_stand import Stand, children
from installation import Installation, until
from needs import needs_root
from offswitch.cli.gate_check import gateways_serve


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    needs_root()
    stand = Stand(Installation(tmp_path))
    yield stand
    stand.close()
    stand.installation.close()


def checked(stand: Stand) -> tuple[bool, str]:
    """Ask what `doctor` asks."""
    health = stand.installation.ask({"op": "health"})
    return gateways_serve(stand.installation.place, health["gates"])[:2]


@pytest.mark.long
def test_up_serves_a_declared_gateway_and_brings_it_back(stand: Stand) -> None:
    installation = stand.installation
    argv = [f"{os.path.dirname(sys.executable)}/offswitch", "up", "--no-station"]
    out = open(f"{installation.home}/up.log", "wb")  # noqa: SIM115 - closed with the process
    up = subprocess.Popen(argv, env=installation.env, stderr=out, stdout=out)
    try:
        until(lambda: gateway_of(up.pid), f"the gateway is up: {stand.said()}")
        until(lambda: serves(stand), "it serves")
        row = installation.target("shop/eu")
        assert (row["kind"], row["state"]) == ("gateway", "running")
        assert "gateway" in row["readiness"]
        assert checked(stand)[0], checked(stand)
        first = gateway_of(up.pid)
        os.kill(first, signal.SIGKILL)
        until(lambda: gateway_of(up.pid) not in {0, first}, "it is started again")
        until(lambda: serves(stand), "it serves again")
    finally:
        up.terminate()
        assert up.wait(20) == 0
        out.close()
        installation.close()


def gateway_of(pid: int) -> int:
    for each in children(pid):
        if b"offswitch.gateway" in Path(f"/proc/{each}/cmdline").read_bytes():
            return each
    return 0


def serves(stand: Stand) -> bool:
    try:
        socket.create_connection(("127.0.0.1", stand.port)).close()
    except OSError:
        return False
    stand.stream().sock.close()
    return True


def test_doctor_says_no_where_a_declared_gateway_does_not_serve(stand: Stand) -> None:
    stand.installation.start()
    assert checked(stand) == (False, "models: 0 of 1 workers hear the warden")
    stand.start()
    assert checked(stand)[0]
    [worker] = stand.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    ok, detail = checked(stand)
    os.kill(worker, signal.SIGCONT)
    assert not ok
    assert "does not answer" in detail

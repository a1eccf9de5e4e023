"""What a supervisor is told of a warden: systemd's own protocol, over a socket of the test's."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from installation import Installation


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """The socket that NOTIFY_SOCKET names, as systemd gives it to a service."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(f"{tmp_path}/notify")
    sock.settimeout(20)
    monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
    return sock


def _hears(sock: socket.socket, word: str) -> None:
    while word not in sock.recv(4096).decode().split("\n"):
        pass


def test_SR_23_a_supervisor_hears_that_the_warden_serves_that_its_loop_turns_and_its_end(
    tmp_path: Path, told: socket.socket
) -> None:
    installation = Installation(tmp_path)
    try:
        installation.start()
        assert installation.warden is not None
        _hears(told, "READY=1")
        _hears(told, "WATCHDOG=1")
        _hears(told, "WATCHDOG=1")
        os.kill(installation.warden.pid, signal.SIGSTOP)
        time.sleep(0.3)  # what was on its way
        told.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while told.recv(4096):
                pass
        time.sleep(1.2)
        with pytest.raises(BlockingIOError):
            told.recv(4096)
        told.settimeout(20)
        os.kill(installation.warden.pid, signal.SIGCONT)
        _hears(told, "WATCHDOG=1")
        installation.warden.terminate()
        _hears(told, "STOPPING=1")
    finally:
        installation.close()
        told.close()

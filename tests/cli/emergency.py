"""What the tests of the three emergency verbs share: commands, a lying warden, two households."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installation import Installation
from offswitch.control import frames

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
Done = subprocess.CompletedProcess[str]


def answer(done: Done) -> dict[str, Any]:
    """Give the one object that `--json` printed; nothing else may be on stdout."""
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout
    said = json.loads(lines[0])
    assert isinstance(said, dict)
    return said


def error(done: Done) -> dict[str, str]:
    """Give the error that `--json` printed: its three fields, no more."""
    said = answer(done)["error"]
    assert set(said) == {"kind", "message", "hint"}
    return dict(said)


@contextlib.contextmanager
def hanging(*pids: int) -> Iterator[None]:
    """Let processes hang, as a SIGSTOP does it, and go on afterwards."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def two_households(
    system: Installation, person: Installation, *words: str, env: dict[str, str] | None = None
) -> Done:
    """Run the command line where `system` lies at /run/offswitch and `person` at /run/user/4242.

    It happens in a mount namespace of its own: the real /run is not touched.
    """
    script = (
        "mount -t tmpfs none /run && mkdir -p /run/offswitch /run/user/4242/offswitch"
        f" && mount --bind {system.run_folder} /run/offswitch"
        f" && mount --bind {person.run_folder} /run/user/4242/offswitch"
        ' && exec "$@"'
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OFFSWITCH_")}
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", OFFSWITCH]
    return subprocess.run(
        [*argv, *words],
        env={**clean, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class Liar:
    """A warden of somebody else's making: it says what it is told to say."""

    def __init__(self, folder: Path, *answers: dict[str, Any] | bytes) -> None:
        self.folder = folder
        self.heard: list[dict[str, Any]] = []
        control = folder / "control"
        control.mkdir(parents=True)
        self._answers = answers
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(control / "warden"))
        self._sock.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _address = self._sock.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                got = frames.receive(peer)
                if got is not None:
                    self.heard.append(got[0])
                for each in self._answers:
                    peer.sendall(each if isinstance(each, bytes) else frames.encode(each))
                peer.recv(1)

    def cli(self, *words: str) -> Done:
        env = {**os.environ, "OFFSWITCH_RUN": str(self.folder), "OFFSWITCH_HOME": str(self.folder)}
        return subprocess.run(
            [OFFSWITCH, *words], env=env, capture_output=True, text=True, check=False, timeout=60
        )

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join()

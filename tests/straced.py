"""strace on a warden while it serves: to see its system calls, to delay one, to kill it at one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from installation import Installation, until
from needs import needs_program


class Strace:
    """strace on the warden's main thread while it serves."""

    def __init__(self, installation: Installation, *options: str) -> None:
        assert installation.warden is not None
        pid = installation.warden.pid
        argv = [needs_program("strace"), "-qq", *options, "-p", str(pid)]
        self._process = subprocess.Popen(argv, stderr=subprocess.PIPE)
        until(lambda: "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(), "strace")

    def end(self) -> None:
        self._process.terminate()
        self._process.communicate()

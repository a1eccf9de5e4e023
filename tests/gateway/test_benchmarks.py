"""What a benchmark starts ends with it: on a machine that is measured nothing may be left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from fronting import _Process  # noqa: E402 - on the path by now

sys.path.remove(str(BENCHMARKS))  # some of them bear the names of folders of tests

SCRIPT = """
import time
from figures import Figures
figures = Figures("any", "any", [])
try:
    print("up", flush=True)
    time.sleep(60)
finally:
    print("ended what it started", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_benchmark_that_is_told_to_end_ends_what_it_started(how: signal.Signals) -> None:
    ignoring = 'trap "" INT; exec "$@"'  # as a shell starts what is in the background
    bench = subprocess.Popen(
        ["/bin/sh", "-c", ignoring, "sh", sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        stdout=subprocess.PIPE,
    )
    with bench:
        assert bench.stdout is not None
        assert bench.stdout.readline() == b"up\n"
        bench.send_signal(how)
        assert bench.stdout.read() == b"ended what it started\n"
    assert bench.returncode == 128 + how


class Mute(_Process):
    """A front that never listens."""

    patience_s = 0.5

    def prepare(self) -> list[str]:
        return ["/bin/sh", "-c", f"echo $$ >{self.folder}/pid; exec sleep 60"]


def test_a_front_that_does_not_come_up_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="does not come up"):
        Mute(tmp_path, 1)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

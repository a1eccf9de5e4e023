"""Our gateway, for figures: `benchmarks/gateway.py` and `benchmarks/llama.py`.

A real worker as a process of its own with the stewards that a real one has; the page is written by
this process in the warden's place, and the wake-up comes from here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fronting import CORE, cpu_ns

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from gate import Gate, upstream_at  # noqa: E402 - the tests' own stage
from offswitch.gateway.api.pick import model_stewards  # noqa: E402
from offswitch.gateway.plan.route import Route  # noqa: E402
from offswitch.gateway.stewards import Stewards  # noqa: E402

__all__ = ["Ours"]

TARGET = "shop/chat"


class Ours:
    """One worker on the core of the gateway under test."""

    name = "ours"

    def __init__(self, folder: Path, upstream: int) -> None:
        """Stand in front of a server."""
        folder.mkdir(parents=True, exist_ok=True)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {CORE})
        try:
            route = Route(TARGET, upstream_at(upstream))
            self.gate = Gate([route], folder, stewards=Stewards(model_stewards()))
        finally:
            os.sched_setaffinity(0, before)
        self.port = self.gate.port

    @property
    def worker(self) -> int:
        """The worker's pid."""
        return self.gate.process.pid

    def cpu_ns(self) -> int:
        """Give what its threads have run, all together."""
        return cpu_ns([self.worker])

    def order(self) -> None:
        """Stop what flows."""
        self.gate.page.renew(120)
        self.gate.stop(TARGET)

    def ready(self) -> None:
        """Let it go on."""
        self.gate.page.renew(120)
        self.gate.release(TARGET)

    def close(self) -> None:
        """End it."""
        self.gate.close()

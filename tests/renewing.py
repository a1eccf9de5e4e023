"""A warden that is being renewed in place: asked for in a thread, watched from outside."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from installation import PATIENCE_S, Installation
from offswitch.errors import OffswitchError

__all__ = ["Renewal"]


class Renewal:
    """One hand-over under way."""

    def __init__(self, installation: Installation) -> None:
        assert installation.warden is not None
        self._installation = installation
        self.pid = installation.warden.pid
        self._image = self._now()
        self.answer: dict[str, Any] = {}
        self.error: OffswitchError | None = None
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _now(self) -> bytes:
        """What an exec changes, and nothing else: where the kernel put the new image."""
        return Path(f"/proc/{self.pid}/auxv").read_bytes()

    def _ask(self) -> None:
        try:
            self.answer = self._installation.ask({"op": "handover"})
        except OffswitchError as error:
            self.error = error

    def await_exec(self) -> int:
        """Wait until the next code has the process; give when that was seen."""
        end = time.monotonic() + PATIENCE_S * 3
        while self._now() == self._image:
            assert time.monotonic() < end, "the code is not exchanged"
            assert self.error is None, self.error
            time.sleep(0.0002)
        return time.monotonic_ns()

    def done(self) -> dict[str, Any]:
        """Wait for its end; give the answer of the next code."""
        self._thread.join(PATIENCE_S * 3)
        if self.error is not None:
            raise self.error
        assert self.answer["ok"] is True
        return self.answer

"""An installation whose warden is a script of ours: the real one, with something changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from installation import Installation, until
from needs import needs_root

__all__ = ["Scripted", "scripted"]


class Scripted(Installation):
    """Set `words`, what the script is told beyond home and run folder, before it is started."""

    script = ""
    words: tuple[str, ...] = ()

    def start(self, *_options: str) -> Installation:
        os.makedirs(self.home, exist_ok=True)
        argv = [sys.executable, "-I", str(Path(__file__).parent / f"{self.script}.py")]
        argv += [self.home, self.run_folder, *self.words]
        with open(f"{self.home}/stderr", "ab") as errors:
            self.warden = subprocess.Popen(argv, stderr=errors, start_new_session=True)
        until(self.answers, f"the warden answers: {self.said()}")
        self._note_helpers()
        return self


def scripted(folder: Path, script: str) -> Iterator[Scripted]:
    """Give one that is not started yet, and take it down."""
    needs_root()
    one = Scripted(folder)
    one.script = script
    try:
        yield one
    finally:
        one.close()

"""`offswitch demo`: a real little fleet goes wrong, and is stopped, proven, reset and recorded.

It has an installation of its own in a temporary folder, touches nothing else and leaves
nothing behind, also after Ctrl-C. It ends with 0 only if everything that it told was seen.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from offswitch.demo.stage import Stage
from offswitch.demo.story import Story
from offswitch.demo.telling import Telling

__all__ = ["command"]


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def command(
    *,
    fast: Annotated[bool, typer.Option("--fast", help="Without pauses for the reader.")] = False,
) -> None:
    """See a real little fleet go wrong and be stopped, in under a minute."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    telling = Telling(Console(highlight=False))
    with Stage() as stage:
        telling.title(stage.folder)
        Story(stage, telling, fast=fast).tell()

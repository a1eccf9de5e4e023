"""Asking watch, at its desk: one question, one answer."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import typer

from offswitch.config.duration import parse_duration
from offswitch.control.client import Conversation
from offswitch.control.place import chosen
from offswitch.errors import Unreachable, Usage

__all__ = ["For", "Measure", "Owner", "Reason", "ask_watch", "clock_of", "duration_of"]

_PATIENCE_S = 10.0

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")]
Owner = Annotated[str, typer.Option("--owner", metavar="NAME", help="Who answers for it.")]
Measure = Annotated[
    str, typer.Option("--measure", metavar="TEXT", help="What is done instead meanwhile.")
]
For = Annotated[str, typer.Option("--for", metavar="TIME", help='How long, such as "2h".')]


def ask_watch(message: dict[str, Any], patience_s: float = _PATIENCE_S) -> dict[str, Any]:
    """Ask the watch of the installation that is meant; its errors are raised here."""
    path = f"{chosen().control}/watch"
    if not os.path.exists(path):
        raise Unreachable(f"no watch has a desk at {path}", "start one: offswitch up")
    try:
        with Conversation(path, patience_s) as conversation:
            return conversation.ask(message)
    except Unreachable as error:
        message_ = error.message.replace("the warden", "watch").replace("no warden", "no watch")
        raise Unreachable(message_, "offswitch up keeps it alive; see: offswitch doctor") from None


def duration_of(text: str) -> int | None:
    """Read a time that a person typed; None where none was."""
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Usage(str(error), '--for "2h"') from None


def clock_of(time_us: int) -> str:
    """Write a moment as a person here reads it."""
    return time.strftime("%H:%M:%S", time.localtime(time_us / 1_000_000))

"""What every warden within reach says of its targets, asked at once.

Each installation is asked in a thread of its own with a short patience, so that a warden
that hangs delays nobody's look. What does not answer is *unreachable*: its targets are not
shown as they were last seen.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from offswitch.cli.begin import warden_answers
from offswitch.cli.left_behind import left_behind
from offswitch.control.client import call
from offswitch.control.place import Place, within_reach
from offswitch.errors import NotFound, OffswitchError, Refused

__all__ = ["Answer", "Row", "alarms_of", "ask_all", "rows_of"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one installation said."""

    place: Place
    said: dict[str, Any] | None
    """The warden's answer; None: it gave none."""
    why: str = ""
    """Why it gave none."""
    absent: bool = False
    """Whether nothing can be running that is ours to see: nobody is there and nothing was left,
    or it is closed to us."""


def ask_all(message: dict[str, Any], timeout_s: float = 2.0) -> list[Answer]:
    """Ask the wardens of all installations within reach the same thing."""
    places = within_reach()

    def ask(place: Place) -> Answer:
        try:
            return Answer(place, call(place, message, timeout_s))
        except NotFound:
            return Answer(place, {})
        except OffswitchError as error:
            return _silence(place, error)

    with ThreadPoolExecutor(max_workers=min(len(places), 16)) as pool:
        return list(pool.map(ask, places))


def _silence(place: Place, error: OffswitchError) -> Answer:
    """Say why nothing was said: nobody is there, or somebody who does not answer."""
    try:
        there = warden_answers(place)
    except Refused as barred:
        # Among several a closed one is somebody else's; one that was named is unknown.
        named = bool(os.environ.get("OFFSWITCH_RUN"))
        return Answer(place, None, f"{barred.message}: {barred.hint}", absent=not named)
    if there:
        return Answer(place, None, error.message)
    left = left_behind(place)
    return Answer(place, None, left, absent=not left)


def alarms_of(answers: list[Answer]) -> list[Row]:
    """List the alarms that stand, those that ask a person first."""
    found = [one for answer in answers if answer.said for one in answer.said.get("alarms", [])]
    return sorted(found, key=lambda alarm: alarm.get("act") != "advise")


def rows_of(answers: list[Answer]) -> list[Row]:
    """List the targets of all answers, by installation and name."""
    return [row for answer in answers if answer.said for row in answer.said.get("targets", [])]

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

from offswitch.control.client import call
from offswitch.control.place import Place, within_reach
from offswitch.errors import NotFound, OffswitchError

__all__ = ["Answer", "alarms_of", "ask_all", "rows_of"]

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
    """Whether no warden is there at all, so that nothing of it can be running."""


def ask_all(message: dict[str, Any], timeout_s: float = 2.0) -> list[Answer]:
    """Ask the wardens of all installations within reach the same thing."""
    places = within_reach()

    def ask(place: Place) -> Answer:
        if not os.path.exists(place.warden_socket):
            return Answer(place, None, "no warden runs here", absent=True)
        try:
            return Answer(place, call(place, message, timeout_s))
        except NotFound:
            return Answer(place, {})
        except OffswitchError as error:
            return Answer(place, None, error.message)

    with ThreadPoolExecutor(max_workers=min(len(places), 16)) as pool:
        return list(pool.map(ask, places))


def alarms_of(answers: list[Answer]) -> list[Row]:
    """List the alarms that stand, those that ask a person first."""
    found = [one for answer in answers if answer.said for one in answer.said.get("alarms", [])]
    return sorted(found, key=lambda alarm: alarm.get("act") != "advise")


def rows_of(answers: list[Answer]) -> list[Row]:
    """List the targets of all answers, by installation and name."""
    return [row for answer in answers if answer.said for row in answer.said.get("targets", [])]

"""A rule's standing alarm, in words for people, and what to type where it only asks.

The same words in `status`, on the board, in a bare `offswitch` and in `up`. `status` takes
them on its fast path, so nothing is imported here but what makes text safe to show.
"""

from __future__ import annotations

import time

from offswitch.printable import printable

__all__ = ["alarm_words", "what_to_type"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LONGEST = 200
_SAID = {
    "auto": "ALARM, it stops by itself",
    "shadow": "alarm in shadow, it stops nothing",
}
_STATE = {
    "acted": "ALARM, nobody has answered: {level} is ordered, and it asks you",
    "ordered": "ALARM, {level} is ordered",
    "denied": "ALARM, people let it go on",
    "stands": "ALARM stands",
}


def alarm_words(alarm: dict[str, Any]) -> str:
    """Say in one line which alarm stands, what it does, and what harm it is about."""
    act, state = str(alarm.get("act")), str(alarm.get("state"))
    said = _SAID.get(act, "ALARM, it asks you")
    if state == "ordered" or (act not in _SAID and not (state == "stands" and alarm.get("asks"))):
        said = _STATE.get(state, said).format(level=printable(alarm.get("level"), 20))
    rule, scope = printable(alarm.get("rule"), 80), printable(alarm.get("scope"), 200)
    words = f"{said}: {scope}: {printable(alarm.get('harm'), _LONGEST)} (rule {rule})"
    due = alarm.get("due_us")
    if isinstance(due, int) and alarm.get("asks"):
        at = time.strftime("%H:%M:%S", time.localtime(due / 1_000_000))
        name = printable(alarm["asks"], 80)
        words += f"; silence stops it at {at}; to let it go on: offswitch decision deny {name}"
    return words


def what_to_type(alarm: dict[str, Any]) -> str:
    """Give the command that an advising alarm asks for; empty for one that asks nobody."""
    if alarm.get("act") in _SAID or alarm.get("state") in {"ordered", "denied"}:
        return ""
    scope = str(alarm.get("scope"))
    return "offswitch stop --all" if scope == "/" else f"offswitch stop {printable(scope, 300)}"

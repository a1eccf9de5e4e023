"""How things stand: what every warden within reach says, and what is left where none does.

A warden may be another user's, so what it says is taken apart field by field and named by
the run folder that we asked. Where no answer comes, living cells are found by the list on
tmpfs, and the page, which guards read too, says what they are latched at.
"""

from __future__ import annotations

import os
import sys

from offswitch.cli.roads import ask_all

__all__ = ["PATIENCE_S", "Said", "ask", "rows_of_silence"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

PATIENCE_S = 1.5
_LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")


class Said:
    """What one installation says of itself, or why it says nothing."""

    __slots__ = ("alarms", "answers", "error", "latched", "notes", "place", "rung", "targets",
                 "untracked", "why")  # fmt: skip

    def __init__(self, place: Place, answer: dict[str, Any] | None, why: str) -> None:
        """Take an answer apart; without one, `why` says what came of the question."""
        said = answer or {}
        error = said.get("error")
        self.place = place
        self.why = why
        self.error = error if isinstance(error, dict) else None
        self.answers = answer is not None and self.error is None
        """Whether it answered."""
        self.rung = str(said.get("rung"))
        self.targets = [_target(row, place.run) for row in _dicts(said.get("targets"))]
        self.latched = [_stop(stop, place.run) for stop in _dicts(said.get("latched"))]
        self.alarms = [_alarm(alarm, place.run) for alarm in _dicts(said.get("alarms"))]
        self.untracked = _dicts(said.get("untracked"))
        self.notes = [str(note) for note in _list(said.get("notes"))]

    @property
    def absent(self) -> bool:
        """Whether no warden is there, or none that would speak to us."""
        return self.why in {"absent", "barred"}


def ask(places: list[Place], scope: str | None, patience_s: float) -> list[Said]:
    """Ask the wardens of `places` for their status, all at once."""
    paths = [place.warden_socket for place in places]
    roads = ask_all(paths, {"op": "status", "scope": scope}, patience_s)
    said = []
    for place, road in zip(places, roads, strict=True):
        answer = road.answers[0] if road.answers else None
        said.append(Said(place, answer, road.why if road.ended and answer is None else ""))
    return said


def _target(row: dict[str, Any], run: str) -> dict[str, Any]:
    """Give a row of the promised shape, and what else the warden says of the target."""
    level = row.get("level")
    pids = row.get("pids")
    return {
        **row,
        "target": str(row.get("target", "")),
        "installation": run,
        "kind": str(row.get("kind", "")),
        "rung": str(row.get("rung", "")),
        "state": str(row.get("state", "unknown")),
        "latched": row.get("latched") is not False,
        "blind": row.get("blind") is True,
        "level": None if level is None else str(level),
        "confirmed": row.get("confirmed") is True,
        "pids": pids if isinstance(pids, int) else 0,
        "stops": [str(stop) for stop in _list(row.get("stops"))],
        "signals": {k: v for k, v in _dict(row.get("signals")).items() if isinstance(v, dict)},
        "readiness": _dict(row.get("readiness")),
        "readiness_since": _dict(row.get("readiness_since")),
        "labels": _dict(row.get("labels")),
    }


def _stop(stop: dict[str, Any], run: str) -> dict[str, Any]:
    count = stop.get("count")
    return {
        **stop,
        "installation": run,
        "scope": str(stop.get("scope", "")),
        "level": str(stop.get("level", "")),
        "by": str(stop.get("by", "")),
        "reason": str(stop.get("reason") or ""),
        "digest": str(stop.get("digest", "")),
        "count": count if isinstance(count, int) else 1,
    }


def _alarm(alarm: dict[str, Any], run: str) -> dict[str, Any]:
    since, due = alarm.get("since_us"), alarm.get("due_us")
    asks = (
        {"asks": str(alarm["asks"]), "due_us": due}
        if isinstance(due, int) and alarm.get("asks")
        else {}
    )
    return {
        "rule": str(alarm.get("rule", "")),
        "scope": str(alarm.get("scope", "")),
        "act": str(alarm.get("act", "")),
        "harm": str(alarm.get("harm", "")),
        "since_us": since if isinstance(since, int) else 0,
        "installation": run,
        **asks,
    }


def rows_of_silence(said: Said, scope: str) -> list[dict[str, Any]]:
    """Name what lives in cells of which no warden speaks."""
    if said.why == "barred":
        return []
    from offswitch.cli.own_hands import cells_of  # noqa: PLC0415 - only where nobody answers

    rows: list[dict[str, Any]] = []
    for cell in cells_of(said.place, [scope]):
        if cell.look() is False:
            continue
        level = _shown_level(said.place, cell.slot)
        rows.append(
            {
                "target": cell.name,
                "installation": said.place.run,
                "kind": cell.kind,
                "rung": "unknown",
                "state": "unknown",
                "latched": level is not None,
                "blind": True,
                "level": level,
                "confirmed": False,
                "pids": cell.pids(),
                "stops": [],
                "signals": {},
                "readiness": {},
                "readiness_since": {},
                "labels": cell.labels,
            }
        )
    return rows


def _shown_level(place: Place, slot: int) -> str | None:
    """Read from the page, as a guard would, what a target is latched at."""
    from offswitch.control.page import FIRST_WORD, RUN  # noqa: PLC0415 - only where nobody answers

    try:
        fd = os.open(place.page, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            word = int.from_bytes(os.pread(fd, 8, (FIRST_WORD + max(slot, 0)) * 8), sys.byteorder)
        finally:
            os.close(fd)
    except OSError:
        return None
    return _LEVELS[word - RUN - 1] if RUN < word <= RUN + len(_LEVELS) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]

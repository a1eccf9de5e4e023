"""From watch's desk to notices: what rules ask, and alarms that stop nothing. Without clock.

    questions    one thread each; the backup is called when the desk says so (a third of the time
                 to harm), and it closes when it is answered or silence has answered
    alarms       those that rise within a minute of each other are one page that grows, named by
                 what came first (`alarms.rows.first_out`): two hundred are one page

An alarm whose rule asks is told as its question, one whose rule stops as the stop; but that it
stops too often for its budget is told as an alarm (SR-12). What is shelved is not told. What
somebody has seen at the desk, they have seen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from offswitch.config.notify import Event
from offswitch.station.alarms.rows import first_out
from offswitch.station.notify.context import Context, command
from offswitch.station.notify.notice import Notice, Page, Phase

__all__ = ["DeskEvents"]

_GROUP_US = 60_000_000
_REST_US = 30_000_000
_SHORT = 12
_TOLD = {"stands", "denied"}
"""States of an alarm that are told as an alarm; the others are a question or a stop."""

Row = Mapping[str, Any]


@dataclass(slots=True)
class _Group:
    """Alarms that rose together."""

    thread: str
    first: Row
    last_us: int
    members: dict[tuple[str, int], Row] = field(default_factory=dict)
    told: int = 0
    told_us: int = 0
    seen: bool = False


class DeskEvents:
    """Compares what stands at the desk with what stood there before."""

    def __init__(self, context: Context) -> None:
        """Nothing stands yet."""
        self._context = context
        self._asked: dict[str, tuple[str, Row]] = {}
        self._groups: list[_Group] = []

    def questions(self, rows: Sequence[Row], now_us: int) -> list[Notice]:
        """Take in what is asked now."""
        told, open_now = [], set()
        for row in rows:
            digest = str(row.get("decision", ""))
            stage = str(row.get("stage") or ("backup" if row.get("backup") else "asked"))
            open_now.add(digest)
            known = self._asked.get(digest)
            self._asked[digest] = (stage, row)
            if known is None or known[0] != stage:
                phase = Phase.OPEN if known is None else Phase.UPDATE
                told.append(self._question(row, stage, phase, now_us))
        for digest in [one for one in self._asked if one not in open_now]:
            _stage, row = self._asked.pop(digest)
            told.append(self._question(row, "answered", Phase.CLOSE, now_us))
        return told

    def _question(self, row: Row, stage: str, phase: Phase, now_us: int) -> Notice:
        digest, scope, level = str(row["decision"])[:_SHORT], str(row["scope"]), str(row["level"])
        left_ms = int(row.get("left_ms") or 0)
        lesser, lesser_us = row.get("unanswered"), row.get("act_us")
        due_us = int(row.get("due_us") or now_us + left_ms * 1000)
        otherwise = f"at {_clock(due_us)} silence answers: {row.get('silence', 'it is stopped')}"
        if lesser and lesser_us and stage != "acted":
            otherwise = f"at {_clock(int(lesser_us))} {lesser} is ordered; {otherwise}"
        acted = (f"{scope}: {lesser} was ordered, since nobody answered",)
        closed = phase is Phase.CLOSE
        page = Page(
            f"{'ANSWERED' if closed else 'A RULE ASKS'}: {level} of {scope}?",
            f"{row.get('why', '')} (rule {row.get('rule', '')}; the harm: {row.get('harm', '')})",
            acted if stage == "acted" else (),
            () if closed else (scope,),
            "; ".join(
                filter(None, (str(row.get("false_stop_cost", "")), self._context.cost(scope)))
            ),
            "it is closed: answered, or silence has answered" if closed else otherwise,
            self._context.link("decisions", str(row["decision"])),
            command("decision", "approve", digest),
        )
        return Notice(
            f"ask-{digest}",
            Event.QUESTION,
            phase,
            {"asked": "asks"}.get(stage, stage),
            scope,
            page.bounded(),
            now_us,
            urgent=not closed,
            worse=stage in {"backup", "acted"},
            backup=stage in {"backup", "acted"},
            level="" if closed else level,
        )

    def alarms(self, rows: Sequence[Row], now_us: int) -> list[Notice]:
        """Take in what alarms stand now."""
        standing = {_key(row): row for row in rows if _is_told(row)}
        for key, row in sorted(standing.items(), key=lambda item: int(item[1]["since_us"])):
            if not any(key in group.members for group in self._groups):
                self._place(key, row)
        told = []
        for group in list(self._groups):
            group.members = {key: standing[key] for key in group.members if key in standing}
            notice = self._told(group, now_us)
            if notice is not None:
                told.append(notice)
            if not group.members:
                self._groups.remove(group)
        return told

    def rules_of(self, thread: str) -> list[str]:
        """Name the rules whose alarms a thread is about."""
        groups = [group for group in self._groups if group.thread == thread]
        return [rule for group in groups for rule, _since_us in group.members]

    def _place(self, key: tuple[str, int], row: Row) -> None:
        since_us = int(row["since_us"])
        for group in self._groups:
            if abs(since_us - group.last_us) <= _GROUP_US:
                group.members[key] = row
                group.last_us = max(group.last_us, since_us)
                return
        name = sha256(f"{row['rule']} {since_us}".encode()).hexdigest()[:_SHORT]
        self._groups.append(_Group(f"alarm-{name}", row, since_us, {key: row}))

    def _told(self, group: _Group, now_us: int) -> Notice | None:
        seen = bool(group.members) and all(row.get("acked_by") for row in group.members.values())
        count, turned = len(group.members), seen and not group.seen
        rested = now_us - group.told_us >= _REST_US
        if count and group.told and not turned and (count <= group.told or not rested):
            return None
        phase = Phase.UPDATE if group.told else Phase.OPEN
        phase = Phase.SEEN if turned else phase if count else Phase.CLOSE
        group.told, group.told_us, group.seen = max(count, group.told), now_us, seen
        return self._alarm(group, phase, now_us)

    def _alarm(self, group: _Group, phase: Phase, now_us: int) -> Notice:
        causes = first_out(group.members.values())
        group.first = causes[0][0] if causes else group.first
        first, others = group.first, len(group.members) - 1
        scope, rule = str(first["scope"]), str(first["rule"])
        gone = phase is Phase.CLOSE
        more = f" and {others} more after it" if others > 0 else ""
        roots = [f"{one[0]['rule']} on {one[0]['scope']}" for one in causes[:10]]
        spent = "; its budget of stops is spent, and none is withheld" if first.get("spent") else ""
        several = f"; {len(causes)} causes: {', '.join(roots)}" if len(causes) > 1 else ""
        page = Page(
            f"{'ALARM OVER' if gone else 'ALARM'}: {rule} on {scope}{more}",
            f"first: {first.get('harm', '')} (rule {rule}){spent}{several}",
            (),
            () if gone else tuple(sorted({str(row["scope"]) for row in group.members.values()})),
            self._context.cost(scope, rule),
            "nothing more" if gone else _goes_on(first),
            self._context.link(),
            command("stop", scope),
        )  # fmt: skip
        return Notice(
            group.thread,
            Event.ALARM,
            phase,
            "fallen" if gone else "seen" if phase is Phase.SEEN else "stands",
            scope,
            page.bounded(),
            now_us,
            urgent=not gone,
            level="" if gone else str(first.get("level") or "kill"),
        )


def _goes_on(row: Row) -> str:
    if row.get("spent"):
        return "the rule goes on stopping; only a person lowers it, for at most 8 hours"
    act = row.get("act", "")
    return f"this rule does not stop by itself ({act}): it goes on until a person stops it"


def _key(row: Row) -> tuple[str, int]:
    return str(row.get("rule", "")), int(row.get("since_us") or 0)


def _is_told(row: Row) -> bool:
    if row.get("shelved") or row.get("decision") or not row.get("since_us"):
        return False
    if row.get("spent"):
        return True
    state = row.get("state")
    return state in _TOLD if state else row.get("act") != "auto"


def _clock(time_us: int) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(time_us / 1e6))

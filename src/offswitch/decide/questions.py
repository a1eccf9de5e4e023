"""What a rule in `advise` asks of people, and what counts as an answer (DEC-3).

    alarm rises ─► question, with the time that is left ─┬─ approve: one person; the stop leaves
                                                         ├─ deny: one person, or two where the rule
                                                         │        asks two; nothing is stopped
                                                         └─ silence: a third of the time to harm,
                                                            and the backup is called; two thirds,
                                                            and the rule's `unanswered` level is
                                                            ordered; its end, and the stop leaves

Silence is the answer that goes on not being stopped would need, and did not get: it ends on the
safe side, and not in one step. To approve is to stop, which anyone may do alone (DEC-2). To deny
lets something go on of which a rule says that it does harm, so that takes whoever is not the one
in question (SR-2), a reason, and as many people as the rule asks. An answer counts until the end,
after the lesser level was ordered, too: *approve* raises that to the rule's own, *deny* leaves it
latched until its reset. It names the question by its digest, so that one to an earlier question,
or the same one again, answers nothing.

Pure: what is open is a value, and an answer gives the next one or is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from offswitch.decide.rules import Rule
from offswitch.decide.who import Who, surely_two
from offswitch.errors import NotFound, Refused

__all__ = [
    "Answer",
    "Denied",
    "Event",
    "Question",
    "Stage",
    "Verdict",
    "answered",
    "ask",
    "may_let_go_on",
    "moved",
]

_DOMAIN = b"offswitch question v1\0"


class Verdict(StrEnum):
    """What a person may say."""

    APPROVE = "approve"
    """Stop it."""
    DENY = "deny"
    """Let it go on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said."""

    who: Who
    verdict: Verdict
    reason: str
    holds_us: int
    """For how long a *deny* holds, in microseconds."""


class Stage(StrEnum):
    """How far silence has brought a question."""

    ASKED = "asked"
    """It is asked of whoever is on duty."""
    BACKUP = "backup"
    """A third of the time to harm is over: the backup is asked as well."""
    ACTED = "acted"
    """Two thirds are: the rule's `unanswered` level was ordered, and it still asks."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that has become of a question."""

    what: str
    """A stage, or `denied`."""
    time_us: int
    """UTC, microseconds."""
    by: str
    """`rule:NAME`, or who denied."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question that is open."""

    digest: str
    """Its name: SHA-256 over what it is about, when, and a nonce."""
    rule: str
    why: str
    """What has happened, in one sentence."""
    asked_us: int
    """UTC, microseconds."""
    due_us: int
    """When silence ends it, monotonic microseconds."""
    due_wall_us: int
    """The same as UTC, for people."""
    people: int
    """How many people a *deny* takes."""
    series: frozenset[str]
    """The channels that tripped; one more of them is another question."""
    backup_us: int
    """When it goes to the backup, monotonic microseconds."""
    act_us: int
    """When the rule's `unanswered` level is ordered; not before `due_us` means: never."""
    stage: Stage = Stage.ASKED
    events: tuple[Event, ...] = ()
    """What has become of it so far, the asking first."""
    denials: tuple[Answer, ...] = ()
    """Those who have said *deny*, where it takes two."""

    def left_us(self, mono_us: int) -> int:
        """How much time is left."""
        return max(self.due_us - mono_us, 0)

    def reaches(self, mono_us: int) -> Stage | None:
        """Give the stage that silence has brought it to and that nobody has seen to yet."""
        if mono_us >= self.act_us:
            return Stage.ACTED if self.stage is not Stage.ACTED else None
        return Stage.BACKUP if mono_us >= self.backup_us and self.stage is Stage.ASKED else None


@dataclass(frozen=True, slots=True)
class Denied:
    """What people have said may go on, and for how long."""

    until_us: int
    """Monotonic microseconds."""
    series: frozenset[str]
    by: tuple[str, ...]
    acted: bool = False
    """Whether a lesser level was ordered before; a reset of that begins nothing anew."""

    def covers(self, tripped: frozenset[str], mono_us: int) -> bool:
        """Tell whether that still holds, for all that trips now."""
        return mono_us < self.until_us and tripped <= self.series


def ask(
    rule: Rule, why: str, series: frozenset[str], *, nonce: str, asked_us: int, mono_us: int
) -> Question:
    """Open a question; its digest is another one each time, by `nonce` and time."""
    within_us, paced_us = rule.answer_us, rule.paced_us or rule.time_to_harm_us
    about = [rule.name, why, sorted(series), nonce, asked_us, mono_us, within_us]
    digest = hashlib.sha256(_DOMAIN + json.dumps(about).encode()).hexdigest()
    due_us, due_wall_us = mono_us + within_us, asked_us + within_us
    events = (Event(Stage.ASKED.value, asked_us, rule.by),)
    backup_us, act_us = mono_us + paced_us // 3, mono_us + paced_us * 2 // 3
    return Question(
        digest, rule.name, why, asked_us, due_us, due_wall_us, rule.people, series,
        backup_us, act_us, Stage.ASKED, events,
    )  # fmt: skip


def moved(question: Question, stage: Stage, wall_us: int) -> Question:
    """Give the question at its next stage."""
    event = Event(stage.value, wall_us, f"rule:{question.rule}")
    return replace(question, stage=stage, events=(*question.events, event))


def answered(
    question: Question | None, digest: str, answer: Answer, mono_us: int, wall_us: int = 0
) -> tuple[Question, Denied | None, bool]:
    """Take an answer in: the question now, what is denied if it is, and whether to stop.

    Raises `Refused` for one that comes late, twice or to another question than the open one.
    """
    if question is None or question.digest != digest:
        raise NotFound(
            "that question is closed: it was answered, it ran out, or another one took its place",
            "see what is open: offswitch decision list",
        )
    if mono_us >= question.due_us:
        raise Refused(
            "the answer comes too late: silence has answered", "to go on: offswitch reset"
        )
    if answer.verdict is Verdict.APPROVE:
        return question, None, True
    for earlier in question.denials:
        _another(earlier.who, answer.who, question.people)
    said = Event("denied", wall_us, answer.who.text)
    question = replace(
        question, denials=(*question.denials, answer), events=(*question.events, said)
    )
    if len(question.denials) < question.people:
        return question, None, False
    holds_us = min(one.holds_us for one in question.denials)
    by = tuple(one.who.text for one in question.denials)
    acted = question.stage is Stage.ACTED
    return question, Denied(mono_us + holds_us, question.series, by, acted), False


def _another(earlier: Who, now: Who, people: int) -> None:
    """Raise `Refused` unless two people have spoken."""
    if surely_two(earlier, now):
        return
    if earlier == now:
        why = f"{now.words} has answered already; this one asks {people} people"
        raise Refused(why, "somebody else must say it, too")
    raise Refused(
        f"whether {earlier.words} and {now.words} are two people cannot be told, and this one"
        f" asks {people}",
        "let both say it in the same place, or have the person's user id entered: offswitch people",
    )


def may_let_go_on(uid: int | None, ran: Collection[int], owner: int) -> str:
    """Say why `uid` may not let a target go on, or nothing (SR-2, self-approval).

    None is a person who has no user here. `ran` are the users under which targets run or ran.
    Where the owner shares his with them, nobody could answer: it counts, and `doctor` calls such
    an installation forgeable.
    """
    if uid not in ran or uid == owner:
        return ""
    return f"a target runs or ran as user {uid}: nobody lets himself go on"

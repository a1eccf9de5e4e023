"""What a rule in `advise` asks of people, and what counts as an answer (DEC-3).

    alarm rises ─► question, with the time that is left ─┬─ approve: one person; the stop leaves
                                                         ├─ deny: one person, or two where the rule
                                                         │        asks two; nothing is stopped
                                                         └─ silence: the stop leaves

Silence is the answer that goes on not being stopped would need, and did not get: it ends on the
safe side. To approve is to stop, which anyone may do alone (DEC-2). To deny lets something go on
of which a rule says that it does harm, so that takes whoever is not the one in question (SR-2),
a reason, and as many people as the rule asks. An answer names the question by its digest, so
that one to an earlier question, or the same one again, answers nothing.

Pure: what is open is a value, and an answer gives the next one or is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from offswitch.errors import NotFound, Refused

__all__ = ["Answer", "Denied", "Question", "Verdict", "answered", "ask", "may_let_go_on"]

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

    uid: int
    """As the kernel says."""
    verdict: Verdict
    reason: str
    holds_us: int
    """For how long a *deny* holds, in microseconds."""


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
    denials: tuple[Answer, ...] = ()
    """Those who have said *deny*, where it takes two."""

    def left_us(self, mono_us: int) -> int:
        """How much time is left."""
        return max(self.due_us - mono_us, 0)


@dataclass(frozen=True, slots=True)
class Denied:
    """What people have said may go on, and for how long."""

    until_us: int
    """Monotonic microseconds."""
    series: frozenset[str]
    by: tuple[int, ...]

    def covers(self, tripped: frozenset[str], mono_us: int) -> bool:
        """Tell whether that still holds, for all that trips now."""
        return mono_us < self.until_us and tripped <= self.series


def ask(
    rule: str,
    why: str,
    series: frozenset[str],
    *,
    people: int,
    nonce: str,
    asked_us: int,
    mono_us: int,
    within_us: int,
) -> Question:
    """Open a question; its digest is another one each time, by `nonce` and time."""
    about = [rule, why, sorted(series), nonce, asked_us, mono_us, within_us]
    digest = hashlib.sha256(_DOMAIN + json.dumps(about).encode()).hexdigest()
    due_us, due_wall_us = mono_us + within_us, asked_us + within_us
    return Question(digest, rule, why, asked_us, due_us, due_wall_us, people, series)


def answered(
    question: Question | None, digest: str, answer: Answer, mono_us: int
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
    if any(earlier.uid == answer.uid for earlier in question.denials):
        raise Refused(
            f"user {answer.uid} has answered already; this one asks {question.people} people",
            "somebody else must say it, too",
        )
    question = replace(question, denials=(*question.denials, answer))
    if len(question.denials) < question.people:
        return question, None, False
    holds_us = min(one.holds_us for one in question.denials)
    by = tuple(one.uid for one in question.denials)
    return question, Denied(mono_us + holds_us, question.series, by), False


def may_let_go_on(uid: int, ran: Collection[int], owner: int) -> str:
    """Say why `uid` may not let a target go on, or nothing (SR-2, self-approval).

    `ran` are the users under which targets run or ran. Where the owner shares his with them,
    nobody could answer: it counts, and `doctor` calls such an installation forgeable.
    """
    if uid not in ran or uid == owner:
        return ""
    return f"a target runs or ran as user {uid}: nobody lets himself go on"

"""A change to this host, one step at a time, each of which can be asked whether it is there.

That is all that makes a second run, a dry run and a run after a crash work: what is there is
left alone, what is not is done, and a step leaves nothing half-done that the next run would
take for done.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from offswitch.errors import OffswitchError, Storage, Unsupported

__all__ = ["Outcome", "Step", "Word", "carry_out", "command"]

_PATIENCE_S = 120.0


class Word(StrEnum):
    """How a step ended."""

    DONE = "done"
    ALREADY = "already"
    WOULD = "would"


@dataclass(frozen=True, slots=True)
class Step:
    """One change to this host."""

    name: str
    """What it makes or takes away: a group, a user, a path."""
    why: str
    """What it is for, for people."""
    there: Callable[[], bool]
    """Whether it is done already."""
    do: Callable[[], None]
    """Do it. Failed or killed half-way, it leaves `there` false, and can be called again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step."""

    step: Step
    word: Word


def carry_out(
    steps: Sequence[Step], tell: Callable[[Outcome], None], again: str, *, dry: bool
) -> list[Outcome]:
    """Do what is not done yet, in order, telling each; with `dry` only say what would be done.

    What fails ends it: the error says what was done before, and that `again` goes on from there.
    """
    outcomes: list[Outcome] = []
    for at, step in enumerate(steps):
        try:
            word = Word.ALREADY if step.there() else Word.WOULD if dry else _done(step)
        except OSError as error:
            raise Storage(*_halfway(steps, at, outcomes, str(error), again)) from None
        except OffswitchError as error:
            message, hint = _halfway(steps, at, outcomes, error.message, again)
            raise type(error)(
                message, f"{error.hint}; then {hint}" if error.hint else hint
            ) from None
        outcomes.append(Outcome(step, word))
        tell(outcomes[-1])
    return outcomes


def _done(step: Step) -> Word:
    step.do()
    return Word.DONE


def _halfway(
    steps: Sequence[Step], at: int, outcomes: Sequence[Outcome], why: str, again: str
) -> tuple[str, str]:
    """Say where it ended, what stands, and what is still to come."""
    stands = ", ".join(each.step.name for each in outcomes if each.word is Word.DONE)
    left = ", ".join(step.name for step in steps[at + 1 :])
    message = f"not finished: {steps[at].name}: {why}"
    message += f". Done before that: {stands or 'nothing'}. Not begun: {left or 'nothing'}"
    return message, f"run it again, it goes on from there: {again}"


def command(*argv: str) -> str:
    """Run one of the system's own programs and give what it said; raise where it failed."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except FileNotFoundError:
        raise Unsupported(
            f"this system has no {argv[0]}", "Offswitch installs itself on Debian and Ubuntu"
        ) from None
    except subprocess.TimeoutExpired:
        raise Unsupported(f"{' '.join(argv)} does not end", "see what it waits for") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit {done.returncode}"
        raise Unsupported(f"{' '.join(argv)}: {said}", "put that right")
    return done.stdout

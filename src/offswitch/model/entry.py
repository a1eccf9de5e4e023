"""An entry: one record in the ledger. What it must say, and what of it can be erased later.

An entry has two halves. The *public* one stands in the Merkle tree for ever. Of the
*sealed* one (who, why in a person's own words, argv, log text) only salted hashes stand
there; the values lie beside the tree, so that one can be erased without any proof
breaking. Both halves are made by whoever acts (warden, watch, station) and travel as one
JSON object, `{"public": {...}, "sealed": {...}}`; only the recorder makes entries of them.

`REQUIRED` is what REC-2 asks of each kind: who, over which channel, on which trigger,
the state before and after, and two clocks. The recorder never refuses an entry of the
journal for a missing field, since losing it would be worse: it enters it and lists the
field under `missing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = ["COMMON", "REQUIRED", "VERSION", "EntryKind", "Required", "missing_fields"]

VERSION = 1
"""The version of the format, in every entry's `v`."""


class EntryKind(StrEnum):
    """What an entry tells of. Closed: a word that is not here is entered as a `note`."""

    FINDING = "finding"
    """A detector claims something."""
    DECISION = "decision"
    """A rule or a person decided, "do nothing" included."""
    ORDER = "order"
    """A stop was accepted."""
    RECEIPT = "receipt"
    """What one actuator did, and what was observed."""
    MOVED = "moved"
    """Something of a latched target lived again, and was stopped again."""
    RESET = "reset"
    """A reset was accepted; it names what it cleared."""
    REFUSED = "refused"
    """Somebody asked for what they may not have, or not in that way."""
    RUN = "run"
    """A target was born for the first time."""
    START = "start"
    """A target was started again."""
    EXIT = "exit"
    """A target ended."""
    LEASE = "lease"
    """The lease ran out, or came back."""
    WATCH = "watch"
    """A sensor or the watch itself fell silent, or came back."""
    CONFIG = "config"
    """Targets were declared, or rules changed."""
    BYPASS = "bypass"
    """A person lowered a rule for a while."""
    EVIDENCE = "evidence"
    """What was seen of a target at a stop, and the files that were kept of it (ACT-11)."""
    RESTART = "restart"
    """One of our own processes began or ended."""
    GAP = "gap"
    """Something was not recorded: how much, and as far as is known why."""
    ERASE = "erase"
    """A sealed value of an earlier entry was erased: which one."""
    INCIDENT = "incident"
    """An incident was opened, graded, handed over or closed, or somebody noted something of it."""
    DRILL = "drill"
    """A rehearsal on the real path: begun, or ended with what each layer did."""
    TICKET = "ticket"
    """An order from outside was taken in, accepted, declined, or ran out of time."""
    PAGE = "page"
    """A person was called, answered, or could not be reached."""
    PEOPLE = "people"
    """Somebody was added, removed, given another role, a token or a device, or signed in or out."""
    NOTE = "note"
    """What fits nowhere else."""


@dataclass(frozen=True, slots=True)
class Required:
    """What an entry of one kind must say, besides what all must say."""

    public: tuple[str, ...] = ()
    """Keys of the public half."""
    sealed: tuple[str, ...] = ()
    """Keys of the sealed half."""


COMMON = ("v", "kind", "time_us", "mono_us", "boot", "installation")
"""What every entry says: version, kind, UTC and monotonic microseconds, boot, installation."""

REQUIRED: Mapping[str, Required] = MappingProxyType(
    {
        EntryKind.FINDING: Required(("target", "detector", "what")),
        EntryKind.DECISION: Required(
            ("channel", "scope", "choice", "why", "prior", "state"), ("by",)
        ),
        EntryKind.ORDER: Required(
            ("channel", "scope", "level", "digest", "prior", "state"), ("by", "reason")
        ),
        EntryKind.RECEIPT: Required(
            ("channel", "target", "order", "layer", "why", "prior", "state"), ("by",)
        ),
        EntryKind.MOVED: Required(("target",)),
        EntryKind.RESET: Required(
            ("channel", "scope", "digest", "prior", "state"), ("by", "reason")
        ),
        EntryKind.REFUSED: Required(("channel", "what", "why", "prior", "state"), ("by",)),
        EntryKind.RUN: Required(("channel", "target", "why", "prior", "state"), ("by",)),
        EntryKind.START: Required(("channel", "target", "why", "prior", "state"), ("by",)),
        EntryKind.EXIT: Required(("target", "prior", "state")),
        EntryKind.LEASE: Required(("state",)),
        EntryKind.WATCH: Required(("channel", "what", "why", "prior", "state"), ("by",)),
        EntryKind.CONFIG: Required(("what",)),
        EntryKind.BYPASS: Required(("channel", "what", "prior", "state"), ("by", "reason")),
        EntryKind.EVIDENCE: Required(("target", "order", "level")),
        EntryKind.RESTART: Required(("channel", "process", "why", "prior", "state"), ("by",)),
        EntryKind.GAP: Required(("what", "why")),
        EntryKind.ERASE: Required(("entry", "field"), ("by", "reason")),
        EntryKind.INCIDENT: Required(("channel", "incident", "what", "prior", "state"), ("by",)),
        EntryKind.DRILL: Required(("channel", "drill", "what", "prior", "state"), ("by",)),
        EntryKind.TICKET: Required(("channel", "ticket", "what", "prior", "state"), ("by",)),
        EntryKind.PAGE: Required(("channel", "what", "why", "prior", "state"), ("by",)),
        EntryKind.PEOPLE: Required(("channel", "what", "prior", "state"), ("by",)),
        EntryKind.NOTE: Required(("what",)),
    }
)
"""What each kind must say, besides `COMMON`."""


_NOTHING = Required()
_WHOLE = {
    kind: (frozenset((*COMMON, *required.public)), frozenset(required.sealed))
    for kind, required in REQUIRED.items()
}


def missing_fields(public: Mapping[str, object], sealed: Mapping[str, object]) -> list[str]:
    """Name the fields that an entry of its kind lacks; empty where it is whole."""
    kind = str(public.get("kind"))
    asked, kept = _WHOLE.get(kind, (frozenset(COMMON), frozenset()))
    if asked <= public.keys() and kept <= sealed.keys():
        return []
    required = REQUIRED.get(kind, _NOTHING)
    lacking = [key for key in (*COMMON, *required.public) if key not in public]
    return lacking + [f"sealed.{key}" for key in required.sealed if key not in sealed]

"""What a person may do: four roles, of which one person may have several. Standard library only.

    operator   stops, acknowledges, notes, answers what a rule asks
    safety     the same, and resets, bypasses, rules
    auditor    reads, verifies, exports
    admin      people and their keys; no power to reset

A role says what somebody may ask for. That a reset is carried out takes proofs, which the
warden checks itself (`authority`).
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

__all__ = ["Power", "Role", "powers", "rank"]


class Role(StrEnum):
    """One of the four."""

    OPERATOR = "operator"
    SAFETY = "safety"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Power(StrEnum):
    """One thing that somebody may do."""

    READ = "read"
    """See targets, alarms, incidents, the record."""
    STOP = "stop"
    ACK = "acknowledge"
    """Say that an alarm or a page was seen."""
    NOTE = "note"
    """Write into an incident; hand it over; close it."""
    ANSWER = "answer"
    """Answer what a rule asks, accept an order from outside."""
    DRILL = "drill"
    """Run a drill."""
    RESET = "reset"
    """Open a reset. Confirming one takes a proof besides."""
    BYPASS = "bypass"
    """Lower a rule or shelve an alarm for a while."""
    EXPORT = "export"
    """Take reports, proofs and entries away."""
    PEOPLE = "people"
    """Add and remove people, tokens and devices."""


_OPERATOR = {Power.READ, Power.STOP, Power.ACK, Power.NOTE, Power.ANSWER, Power.DRILL}
_POWERS = {
    Role.OPERATOR: frozenset(_OPERATOR),
    Role.SAFETY: frozenset(_OPERATOR | {Power.RESET, Power.BYPASS, Power.EXPORT}),
    Role.AUDITOR: frozenset({Power.READ, Power.EXPORT}),
    Role.ADMIN: frozenset({Power.READ, Power.PEOPLE}),
}


def powers(roles: Collection[Role]) -> frozenset[Power]:
    """Give all that somebody with these roles may do."""
    return frozenset[Power]().union(*(_POWERS[role] for role in roles))


_RANKS = {Role.OPERATOR: 1, Role.SAFETY: 2}


def rank(roles: Collection[Role]) -> int:
    """Give how high somebody's word stands where a stop is to be cleared (RST-5).

    0: no word at all (auditor, admin); 1: operator; 2: safety.
    """
    return max((_RANKS.get(role, 0) for role in roles), default=0)

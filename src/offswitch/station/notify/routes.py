"""Whom a notice reaches: by scope, by event, by whom it concerns, and by the chain. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from offswitch.config.notify import Escalation, NotifySection, Step
from offswitch.station.notify.context import related
from offswitch.station.notify.notice import Notice

__all__ = ["called", "reached"]


def reached(
    sections: Sequence[NotifySection],
    chain: Escalation,
    notice: Notice,
    told: Collection[str] = (),
) -> list[str]:
    """Name the ways that tell it now; `told` have told something of its thread before.

    Who stands in the chain, but not first, is not troubled before it is their turn.
    """
    first = set(chain.step[0].sinks) if chain.step else set()
    later = {name for step in chain.step[1:] for name in step.sinks} - first
    found = []
    for section in sections:
        mine = section.person in notice.concerns if section.person else False
        waits = section.name in later and section.name not in told
        about = related(section.about, notice.scope)
        wanted = not section.events or notice.event in section.events or section.name in told
        if mine or (about and wanted and not waits):
            found.append(section.name)
    return found


def called(sections: Sequence[NotifySection], step: Step, scope: str) -> list[str]:
    """Name the ways by which a step of the chain is called about `scope`."""
    about = {one.name for one in sections if related(one.about, scope)}
    return [name for name in step.sinks if name in about]

"""A mapping: where in a sender's JSON the name, the state and the rest of an alert stand.

Each place is a JSON pointer (RFC 6901) such as `/labels/alertname`, or several, of which the first
that holds something counts; `items` points to a list where one message holds several alerts.
A state that is neither in `firing` nor in `resolved` is something that happened once.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from offswitch.config.section import Section
from offswitch.watch.alerts.alert import Alert, State, number, short

__all__ = ["FIRING", "RESOLVED", "MapSection", "apply", "at", "items_of"]

FIRING = frozenset(
    {"firing", "alerting", "alert", "alarm", "triggered", "open", "problem", "critical", "error"}
    | {"warning", "true", "1"}
)
"""Words for *it fires*, in lower case."""
RESOLVED = frozenset(
    {"resolved", "ok", "okay", "recovered", "closed", "normal", "inactive", "false", "0"}
)
"""Words for *it is over*."""
_MOST_ITEMS = 500
_MOST_STEPS = 16


def _pointer(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError(f'{value!r} is no JSON pointer; write it as "/labels/alertname"')
    if value.count("/") > _MOST_STEPS:
        raise ValueError(f"{value!r} is too deep for a pointer")
    return value


Pointer = Annotated[str, Field(max_length=200), AfterValidator(_pointer)]
Pointers = Annotated[list[Pointer], Field(min_length=1, max_length=4)]
Words = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=30)]
LabelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,29}$")]


class MapSection(Section):
    """The keys of a mapping; each place is a JSON pointer, or several."""

    items: Pointer | None = None
    """The list of alerts; without it the message is one."""
    name: Pointer | Pointers
    """What the alert is called."""
    state: Pointer | Pointers | None = None
    """Whether it fires; without it each message is something that happened once."""
    firing: Words = Field(default_factory=lambda: sorted(FIRING))
    """What `state` says when it fires; case does not matter."""
    resolved: Words = Field(default_factory=lambda: sorted(RESOLVED))
    """What it says when it is over."""
    identity: Pointer | Pointers | None = None
    """What tells it from others of its name."""
    severity: Pointer | Pointers | None = None
    value: Pointer | Pointers | None = None
    """A number."""
    text: Pointer | Pointers | None = None
    """What people are told."""
    labels: Annotated[dict[LabelName, Pointer], Field(max_length=4)] = Field(default_factory=dict)
    """Labels of `notified`, such as `user`."""


def at(document: object, places: str | list[str] | None) -> Any:  # noqa: ANN401 - JSON
    """Give what stands at the first of the places that holds something; None: none does."""
    for place in [places] if isinstance(places, str) else places or ():
        here: Any = document
        for raw in place.split("/")[1:]:
            step = raw.replace("~1", "/").replace("~0", "~")
            if isinstance(here, dict):
                here = here.get(step)
            elif isinstance(here, list) and step.isascii() and step.isdecimal():
                here = here[int(step)] if len(step) < 5 and int(step) < len(here) else None  # noqa: PLR2004 - a list has 9,999 at most
            else:
                here = None
        if here is not None:
            return here
    return None


def items_of(document: object, place: str | None) -> tuple[list[Any], int]:
    """Give the list at `place`, or the document as the only one; and how many were left out."""
    found = document if place is None else at(document, place)
    rows = found if isinstance(found, list) else [found]
    return rows[:_MOST_ITEMS], max(len(rows) - _MOST_ITEMS, 0)


def apply(mapping: MapSection, item: object) -> Alert:
    """Make an alert of one item."""
    labels = {name: short(at(item, place)) for name, place in mapping.labels.items()}
    return Alert(
        short(at(item, mapping.name)) or "(unnamed)",
        _state(mapping, item),
        identity=short(at(item, mapping.identity)),
        severity=short(at(item, mapping.severity)),
        value=number(at(item, mapping.value)),
        labels={name: text for name, text in labels.items() if text},
        text=short(at(item, mapping.text), 500),
    )


def _state(mapping: MapSection, item: object) -> State:
    if mapping.state is None:
        return State.ONCE
    word = short(at(item, mapping.state)).lower()
    if word in {one.lower() for one in mapping.firing}:
        return State.FIRING
    if word in {one.lower() for one in mapping.resolved}:
        return State.RESOLVED
    return State.ONCE

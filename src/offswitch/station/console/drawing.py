"""Parts of pages, drawn on the server: once for a page, again for everybody who looks at it.

A *view* draws what is live on one kind of page from a scene: parts by the id of their element,
and lists of parts (rows) whose order may change. What it gives depends on the scene, the scope
and what the viewer may do, on nothing else; so all browsers that look at the same share one
drawing (`feed`). Forms in it carry no token: their buttons name the page's own form (`act`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from jinja2 import Environment

from offswitch.decide.roles import Power
from offswitch.model.scope import EVERYTHING, Scope
from offswitch.model.scope import parse_scope as parse
from offswitch.station.console.glance import button, span, weigh
from offswitch.station.console.scene import Scene
from offswitch.station.people.visitor import Visitor
from offswitch.station.picture.rows import StopRow, TargetRow

__all__ = ["Drawn", "Paint", "View", "Viewer", "frame"]

_SHOWING = frozenset({Power.STOP, Power.ACK, Power.ANSWER, Power.RESET})
"""Powers on which it depends what is drawn."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom a page is drawn: one value for all who see the same."""

    scope: Scope = EVERYTHING
    """What the page is about, and its STOP."""
    powers: frozenset[Power] = frozenset()
    mine: str = "/"
    """What they may stop: it and what is below."""
    about: str = ""
    """What else the page is about: a target, an incident."""

    @classmethod
    def of(cls, visitor: Visitor, scope: Scope, about: str = "") -> Viewer:
        """Make it for who asks."""
        return cls(scope, visitor.powers & _SHOWING, visitor.scope, about)

    @property
    def may_stop(self) -> bool:
        """Whether the page's STOP is theirs to press."""
        return Power.STOP in self.powers and parse(self.mine).contains(self.scope)

    def may(self, power: str) -> bool:
        """Tell whether they have a power, by its name (for templates)."""
        return power in self.powers


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is live on a page."""

    parts: Mapping[str, str]
    """Markup by the id of the element, which each part is."""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the id of the element that holds them: the ids of its parts, in order."""
    live: bool = True
    version: int = 0

    def items(self, name: str) -> list[str]:
        """Give the parts of a list, for the page."""
        return [self.parts[each] for each in self.lists.get(name, ())]


class View(Protocol):
    """Draws what is live on one kind of page, besides the frame.

    Quick, since everybody waits for it; never raises, whatever a target is called.
    """

    def __call__(self, paint: Paint, scene: Scene, viewer: Viewer, /) -> Drawn:
        """Draw it."""
        ...


class Paint:
    """Draws with the macros of the templates; keeps rows of targets that have not changed."""

    def __init__(self, templates: Environment) -> None:
        """Draw with `templates`."""
        self._templates = templates
        self._rows: dict[str, tuple[TargetRow, list[StopRow], str]] = {}

    def __call__(self, template: str, macro: str, *given: Any, **named: Any) -> str:  # noqa: ANN401
        """Draw by a macro."""
        drawn: str = getattr(self._templates.get_template(template).module, macro)(*given, **named)
        return drawn

    def row(self, row: TargetRow, name: str, scene: Scene) -> str:
        """Draw a target's row as the element `name`; the same row is the same text."""
        held = scene.picture.stops_over(row.name) if row.stops else []
        known = self._rows.get(row.name)
        if known is not None and known[0] is row and known[1] == held:
            return known[2]
        drawn = self("parts.html", "row", row, weigh(row).name.lower(), name, held)
        self._rows[row.name] = (row, held, drawn)
        return drawn

    def forget(self, scene: Scene) -> None:
        """Forget targets that are gone."""
        there = scene.picture.targets
        if len(self._rows) > 2 * len(there) + 100:
            self._rows = {name: kept for name, kept in self._rows.items() if name in there}


def frame(paint: Paint, scene: Scene, viewer: Viewer) -> Drawn:
    """Draw what every page has: the sentence, the latest press, the STOP bar."""
    said = scene.picture.sentence(scene.now_us)
    shown = button(scene, viewer.scope, allowed=viewer.may_stop)
    press = next((each for each in scene.presses), None)
    return Drawn(
        {
            "top": paint("frame.html", "top", said, scene.picture.notes),
            "press": paint("frame.html", "press", press),
            "bar": paint("frame.html", "bar", shown),
            "span": paint("frame.html", "span", span(scene, viewer.scope)),
        },
        live=scene.live,
        version=scene.number,
    )

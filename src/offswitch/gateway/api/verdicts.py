"""Who judges a call of a tool that a model makes: by what the route declares, unless another does.

A judge is asked about a whole call, name and arguments, and answers at once: while a model talks
nobody can wait for a person. So what is not on the list, what only a person may allow each time,
and what is held back just now, is denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from offswitch.gateway.exchange import Call, Held
from offswitch.gateway.plan.match import stands_for
from offswitch.gateway.plan.route import Route
from offswitch.gateway.tools.verdict import judge_of

__all__ = ["ANYTHING", "Judge", "Judges", "by_declaration", "is_named", "judges_calls"]

Judge = Callable[[Call], bool]
"""True: the call may be handed on. It returns at once; what it raises counts as a denial."""
Judges = Callable[[Route, Held], Judge]

ANYTHING = ("*",)


def is_named(patterns: Iterable[str], name: str) -> bool:
    """Tell whether one of the declared names stands for `name`."""
    return any(stands_for(pattern, name) for pattern in patterns)


def judges_calls(route: Route) -> bool:
    """Tell whether calls in answers of this route are judged at all times."""
    tools = route.tools
    return route.hold_tools or tools.allow != ANYTHING or bool(tools.hold)


def by_declaration(route: Route, held: Held) -> Judge:
    """Give the judge of tool servers' calls; what a person is to allow is denied here."""
    return judge_of(route.tools, held)

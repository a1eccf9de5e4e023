"""All that pages are made of, read while it can be: later our code may lie out of reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jinja2 import Environment

from offswitch.reports.paper import Paper
from offswitch.station.console.render import Asset, assets, environment

__all__ = ["Faces"]


@dataclass(frozen=True, slots=True)
class Faces:
    """Templates and static files."""

    static: Mapping[str, Asset]
    templates: Environment
    paper: Paper
    """Makes after-action pages."""

    @classmethod
    def read(cls) -> Self:
        """Read them all; a template that does not compile is a defect that is found here."""
        static = assets()
        return cls(static, environment(static), Paper())

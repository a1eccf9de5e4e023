"""A report as one HTML file: no script, nothing loaded, readable in ten years, and on paper.

Jinja2 escapes whatever it is given, and what could hide itself or turn the direction of writing
is spelt out, so that what targets and people wrote is text. The page brings a policy of its own
that allows nothing but its one style sheet, by hash. Templates are read and compiled when a
`Paper` is made: the station makes it while it can still read its own files.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

from offswitch.printable import printable
from offswitch.reports.after_action import Report, clock, length

__all__ = ["Paper"]

_PAGE, _STYLE = "after-action.html", "after-action.css"
_LONGEST = 4000


class Paper:
    """Makes pages of reports."""

    def __init__(self) -> None:
        """Read the templates."""
        folder = resources.files("offswitch.reports").joinpath("templates")
        style = folder.joinpath(_STYLE).read_text(encoding="utf-8")
        page = folder.joinpath(_PAGE).read_text(encoding="utf-8").replace("STYLE", style)
        self.style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        """Of its style sheet, as a content policy wants it: `style-src 'sha256-…'`."""
        env = Environment(
            loader=DictLoader({_PAGE: page}),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            finalize=_shown,
        )
        env.filters.update(clock_of=clock, length_of=length)
        self._page = env.get_template(_PAGE)

    def html(self, report: Report) -> str:
        """Make the page of a report; the same report gives the same bytes."""
        return self._page.render(
            report=report, it=report.incident, head=report.head, style_hash=self.style_hash
        )


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template gives out
    """Make every text printable; what a macro has made already is."""
    return printable(value, _LONGEST) if type(value) is str else value

"""How the demonstration looks: text in a column of 78, colour only where it means something."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from offswitch.demo.timeline import Moment
from offswitch.printable import printable

__all__ = ["Telling"]

_WIDTH = 78
_INDENT = 4
_BAR = 18


class Telling:
    """Writes the story to a console, line by line, as it happens."""

    def __init__(self, console: Console) -> None:
        """Write to `console`."""
        self._console = console
        self._act = 0

    def title(self, folder: str) -> None:
        """Say what this is."""
        self._console.print()
        self._console.print(Text(" OFFSWITCH ", style="reverse bold"), Text("a demonstration"))
        self._line("Real programs, real stops; every figure is measured in this run.")
        self._line(f"Everything lies in {folder} and is removed at the end.", style="dim")

    def act(self, title: str) -> None:
        """Begin an act."""
        self._act += 1
        self._console.print()
        self._console.print(Text(f"{self._act}  {title}", style="bold"))

    def fact(self, name: str, what: str) -> None:
        """Introduce somebody."""
        self._line(f"{name:<15} {what}")

    def remark(self, text: str) -> None:
        """Say something in passing."""
        self._line(text)

    def good(self, text: str) -> None:
        """Say that something was seen to have happened."""
        self._console.print(
            Padding(
                Text.assemble(("✓ ", "bold green"), printable(text, 600)),
                (0, 0, 0, 2),
                expand=False,
            ),
            width=_WIDTH,
        )

    def typed(self, command: str) -> None:
        """Show a command that is being run."""
        self._line(f"$ {command}", style="bold cyan")

    def timeline(self, moments: list[Moment], target: str) -> None:
        """Draw when what happened, counted from the first moment."""
        ordered = sorted(moments, key=lambda moment: moment.time_ns)
        begin = ordered[0].time_ns
        span = max(ordered[-1].time_ns - begin, 1)
        table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(width=_BAR, no_wrap=True)
        table.add_column(overflow="fold", ratio=1)
        table.add_column(style="dim", justify="right", no_wrap=True)
        for moment in ordered:
            after = moment.time_ns - begin
            at = round(after / span * (_BAR - 1))
            bar = Text("·" * at + "●", style="bold" if moment.key else "dim")
            told = Text(printable(moment.what, 120), style="bold" if moment.key else "")
            table.add_row(f"{after / 1e6:.2f} ms", bar, told, moment.source)
        self._console.print()
        self._console.print(
            Rule(f"how {target} was stopped, in this run", style="dim"), width=_WIDTH
        )
        self._console.print(table, width=_WIDTH)

    def end(self, spoilt: int, products: int) -> None:
        """Close."""
        self._console.print(Rule(style="dim"), width=_WIDTH)
        share = 100 * spoilt / products
        self._console.print(
            Text(f"{spoilt:,} of {products:,} prices ({share:.1f} %) were spoilt before the cut.")
        )
        self._console.print(Text("Now yours: offswitch run -- YOUR PROGRAM", style="bold"))

    def _line(self, text: str, style: str = "") -> None:
        shown = Text(printable(text, 600), style=style)
        self._console.print(Padding(shown, (0, 0, 0, _INDENT), expand=False), width=_WIDTH)

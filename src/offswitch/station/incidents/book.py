"""All incidents, kept up to date by the tail of the record; and what people say about them.

Nothing is kept here that is not in the record: a station that starts anew reads it anew. What
somebody says goes to the recorder, and comes back by the tail like everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from offswitch.errors import NotFound
from offswitch.ledger.outbox import Outbox
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.reports.after_action import Head, Report, cited, report_of
from offswitch.reports.figures import Figures, figures
from offswitch.reports.incident import Incident
from offswitch.reports.incidents import Incidents
from offswitch.reports.word import Word
from offswitch.station.archive.link import Archive

__all__ = ["Book", "say"]

_PIECE = 500


class Book:
    """One in a station."""

    def __init__(self, tell: Callable[[tuple[str, ...]], None] = lambda _names: None) -> None:
        """`tell` hears the names of those that changed."""
        self._incidents = Incidents()
        self._tell = tell

    def take(self, entry: ShownEntry) -> None:
        """Hear of one entry; the tail calls it."""
        changed = self._incidents.take(entry)
        if changed:
            self._tell(changed)

    @property
    def size(self) -> int:
        """Of how many entries it is made."""
        return self._incidents.size

    def all(self) -> list[Incident]:
        """Give every incident, the latest first."""
        return list(reversed(self._incidents.all()))

    def of_scope(self, scope: str) -> list[Incident]:
        """Give those that began with this very scope."""
        return self._incidents.of_scope(scope)

    def get(self, name: str) -> Incident:
        """Give one by its name, or by how it begins."""
        found = self._incidents.get(name)
        if found is None:
            raise NotFound(f"no incident is called {name[:80]!r}", "see them all: /incidents")
        return found

    def figures(self) -> Figures:
        """Count them, by month."""
        return figures(self._incidents.all(), self._incidents.size)

    async def report(self, name: str, archive: Archive) -> Report:
        """Make the after-action report of one, from the entries that it cites."""
        incident, size = self.get(name), self.size
        wanted = cited(incident)
        entries: dict[int, ShownEntry] = {}
        said: dict[str, Any] = {}
        for at in range(0, max(len(wanted), 1), _PIECE):
            asked = {"op": "pick", "indexes": wanted[at : at + _PIECE], "at": size}
            said = await archive.ask(asked)
            for row in said["entries"]:
                entry = ShownEntry(row["index"], row["public"], row["sealed"], row["intact"])
                entries[entry.index] = entry
        head = Head(str(said["origin"]), size, str(said["root"]))
        return report_of(incident, entries, head)


def say(outbox: Outbox, word: Word, by: str, channel: str) -> None:
    """Have a person's word recorded."""
    public = {
        "channel": channel,
        "incident": word.incident,
        "what": word.what.value,
        "prior": word.prior,
        "state": word.state,
        **word.public,
    }
    outbox.add(EntryKind.INCIDENT, public, {"by": by, **word.sealed})

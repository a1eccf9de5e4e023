"""The targets that this warden knows, and where each of them lives.

One row a target: its cell if it has one, its slot in the page, its state, what the layers
could do and what was seen last. The rows that have a cell are also written to
`cells.json` on tmpfs, so that the next warden finds every cell again, and so that a stop
that gets no answer can still find them (SR-11). What was ever run has a 0600 file from
which `start` can bring it up again.
"""

from __future__ import annotations

import json
import os
from bisect import insort
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from offswitch.control.place import Place
from offswitch.errors import Corrupt, NotFound, Usage
from offswitch.model.level import Level
from offswitch.model.named import Named
from offswitch.model.receipt import Receipt
from offswitch.model.scope import Scope, scopes_over
from offswitch.model.state import State
from offswitch.model.target import Target, check_name
from offswitch.warden.cells.cell import Cell
from offswitch.warden.cells.remains import Remains
from offswitch.warden.kept import GARBLED, path_of
from offswitch.warden.listener import Listener
from offswitch.warden.page_writer import PageWriter
from offswitch.warden.since import stamped
from offswitch.warden.whole_file import write_whole

__all__ = ["Table", "Tracked"]

_SHOWN = frozenset({
    "adopted", "cell", "confirmed", "order", "probation_us", "readiness", "receipts", "served",
    "sharing", "since_us", "sought", "state", "target", "trouble", "uid", "user",
})  # fmt: skip
"""What of a row a follower is shown (`door.shown`): a change of anything else touches nobody."""
_LONGEST_LOG = 16 << 20
"""Bytes: `run` begins one anew at half of that, but whoever asked has the descriptor."""


class Tracked:
    """One target as the warden sees it. Mutable; only the warden's loop touches it."""

    book: dict[str, None] | None
    """Where it is written down that this row has changed (`Table.touched`)."""
    shifted: dict[str, None] | None
    """Likewise that a layer may have become more or less ready (`Table.shifted`)."""
    ready_since: dict[str, int]
    """Layer → since when it is as ready as it is, UTC in microseconds; set by `readiness`."""

    __slots__ = (
        "adopted",
        "asked_by",
        "blind",
        "book",
        "cell",
        "confirmed",
        "declared",
        "fronted",
        "gate_slot",
        "handed",
        "held",
        "keeper_has_it",
        "leader",
        "listener",
        "log",
        "order",
        "ours",
        "pidfd",
        "probation_us",
        "readiness",
        "ready_since",
        "receipts",
        "remains",
        "served",
        "sharing",
        "shifted",
        "since_us",
        "slot",
        "sought",
        "stands",
        "state",
        "target",
        "trouble",
        "uid",
        "user",
        "watched",
    )

    def __init__(self, target: Target, state: State = State.EXITED) -> None:
        """Begin with a target that has no cell."""
        self.book = self.shifted = None
        self.target = target
        self.state = state
        self.cell: Cell | None = None
        self.remains: Remains | None = None
        """What may be left of its last cell, which is gone."""
        self.adopted: Named | None = None
        """The name by which its cgroup, which others make, is found again."""
        self.sought = True
        """Whether the finder has looked for it: else where it runs is unknown."""
        self.trouble = ""
        """Why what bears its name cannot be held; empty if it can."""
        self.slot: int | None = None
        self.gate_slot: int | None = None
        """Of the word that gateways heed: one for the whole boot, whatever becomes of its cell."""
        self.served = False
        """Whether a gateway serves it, or had something of it in flight when it was lost."""
        self.fronted = False
        """Whether a front of others serves it, or did in this boot: its adapter may have gone."""
        self.handed: frozenset[str] = frozenset()
        """Layers for which hands were declared."""
        self.held: frozenset[str] = frozenset()
        """Layers that its stop plan puts off, and that are not due so far (`courses`)."""
        self.leader: int | None = None
        self.asked_by: int | None = None
        """The user who had it run."""
        self.ours = False
        self.pidfd: int | None = None
        self.uid: int | None = None
        self.user = ""
        self.sharing = False
        self.log: str | None = None
        self.listener: Listener | None = None
        self.declared: dict[str, Any] | None = None
        self.readiness: dict[str, tuple[str, str]] = {}
        """Layer → its state, and why; to be set anew, never changed in place."""
        self.receipts: list[Receipt] = []
        self.confirmed = False
        """Whether every layer of its plan was seen, since the last command and movement."""
        self.stands = False
        """Likewise every layer that this machine has: what a reset asks for."""
        self.order: str | None = None
        self.since_us = 0
        self.keeper_has_it = False
        self.watched = False
        self.blind = False
        self.probation_us: int | None = None
        """Until when it is shown as restricted (CLOCK_MONOTONIC); None: it is on no probation."""

    def __setattr__(self, name: str, value: object) -> None:
        """Set it, and write down that the row is another one now: nobody looks for changes."""
        if name == "readiness":
            before = getattr(self, name, {})
            self.ready_since = stamped(getattr(self, "ready_since", {}), before, value)
            if self.shifted is not None:
                self.shifted[self.target.name] = None
        object.__setattr__(self, name, value)
        if name in _SHOWN and self.book is not None:
            self.book[self.target.name] = None

    @classmethod
    def named(cls, name: str) -> Tracked:
        """Begin with nothing known of it but its name."""
        return cls(Target(name))

    def shown(self, level: Level | None) -> Level | None:
        """Give the level that guards are shown where `level` is latched."""
        return Level.RESTRICT if level is None and self.probation_us is not None else level

    @property
    def said(self) -> State:
        """The state as it is told: on probation it is restricted."""
        restricted = self.state is State.RUNNING and self.probation_us is not None
        return State.RESTRICTED if restricted else self.state

    @property
    def alive(self) -> bool:
        """Whether something of it lives, or may live: what cannot be told counts as alive."""
        return self.served if self.cell is None else self.cell.populated() is not False

    @property
    def body(self) -> Cell | Remains | None:
        """What a stop can trip and look at: its cell, else what may be left of it."""
        return self.remains if self.cell is None else self.cell

    @property
    def seen_somewhere(self) -> bool:
        """Whether there is anything of it that an observer could look at."""
        return self.body is not None or self.served or bool(self.handed)

    def unseen(self) -> None:
        """What was seen of it up to now says nothing any more."""
        self.confirmed = self.stands = False

    def facts(self) -> dict[str, Any]:
        """What the next warden needs to find it."""
        return {
            "target": self.target.name,
            "labels": dict(self.target.labels),
            "kind": self.target.kind,
            "path": self.cell.path if self.cell else None,
            "facts": self.cell.facts() if self.cell else None,
            "slot": self.slot,
            "leader": self.leader,
            "uid": self.uid,
            "asked_by": self.asked_by,
            "user": self.user,
            "sharing": self.sharing,
            "log": self.log,
            "since_us": self.since_us,
            "probation_us": self.probation_us,
        }


class Table:
    """All rows, by target name."""

    def __init__(self, place: Place, gid: int, page: PageWriter | None = None) -> None:
        """Begin empty; what `page` has come to is kept, too, should it be gone one day."""
        self._page = page
        self._place = place
        self._gid = gid
        self._rows: dict[str, Tracked] = {}
        self._names: list[str] = []
        """Sorted: a stop goes through them, and does not wait for that."""
        self.touched: dict[str, None] = {}
        """Names whose rows have come, changed or gone; whoever shows them takes them out."""
        self.shifted: dict[str, None] = {}
        """Names of rows of which a layer may be more or less ready (`readiness.Readiness`)."""
        self._path = path_of(place)
        self.trouble: str | None = None
        """Why the next warden would not find every cell by its name; None: it would."""

    def __iter__(self) -> Iterator[Tracked]:
        """Go through all rows, by name."""
        return iter([self._rows[name] for name in self._names])

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def names(self) -> list[str]:
        """List the names, sorted."""
        return list(self._names)

    def get(self, name: str) -> Tracked | None:
        """Give the row of that target, or None."""
        return self._rows.get(name)

    def put(self, row: Tracked) -> Tracked:
        """Add or replace a row; give it."""
        if row.target.name not in self._rows:
            insort(self._names, row.target.name)
        self._rows[row.target.name] = row
        row.book, row.shifted = self.touched, self.shifted
        self.touched[row.target.name] = self.shifted[row.target.name] = None
        return row

    def forget(self, name: str, uid: int) -> bool:
        """Forget a target that user `uid` ran and that has ended; False: it is still of use."""
        row = self._rows.get(name)
        if row is None or row.cell is not None or row.declared is not None:
            return False
        if row.gate_slot is not None:
            return False  # gateways heed its word for the whole boot
        if row.asked_by not in {uid, None} or row.state is not State.EXITED:
            return False
        del self._rows[name]
        self._names.remove(name)
        self.touched[name] = self.shifted[name] = None
        return True

    def drop(self, name: str) -> None:
        """Forget a target altogether; whoever drops it has seen that nothing of it is left."""
        if self._rows.pop(name, None) is not None:
            self._names.remove(name)
            self.touched[name] = self.shifted[name] = None

    def take_away(self, names: Iterable[str]) -> None:
        """Remove what is kept of forgotten targets. For the disk's thread."""
        for name in names:
            for path in (self._spec_path(name), self.log_path(name)):
                with suppress(OSError):
                    os.unlink(path)

    def trim(self, logs: Iterable[str]) -> None:
        """Empty logs that somebody has written beyond their cap. For the disk's thread."""
        for path in logs:
            with suppress(OSError):
                if os.stat(path, follow_symlinks=False).st_size > _LONGEST_LOG:
                    os.truncate(path, 0)

    def covered(self, scopes: Iterable[Scope]) -> list[Tracked]:
        """List the rows that at least one of `scopes` covers."""
        wanted = {scope.text for scope in scopes}
        if len(wanted) == 1:  # by far the commonest case, and in the way of a stop
            [text] = wanted
            return [row for row in self if Scope(text).covers(row.target)]
        return [row for row in self if not wanted.isdisjoint(scopes_over(row.target))]

    def by_cell(self, name: str) -> Tracked | None:
        """Give the row whose cell bears that name, or bore it last."""
        for row in self._rows.values():
            if row.body is not None and row.body.name == name:
                return row
        return None

    def targets(self) -> list[Target]:
        """List all targets."""
        return [row.target for row in self]

    # --- what survives the warden -------------------------------------------------

    def keep(self) -> bool:
        """Write `cells.json` anew (tmpfs: waits for no disk); false if it could not be."""
        cells = [row.facts() for row in self if row.cell is not None]
        remains = {row.target.name: row.remains.facts() for row in self if row.remains is not None}
        slots = {row.target.name: row.slot for row in self if row.adopted and row.slot is not None}
        gates = {
            row.target.name: [row.gate_slot, row.served, row.fronted]
            for row in self
            if row.gate_slot is not None
        }
        page = [0, 0] if self._page is None else [self._page.epoch, self._page.used]
        body = json.dumps(
            {"cells": cells, "remains": remains, "page": page, "slots": slots, "gates": gates}
        ).encode()
        try:
            write_whole(self._path, body, 0o640, self._gid)
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror}"
            return False
        self.trouble = None
        return True

    def kept(self) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
        """Read what an earlier warden of this boot kept; garbage raises `Corrupt`.

        Its cells, by target what may be left of those that are gone, and slots of adopted ones.
        """
        try:
            with open(self._path, "rb") as file:
                whole = json.load(file)
            cells, remains = whole["cells"], whole.get("remains", {})
            slots = whole.get("slots", {})
        except FileNotFoundError:
            return [], {}, {}
        except GARBLED as error:
            raise Corrupt(f"{self._path}: {error}") from None
        kinds = isinstance(cells, list), isinstance(remains, dict), isinstance(slots, dict)
        if not all(kinds):
            raise Corrupt(f"{self._path} is garbled")
        return [cell for cell in cells if isinstance(cell, dict)], remains, slots

    # --- what `start` needs -------------------------------------------------------

    def _spec_path(self, name: str) -> str:
        return f"{self._place.specs}/{name.replace('/', '%2F')}.json"

    def save_spec(self, name: str, spec: dict[str, Any]) -> None:
        """Keep what `start` needs to bring `name` up again, for its owner's eyes only."""
        body = json.dumps(spec).encode()
        write_whole(self._spec_path(name), body, 0o600)

    def forget_spec(self, name: str) -> None:
        """Remove it: what is kept there is no longer what ran last."""
        try:
            os.unlink(self._spec_path(name))
        except FileNotFoundError:
            pass

    def log_path(self, name: str) -> str:
        """Name the file of a target's capped log."""
        return f"{self._place.logs}/{name.replace('/', '%2F')}.log"

    def settle_in(
        self, name: str, spec: dict[str, Any], log: str | None
    ) -> tuple[bool, int | None]:
        """Keep what `start` needs and open the log: whether it is kept, and the descriptor.

        For the disk's thread. What cannot be kept takes what is kept of an earlier run along.
        """
        try:
            self.save_spec(name, spec)
        except OSError:
            saved = False
            with suppress(OSError):
                self.forget_spec(name)
        else:
            saved = True
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return saved, None if log is None else os.open(log, flags, 0o640)
        except OSError:
            return saved, None

    def load_spec(self, name: str) -> dict[str, Any]:
        """Read it again; `NotFound` if the target was never run here."""
        path = self._spec_path(name)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                spec = json.load(file)
        except FileNotFoundError:
            hint = f"run it first: offswitch run --target {name} -- CMD"
            raise NotFound(f"nothing is known of how to start {name}", hint) from None
        except (ValueError, RecursionError):
            raise Corrupt(f"{path} is garbled", "remove it and run the target again") from None
        if not isinstance(spec, dict):
            raise Corrupt(f"{path} is garbled", "remove it and run the target again")
        return spec

    def known(self) -> list[str]:
        """Name every target that was ever run here."""
        found = []
        for name in os.listdir(self._place.specs):
            if name.endswith(".json"):
                try:
                    found.append(check_name(name.removesuffix(".json").replace("%2F", "/")))
                except Usage:
                    continue  # not of our making
        return sorted(found)

    # --- what the configuration declares ------------------------------------------

    def declarations(self) -> list[dict[str, Any]]:
        """List what is declared now."""
        return [row.declared for row in self if row.declared is not None]

    def save_declared(self, items: list[dict[str, Any]]) -> None:
        """Keep names, labels and plans: a stop by label covers after a reboot, too."""
        write_whole(f"{self._place.home}/declared.json", json.dumps(items).encode(), 0o600)

    def load_declared(self) -> list[Any]:
        """Read them again; garbage raises `Corrupt`, and none were ever declared is none."""
        return self._load_list("declared.json")

    def adoptions(self) -> list[dict[str, str]]:
        """List what is adopted now, and by which name."""
        return [
            {"target": row.target.name, "kind": row.adopted.kind, "value": row.adopted.value}
            for row in self
            if row.adopted is not None
        ]

    def save_adopted(self, items: list[dict[str, str]]) -> None:
        """Keep it: what is latched by such a name is latched after a reboot, too."""
        write_whole(f"{self._place.home}/adopted.json", json.dumps(items).encode(), 0o600)

    def load_adopted(self) -> list[Any]:
        """Read it again; garbage raises `Corrupt`, and nothing kept is nothing."""
        return self._load_list("adopted.json")

    def save_watched(self, scopes: list[str | list[str]]) -> None:
        """Keep what automatic rules are about: the next warden knows who is blind without watch."""
        write_whole(f"{self._place.home}/watched.json", json.dumps(scopes).encode(), 0o600)

    def load_watched(self) -> list[Any]:
        """Read it again; garbage raises `Corrupt`, and nothing kept is nothing."""
        return self._load_list("watched.json")

    def _load_list(self, name: str) -> list[Any]:
        path = f"{self._place.home}/{name}"
        try:
            with open(path, "rb") as file:
                items = json.load(file)
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise Corrupt(f"{path}: {error}", "start `offswitch up` again") from None
        if not isinstance(items, list):
            raise Corrupt(f"{path} is garbled", "start `offswitch up` again")
        return items

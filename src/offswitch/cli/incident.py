"""`offswitch incident list|show|open|note|grade|hand-over|close|report|stats`.

Incidents are made of the ledger each time that they are asked for (`reports.incidents`); what
a person does about one is an entry like any other, handed to the recorder, which takes it from
root and the owner alone. Nothing here stops, resets or starts anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from offswitch.cli.incident_words import figures_lines, in_full, list_lines
from offswitch.cli.show import emit
from offswitch.clock import SystemClock, boot_id, new_nonce
from offswitch.control.client import Conversation
from offswitch.control.place import chosen
from offswitch.errors import NotFound, OffswitchError, Refused, Storage, Unreachable
from offswitch.ledger.reader import Reader, ShownEntry, reading
from offswitch.ledger.tree import Frontier
from offswitch.model.entry import VERSION, EntryKind
from offswitch.printable import printable
from offswitch.reports.after_action import Head, Report, cited, report_of
from offswitch.reports.figures import figures
from offswitch.reports.incident import Incident, Outcome, Severity, Sort
from offswitch.reports.incidents import Incidents
from offswitch.reports.paper import Paper
from offswitch.reports.word import Word, closed, graded, handed_over, noted, opened

__all__ = ["app"]

app = typer.Typer(
    help="What happened: list, show, open, note, grade, hand-over, close, report, stats.",
    no_args_is_help=True,
)

_PATIENCE_S = 10.0

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would be recorded; record nothing.")]
Which = Annotated[str, typer.Argument(metavar="ID", help="Its name, or how it begins.")]


# --- reading -----------------------------------------------------------------------


@contextmanager
def _ledger(at: int | None = None) -> Iterator[tuple[Reader, Incidents]]:
    """Read the ledger, as it is or as it was when it had `at` entries."""
    with reading(chosen().home) as reader:
        size = reader.head.size if at is None else at
        if not 0 < size <= reader.head.size:
            raise NotFound(
                f"the ledger has {reader.head.size} entries", "--at names how many of them"
            )
        book = Incidents()
        for entry in reader.shown(0, size):
            book.take(entry)
        yield reader, book


def _found(book: Incidents, name: str) -> Incident:
    incident = book.get(name)
    if incident is None:
        raise NotFound(f"no incident is called {name[:80]!r}", "offswitch incident list --all")
    return incident


@app.command("list")
def list_incidents(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="The closed ones, and all near misses, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """One line each, those that are open, the latest last."""
    with _ledger() as (_reader, book):
        known = book.all()
    shown = [one for one in known if everything or (one.open and one.sort is not Sort.NEAR_MISS)]
    answer = {"incidents": [one.line() for one in shown], "all": len(known), "size": book.size}
    emit(answer, as_json=as_json, text=list_lines(shown, known))


@app.command("show")
def show_incident(which: Which, *, as_json: Json = False) -> None:
    """Everything about one: state, delays, layers, timeline, notes."""
    with _ledger() as (_reader, book):
        incident = _found(book, which)
    emit(incident.as_dict(), as_json=as_json, text=in_full(incident))


@app.command("report")
def report(
    which: Which,
    *,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to; else to stdout.")
    ] = "",
    at: Annotated[
        int | None,
        typer.Option("--at", min=1, metavar="N", help="Of the first N entries, as made before."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The after-action page: one HTML file, from the ledger alone, each fact with its entry."""
    made = _report(which, at)
    if as_json:
        emit(made.as_dict(), as_json=True, text="")
        return
    page = Paper().html(made)
    if not out:
        sys.stdout.write(page)
        return
    _write(out, page)
    head = made.head
    sys.stderr.write(
        f"offswitch: {printable(made.incident.id)}: {len(made.appendix)} entries cited, in"
        f" {printable(out)}; the same again: --at {head.size}\n"
    )


def _report(which: str, at: int | None) -> Report:
    with _ledger(at) as (reader, book):
        incident = _found(book, which)
        entries: dict[int, ShownEntry] = {}
        for index in cited(incident):
            entries.update({entry.index: entry for entry in reader.shown(index, index + 1)})
        root = Frontier.of(reader.nodes, book.size).root()
        return report_of(incident, entries, Head(reader.head.origin, book.size, root.hex()))


def _write(path: str, page: str) -> None:
    """Write the page, for its owner alone: it names people and says why."""
    try:
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        with open(fd, "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "name a file that can be written") from None


@app.command("stats")
def stats(*, as_json: Json = False) -> None:
    """Incidents, near misses and false stops by month, and how long things took."""
    with _ledger() as (_reader, book):
        counted = figures(book.all(), book.size)
    emit(counted.as_dict(), as_json=as_json, text=figures_lines(counted))


# --- writing -----------------------------------------------------------------------


@app.command("open")
def open_incident(
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="What it is about.")],
    *,
    severity: Annotated[Severity, typer.Option(help="How bad it is.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What was noticed.")],
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Open one by hand: stops of its scope that come while it is open belong to it."""
    word = opened(new_nonce(), scope, severity, reason)
    _say(word, dry=dry, as_json=as_json)


@app.command("note")
def note(
    which: Which,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What there is to say.")],
    *,
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Note something; in reports it is marked as an opinion."""
    _say(noted(_known(which), text), dry=dry, as_json=as_json)


@app.command("grade")
def grade(
    which: Which,
    severity: Annotated[Severity, typer.Argument(help="How bad it is.")],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is recorded.")],
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Say how bad it is, in place of the rule; a new trip on probation still raises it."""
    word = graded(_known(which), severity, reason)
    _say(word, dry=dry, as_json=as_json)


@app.command("hand-over")
def hand_over(
    which: Which,
    *,
    to: Annotated[str, typer.Option(metavar="NAME", help="Who has it in hand from now on.")],
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Hand it over to somebody, by name."""
    _say(handed_over(_known(which), to), dry=dry, as_json=as_json)


@app.command("close")
def close(
    which: Which,
    *,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="What caused it.")],
    action: Annotated[
        list[str], typer.Option(metavar="TEXT", help="What is done about it; once for each.")
    ],
    outcome: Annotated[
        Outcome | None, typer.Option(help="What it was; as it looks, unless given.")
    ] = None,
    dry: Dry = False,
    as_json: Json = False,
) -> None:
    """Close it with its cause and what is done about it; refused while something is latched."""
    word = closed(_known(which), cause, action, outcome)
    _say(word, dry=dry, as_json=as_json)


def _known(which: str) -> Incident:
    with _ledger() as (_reader, book):
        return _found(book, which)


def _say(word: Word, *, dry: bool, as_json: bool) -> None:
    """Hand the entry to the recorder; the answer comes when it is durable."""
    clock = SystemClock()
    place = chosen()
    common = {
        "v": VERSION,
        "kind": EntryKind.INCIDENT.value,
        "time_us": clock.wall_us(),
        "mono_us": clock.mono_us(),
        "boot": boot_id(),
        "installation": _installation(place.home),
        "channel": "cli",
        "incident": word.incident,
        "what": word.what.value,
        "prior": word.prior,
        "state": word.state,
    }
    sealed = {"by": f"uid:{os.getuid()}", **word.sealed}
    entry = {"public": {**common, **word.public}, "sealed": sealed}
    index = None if dry else _recorded(place.recorder_socket, entry)
    answer = {
        "incident": word.incident,
        "what": word.what.value,
        "entry": index,
        "dry_run": dry,
    }
    shown = f"would be recorded: {word.told}" if dry else f"{word.told}, entry {index}"
    emit(answer, as_json=as_json, text=printable(shown))


def _recorded(path: str, entry: dict[str, Any]) -> int:
    try:
        with Conversation(path, _PATIENCE_S) as recorder:
            said = recorder.ask({"op": "record", "entries": [entry]})
    except Refused as error:
        raise Refused(error.message, "root and the owner may: sudo offswitch incident …") from None
    except Unreachable as error:
        message = error.message.replace("a warden", "a recorder").replace(
            "the warden", "the recorder"
        )
        if not os.access(path, os.W_OK) and os.path.lexists(path):
            raise Refused(
                "only root and the owner of this installation write to its record",
                "sudo offswitch incident …, or write it in the console",
            ) from None
        hint = "a recorder runs with every warden: offswitch up"
        raise Unreachable(message.replace("no warden", "no recorder"), hint) from None
    return int(said["indexes"][0])


def _installation(home: str) -> str:
    try:
        with open(f"{home}/installation", encoding="utf-8") as file:
            return file.read(64).strip()
    except OSError as error:
        raise _unreadable(home, error) from None


def _unreadable(home: str, error: OSError) -> OffswitchError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"there is no installation in {home}", "a warden makes one: offswitch up")
    return Storage(f"{home}/installation: {error.strerror}", "read it as its owner, or as root")

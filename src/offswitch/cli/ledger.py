"""`offswitch ledger verify|show|head|proof|export`: the record, and whether it is whole.

`verify` ends with 0 (verified), 1 (corrupt), 6 (consistent, but not witnessed) or 7 (cannot
tell); its key comes from `--key`, else `OFFSWITCH_LEDGER_KEY` (a file, or the key itself),
else the pin. What is shown was written by those who are watched, so every character that
could move a cursor is shown as its escape.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, assert_never

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from offswitch.cli.show import emit
from offswitch.control.place import chosen
from offswitch.errors import Corrupt, NotFound, Usage
from offswitch.ledger.checkpoint import VerifyKey, open_checkpoint, parse_checkpoint
from offswitch.ledger.export import export
from offswitch.ledger.pin import Pin
from offswitch.ledger.proof import consistency_proof, roots_of_consistency
from offswitch.ledger.reader import Reader, ShownEntry, reading
from offswitch.ledger.store import LedgerPaths
from offswitch.ledger.verifier import Head, Outcome, Progress, Verdict, verify
from offswitch.model.entry import EntryKind
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(help="The record: verify, show, head, proof, export.", no_args_is_help=True)

_KEY = "OFFSWITCH_LEDGER_KEY"
_TRIES = 5
_LONGEST = 1 << 20
_PLAIN = frozenset({"v", "kind", "time_us", "mono_us", "boot", "installation", "via"})
_NAMED = ("target", "scope", "process", "what")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def _home() -> str:
    return chosen().home


def _read(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST)
    except OSError as error:
        raise Usage(f"{what} {path}: {error.strerror}", "name a file that can be read") from None


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


# --- verify -----------------------------------------------------------------------


@app.command("verify")
def verify_ledger(
    *,
    key: Annotated[str, typer.Option(metavar="FILE", help="The verifying key.")] = "",
    head: Annotated[str, typer.Option(metavar="FILE", help="A head kept elsewhere.")] = "",
    as_json: Json = False,
) -> None:
    """Check that the ledger is what was recorded; on damage say where."""
    home = _home()
    pin = Pin(home)
    vkey, brought = _key(key, pin)
    heads = _heads(head, pin, vkey)
    with _progress() as progress:
        outcome = verify(
            LedgerPaths(home).database, vkey, heads, brought=brought, progress=progress
        )
    answer = {
        "verdict": outcome.verdict.value,
        "entries": outcome.entries,
        "where": outcome.where,
    }
    emit(answer, as_json=as_json, text=_told(outcome))
    for note in outcome.notes:
        sys.stderr.write(f"offswitch: {printable(note)}\n")
    sys.exit(_code(outcome.verdict))


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show a person how far it is, on stderr and only there."""
    if not sys.stderr.isatty():
        yield None
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _key(option: str, pin: Pin) -> tuple[VerifyKey | None, bool]:
    """Find the key, and whether the reader brought it; a pin named by hand is still the pin."""
    given = option or os.environ.get(_KEY, "")
    source = "--key" if option else _KEY
    brought = bool(given) and not _same(given, pin.key_path)
    if not given:
        text = pin.key()
        if text is None:
            return None, False
        source = pin.key_path
    elif not option and "+" in given and not os.path.exists(given):
        text = given
    else:
        text = _read(given, source).decode("utf-8", "replace")
    try:
        return VerifyKey.parse(text), brought
    except ValueError as error:
        raise Usage(f"{source}: {error}", "it looks like pin/ledger.vkey") from None


def _heads(option: str, pin: Pin, key: VerifyKey | None) -> list[Head]:
    """Collect the heads to compare with, before the ledger is read: they may only be older."""
    heads = []
    if option:
        elsewhere = not _same(option, pin.head_path)
        heads.append(Head(_read(option, "--head"), option, elsewhere))
    pinned = pin.head()
    for _ in range(_TRIES):
        if key is None or _opens(pinned or b"", key):
            break
        pinned = pin.head()  # it may have been replaced under our eyes
    if pinned is not None:
        heads.append(Head(pinned, pin.head_path, elsewhere=False))
    return heads


def _opens(note: bytes, key: VerifyKey) -> bool:
    try:
        open_checkpoint(note, key)
    except ValueError:
        return False
    return True


def _told(outcome: Outcome) -> str:
    match outcome.verdict:
        case Verdict.VERIFIED:
            return f"Verified: {outcome.entries} entries, witnessed by the head that you brought."
        case Verdict.UNWITNESSED:
            return f"Consistent: {outcome.entries} entries, but nobody outside vouches for them."
        case Verdict.CORRUPT:
            return f"CORRUPT: {printable(outcome.where)}"
        case Verdict.CANNOT_TELL:
            return f"Cannot tell: {printable(outcome.notes[-1] if outcome.notes else '')}"
        case _:
            assert_never(outcome.verdict)


def _code(verdict: Verdict) -> int:
    match verdict:
        case Verdict.VERIFIED:
            return 0
        case Verdict.CORRUPT:
            return 1
        case Verdict.UNWITNESSED:
            return 6
        case Verdict.CANNOT_TELL:
            return 7
        case _:
            assert_never(verdict)


# --- show -------------------------------------------------------------------------


@app.command("show")
def show_entries(
    *,
    index: Annotated[int | None, typer.Argument(metavar="N", help="One entry, in full.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many, counted from the end.")] = 20,
    kind: Annotated[EntryKind | None, typer.Option(help="Only entries of this kind.")] = None,
    target: Annotated[str, typer.Option(help="Only entries of this target or scope.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="From the first entry on.")] = False,
    as_json: Json = False,
) -> None:
    """Show the latest entries, or one in full."""
    with reading(_home()) as reader:
        if index is not None:
            if not 0 <= index < reader.head.size:
                raise NotFound(
                    f"there is no entry {index}", f"there are 0 to {reader.head.size - 1}"
                )
            entries = list(reader.shown(index, index + 1))
        else:
            entries = _selected(reader, kind, target, None if everything else last)
    if as_json:
        answer = {"entries": [entry.as_dict() for entry in entries], "size": reader.head.size}
        emit(answer, as_json=True, text="")
    elif index is not None:
        sys.stdout.write("".join(_in_full(entry) for entry in entries))
    else:
        sys.stdout.write("".join(_in_lines(entry) for entry in entries))


def _selected(
    reader: Reader, kind: EntryKind | None, target: str, last: int | None
) -> list[ShownEntry]:
    """Filter by a cheap search in the text first, then by what it says."""
    size = reader.head.size
    if not kind and not target:
        return list(reader.shown(0 if last is None else max(0, size - last), size))
    text = json.dumps(target, ensure_ascii=False) if target else f'"kind":"{kind}"'
    found: deque[ShownEntry] = deque(maxlen=last)
    for entry in reader.shown(0, size, text):
        if kind and entry.public.get("kind") != kind:
            continue
        if target and target not in {entry.public.get("target"), entry.public.get("scope")}:
            continue
        found.append(entry)
    return list(found)


def _when(public: dict[str, Any]) -> str:
    try:
        moment = datetime.fromtimestamp(public["time_us"] / 1e6, UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return "(no time)                  "
    return moment.strftime("%Y-%m-%d %H:%M:%S.%fZ")


def _in_lines(entry: ShownEntry) -> str:
    """One line for what happened, one for each thing that is sealed."""
    public = entry.public
    named = [_value(public[key]) for key in _NAMED if public.get(key)]
    if "prior" in public or "state" in public:
        change = (_value(public.get("prior", "?")), _value(public.get("state", "?")))
        named.append(" → ".join(change))
    shown = {*_PLAIN, *_NAMED, "prior", "state"}
    named += [f"{printable(key)}={_value(public[key])}" for key in public if key not in shown]
    kind = printable(public.get("kind", "?"))
    text = f"{entry.index:>7}  {_when(public)}  {kind:<8}  {'  '.join(named)}\n"
    if not entry.intact:
        text = f"DAMAGED {text}"
    for field, value in entry.sealed.items():
        text += f"{'':37}  {printable(field)}: {_sealed(value)}\n"
    return text


def _in_full(entry: ShownEntry) -> str:
    lines = [f"entry {entry.index}" + ("" if entry.intact else "  DAMAGED: see ledger verify")]
    lines.append(f"  when  {_when(entry.public)}")
    lines += [f"  {printable(key)}  {_value(entry.public[key], 4000)}" for key in entry.public]
    lines += [f"  sealed {printable(key)}  {_sealed(entry.sealed[key])}" for key in entry.sealed]
    return "\n".join(lines) + "\n"


def _value(value: object, limit: int = 120) -> str:
    """Show a text as it is, and anything else as JSON, so that it can be read but one way."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text, limit)


def _sealed(value: object) -> str:
    return "(erased)" if value is None else _value(value, 4000)


# --- head, proof, export ----------------------------------------------------------


@app.command("head")
def show_head(*, as_json: Json = False) -> None:
    """Print the latest signed checkpoint: keep it elsewhere, for `verify --head`."""
    with reading(_home()) as reader:
        note, head = reader.note.decode("utf-8", "replace"), reader.head
    answer = {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "checkpoint": note,
    }
    emit(answer, as_json=as_json, text=note.removesuffix("\n"))


@app.command("proof")
def show_proof(
    *,
    index: Annotated[int | None, typer.Argument(metavar="N", help="Of which entry.")] = None,
    since: Annotated[
        str, typer.Option(metavar="FILE", help="Prove that the ledger goes on from this head.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Print a proof that entry N is in the ledger (c2sp.org/tlog-proof), or of `--since`."""
    if (index is None) == (not since):
        raise Usage("name an entry, or a head by --since", "offswitch ledger proof 17")
    with reading(_home()) as reader:
        if index is None:
            answer, lines = _consistency(reader, _read(since, "--since"))
        else:
            answer, lines = _inclusion(reader, index)
        note = reader.note.decode("utf-8", "replace")
    answer["checkpoint"] = note
    emit(answer, as_json=as_json, text="\n".join([*lines, "", note.removesuffix("\n")]))


def _inclusion(reader: Reader, index: int) -> tuple[dict[str, Any], list[str]]:
    found = reader.inclusion(index)
    answer = {
        "index": index,
        "size": reader.head.size,
        "leaf": found.leaf.hex(),
        "proof": [item.hex() for item in found.proof],
    }
    hashes = [base64.b64encode(item).decode() for item in found.proof]
    return answer, ["c2sp.org/tlog-proof@v1", f"index {index}", *hashes]


def _consistency(reader: Reader, note: bytes) -> tuple[dict[str, Any], list[str]]:
    try:
        old = parse_checkpoint(note)[0]
    except ValueError as error:
        raise Usage(f"--since: {error}", "offswitch ledger head > FILE makes one") from None
    new = reader.head
    if old.origin != new.origin or not 0 < old.size <= new.size:
        raise Corrupt(
            f"the ledger of {new.size} entries does not go on from {old.size} of {old.origin}",
            "see what is damaged: offswitch ledger verify --head FILE",
        )
    proof = consistency_proof(reader.nodes, old.size, new.size)
    if roots_of_consistency(old.size, new.size, old.root, proof) != (old.root, new.root):
        raise Corrupt(
            f"the first {old.size} entries are not those of that head",
            "see what is damaged: offswitch ledger verify --head FILE",
        )
    answer = {"first": old.size, "size": new.size, "proof": [item.hex() for item in proof]}
    hashes = [base64.b64encode(item).decode() for item in proof]
    return answer, [f"consistency {old.size} {new.size}", *hashes]


@app.command("export")
def export_ledger(
    *,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="An empty one, or an earlier export.")
    ],
    as_json: Json = False,
) -> None:
    """Write the ledger as tiles (c2sp.org/tlog-tiles) for other people's tools."""
    with reading(_home()) as reader:
        files = export(reader, folder)
        size = reader.head.size
    answer = {"folder": os.path.abspath(folder), "entries": size, "files": files}
    text = f"{size} entries in {printable(folder)} ({files} files written; no sealed values)"
    emit(answer, as_json=as_json, text=text)

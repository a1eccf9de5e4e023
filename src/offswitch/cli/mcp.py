"""`offswitch mcp wrap|calls`: tool servers under the switch, and what became of each call.

    offswitch mcp wrap FILE         rewrite a client's configuration: each server is wrapped
    offswitch mcp wrap -- CMD…      run one MCP server over stdin and stdout, as a target
    offswitch mcp calls [SCOPE]     the exact list of tool calls that went through a gateway

A wrapped server runs in a cell, with the wrapper between it and its client: a stop kills both, and
until then each call of a tool is judged. Every failure blocks: the server does not start.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import time
from typing import Annotated, Any

import typer

from offswitch.cli.config import Json
from offswitch.cli.run import run
from offswitch.cli.show import emit
from offswitch.control.place import within_reach
from offswitch.errors import NotFound, OffswitchError, Storage, Usage
from offswitch.gateway.tools.book import State, counts
from offswitch.gateway.tools.clients import Rewritten, unwrapped, wrapped
from offswitch.gateway.tools.shelf import Shelved, all_calls
from offswitch.model.scope import parse_scope
from offswitch.model.target import check_name
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(help="Tool servers under the switch: wrap, calls.", no_args_is_help=True)
_BACKUP = ".before-offswitch"
_LARGEST = 8 << 20
_INNER = "offswitch.gateway.tools"
_SHOWN = 200
_MOST_PARENTS = 16

Words = Annotated[
    list[str] | None, typer.Argument(metavar="FILE | -- CMD…", help="A client's file, or a server.")
]


@app.command("wrap")
def wrap(  # noqa: PLR0913 - a command has its options
    words: Words = None,
    *,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="The target's name (CMD).")
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="TOOL", help="A tool that may be called; else all (CMD)."),
    ] = None,
    user: Annotated[str, typer.Option("--user", help="Whose rights it gets (CMD, root).")] = "",
    calls: Annotated[
        str, typer.Option("--calls", metavar="FILE", help="Where calls are written down (CMD).")
    ] = "",
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="URL", help="For servers with a URL (FILE).")
    ] = "",
    server: Annotated[
        list[str] | None, typer.Option("--server", metavar="NAME", help="Only this one (FILE).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what changes (FILE).")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it back (FILE).")] = False,
    as_json: Json = False,
) -> None:
    """Wrap the servers of a client's configuration, or run one server wrapped."""
    given = words or []
    if "--" in sys.argv:
        if not given or gateway or server or dry_run or undo:
            raise Usage("a server's command stands behind --", "offswitch mcp wrap -- CMD…")
        sys.exit(_serve(given, target, allow or [], user, calls))
    if len(given) != 1 or target or allow or user or calls:
        raise Usage("one file, or a command behind --", "offswitch mcp wrap FILE")
    _rewrite(given[0], gateway, server or [], dry_run=dry_run, undo=undo, as_json=as_json)


# --- one server ---------------------------------------------------------------------


def _serve(command: list[str], target: str, allow: list[str], user: str, calls: str) -> int:
    """Run a server in a cell of its own, or in the one that we are in."""
    name = target or f"mcp/{os.path.basename(command[0])}"
    check_name(name)
    inner = [sys.executable, "-I", "-m", _INNER, "--target", name]
    for tool in allow:
        inner += ["--allow", tool]
    if calls:
        inner += ["--calls", os.path.abspath(calls)]
    inner += ["--", *command]
    os.environ.update(_of_cell())
    if "OFFSWITCH_PAGE" in os.environ or "OFFSWITCH_WORD" in os.environ:
        os.execv(inner[0], inner)  # noqa: S606 - the wrapper itself; no shell has a part in it
    # Several clients may start the same server: each is a target of its own, below its name.
    return run(inner, f"{name}/{os.getpid()}", user or None, raw=True)


def _of_cell() -> dict[str, str]:
    """Give what a cell has in its environment, where a client has kept it from us.

    MCP clients start servers with a bare environment. Whose child we are says the same; a program
    that lies here would do better not to wrap its server at all, and its cell holds both.
    """
    pid = os.getppid()
    for _ in range(_MOST_PARENTS):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                pairs = [one.partition(b"=") for one in file.read(_LARGEST).split(b"\0")]
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return {}
        found = {os.fsdecode(name): os.fsdecode(text) for name, _, text in pairs}
        if "OFFSWITCH_PAGE" in found and "OFFSWITCH_WORD" in found:
            return {name: found[name] for name in ("OFFSWITCH_PAGE", "OFFSWITCH_WORD")}
    return {}


# --- a client's file ----------------------------------------------------------------


def _rewrite(
    path: str, gateway: str, only: list[str], *, dry_run: bool, undo: bool, as_json: bool
) -> None:
    path = os.path.realpath(path)
    before = _text_of(path)
    backup = path + _BACKUP
    if undo:
        kept = _text_of(backup) if os.path.exists(backup) else ""
        done = unwrapped(before, kept, only=only)
    else:
        program = shutil.which("offswitch") or os.path.abspath(sys.argv[0])
        done = wrapped(before, program, gateway=gateway.rstrip("/"), only=only)
    missing = sorted(set(only) - {one.server for one in done.changes})
    if missing:
        raise NotFound(f"{path} names no server {', '.join(missing)[:200]}", "see the file")
    changed = any(one.changed for one in done.changes)
    if changed and not dry_run:
        if not undo and not os.path.exists(backup):
            _write(backup, before, like=path)
        _write(path, done.text, like=path)
    said = {
        "file": path,
        "changed": changed and not dry_run,
        "backup": backup if os.path.exists(backup) else None,
        "servers": {one.server: one.what for one in done.changes},
    }
    emit(said, as_json=as_json, text=_told(path, before, done, dry_run=dry_run, undo=undo))


def _told(path: str, before: str, done: Rewritten, *, dry_run: bool, undo: bool) -> str:
    lines = [f"{printable(one.server, 60)}: {printable(one.what)}" for one in done.changes]
    if dry_run:
        pieces = difflib.unified_diff(
            before.splitlines(), done.text.splitlines(), path, path, lineterm=""
        )
        lines += [printable(piece, 1000) for piece in pieces]
    elif any(one.changed for one in done.changes):
        lines.append("start the client anew" + ("" if undo else "; to take it back: --undo"))
    return "\n".join(lines) or "it names no server"


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no {path}", "name the client's configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Storage(f"{path} cannot be read: {error}", "see its mode") from None
    if len(text) > _LARGEST:
        raise Usage(f"{path} is too large for a client's configuration")
    return text


def _write(path: str, text: str, *, like: str) -> None:
    """Put a whole file in place of another, with the mode and owner of `like`."""
    info = os.stat(like)
    new = f"{path}.{os.getpid()}.new"
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(fd, info.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(fd, info.st_uid, info.st_gid)
            os.fsync(fd)
        os.rename(new, path)
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "see the folder's mode") from None


# --- calls --------------------------------------------------------------------------


@app.command("calls")
def calls(
    scope: Annotated[str, typer.Argument(metavar="SCOPE", help="Whose calls; else all.")] = "/",
    *,
    book: Annotated[str, typer.Option("--book", metavar="FILE", help="Of one wrapper.")] = "",
    as_json: Json = False,
) -> None:
    """List the tool calls: done, failed, refused, held, never sent, or cut and so unknown."""
    wanted = parse_scope(scope)
    if wanted.is_label:
        raise Usage("calls are listed by path", "offswitch mcp calls shop/eu")
    if book:
        from offswitch.gateway.tools.book import read_book  # noqa: PLC0415 - for this alone

        rows, forgotten = read_book(book)
        found: list[Shelved] = [(book, row) for row in rows if wanted.covers_path(row.target)]
        problems: list[str] = []
    else:
        found, forgotten, problems = _found(wanted)
    told = counts([row for _name, row in found])
    said = {
        "calls": [_as_dict(name, row) for name, row in found],
        "counts": told,
        "forgotten": forgotten,
        "problems": problems,
    }
    emit(said, as_json=as_json, text=_listed(found, told, forgotten, problems))
    if problems:
        sys.exit(4)  # whose calls cannot be read is unknown, and no list that others are on says so


def _found(wanted: Any) -> tuple[list[Shelved], int, list[str]]:  # noqa: ANN401 - a scope
    found: list[Shelved] = []
    forgotten, problems = 0, []
    for place in within_reach():
        try:
            rows, gone, wrong = all_calls(place, wanted)
        except OffswitchError as error:
            problems.append(error.message)
            continue
        found += rows
        forgotten += gone
        problems += wrong
    return sorted(found, key=lambda one: one[1].began_us), forgotten, problems


def _as_dict(name: str, row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of a book
    return {
        "book": name,
        "number": row.number,
        "state": row.state.word,
        "target": row.target,
        "tool": row.tool,
        "id": row.ident.partition(":")[2],
        "session": row.session or None,
        "arguments_sha256": row.arguments,
        "began_us": row.began_us,
        "ended_us": row.ended_us or None,
    }


_MEANS = {
    State.HELD: "waits for leave, or to be sent",
    State.SENT: "in flight",
    State.ACCEPTED: "it goes on at the server",
    State.UNKNOWN: "cut in flight: it may have happened",
    State.UNSENT: "never sent",
}


def _listed(
    found: list[Shelved], told: Any, forgotten: int, problems: list[str]  # noqa: ANN401 - counts
) -> str:  # fmt: skip
    lines = []
    for _name, row in found[-_SHOWN:]:
        began = time.strftime("%H:%M:%S", time.localtime(row.began_us / 1e6))
        means = _MEANS.get(row.state, "")
        state = f"{row.state.word}, {means}" if means else row.state.word
        lines.append(f"{began}  {printable(row.target)}  {printable(row.tool, 100)}  {state}")
    if len(found) > _SHOWN:
        lines.insert(0, f"… {len(found) - _SHOWN} earlier ones: --json lists all")
    summary = ", ".join(f"{number} {word}" for word, number in told.items() if number)
    lines.append(summary or "no tool call is written down")
    if forgotten:
        lines.append(f"{forgotten} older calls that had ended were written over")
    return "\n".join([*lines, *(f"not read: {printable(one)}" for one in problems)])

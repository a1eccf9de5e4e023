"""`offswitch install`: set this host up, or with `--remove` take all of it away again.

It asks nothing. `--dry-run` lists every change first; a second run changes nothing; a run
that was cut off is gone on with by running it again. Made for Debian and Ubuntu.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from offswitch import __version__
from offswitch.cli.left_behind import left_behind
from offswitch.cli.show import emit
from offswitch.errors import Usage
from offswitch.host import setup
from offswitch.host.accounts import GROUP, members
from offswitch.host.steps import Outcome, Word, carry_out
from offswitch.printable import printable

__all__ = ["command"]

_NAME_WIDTH = 46


def command(
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away again.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="With --remove: take state and record away, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List every change, and change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Set Offswitch up on this host: program, group, users, service. Asks nothing."""
    if purge and not remove:
        raise Usage("--purge goes with --remove", "offswitch install --remove --purge")
    again = "offswitch install" + (" --remove" if remove else "") + (" --purge" if purge else "")
    if not dry_run:
        setup.must_be_root(again)
    os.umask(0o022)

    def tell(outcome: Outcome) -> None:
        if not as_json:
            sys.stdout.write(_line(outcome) + "\n")
            sys.stdout.flush()

    with setup.alone():
        if remove:
            setup.ready_to_remove(left_behind)
            steps = setup.removing(purge=purge)
        else:
            setup.ready_to_add()
            steps = setup.adding()
        if not as_json:
            sys.stdout.write(_headline(remove=remove, dry_run=dry_run) + "\n")
        outcomes = carry_out(steps, tell, again, dry=dry_run)
    lacks = [] if remove else setup.missing()
    next_ = _next(outcomes, remove=remove, purge=purge, dry_run=dry_run, again=again)
    answer = _answer(outcomes, lacks, next_, remove=remove, dry_run=dry_run)
    emit(answer, as_json=as_json, text=_ending(lacks, next_))


def _headline(*, remove: bool, dry_run: bool) -> str:
    what = "Taking Offswitch away from" if remove else f"Setting up Offswitch {__version__} on"
    return f"{what} this host" + (", as a dry run: nothing is changed." if dry_run else ".")


def _line(outcome: Outcome) -> str:
    step = outcome.step
    return f"  {outcome.word:<8} {printable(step.name):<{_NAME_WIDTH}} {printable(step.why)}"


def _next(
    outcomes: Sequence[Outcome], *, remove: bool, purge: bool, dry_run: bool, again: str
) -> list[str]:
    """Give what to type next, each with what it is for."""
    if dry_run:
        return [f"{again:<44} do it"] if any(o.word is Word.WOULD for o in outcomes) else []
    if remove:
        kept = f"rm -r {setup.HOME}"
        return [] if purge else [f"{kept:<44} only when nobody needs the record any more"]
    lines = [("offswitch doctor", "whether everything can be stopped now")]
    if not members():
        who = os.environ.get("SUDO_USER") or "NAME"
        lines.append((f"usermod --append --groups {GROUP} {printable(who)}", "let them stop, too"))
    lines.append(("offswitch run -- CMD…", "put a program under the switch"))
    return [f"{what:<44} {why}" for what, why in lines]


def _answer(
    outcomes: Sequence[Outcome],
    lacks: Sequence[str],
    next_: Sequence[str],
    *,
    remove: bool,
    dry_run: bool,
) -> dict[str, Any]:
    steps = [
        {"name": each.step.name, "why": each.step.why, "state": each.word.value}
        for each in outcomes
    ]
    state = "dry-run" if dry_run else "removed" if remove else "installed"
    commands = [" ".join(line.split("  ")[0].split()) for line in next_]
    return {"state": state, "steps": steps, "missing": list(lacks), "next": commands}


def _ending(lacks: Sequence[str], next_: Sequence[str]) -> str:
    lines = [f"MISSING: {text}" for text in lacks]
    if next_:
        lines += ["Next:", *(f"  {line}" for line in next_)]
    return "\n".join(lines) if lines else "Done: nothing is left of it here."

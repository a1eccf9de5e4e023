"""`offswitch hook install|show|check|ask`: a coding agent asks before each tool and each prompt.

`install` writes the hook into the agent's own settings and leaves all else there as it is;
`--undo` takes it out again; `--dry-run` changes nothing. `check` runs what is installed as the
agent would, also with what it needs taken away, and says NO where something gets past it.
`ask` is what the agent runs; it is answered before any of this is loaded.

The settings of `--user` and `--project` are the agent's own user's to write, so the hook is
cooperative: the agent could take it out. Those of `--root` are not.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from offswitch.cli.hook_ask import main as answer
from offswitch.cli.show import emit
from offswitch.cli.words import read_scope
from offswitch.errors import NotFound, OffswitchError, Usage
from offswitch.host.hooks import settings as files
from offswitch.host.hooks.agents import AGENTS, Agent, named
from offswitch.host.hooks.line import closed_to_others, command_line
from offswitch.host.hooks.proof import Trial, in_short, prove
from offswitch.host.hooks.trust import untrusted
from offswitch.host.steps import Outcome, Step, carry_out
from offswitch.printable import printable

__all__ = ["app", "installed", "wrong_with"]

app = typer.Typer(
    help="Coding agents ask before each step: install, show, check.", no_args_is_help=False
)

_AgentName = Annotated[
    str, typer.Argument(metavar="AGENT", help="claude-code, codex, gemini or cursor.")
]
_Target = Annotated[
    str,
    typer.Option(
        "--target", help="Also outside of a cell: ask the warden about this declared target."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_COOPERATIVE = "cooperative: whoever the agent runs as can take it out again"
_FIRM = "only root can take it out"


@app.command("install")
def install(
    agent: _AgentName,
    *,
    target: _Target = "",
    project: Annotated[
        bool, typer.Option("--project", help="In this folder's settings, not in your own.")
    ] = False,
    root: Annotated[
        bool, typer.Option("--root", help="In the settings that only root may write.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Write the hook into an agent's own settings. Asks nothing."""
    which = named(agent)
    path = _file(which, project=project, root=root)
    line = command_line(which.name, _name(target))
    options = [*(["--project"] if project else []), *(["--root"] if root else [])]
    options += ["--target", _name(target)] if target else []
    again = " ".join(["offswitch hook install", agent, *options])
    step = _out(path) if undo else _in(which, path, line)

    def tell(outcome: Outcome) -> None:
        if not as_json:
            sys.stdout.write(f"  {outcome.word:<8} {printable(path)}  {step.why}\n")

    if not as_json:
        what = "Taking the hook out of" if undo else "Putting the hook into"
        dry = ", as a dry run: nothing is changed" if dry_run else ""
        sys.stdout.write(f"{what} {which.title}'s settings{dry}.\n")
    outcomes = carry_out([step], tell, again, dry=dry_run)
    next_ = _next(which, again, target, undo=undo, dry=dry_run, root=root)
    state = "dry-run" if dry_run else "removed" if undo else "installed"
    steps = [{"name": each.step.name, "state": each.word.value} for each in outcomes]
    told = {"state": state, "agent": which.name, "file": path, "cooperative": not root}
    shown = "".join(f"  {text}\n" for text in next_)
    text = f"Next:\n{shown}".rstrip() if next_ else "Done."
    emit({**told, "steps": steps, "next": next_}, as_json=as_json, text=text)


def _name(target: str) -> str:
    """Give the canonical name of a target; empty stays empty."""
    name = read_scope(target) if target else ""
    if name == "/" or "=" in name:
        raise Usage(f"{printable(target, 80)} is no target", "name one, such as agents/claude")
    return name


def _in(agent: Agent, path: str, line: str) -> Step:
    def there() -> bool:
        settings = files.read(path)
        return files.with_ours(settings, agent, line) == settings

    def do() -> None:
        files.write(path, files.with_ours(files.read(path), agent, line))

    return Step(path, f"{', '.join(agent.events)} ask first", there, do)


def _out(path: str) -> Step:
    def there() -> bool:
        settings = files.read(path)
        return files.without_ours(settings) == settings

    def do() -> None:
        files.write(path, files.without_ours(files.read(path)))

    return Step(path, "our hooks are taken out", there, do)


def _file(agent: Agent, *, project: bool, root: bool) -> str:
    if project and root:
        raise Usage("--project and --root name two files", f"offswitch hook show {agent.name}")
    if root:
        return agent.root_file
    if project:
        return os.path.join(os.getcwd(), agent.project_file)
    return agent.settings


def _next(agent: Agent, again: str, target: str, *, undo: bool, dry: bool, root: bool) -> list[str]:
    if dry:
        return [again + (" --undo" if undo else "")]
    if undo:
        return []
    closed = closed_to_others()
    warned = f"{closed} is closed to other users: a cell that has one of its own cannot ask, and "
    warned += "every step is refused there: install Offswitch for all (offswitch install)"
    run = f"offswitch run -- {agent.program}" + (
        "" if target else "   (outside of a cell every step of it is refused)"
    )
    hint = [agent.hint] if agent.hint and not root else []
    return [*hint, *([warned] if closed else []), f"offswitch hook check {agent.name}", run]


@app.command("show")
def show(agent: _AgentName, *, target: _Target = "") -> None:
    """Print what is put into an agent's settings, and where they lie."""
    which = named(agent)
    line = command_line(which.name, _name(target))
    sys.stderr.write(
        f"{which.title} reads hooks from {which.settings} ({_COOPERATIVE}), from "
        f"{which.project_file} of a project (likewise)"
        f", and from {which.root_file} ({_FIRM})" + (f"; {which.hint}" if which.hint else "") + "\n"
    )
    sys.stdout.write(json.dumps(files.with_ours({}, which, line), indent=2) + "\n")


def installed(agent: Agent) -> Iterator[tuple[str, files.Settings, bool]]:
    """Give each settings file in which a hook of ours is, and whether only root may write it."""
    here = os.path.join(os.getcwd(), agent.project_file)
    for path in dict.fromkeys([agent.settings, here, agent.root_file]):
        try:
            settings = files.read(path)
        except OffswitchError:
            if files.names_us(path):  # what its agent makes of it now nobody can tell
                yield path, {}, path == agent.root_file
            continue
        if files.without_ours(settings) != settings:
            yield path, settings, path == agent.root_file


@app.command("check")
def check(
    agent: Annotated[str, typer.Argument(metavar="[AGENT]", help="One of them; else all.")] = "",
    *,
    as_json: _Json = False,
) -> None:
    """Run what is installed as the agent would, and say whether anything gets past it."""
    rows: list[dict[str, Any]] = []
    for which in [named(agent)] if agent else AGENTS:
        for path, settings, firm in installed(which):
            trials = prove(which, files.lines(settings, which))
            wrong = wrong_with(which, path, settings) or next(
                (in_short([each]) for each in trials if not each.holds), ""
            )
            rows.append(_row(which, path, trials, wrong, firm=firm))
    if not rows:
        hint = f"offswitch hook install {agent or 'claude-code|codex|gemini|cursor'}"
        raise NotFound(f"no hook of ours is installed{f' for {agent}' if agent else ''}", hint)
    ok = all(row["ok"] for row in rows)
    if not as_json:
        for row in rows:
            mark = "ok" if row["ok"] else "NO"
            sys.stdout.write(f"{mark:<3} {row['agent']:<12} {printable(row['file'])}\n")
            sys.stdout.write(f"      {printable(row['detail'])}; {row['standing']}\n")
    else:
        emit({"ok": ok, "hooks": rows}, as_json=True, text="")
    sys.exit(0 if ok else 1)


def wrong_with(agent: Agent, path: str, settings: files.Settings) -> str:
    """Say what is wrong with settings as they stand; empty: nothing."""
    off = files.off_switch(agent, path, os.getcwd())
    if off:
        return f"its hooks are turned off by {off}"
    missing = [event for event in agent.events if event not in files.lines(settings, agent)]
    if missing:
        return f"no hook as we install it for every {', '.join(missing)}"
    return untrusted(agent, path, settings)


def _row(agent: Agent, path: str, trials: list[Trial], wrong: str, *, firm: bool) -> dict[str, Any]:
    return {
        "agent": agent.name,
        "file": path,
        "ok": not wrong,
        "detail": wrong or in_short(trials),
        "cooperative": not firm,
        "standing": _FIRM if firm else _COOPERATIVE,
        "trials": [
            {
                "event": trial.event,
                "what": trial.what,
                "passed": trial.passed,
                "ok": trial.holds,
                "took_ms": round(trial.took_ms, 1),
            }
            for trial in trials
        ],
    }


@app.command(
    "ask",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def ask(context: typer.Context) -> None:
    """Answer an agent: the event comes on stdin; exit 2 is a no."""
    sys.exit(answer(list(context.args)))

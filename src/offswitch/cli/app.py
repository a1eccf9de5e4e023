"""The command line: one file a noun, put together here, loaded only as far as it is needed.

The emergency verbs stand at the top level and ask no questions; the rest is `noun verb`.
`stop`, `status`, `reset` and `run` are answered by `offswitch.__main__` before any framework
is imported; here they stand so that `--help` shows them, and lead to the same functions.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from offswitch import __version__
from offswitch.cli.show import complain
from offswitch.errors import Internal, OffswitchError, Usage

__all__ = ["build", "main"]

_EMERGENCY, _TARGETS, _LOOK, _RULES = "Emergency", "Run", "Look", "Rules and records"


@dataclass(frozen=True, slots=True)
class _Noun:
    """A word at the top level."""

    panel: str
    """Under which heading `--help` lists it."""
    fast: str = ""
    """Help of a verb that reads its words itself; empty for all others."""


_NOUNS = {
    "stop": _Noun(_EMERGENCY, "Stop SCOPE… or --all, at once; returns when it is confirmed."),
    "status": _Noun(_EMERGENCY, "One line a target, the healthy ones folded."),
    "reset": _Noun(_EMERGENCY, "Clear the stops of SCOPE (starts nothing)."),
    "run": _Noun(_TARGETS, "Run a program under the switch: run -- CMD…"),
    "start": _Noun(_TARGETS),
    "up": _Noun(_TARGETS),
    "gateway": _Noun(_TARGETS),
    "demo": _Noun(_TARGETS),
    "board": _Noun(_LOOK),
    "discover": _Noun(_LOOK),
    "doctor": _Noun(_LOOK),
    "assess": _Noun(_LOOK),
    "install": _Noun(_LOOK),
    "hook": _Noun(_TARGETS),
    "target": _Noun(_LOOK),
    "sensor": _Noun(_LOOK),
    "alarm": _Noun(_LOOK),
    "decision": _Noun(_RULES),
    "ticket": _Noun(_RULES),
    "rule": _Noun(_RULES),
    "detector": _Noun(_RULES),
    "mcp": _Noun(_RULES),
    "drill": _Noun(_RULES),
    "people": _Noun(_RULES),
    "config": _Noun(_RULES),
    "incident": _Noun(_RULES),
    "ledger": _Noun(_RULES),
}
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def build(words: list[str]) -> typer.Typer:
    """Put the command line together; of the nouns only the one in `words`, or all for help."""
    app = typer.Typer(
        name="offswitch",
        help="An emergency stop for AI systems.",
        no_args_is_help=False,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None if not sys.stdout.isatty() else "rich",
    )
    app.callback(invoke_without_command=True)(_top)
    wanted = next((word for word in words if not word.startswith("-")), None)
    for name, noun in _NOUNS.items():
        if words and (wanted not in _NOUNS or wanted == name):
            _add(app, name, noun)
    return app


def _add(app: typer.Typer, name: str, noun: _Noun) -> None:
    if noun.fast:
        app.command(
            name,
            help=noun.fast,
            rich_help_panel=noun.panel,
            add_help_option=False,
            context_settings=_PASSED_ON,
        )(_fast(name))
        return
    module = importlib.import_module(f"offswitch.cli.{name}")
    sub = getattr(module, "app", None)
    if sub is not None:
        app.add_typer(sub, name=name, rich_help_panel=noun.panel)
    else:
        app.command(name, rich_help_panel=noun.panel)(module.command)


def _fast(name: str) -> Any:  # noqa: ANN401 - a callback of Typer's
    def call(context: typer.Context) -> None:
        module = importlib.import_module(f"offswitch.cli.{name}")
        sys.exit(module.main(list(context.args)))

    return call


def _top(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Show an overview where no command is named."""
    if version:
        sys.stdout.write(f"offswitch {__version__}\n")
        sys.exit(0)
    if context.invoked_subcommand is None:
        from offswitch.cli import overview  # noqa: PLC0415 - the bare command alone needs it

        sys.exit(overview.show())


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code. Every error ends as INTERFACES promises."""
    words = sys.argv[1:] if argv is None else argv
    if words == ["--version"]:
        sys.stdout.write(f"offswitch {__version__}\n")
        return 0
    ours = words[: words.index("--")] if "--" in words else words
    as_json = "--json" in ours
    try:
        code = build(words)(args=words, prog_name="offswitch", standalone_mode=False)
    except OffswitchError as error:
        return complain(error, as_json=as_json)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        _forget_stdout()
        return 1
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
            sys.stderr.write(f"{error}\n")  # the help of a noun, in its lines
            return 2
        wrong = _usage(error, words)
        if wrong is None:
            if os.environ.get("OFFSWITCH_TRACEBACK"):
                raise
            what = f"{type(error).__name__}: {error}"
            wrong = Internal(f"a defect of ours: {what}", "OFFSWITCH_TRACEBACK=1 shows where")
        return complain(wrong, as_json=as_json)
    return code if isinstance(code, int) else 0


def _usage(error: Exception, words: list[str]) -> OffswitchError | None:
    """Turn a wrong call, as the parser tells it, into ours; None for any other error."""
    tell = getattr(error, "format_message", None)
    if tell is None or not hasattr(error, "exit_code"):
        return None
    noun = next((word for word in words if word in _NOUNS), "")
    return Usage(str(tell()), f"offswitch {noun} --help".replace("  ", " "))


def _forget_stdout() -> None:
    """Keep Python from flushing into a pipe that nobody reads, once more, at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)

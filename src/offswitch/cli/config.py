"""`offswitch config check|show|schema|apply|secret`: what is configured, and whether it holds.

The file is `$OFFSWITCH_CONFIG`, else `$OFFSWITCH_HOME/offswitch.toml`; one elsewhere only
when it is named (SR-1). `check` tells everything that is wrong at once, with its lines.
`secret` sets what a reset must bring from a user under which a target runs (SR-2); it is
typed on the terminal, never an argument, never piped.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from typing import Annotated, Any

import typer

from offswitch.cli.apply import apply
from offswitch.cli.show import emit
from offswitch.config.lints import target_lints
from offswitch.config.load import Loaded, installed_kinds, load, schema
from offswitch.control.place import chosen
from offswitch.decide.secret import is_secret_set, set_secret
from offswitch.errors import Refused, Usage
from offswitch.printable import printable

__all__ = ["File", "Json", "app", "configuration"]

app = typer.Typer(
    help="The configuration: check, show, schema, apply, secret.", no_args_is_help=True
)
app.command("apply")(apply)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
File = Annotated[str, typer.Argument(metavar="[FILE]", help="Another file than the one in force.")]


def configuration(file: str = "") -> Loaded:
    """Read the configuration: `file` if one is named, else the one in force."""
    named = bool(file) or bool(os.environ.get("OFFSWITCH_CONFIG"))
    path = os.path.abspath(file) if file else chosen().config
    return load(path, installed_kinds(), named=named)


@app.command("check")
def check(file: File = "", *, as_json: Json = False) -> None:
    """Check the file: everything wrong is told with its line; exit 0 or 2."""
    loaded = configuration(file)
    answer = {
        "path": loaded.path,
        "exists": bool(loaded.sha256),
        "sha256": loaded.sha256,
        "targets": len(loaded.config.target),
        "sensors": len(loaded.config.sensor),
        "actuators": len(loaded.config.actuator),
        "rules": len(loaded.config.rule),
        "gateways": len(loaded.config.gateway),
        "degraded": list(loaded.degraded),
        "lints": target_lints(loaded.config),
    }
    emit(answer, as_json=as_json, text=_told(loaded))


def _told(loaded: Loaded) -> str:
    path = printable(loaded.path)
    if not loaded.sha256:
        return f"{path}: there is no such file; nothing is declared and nothing is watched."
    config = loaded.config
    kinds = ("target", "sensor", "actuator", "rule", "gateway")
    counts = ", ".join(_count(kind, len(getattr(config, kind))) for kind in kinds)
    lines = [f"{path}: good: {counts}."]
    lines += [f"DEGRADED: {printable(reason)}" for reason in loaded.degraded]
    lines += [f"LINT: {printable(lint)}" for lint in target_lints(config)]
    return "\n".join(lines)


def _count(noun: str, number: int) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@app.command("show")
def show(file: File = "", *, as_json: Json = False) -> None:
    """Show what is configured, everything that is not in the file included."""
    loaded = configuration(file)
    config: dict[str, Any] = loaded.config.model_dump(mode="json")
    if as_json:
        emit({"path": loaded.path, "config": config}, as_json=True, text="")
        return
    lines = [f"# {printable(loaded.path)}"]
    for table in ("target", "sensor", "rule", "gateway"):
        for item in config[table]:
            lines += ["", f"[[{table}]]"]
            lines += [f"{key} = {_toml(value)}" for key, value in item.items() if _given(value)]
    sys.stdout.write("\n".join(lines) + "\n")


def _given(value: object) -> bool:
    return value is not None and value != {}


def _toml(value: object) -> str:
    """Write a value as TOML would; a string's escapes are JSON's, which TOML shares."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items() if _given(v))
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:  # noqa: PLR2004
        return f"{value:.1f}"
    return json.dumps(value)


def _key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else json.dumps(key)


@app.command("schema")
def show_schema(*, as_json: Json = False) -> None:
    """Print the JSON schema of the file, the keys of installed plugins included."""
    told = schema(installed_kinds())
    emit(told, as_json=as_json, text=json.dumps(told, indent=2, ensure_ascii=False))


@app.command("secret")
def secret() -> None:
    """Set the secret that a reset must bring from a user under which a target runs."""
    home = chosen().home
    if not os.isatty(0):
        raise Refused("the secret is typed on a terminal, never piped", "run this in a terminal")
    if not os.access(home, os.W_OK):
        raise Refused(f"{home} is not yours to write", "run this as root, or as the owner")
    known = "It replaces the one that is set. " if is_secret_set(home) else ""
    sys.stderr.write(f"{known}At least 8 characters; it is kept as an scrypt hash.\n")
    first = getpass.getpass("New secret: ")
    if getpass.getpass("Once more:  ") != first:
        raise Usage("the two are not the same", "try again: offswitch config secret")
    set_secret(home, first)
    sys.stderr.write("Set. A reset from a user under which a target runs now needs --secret.\n")

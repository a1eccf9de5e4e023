"""`offswitch config apply [FILE]`: another configuration from now on, without a restart (SR-3).

    read and check the file ─► say what changes, and what of it is weaker ─► watch takes it over
    ─► it becomes the file in force ─► the warden is told the targets

Only root, or the owner of the installation, may. With `--dry-run` it stops after the second step.
A file that is broken changes nothing.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from offswitch.cli.declare import declare
from offswitch.cli.desk import ask_watch
from offswitch.cli.show import emit
from offswitch.config.load import Loaded, installed_kinds, load
from offswitch.control.client import call
from offswitch.control.place import chosen
from offswitch.errors import OffswitchError, Storage
from offswitch.printable import printable
from offswitch.watch.prepared import prepare

__all__ = ["apply"]

_PATIENCE_S = 10.0


def apply(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Another file than the one in force.")
    ] = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Put a configuration in force: checked, compared, recorded."""
    place = chosen()
    path = os.path.abspath(file) if file else place.config
    loaded = load(path, installed_kinds(), named=True)
    text = _text(path)
    if not dry_run:
        ask_watch({"op": "apply", "dry_run": True, "text": text, "path": place.config})
    message: dict[str, Any] = {"op": "apply", "text": text, "path": place.config}
    message |= {"dry_run": True} if dry_run else {"prepared": _prepared(loaded)}
    said = ask_watch(message)
    if not dry_run:
        if os.path.realpath(path) != os.path.realpath(place.config):
            _keep(place.config, text)
        said["targets"] = _declare(loaded)
    emit(said, as_json=as_json, text=_told(said, path))
    if said.get("targets"):
        sys.exit(1)


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _prepared(loaded: Loaded) -> dict[str, Any]:
    """Read what only root can: secrets of the sensors. A descriptor takes a restart of watch."""
    told = {}
    for name, one in prepare(loaded).items():
        problem = one.problem
        if one.descriptor is not None:
            os.close(one.descriptor)
            problem = "it needs what only a start of watch can get: start `offswitch up` again"
        told[name] = {"secrets": dict(one.secrets), "problem": problem}
    return told


def _keep(path: str, text: str) -> None:
    """Make it the file in force, so that the next start reads the same."""
    fresh = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, path)
    except OSError as error:
        raise Storage(
            f"it is in force, but {path} could not be written: {error.strerror}",
            "put it there by hand, or the next start reads the old one",
        ) from None


def _declare(loaded: Loaded) -> str:
    """Tell the warden the targets; gives why it would not hear, or nothing."""
    try:
        call(chosen(), declare(loaded), _PATIENCE_S)
    except OffswitchError as error:
        return f"the warden was not told the targets: {error.message}"
    return ""


def _told(said: dict[str, Any], path: str) -> str:
    lines = [f"{printable(path)}: {'in force' if said['applied'] else 'nothing is changed yet'}"]
    changed = sorted(said["changes"], key=lambda one: not one["weaker"])
    lines += [
        f"  {'WEAKER' if one['weaker'] else '      '}  {printable(one['what'])}" for one in changed
    ]
    if said["left_out"]:
        lines.append(f"  and {said['left_out']} more")
    if not changed:
        lines.append("  no sensor, no rule and no stop plan is changed")
    lines += [f"  ALARM DROPPED with its rule: {printable(one)}" for one in said.get("dropped", ())]
    if said.get("targets"):
        lines.append(printable(said["targets"]))
    return "\n".join(lines)

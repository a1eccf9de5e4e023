"""The pre-flight: the code that is installed now says whether it could take over (SR-23).

    python -I -m offswitch.warden --home H --run R --check FD

It is a process of the new code, started by the old one while that goes on serving. It loads
all that a warden and its helpers load, reads what this installation has on its disks and the
state that would be handed over, and changes nothing. Its last line is a JSON object: `ok`
and its version, or an error as people are told it. Where it says nothing, the answer is no.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

from offswitch import __version__
from offswitch.control.place import Place
from offswitch.decide.authority import read_authority
from offswitch.errors import Corrupt, Internal, OffswitchError, Refused, from_kind
from offswitch.model.target import Target
from offswitch.warden.handover.passed import Passed
from offswitch.warden.handover.row import take_up
from offswitch.warden.installation import installation_id
from offswitch.warden.latch.store import glance
from offswitch.warden.press import Press
from offswitch.warden.recovery import declared_target
from offswitch.warden.table import Table, Tracked
from offswitch.warden.trust import loaded, state, writable_by_others

__all__ = ["check", "verdict"]

_HELPERS = (
    "offswitch.warden.daemon",
    "offswitch.warden.keeper.keeper",
    "offswitch.warden.observer.observer",
    "offswitch.warden.sweeper",
)
_RECORDER = "import offswitch.ledger.recorder"
_PATIENCE_S = 30.0
_NOT_NOW = "the warden that serves goes on as it is"


def check(place: Place, fd: int, *, record: bool) -> int:
    """Print the answer; the exit code says the same."""
    try:
        _could_take_over(place, Passed.read(fd), record=record)
    except OffswitchError as error:
        sys.stderr.write(json.dumps({"error": error.as_dict()}) + "\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it is, this code cannot take over
        trouble = Internal(f"the new code fails: {type(error).__name__}: {error}", _NOT_NOW)
        sys.stderr.write(json.dumps({"error": trouble.as_dict()}) + "\n")
        return trouble.exit_code
    sys.stderr.write(json.dumps({"ok": True, "version": __version__}) + "\n")
    return 0


def _could_take_over(place: Place, passed: Passed, *, record: bool) -> None:
    for module in _HELPERS:
        importlib.import_module(module)
    if record:
        _loads(_RECORDER)
    findings = writable_by_others([*loaded(), *state(place.home), place.config], os.geteuid())
    if findings and os.geteuid() == 0:
        raise Refused(f"others could write the new code or its state: {findings[0]}", _NOT_NOW)
    installation_id(place.home)
    read_authority(place.home, os.geteuid())
    damage = glance(place).damage
    if damage is not None:
        raise Corrupt(f"the new code cannot read the latch: {damage}", _NOT_NOW)
    table = Table(place, passed.gid)
    table.kept()
    table.load_watched()
    for item in table.load_declared():
        declared_target(item)
    for name, row in passed.rows.items():
        take_up(Tracked(Target(name)), row)
    for press in passed.stopping["presses"]:
        Press.taken_up(press, [], None)


def _loads(statement: str) -> None:
    """See that a helper which may need other packages can be loaded, in a process of its own."""
    command = [sys.executable, "-I", "-c", statement]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, cwd="/"
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Internal(f"the new recorder does not load: {said[-1] if said else '?'}", _NOT_NOW)


def verdict(said: bytes) -> str:
    """Give the version that could take over, by the last line; raises why none could."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1])
        if answer.get("ok") is True:
            return str(answer["version"])
        error = answer["error"]
        raised = from_kind(str(error["kind"]), str(error["message"]), str(error["hint"]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        text = f": {lines[-1][:300]}" if lines else ""
        raised = Internal(f"the new code does not come up{text}", _NOT_NOW)
    raise raised

"""The three emergency verbs load hardly anything: no framework, no `json`, not even the model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from installation import Installation

ALLOWED = frozenset({"_json", "_socket", "select", "time", "_typing", "errno", "__future__"})
ALL = (
    "__main__", "errors", "printable", "cli", "cli.quick_json", "cli.roads", "cli.voice",
    "cli.words", "control", "control.place",
)  # fmt: skip
OURS = {
    "stop": ("cli.stop", "cli.stop_report", "cli.stop_result", "cli.stop_told", "cli.pressing",
             "cli.spooling"),
    "status": ("cli.status", "cli.status_report", "cli.stop_report", "cli.lacking", "cli.standing",
               "cli.alarm_words"),
    "reset": ("cli.reset", "cli.lacking", "cli.standing"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "words", "code"),
    [
        ("stop", ["light/a"], "0"),
        ("status", [], "3"),
        ("reset", ["light/a", "--reason", "a test"], "0"),
    ],
)
def test_ACT_12_an_emergency_verb_imports_no_framework_and_no_model(
    installation: Installation, verb: str, words: list[str], code: str
) -> None:
    installation.ask({"op": "declare", "targets": [{"name": "light/a"}]})
    if verb != "stop":
        installation.stop("light/a")
    call = (
        f"import os, sys; before = set(sys.modules); sys.argv = {['offswitch', verb, *words]}\n"
        "os._exit = lambda code: print(code, *(set(sys.modules) - before)) or sys.exit()\n"
        "from offswitch.__main__ import main; main()"
    )
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-c", call],
            env=installation.env,
            capture_output=True,
            text=True,
            check=True,
        )
        ended, *loaded = done.stdout.splitlines()[-1].split()
        if "offswitch.cli.own_hands" not in loaded:  # on a busy machine the warden is late
            break
    assert ended == code
    theirs = {name for name in loaded if name.partition(".")[0] != "offswitch"}
    assert theirs <= ALLOWED, theirs
    ours = {name.partition(".")[2] for name in loaded if name.startswith("offswitch.")}
    assert ours <= {*ALL, *OURS[verb]}

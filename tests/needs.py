"""What a test needs of the machine: skipped by name where it is missing, never in CI.

A skip that nobody reads is a test that cannot fail, so under CI=true what is missing fails.
"""

from __future__ import annotations

import os
import shutil

import pytest


def needs(there: object, what: str) -> None:
    """End the test unless `there`: as failed under CI=true, else as skipped; `what` says why."""
    if there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"this machine lacks {what}, and under CI=true nothing is skipped")
    pytest.skip(f"needs {what}")


def needs_root() -> None:
    """End the test unless it runs as root."""
    needs(os.geteuid() == 0, "root")


def needs_program(name: str) -> str:
    """Give the path of a program, or end the test."""
    path = shutil.which(name)
    needs(path, f"the program {name} (scripts/test installs it)")
    return str(path)

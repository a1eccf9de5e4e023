"""The environments of peers: each in one of its own, made by scripts/peers from its lock."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from stopbench.systems.contract import Unfit

__all__ = ["peer_python"]

_ROOT = Path(__file__).resolve().parents[2]


@cache
def peer_python(name: str) -> Path:
    """Give the Python of an environment; `Unfit` where it cannot be made."""
    made = subprocess.run(
        [str(_ROOT / "scripts" / "peers"), name], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise Unfit(f"scripts/peers {name}: {made.stderr.strip().splitlines()[-1:]}")
    return Path(made.stdout.strip().splitlines()[-1])

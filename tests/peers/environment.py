"""Environments of real clients and servers, and how a test runs a script in one.

    from peers.environment import in_peer

    @pytest.mark.peers
    def test_…():
        told = in_peer("openai", SCRIPT, base_url)        # what SCRIPT printed, as JSON

The script gets its arguments in `sys.argv` and prints one JSON value; the marker `peers` keeps such
tests out of the everyday run: the first one downloads (scripts/peers).
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from needs import needs

__all__ = ["in_peer", "peer_environ", "peer_python"]

ROOT = Path(__file__).resolve().parents[2]


@cache
def peer_python(name: str) -> str:
    """Give the Python of an environment, made by scripts/peers; end the test where it cannot."""
    made = subprocess.run(
        [str(ROOT / "scripts" / "peers"), name], capture_output=True, text=True, check=False
    )
    needs(made.returncode == 0, f"the peer {name}, which scripts/peers cannot make: {made.stderr}")
    return made.stdout.strip().splitlines()[-1]


def peer_environ(**more: str) -> dict[str, str]:
    """Give an environment in which no proxy and no credential of this machine takes part."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "NO_PROXY": "*", "PYTHONDONTWRITEBYTECODE": "1", **more}


def in_peer(name: str, script: str, *args: str, timeout: float = 60, **environ: str) -> Any:  # noqa: ANN401 - whatever the script prints
    """Run a script in an environment and give what it printed, as JSON."""
    ran = subprocess.run(
        [peer_python(name), "-I", "-c", script, *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=peer_environ(**environ),
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)

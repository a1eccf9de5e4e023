"""The adapters in the real frameworks, each in an environment of its own (scripts/peers).

Each script of `real/` fails where a call, a tool, a chunk or a step got past a stop; the
frameworks are as they come, against scripted servers and models on this machine.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REAL = Path(__file__).parent / "real"


@pytest.mark.peers
@pytest.mark.parametrize(
    ("peer", "script"),
    [
        ("openai", "openai_client"),
        ("anthropic", "anthropic_client"),
        ("agents", "openai_agents"),
        ("langchain", "langchain_agent"),
        ("training", "trainers"),
    ],
)
def test_ACT_1_a_stop_comes_through_the_real_framework(peer: str, script: str) -> None:
    python = ROOT / ".peers" / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"scripts/peers {peer} makes the environment that this needs")
    env = {**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("OFFSWITCH_PAGE", "OFFSWITCH_WORD", "OFFSWITCH_REPORT"):
        env.pop(name, None)
    done = subprocess.run(
        [str(python), str(REAL / f"{script}.py")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    print(done.stdout.splitlines()[-4:])

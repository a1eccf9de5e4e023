"""The adapters in the real frameworks, each in an environment of its own (scripts/peers).

Each script of `real/` fails where a call, a tool, a chunk or a step got past a stop; the
frameworks are as they come, against scripted servers and models on this machine.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from needs import needs
from peers.environment import ROOT, peer_environ, peer_python

REAL = Path(__file__).parent / "real"
TRAINING = ROOT / ".peers" / "training" / "bin" / "python"
MADE_BY_HAND = (
    "python3 -m venv .peers/training; .peers/training/bin/pip install torch==2.13.0; "
    ".peers/training/bin/pip install transformers accelerate lightning"
)
"""No lock can name PyTorch's build for a machine without a GPU by its hash and no host."""


def run(python: str, script: str) -> str:
    env = peer_environ(PYTHONPATH=f"{ROOT}/src:{ROOT}/tests", HF_HUB_OFFLINE="1")
    done = subprocess.run(
        [python, str(REAL / f"{script}.py")],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.peers
@pytest.mark.parametrize(
    ("peer", "script"),
    [
        ("openai", "openai_client"),
        ("anthropic", "anthropic_client"),
        ("openai-agents", "openai_agents"),
        ("langchain", "langchain_agent"),
    ],
)
def test_ACT_1_a_stop_comes_through_the_real_framework(peer: str, script: str) -> None:
    print(run(peer_python(peer), script))


@pytest.mark.peers
def test_ACT_1_a_stop_comes_through_the_real_trainers() -> None:
    needs(TRAINING.exists(), f"the real trainers, made by hand: {MADE_BY_HAND}")
    print(run(str(TRAINING), "trainers"))

"""Keys and signatures made by the real ssh-keygen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def ssh_key(tmp_path: Path) -> Callable[[str], Path]:
    """Make an Ed25519 key pair of a name and give the private one's path."""

    def make(name: str) -> Path:
        path = tmp_path / f"key-{name}"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(command, check=True)
        return path

    return make


@pytest.fixture
def sign(ssh_key: Callable[[str], Path]) -> Callable[..., str]:
    """Sign a text as a person does, by ssh-keygen."""

    def make(key: Path, text: str, namespace: str = "offswitch-reset") -> str:
        command = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(key)]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
        return done.stdout.decode()

    return make

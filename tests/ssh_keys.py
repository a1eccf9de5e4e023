"""Keys and signatures made by the real ssh-keygen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ssh_key(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make an Ed25519 key pair of a name, once, and give the private one's path."""
    folder = tmp_path_factory.mktemp("keys")

    def make(name: str) -> Path:
        path = folder / f"key-{name}"
        if path.exists():
            return path
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(command, check=True)
        return path

    return make


def signed(key: Path, text: str, namespace: str) -> str:
    """Sign a text as a person does, by ssh-keygen."""
    command = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(key)]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    return done.stdout.decode()


@pytest.fixture
def sign(ssh_key: Callable[[str], Path]) -> Callable[..., str]:
    """Sign a text as a person does, by ssh-keygen."""

    def make(key: Path, text: str, namespace: str = "offswitch-reset") -> str:
        return signed(key, text, namespace)

    return make

"""On a platform that is not Linux: one clear sentence, before anything is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ELSEWHERE = """
import sys
sys.platform, sys.argv = sys.argv[1], ["offswitch", *sys.argv[2:]]
for name in ("fcntl", "resource", "termios", "grp", "pwd", "select", "socket", "ctypes"):
    sys.modules[name] = None     # as where they are not: importing one of them raises
from offswitch.__main__ import main
code = main()
ours = sorted(name for name in sys.modules if name.startswith("offswitch"))
assert ours == ["offswitch", "offswitch.__main__"], ours
sys.exit(code)
"""


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
@pytest.mark.parametrize(
    "words", [["stop", "--all"], ["status"], ["run", "--", "true"], ["doctor"], ["up"], []]
)
def test_SR_25_elsewhere_it_refuses_and_names_a_way(platform: str, words: list[str]) -> None:
    argv = [sys.executable, "-I", "-c", ELSEWHERE, platform]
    done = subprocess.run([*argv, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Linux" in done.stderr
    assert "dev container" in done.stderr
    assert ("WSL2" in done.stderr) is (platform == "win32")


def test_SR_25_elsewhere_a_script_gets_one_object() -> None:
    argv = [sys.executable, "-I", "-c", ELSEWHERE, "win32", "status", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "unsupported"
    assert "WSL2" in error["hint"]
    assert "dev container" in error["hint"]

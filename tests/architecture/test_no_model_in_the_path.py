"""From press to cut there is no language model, and nothing that could ask one (SEC-8).

Read from the imports: neither the stop path nor what it may load can speak HTTP or TLS, or
run another program that could. Seen in a trace: while a stop is carried out, the command
speaks to Unix sockets alone, and the warden to those and to the kernel.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import grimp
import pytest

from installation import PYTHON, Installation, until

ROOT = Path(__file__).resolve().parents[2]
STOP_PATH = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
VOICES = {"http", "urllib", "ssl", "ftplib", "smtplib", "xmlrpc", "asyncio", "socketserver"}
MODELS = {
    "openai",
    "anthropic",
    "transformers",
    "torch",
    "litellm",
    "langchain",
    "llama-cpp-python",
}
PRESS = ["offswitch.cli.stop", "offswitch.cli.pressing", "offswitch.__main__"]


def reached(*begin: str) -> set[str]:
    """Give every module that these reach by any chain of imports, the library's included."""
    graph = grimp.build_graph("offswitch", include_external_packages=True, cache_dir=None)
    todo = [name for name in graph.modules for b in begin if name == b or name.startswith(f"{b}.")]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph.find_modules_directly_imported_by(name)
    return seen


def test_SEC_8_nothing_between_press_and_cut_can_ask_a_model() -> None:
    sources = STOP_PATH["contracts"][2]["source_modules"]
    modules = reached(*sources)
    assert "offswitch.warden.stopping" in modules
    assert "socket" in modules, "the graph does not see the library"
    assert modules & VOICES == set()


def test_SEC_8_the_press_itself_can_not_either() -> None:
    lazily = {"offswitch.cli.app"}
    graph = grimp.build_graph("offswitch", include_external_packages=True, cache_dir=None)
    for name in lazily & graph.modules:
        graph.remove_module(name)
    for name in PRESS:
        assert name in graph.modules
        assert not graph.find_upstream_modules(name) & VOICES


def test_SEC_8_no_package_that_speaks_to_a_model_is_installed() -> None:
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert len(locked) > 20
    assert MODELS & set(locked) == set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [name.name for name in node.names]
                assert not {name.partition(".")[0] for name in names} & MODELS, path


@pytest.mark.usefixtures("as_root")
def test_SEC_8_in_a_trace_a_stop_speaks_to_unix_sockets_and_the_kernel_alone(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    strace = program("strace")
    one = Installation(tmp_path)
    try:
        one.start()
        one.run(PYTHON, "-c", "import time; time.sleep(100)", target="shop/agent")
        seen = tmp_path / "warden"
        pids = [f"--attach={pid}" for pid in one.pids().values() if pid]
        command = [strace, "-f", "-e", "trace=socket,connect,sendto,execve", "-o", str(seen), *pids]
        follow = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(lambda: _traced(one.pids()["warden"]), "strace follows the warden")
        press = [strace, "-f", "-e", "trace=socket,connect,execve", "-o", str(tmp_path / "press")]
        stop = [f"{os.path.dirname(sys.executable)}/offswitch", "stop", "shop/agent"]
        done = subprocess.run([*press, *stop], env=one.env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        follow.terminate()
        follow.wait()
        pressed, carried_out = (tmp_path / "press").read_text(), seen.read_text()
    finally:
        one.close()
    families = set(re.findall(r"socket\((AF_\w+)", pressed))
    assert families == {"AF_UNIX"}
    assert pressed.count("execve(") == 1, "the press ran another program"
    assert set(re.findall(r"socket\((AF_\w+)", carried_out)) <= {"AF_UNIX", "AF_NETLINK"}
    assert set(re.findall(r"sa_family=(AF_\w+)", carried_out)) <= {"AF_UNIX", "AF_NETLINK"}
    assert "execve(" not in carried_out


def _traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()

"""What all tests share: a seed that is printed, run counts, and a place of their own.

Every random choice comes from one seed, named in the first lines of a run:
`OFFSWITCH_SEED=N scripts/test …` repeats it. No test ever meets a real installation: the
environment points into a temporary folder, and whatever of ours still runs there at the end
is named and ended.
"""

from __future__ import annotations

import os
import platform
import random
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from host import Host, booted
from needs import needs, needs_program, needs_root
from postgres_server import PostgresServer, programs
from scale import LONG

SEED = pytest.StashKey[int]()
LEFT_BEHIND = pytest.StashKey[list[str]]()
EVERYDAY = "not long and not data and not peers"
"""What pyproject.toml leaves out, unless somebody asks for it."""
LONG_TIMEOUT = 3600.0
"""Seconds for one test under OFFSWITCH_LONG=1."""

hypothesis.settings.register_profile("everyday", max_examples=60, deadline=None)
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the seed, the profile and what is left out, before the plugins read them."""
    told = getattr(config, "workerinput", {}).get("seed") or os.environ.get("OFFSWITCH_SEED")
    seed = int(told or random.SystemRandom().randrange(2**32))
    config.stash[SEED] = seed
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(seed)
    hypothesis.settings.load_profile("long" if LONG else "everyday")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background by a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if LONG and config.option.timeout is None:
        config.option.timeout = LONG_TIMEOUT
    if config.option.markexpr == EVERYDAY:
        left_out = [] if LONG else ["not long"]
        left_out += [] if os.environ.get("OFFSWITCH_DATA") else ["not data"]
        left_out.append("not peers")
        config.option.markexpr = " and ".join(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist's, where it is used
    """Give one of several processes the seed that was printed."""
    node.workerinput["seed"] = node.config.stash[SEED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist's, where it is used
    """Hear from it what was left behind."""
    told = getattr(node, "workeroutput", {}).get("left_behind", [])
    node.config.stash[LEFT_BEHIND] = [*node.config.stash.get(LEFT_BEHIND, []), *told]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what would repeat this run."""
    scale = "long: the run counts of the requirements" if LONG else "everyday: a twentieth of them"
    return [
        f"offswitch: OFFSWITCH_SEED={config.stash[SEED]}, {scale}",
        f"machine: Linux {platform.release()}, uid {os.geteuid()}, {os.cpu_count()} cores",
    ]


@pytest.fixture(scope="session", autouse=True)
def _nobodys_installation(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Point whatever asks the environment away from any real installation."""
    base = tmp_path_factory.getbasetemp()
    away = {
        "OFFSWITCH_HOME": str(base / "nobody" / "home"),
        "OFFSWITCH_RUN": str(base / "nobody" / "run"),
    }
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("OFFSWITCH_")]:
        if name not in {"OFFSWITCH_LONG", "OFFSWITCH_SEED", "OFFSWITCH_DATA"}:
            patch.delenv(name)
    for name, value in away.items():
        patch.setenv(name, value)
    yield
    patch.undo()
    left = request.config.stash[LEFT_BEHIND] = _end_what_is_left(base)
    getattr(request.config, "workeroutput", {})["left_behind"] = left


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Give a generator of the run's seed and the test's name."""
    name = zlib.crc32(request.node.nodeid.encode())
    return random.Random(request.config.stash[SEED] ^ name)


@pytest.fixture
def program() -> Callable[[str], str]:
    """Give the path of a program, or skip (under CI=true: fail) with its name."""
    return needs_program


@pytest.fixture
def as_root() -> None:
    """Let the test run as root only."""
    needs_root()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a real PostgreSQL, one for all tests of a process."""
    needs(programs(), "the Debian package postgresql (scripts/test installs it)")
    with PostgresServer.started() as server:
        yield server


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """Give a booted Debian host that tests share: leave nothing of an installation there."""
    with booted() as there:
        yield there


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what tests left running; it was ended."""
    for line in config.stash.get(LEFT_BEHIND, []):
        terminalreporter.write_line(f"left behind by a test, now ended: {line}", yellow=True)


def _end_what_is_left(base: Path) -> list[str]:
    """Kill our own processes whose installation lies below `base`; give their command lines.

    A private warden goes by itself ten seconds after its last cell, but not while anything
    is latched, and a test that failed half-way has nobody else to clean up.
    """
    left = []
    for pid, words in _command_lines():
        ours = any(word.startswith("offswitch.") for word in words)
        if ours and any(word.startswith(f"{base}/") for word in words):
            left.append(f"{pid} {' '.join(words)}")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    if left:
        time.sleep(0.05)
    return left


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield int(entry), words

"""Whether an installed hook holds: it is run as the agent would run it, in a cell of our making.

The page is a file of our own, with one word: the hook is the real one, read from the agent's
settings, through a shell, with the event on stdin. It has to pass where the word says run, or it
would be proven by being broken; and to block, by exit code 2 and with words on stderr, where it
is latched, unvouched for, or in no cell. Then what could go missing is taken away, piece by piece:
the page, the event, the interpreter, our package. Each time the answer must be 2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from offswitch.clock import boot_id
from offswitch.control.page import FIRST_WORD, LEASE, MAGIC, PAGE_SIZE, RUN
from offswitch.host.hooks.agents import Agent
from offswitch.host.hooks.line import command_line

__all__ = ["Trial", "in_short", "prove"]

_PATIENCE_S = 15.0
_WORD = "3"
_BLOCKED = 2
_KILL = RUN + 4
_MINUTE_NS = 60_000_000_000
_BREAKS = ("-c 'import os; os.kill(os.getpid(), 9)'", "-c 'import time; time.sleep(60)'")


@dataclass(frozen=True, slots=True)
class Trial:
    """One try of a hook."""

    event: str
    what: str
    """In which circumstances."""
    wanted: bool
    """Whether it should have passed."""
    passed: bool
    """Whether the agent would have gone on."""
    took_ms: float
    said: str
    """What the model would have been told."""

    @property
    def holds(self) -> bool:
        """Whether it did what it should."""
        return self.wanted == self.passed and (self.passed or bool(self.said.strip()))


class _Page:
    """A page of the proof's own, in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/page"
        with open(self.path, "xb") as file:
            file.truncate(PAGE_SIZE)
            file.write(MAGIC + PAGE_SIZE.to_bytes(8, sys.byteorder) + bytes.fromhex(boot_id()))
        self.set(RUN)
        self.renew(_MINUTE_NS // 2)

    def set(self, word: int) -> None:
        self._put(FIRST_WORD + int(_WORD), word)

    def renew(self, left_ns: int) -> None:
        self._put(LEASE, time.clock_gettime_ns(time.CLOCK_BOOTTIME) + left_ns)

    def _put(self, index: int, value: int) -> None:
        with open(self.path, "r+b") as file:
            file.seek(index * 8)
            file.write(value.to_bytes(8, sys.byteorder))

    @property
    def env(self) -> dict[str, str]:
        return {"OFFSWITCH_PAGE": self.path, "OFFSWITCH_WORD": _WORD}


def prove(agent: Agent, lines: dict[str, str], *, all_of_it: bool = True) -> list[Trial]:
    """Try each event's line; with `all_of_it` also with what it needs taken away."""
    trials = []
    with tempfile.TemporaryDirectory(prefix="offswitch-hook-") as folder:
        page = _Page(folder)
        for event, line in lines.items():
            trials += list(_cell(page, event, line))
            if all_of_it:
                trials += list(_broken(agent, page, event, line))
    return trials


def _cell(page: _Page, event: str, line: str) -> Iterator[Trial]:
    """What the page says decides."""
    page.set(RUN)
    yield _try(event, "running", line, page.env, wanted=True)
    with _changed(page, _KILL, _MINUTE_NS // 2):
        yield _try(event, "latched at kill", line, page.env)
    with _changed(page, RUN, -1):
        yield _try(event, "a stale lease", line, page.env)
    yield _try(event, "no page", line, {**page.env, "OFFSWITCH_PAGE": page.path + ".gone"})


@contextmanager
def _changed(page: _Page, word: int, lease_ns: int) -> Iterator[None]:
    page.set(word)
    page.renew(lease_ns)
    try:
        yield
    finally:
        page.set(RUN)
        page.renew(_MINUTE_NS // 2)


def _broken(agent: Agent, page: _Page, event: str, line: str) -> Iterator[Trial]:
    """What the hook needs is taken away, while the page says run."""
    page.renew(_MINUTE_NS)
    yield _try(event, "half an environment", line, {"OFFSWITCH_PAGE": page.path})
    yield _try(event, "half an event", line, page.env, stdin=b'{"hook_event_name": ')
    yield _try(event, "no event", line, page.env, stdin=b"")
    if " --target " not in line:
        yield _try(event, "in no cell", line, {})
    for what, broken in (
        ("no interpreter", command_line(agent.name, python="/nonexistent/python")),
        ("another interpreter", command_line(agent.name, python="/bin/true")),
        ("no offswitch", command_line(agent.name, program="-I -m offswitch_that_is_gone")),
        ("killed", command_line(agent.name, program=f"-I {_BREAKS[0]}")),
        ("hanging", command_line(agent.name, program=f"-I {_BREAKS[1]}", limit_s=0.2)),
    ):
        yield _try(event, what, broken, page.env)


def _try(
    event: str,
    what: str,
    line: str,
    env: dict[str, str],
    *,
    stdin: bytes | None = None,
    wanted: bool = False,
) -> Trial:
    """Run a line as an agent does: through a shell, the event on stdin, its own environment."""
    told = json.dumps({"hook_event_name": event, "tool_name": "Bash", "tool_input": {}})
    ours = {key: value for key, value in os.environ.items() if not key.startswith("OFFSWITCH_")}
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            input=told.encode() if stdin is None else stdin,
            env={**ours, **env},
            capture_output=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return Trial(event, what, wanted, passed=True, took_ms=_PATIENCE_S * 1e3, said="it hangs")
    took_ms = (time.perf_counter() - begun) * 1e3
    said = done.stderr.decode(errors="replace")[:1000]
    return Trial(event, what, wanted, done.returncode != _BLOCKED, took_ms, said)


def in_short(trials: list[Trial]) -> str:
    """Say what came of it in a line."""
    for trial in trials:
        if not trial.holds:
            did = "lets it pass" if trial.passed else f"blocks: {trial.said.strip()}"
            return f"{trial.event}, {trial.what}: {did}"
    slowest = max((trial.took_ms for trial in trials if trial.wanted), default=0)
    return f"{len(trials)} trials, blocked whenever it should; a yes took {slowest:.0f} ms"

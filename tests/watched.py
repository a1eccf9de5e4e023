"""A house in which something is wrong: a real watch, and an agent that says hostile things."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from house import House, People, house
from installation import PYTHON, until

__all__ = ["AGENT", "ASKS", "SLEEPS", "speaking", "watched"]

ASKS = """
[[target]]
name = "shop/agent"
kind = "agent"
labels = { tenant = "acme" }
stop_impact = { who = "buyers", harm = "orders queue up", bearable = "1h", told_by = "support" }

[[sensor]]
name = "out"
target = "shop/agent"
kind = "logs"
contains = { errors = "ERROR" }

[[rule]]
name = "again"
target = "shop/agent"
harm = "it buys for ever"
time_to_harm = "30m"
false_stop_cost = "checkout down for minutes"
act = "advise"
vote = "1oo2"
detectors = [
  { kind = "repetition", series = 'guard.step{kind="tool"}', times = 3 },
  { kind = "rate", series = 'out.matches{name="errors"}', above = 1000 },
]
"""
SLEEPS = "import time\nwhile 1: time.sleep(1)"
AGENT = """\
import json, os, sys, time
words = json.loads(sys.argv[1])
report = int(os.environ["OFFSWITCH_REPORT"].partition(":")[0])
while True:
    print("ERROR", words, flush=True)
    step = {"step": "tool", "name": words, "args": {"to": words}}
    os.write(report, json.dumps(step).encode() + b"\\n")
    time.sleep(0.1)
"""


@contextlib.contextmanager
def watched(folder: Path, config: str = ASKS, people: People | None = None) -> Iterator[House]:
    """Give a house with warden, station and watch."""
    with house(folder, config, people) as one:
        argv = [sys.executable, "-I", "-m", "offswitch.watch"]
        argv += ["--home", one.installation.home, "--run", one.installation.run_folder]
        with open(f"{one.installation.home}/watch.log", "ab") as log:
            watch = subprocess.Popen(argv, stderr=log, start_new_session=True)
        try:
            yield one
        finally:
            watch.terminate()
            watch.wait(10)


def speaking(home: House, words: str, target: str = "shop/agent") -> dict[str, Any]:
    """Have an agent say `words` wherever it can; give the question that a rule then asks."""
    home.installation.run(PYTHON, "-c", AGENT, json.dumps(words), target=target)
    client = home.client() if not home.people else home.person(next(iter(home.people)))

    def asked() -> list[dict[str, Any]]:
        got = client.get("/api/v1/decisions")
        return list(got.json().get("decisions", [])) if got.status_code == 200 else []

    rows: list[dict[str, Any]] = until(asked, "a rule asks")
    return rows[0]

"""`offswitch up`: warden and watch in the foreground, started again when they die."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import Installation, until
from needs import needs_root
from offswitch.cli.household import Household

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"

CONFIG = """
[[target]]
name = "shop/eu/checkout"
kind = "agent"
labels = {{ tenant = "acme" }}
command = ["sh", "-c", "echo $WORD; exec sleep 600"]
cwd = "{work}"
env_file = "checkout.env"
"""


class Up:
    """One `offswitch up`, and what it says."""

    def __init__(self, installation: Installation) -> None:
        self.process = subprocess.Popen(
            [OFFSWITCH, "up"],
            env=installation.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def tells(self, text: str) -> re.Match[str]:
        """Wait until it says something that matches."""
        found = until(lambda: re.search(text, self.said), f"{text!r} in {self.said!r}", 30)
        assert isinstance(found, re.Match)
        return found


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    made = Installation(tmp_path)
    os.makedirs(made.home)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def up(installation: Installation) -> Iterator[Up]:
    started = Up(installation)
    try:
        yield started
        installation._note_helpers()
    finally:
        with contextlib.suppress(Exception):
            installation._note_helpers()
        started.process.terminate()
        try:
            started.process.wait(15)
        except subprocess.TimeoutExpired:
            started.process.kill()
            started.process.wait()
        assert started.process.stderr is not None
        started._reader.join(5)
        started.process.stderr.close()


def test_up_declares_what_is_configured_and_start_brings_it_up(alone: Installation) -> None:
    Path(alone.place.config).write_text(CONFIG.format(work=alone.work))
    Path(alone.home, "checkout.env").write_text('# secrets\nWORD="from the file"\n')
    with up(alone) as running:
        running.tells("1 targets, 0 rules")
        running.tells("To stop everything.*offswitch stop --all")
        row = alone.target("shop/eu/checkout")
        assert (row["state"], row["kind"], row["labels"]) == ("idle", "agent", {"tenant": "acme"})
        assert alone.cli("start", "shop/eu/checkout").returncode == 0
        log = Path(alone.home, "logs", "shop%2Feu%2Fcheckout.log")
        until(lambda: log.read_text() == "from the file\n", "its environment is the file's")
        assert alone.stop("tenant=acme")["confirmed"] is True, "labels came from the configuration"


def test_SR_13_what_watch_reports_is_told_once_and_its_end_too(alone: Installation) -> None:
    alone.start()
    said: list[str] = []
    household = Household(alone.place, None, said.append)
    alarm = {"rule": "r", "scope": "/", "act": "advise", "harm": "h", "since_us": 1}
    report = {"op": "report", "auto": ["shop"], "blind": ["shop"], "alarms": [alarm]}
    with subprocess.Popen(["sleep", "60"]) as watch:
        household._watch.process = watch
        alone.ask(report)
        household._alarm(4.0)
        asks = "ALARM, it asks you: /: h (rule r)"
        assert said == [f"{asks}. To stop it: offswitch stop --all"], "watch has just begun"
        household._alarm(6.0)
        household._alarm(7.0)
        assert said[1:] == ["BLIND: the automatic rule for shop sees nothing"]
        alone.ask({**report, "blind": [], "alarms": [{**alarm, "act": "auto"}]})
        household._alarm(8.0)
        assert sorted(said[2:]) == [
            "ALARM, it stops by itself: /: h (rule r)", f"over: {asks}", "seen: shop"
        ]  # fmt: skip
        watch.kill()


LIMITED = """
[[target]]
name = "slow"
drain_for = "700ms"
freeze_for = "1h"

[[rule]]
name = "busy"
target = "slow"
harm = "too \x1bmuch"
time_to_harm = "1h"
false_stop_cost = "an hour"
act = "advise"
detectors = [{ kind = "threshold", series = "processes.count", above = 0.5 }]
"""


def test_ACT_1_an_alarm_that_asks_is_told_and_a_drain_ends_when_the_configuration_says(
    alone: Installation,
) -> None:
    Path(alone.place.config).write_text(LIMITED.replace("\x1b", "\\u001b"))
    with up(alone) as running:
        running.tells("To stop everything")
        alone.run("sleep", "600", target="slow")
        running.tells("ALARM, it asks you: slow: too .x1bmuch .rule busy.. .* offswitch stop slow")
        declared = alone.ask({"op": "target", "name": "slow"})["declared"]
        assert declared["limits_s"] == {"drain": 0.7, "freeze": 3600}
        begin = time.monotonic()
        assert alone.stop("slow", level="drain", wait=True)["confirmed"] is True
        assert 0.7 <= time.monotonic() - begin < 10
        assert alone.reset("slow")["state"] == "done"
        running.tells("over: ALARM, it asks you: slow")


def test_what_dies_is_started_again_and_recorded(alone: Installation) -> None:
    Path(alone.place.config).write_text('[[target]]\nname = "a"\n')
    with up(alone) as running:
        running.tells("To stop everything")
        watch = int(running.tells(r"watch started, pid (\d+)")[1])
        os.kill(watch, signal.SIGKILL)
        running.tells("watch ended .signal SIGKILL.")
        until(lambda: running.said.count("watch started") == 2, "watch is back")
        warden = int(alone.ask({"op": "ping"})["pid"])
        alone._note_helpers()
        os.kill(warden, signal.SIGKILL)
        until(lambda: running.said.count("warden started") == 2, "the warden is back")
        until(lambda: running.said.count(" serves ") == 2, "and serves")

        def recorded() -> bool:
            shown = alone.cli("ledger", "show", "--all", "--kind", "restart", "--json")
            entries = [entry["public"] for entry in json.loads(shown.stdout)["entries"]]
            ended = [
                entry
                for entry in entries
                if entry["process"] == "watch" and "signal SIGKILL" in str(entry.get("what"))
            ]
            assert all("missing" not in entry for entry in ended)
            return bool(ended)

        until(recorded, f"the end of watch is in the ledger: {running.said}", 5)


def test_ctrl_c_names_what_runs_and_the_second_one_ends_it(alone: Installation) -> None:
    with up(alone) as running:
        running.tells("To stop everything")
        running.process.send_signal(signal.SIGHUP)
        run = subprocess.Popen(
            [OFFSWITCH, "run", "--target", "busy", "--", "sleep", "600"],
            env=alone.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        alone.children.append(run)  # type: ignore[arg-type]
        until(lambda: [r for r in alone.status()["targets"] if r["pids"]], "it runs")
        running.process.send_signal(signal.SIGINT)
        running.tells("these still run: busy")
        running.tells("offswitch stop --all")
        time.sleep(0.3)
        assert running.process.poll() is None, "one Ctrl-C ends nothing while a target runs"
        alone._note_helpers()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        for path in alone.cgroups():
            assert Path(path).exists()


def test_ctrl_c_with_nothing_running_ends_at_once_and_takes_all_with_it(
    alone: Installation,
) -> None:
    with up(alone) as running:
        running.tells("To stop everything")
        warden = int(alone.ask({"op": "ping"})["pid"])
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        until(lambda: not os.path.exists(f"/proc/{warden}"), "its warden has ended")


def test_a_warden_that_serves_already_is_used_and_stays(alone: Installation) -> None:
    alone.start()
    with up(alone) as running:
        running.tells("not ours: it stays")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        assert alone.ask({"op": "ping"})["pong"] is True


def test_an_unknown_key_keeps_it_from_starting_anything(alone: Installation) -> None:
    Path(alone.place.config).write_text('[[target]]\nname = "a"\nkidn = "agent"\n')
    done = alone.cli("up")
    assert done.returncode == 2
    assert f"{alone.place.config}:3: unknown key 'kidn'; did you mean 'kind'?" in done.stderr
    assert not os.path.exists(alone.place.warden_socket)

"""`offswitch up`: warden and watch in the foreground, started again when they die."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from cli.emergency import hanging
from disk import mounted
from installation import Installation, until
from needs import needs_root
from offswitch.cli.begin import warden_answers
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


RULE = """
[[target]]
name = "a"

[[sensor]]
name = "proc"
target = "a"
kind = "processes"

[[rule]]
name = "alone"
target = "a"
harm = "it is to be one process"
time_to_harm = "5s"
false_stop_cost = "none"
detectors = [{ kind = "threshold", series = "proc.count", above = 1 }]
vote = "1oo1"
act = "auto"
stop = { level = "kill" }
"""


class Up:
    """One `offswitch up`, and what it says."""

    def __init__(self, installation: Installation, *options: str) -> None:
        face = () if "--face" in options else ("--no-station",)
        options = (*(each for each in options if each != "--face"), *face)
        self.process = subprocess.Popen(
            [OFFSWITCH, "up", *options],
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
def up(installation: Installation, *options: str) -> Iterator[Up]:
    started = Up(installation, *options)
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


def test_SR_23_up_in_a_unit_of_its_own_starts_no_warden_and_waits_for_the_one_that_serves(
    alone: Installation,
) -> None:
    with up(alone, "--no-warden") as running:
        running.tells("waiting for one")
        alone.start()
        running.tells("warden [0-9]+ serves.*not ours")
        alone.kill_everything()
        running.tells("has ended; waiting for the next one")
        time.sleep(1.5)
        assert not warden_answers(alone.place)
        alone.start()


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
        running.tells("ALARM stands: slow")  # the stop has answered what was asked
        assert alone.reset("slow")["state"] == "done"
        running.tells("over: ALARM stands: slow")


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
        [cell] = cells(alone)
        assert until(lambda: state(cell, "frozen") == "1", "its keeper holds it at once")
        assert state(cell, "populated") == "1", "and gives a warden ten seconds to come back"


@pytest.mark.long
def test_SR_22_after_the_second_ctrl_c_the_keeper_kills_what_still_lives(
    alone: Installation,
) -> None:
    with up(alone) as running:
        running.tells("To stop everything")
        born = alone.run("sleep", "600", target="busy").born
        alone._note_helpers()
        for _ in range(2):
            running.process.send_signal(signal.SIGINT)
            running.tells("these still run: busy")
        assert running.process.wait(20) == 0
    until(lambda: not os.path.exists(f"/proc/{born['pid']}"), "killed after ten seconds", 15)


def test_ctrl_c_while_the_warden_hangs_is_no_silent_end(alone: Installation) -> None:
    """What cannot be told counts as running, and whose cells are not empty are named."""
    with up(alone) as running:
        running.tells("To stop everything")
        alone.run("sleep", "600", target="busy")
        warden = int(running.tells(r"warden started, pid (\d+)")[1])
        with hanging(warden):
            running.process.send_signal(signal.SIGINT)
            running.tells(r"what runs cannot be told .*: busy")
            time.sleep(0.3)
            assert running.process.poll() is None


def test_with_a_full_disk_automatic_rules_stop_all_the_same(alone: Installation) -> None:
    with mounted(Path(alone.home), "8m") as disk:
        alone.start()
        Path(alone.place.config).write_text(RULE)
        disk.fill()
        with up(alone) as running:
            running.tells("declared, but not kept for the next warden")
            running.tells("watch started")
            running.tells("To stop everything")
            alone.run("sh", "-c", "sleep 600 & sleep 600", target="a")
            until(lambda: alone.target("a")["confirmed"], "a rule stops it")
            assert [stop["by"] for stop in alone.status()["latched"]] == ["rule:alone"]
        alone.close()


def test_SR_2_up_says_what_a_target_could_forge_as_soon_as_it_could(alone: Installation) -> None:
    with up(alone) as running:
        running.tells("To stop everything")
        assert "forgeable" not in running.said
        alone.run("true", target="a", user="root")
        running.tells("reset forgeable by the target")


def test_a_new_ledgers_key_is_told_once(alone: Installation) -> None:
    with up(alone) as running:
        key = running.tells(r"keep its verifying key elsewhere: (\S+)\n")[1]
        running.tells("To stop everything")
    assert Path(alone.home, "pin/ledger.vkey").read_text().strip() == key
    with up(alone) as running:
        running.tells("To stop everything")
        assert key not in running.said


def cells(installation: Installation) -> list[Path]:
    return [
        file.parent for at in installation.cgroups() for file in Path(at).glob("c*/cgroup.kill")
    ]


def state(cell: Path, key: str) -> str:
    events = dict(line.split() for line in Path(cell, "cgroup.events").read_text().splitlines())
    return events[key]


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


def test_one_line_says_where_the_console_is_and_how_to_stop_everything(alone: Installation) -> None:
    Path(alone.home, "offswitch.toml").write_text('[station]\nlisten = "127.0.0.1:0"\n')
    with up(alone, "--face") as started:
        line = started.tells(
            r"up\. To stop everything.*offswitch stop --all.*Console: (http://\S+)"
        )
        found = started.tells(r"sign in as (\w+), password (\S+)\)")
        first = {"name": found[1], "password": found[2]}
        assert httpx2.post(f"{line[1]}/sign-in", data=first).status_code == 303
        pid = int(started.tells(r"station started, pid (\d+)")[1])
        os.kill(pid, signal.SIGKILL)
        started.tells(r"station ended \(signal SIGKILL\)")
        again = until(
            lambda: list(re.findall(r"station started, pid (\d+)", started.said))[1:],
            "the station is started again",
        )
        assert int(again[0]) != pid
        ends = until(
            lambda: [e for e in alone.entries() if e.get("process") == "station"], "it is recorded"
        )
        assert ends[0]["what"] == "ended: signal SIGKILL"


def test_a_console_whose_address_is_taken_says_so_and_how_to_have_another(
    alone: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = "{}:{}".format(*taken.getsockname())
        Path(alone.home, "offswitch.toml").write_text(f'[station]\nlisten = "{at}"\n')
        with up(alone, "--face") as started:
            started.tells(rf"station ended \(exit code 1: the console cannot listen on {at}")
            started.tells(r"up\. To stop everything")

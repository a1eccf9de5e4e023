"""Watch as it is: real sensors, a real warden, an agent that writes a real database."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from installation import until
from offswitch.watch.evidence import read_changes

if TYPE_CHECKING:
    from conftest import Shop

SPOIL = "sql UPDATE prices SET price = 9999 WHERE id < 400"
HIGHEST = 'orders-db.max{column="price",table="prices"}'
MAX = f"""{{ kind = "threshold", series = '{HIGHEST}', above = 999 }}"""


def _rows(shop: Shop) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(shop.path)) as db:
        return db.execute("SELECT * FROM prices ORDER BY id").fetchall()


def test_DET_3_a_mass_delete_is_cut_and_every_row_lost_is_kept(shop: Shop) -> None:
    shop.make(rows=20_000)
    before = _rows(shop)
    shop.start_watch(shop.sensor(), shop.rule(shop.DELETED))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    shop.order("each 20000 DELETE FROM prices WHERE id = ?")
    assert shop.wait_stopped(agent)["level"] == "kill"
    after = _rows(shop)
    lost = len(before) - len(after)
    print(f"N = 20, rows lost = {lost}, overrun = {lost - 20}")
    assert 20 < lost < 10_000, "it was cut in the middle"
    [live] = shop.installation.status()["latched"]
    assert (live["by"], live["channel"], live["level"]) == ("rule:mass-write", "rule", "kill")
    assert "wrong prices" in live["reason"]

    def kept() -> bool:
        data = Path(shop.installation.home, "evidence", "orders-db.jsonl").read_bytes()
        rows = {change.before for _when, change in read_changes(data) if change.kind == "deleted"}
        return rows == set(before) - set(after)

    until(kept, "before-images of exactly the lost rows", 5)
    [decision] = until(lambda: shop.entries("decision"), "the decision is recorded", 5)
    assert decision["choice"] == "stop"
    assert decision["prior"] == "shop/agent running"
    assert "orders-db.rows_deleted" in decision["why"]
    findings = [one for one in shop.entries("finding") if one["detector"].startswith("rate")]
    assert findings[0]["target"] == "shop/agent"


def test_a_rule_in_shadow_or_one_that_advises_stops_nothing_and_is_recorded(shop: Shop) -> None:
    shop.make()
    shop.start_watch(
        shop.sensor(),
        shop.rule(shop.RATE, act="shadow", name="in-shadow"),
        shop.rule(shop.RATE, act="advise", name="asks"),
    )
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    assert shop.tell(agent, SPOIL).startswith("done")
    until(lambda: len(shop.entries("decision")) >= 2, "both decisions are recorded", 5)
    choices = {one["by"]: one["choice"] for one in shop.entries("decision")}
    assert choices == {"rule:in-shadow": "would-stop", "rule:asks": "ask"}
    assert shop.tell(agent, "sql SELECT 1").startswith("done"), "the agent lives"
    assert shop.level() is None
    until(lambda: len(shop.installation.status()["alarms"]) == 2, "both alarms stand")
    status = json.loads(shop.installation.cli("status", "--json").stdout)
    first, second = status["alarms"]
    assert (first["rule"], first["act"], second["act"]) == ("asks", "advise", "shadow")
    assert (first["scope"], first["harm"]) == ("shop/agent", "wrong prices")
    assert first["since_us"] > 0
    for words in (["status"], []):
        said = shop.installation.cli(*words).stdout
        assert "ALARM, it asks you: shop/agent: wrong prices (rule asks)" in said
        assert "alarm in shadow, it stops nothing" in said
        assert "  offswitch stop shop/agent" in said


def test_MON_2_a_source_that_is_stopped_is_stale_within_three_intervals(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor(every='"300ms"'), shop.rule(shop.RATE))
    shop.run()
    until(shop.seen, "the data set is watched")
    eye = shop.eye_of("data")
    assert eye
    os.kill(eye, signal.SIGSTOP)
    begin = time.monotonic()
    until(lambda: (shop.seen() or {}).get("stale"), "it is stale", 5)
    took = time.monotonic() - begin
    # The report to the warden comes twice a second, so status lags by half a second.
    assert took < 3 * 0.3 + 0.6 + 0.3
    [finding] = until(shop.silences, "the silence is a finding", 5)
    assert finding["what"] == "sensor orders-db is silent"
    told = until(lambda: shop.entries("watch"), "the change of state is an entry", 5)
    assert (told[-1]["prior"], told[-1]["state"]) == ("ok", "stale")
    assert told[-1]["time_us"] - finding["found_us"] < 900_000
    blind = [one for one in shop.entries("decision") if one["why"].startswith("blind")]
    assert blind[0]["choice"] == "nothing"
    with contextlib.suppress(ProcessLookupError):  # on a slow machine it was replaced meanwhile
        os.kill(eye, signal.SIGCONT)
    until(lambda: not (shop.seen() or {"stale": True})["stale"], "it sees again", 5)


def test_what_is_written_while_its_eye_is_dead_is_told_and_the_next_one_sees(shop: Shop) -> None:
    """Between a commit and the look that would have seen it."""
    shop.make()
    shop.start_watch(shop.sensor(), shop.rule(shop.RATE))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    eye = shop.eye_of("data")
    assert eye
    os.kill(eye, signal.SIGSTOP)
    assert shop.tell(agent, "sql UPDATE prices SET price = 1 WHERE id < 20").startswith("done")
    committed_us = time.time_ns() // 1000
    os.kill(eye, signal.SIGKILL)

    def told() -> list[dict[str, object]]:
        return [one for one in shop.entries("watch") if "unseen_from_us" in one]

    [again] = until(told, "the gap is an entry", 10)
    assert again["unseen_from_us"] < committed_us < again["unseen_to_us"]
    assert "prices was changed while nobody looked" in again["why"]
    assert eye not in shop.eyes()
    decisions = [one for one in shop.entries("decision") if one["why"].startswith("blind")]
    assert any("prices was changed while nobody looked" in one["why"] for one in decisions)
    notes = until(lambda: [n for n in shop.installation.status()["notes"] if "orders-db" in n], "")
    assert "prices was changed while nobody looked" in notes[0]
    shop.order(SPOIL)
    assert shop.wait_stopped(agent)["level"] == "kill"


def test_SR_4_an_eye_has_no_rights_but_to_look(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor())
    shop.run()
    until(shop.seen, "the data set is watched")
    until(lambda: len(shop.eyes()) == 2, "one eye for the database, one for the cells")
    read_files, trace = 1 << 2, 1 << 19
    for eye in shop.eyes():
        status = Path(f"/proc/{eye}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(facts["Uid"].split()) == {"1899999996"}
        assert set(facts["Gid"].split()) == {"1899999996"}
        assert facts["Groups"].split() == []
        assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
        # To read files; and for the one that reads processes' counters, to read those.
        kept = read_files if eye == shop.eye_of("data") else read_files | trace
        assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == kept
        assert int(facts["CapInh"], 16) == int(facts["CapAmb"], 16) == 0


ATTEMPTS = """\
import ctypes, os, signal, socket, subprocess, sys
from offswitch.watch.confine import confine
from offswitch.watch.sensors.contract import Need
victim = int(sys.argv[1])
assert confine([Need.FILES, Need.PROCESSES]) == []
libc = ctypes.CDLL(None, use_errno=True)

def refused(call):
    try:
        return call() == -1
    except OSError:
        return True

tries = {
    "read what is its sensors' to read": lambda: not os.listdir("/root"),
    "write": lambda: open(sys.argv[2], "a"),
    "create": lambda: open(sys.argv[2] + ".new", "w"),
    "signal": lambda: os.kill(victim, signal.SIGTERM),
    "signal by pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGTERM),
    "trace": lambda: libc.ptrace(16, victim, 0, 0),
    "write memory": lambda: libc.process_vm_writev(victim, 0, 0, 0, 0, 0),
    "open memory": lambda: open(f"/proc/{victim}/mem", "r+b"),
    "take descriptors": lambda: libc.syscall(438, os.pidfd_open(victim), 0, 0),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), 1),
    "run": lambda: subprocess.run(["/bin/true"], check=True),
    "become root": lambda: os.setuid(0),
}
print([name for name, call in tries.items() if not refused(call)])
"""


def test_SR_4_whoever_takes_an_eye_over_can_read_and_nothing_else(
    tmp_path: Path, as_root: None
) -> None:
    (tmp_path / "file").touch()
    with subprocess.Popen(["sleep", "60"]) as victim:
        done = subprocess.run(
            [sys.executable, "-I", "-c", ATTEMPTS, str(victim.pid), str(tmp_path / "file")],
            capture_output=True,
            text=True,
            check=False,
        )
        victim.kill()
    assert done.stdout.strip() == '["read what is its sensors\' to read"]', done.stderr


def test_what_every_target_has_needs_no_sensor(shop: Shop) -> None:
    many = """{ kind = "threshold", series = "processes.count", above = 20 }"""
    shop.start_watch(shop.rule(many, name="swarm", time_to_harm='"8s"'))
    # It is at its cap of processes before anybody can look.
    shop.installation.run("sh", "-c", "while :; do sleep 60 & done", target="shop/agent")
    until(lambda: shop.level() == "kill", "the swarm is stopped")
    until(lambda: shop.installation.target("shop/agent")["pids"] == 0, "nothing of it is left")
    [live] = shop.installation.status()["latched"]
    assert live["by"] == "rule:swarm"


def test_REC_3_a_recorder_that_hangs_delays_no_stop_and_loses_no_entry(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor(), shop.rule(shop.RATE))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    recorder = shop.installation.pids()["recorder"]
    os.kill(recorder, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        shop.order(SPOIL)
        shop.wait_stopped(agent)
        assert time.monotonic() - begin < 2
    finally:
        os.kill(recorder, signal.SIGCONT)
    [decision] = until(lambda: shop.entries("decision"), "recorded afterwards", 10)
    assert decision["choice"] == "stop"


def test_SR_11_a_frozen_warden_does_not_keep_a_rule_from_stopping(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor(), shop.rule(shop.RATE))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    warden = shop.installation.warden
    assert warden is not None
    pid = int(agent.born["pid"])
    pidfd = os.pidfd_open(pid)
    warden.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        shop.order(SPOIL)
        until(lambda: _ended(pidfd), "the keeper killed it", 5)
        took = time.monotonic() - begin
    finally:
        warden.send_signal(signal.SIGCONT)
        os.close(pidfd)
    assert took < 2, "by the order, not by the lease that ran out"
    until(lambda: shop.level() == "kill", "and it is latched", 10)


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def test_after_a_reset_a_rule_judges_anew_and_stops_what_is_still_wrong(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor(), shop.rule(MAX, name="spoilt"))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    shop.order("sql UPDATE prices SET price = 9999 WHERE id = 1")
    shop.wait_stopped(agent)
    until(lambda: shop.installation.target("shop/agent")["confirmed"], "confirmed")
    # Reset although the row is still spoilt: what is started is stopped again.
    assert shop.installation.reset("shop/agent")["state"] == "done"
    until(lambda: shop.level() == "kill", "the standing alarm stops it again", 5)
    with contextlib.closing(sqlite3.connect(shop.path)) as db, db:
        db.execute("UPDATE prices SET price = 10 WHERE id = 1")
    until(lambda: _last_seen(shop) == (1, "item 1", 10.0), "the repair was seen")
    assert shop.installation.reset("shop/agent")["state"] == "done"
    until(lambda: not shop.installation.status()["alarms"], "it judges anew")
    agent = shop.run()
    assert shop.tell(agent, "sql UPDATE prices SET price = 12 WHERE id = 1").startswith("done")
    until(lambda: _last_seen(shop) == (1, "item 1", 12.0), "and has seen the next write")
    assert shop.level() is None, "it was repaired, so the reset holds"
    shop.order("sql UPDATE prices SET price = 8888 WHERE id = 2")
    shop.wait_stopped(agent)


def _last_seen(shop: Shop) -> object:
    """Give the row that the sensor has last seen changed, as it is now."""
    data = Path(shop.installation.home, "evidence", "orders-db.jsonl").read_bytes()
    return read_changes(data)[-1][1].after


def test_SEC_8_nothing_between_a_finding_and_the_cut_can_ask_a_model_or_the_network() -> None:
    """The processes of the command path import no client of any kind."""
    clients = (
        "openai anthropic litellm langchain transformers torch llama_cpp google.generativeai "
        "http.client httpx httpx2 requests urllib.request urllib3 aiohttp websockets grpc"
    )
    script = (
        "import json, sys\n"
        "import offswitch.watch.loop, offswitch.watch.eye, offswitch.watch.__main__\n"
        "import offswitch.warden.daemon, offswitch.warden.keeper.keeper\n"
        "from offswitch.plugins import SENSORS, DETECTORS, installed\n"
        "installed(SENSORS), installed(DETECTORS)\n"
        f"print(json.dumps([n for n in {clients.split()!r} if n in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("text", ["[[rule]]\nname = 'x'\n", "nonsense"])
def test_watch_does_not_start_with_a_configuration_that_it_does_not_understand(
    tmp_path: Path, text: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "offswitch.toml").write_text(text)
    (home / "offswitch.toml").chmod(0o600)
    argv = [sys.executable, "-I", "-m", "offswitch.watch", "--home", str(home)]
    done = subprocess.run(
        [*argv, "--run", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "offswitch.toml" in done.stderr
    assert "next:" in done.stderr


def test_watch_outlives_its_warden_and_stops_through_the_next(shop: Shop) -> None:
    shop.make()
    shop.start_watch(shop.sensor(), shop.rule(shop.RATE))
    agent = shop.run()
    until(shop.seen, "the data set is watched")
    pidfd = os.pidfd_open(int(agent.born["pid"]))
    shop.installation.kill_warden()
    shop.installation.restart()
    until(lambda: (shop.seen() or {}).get("age_ms", 9999) < 1000, "it reports to the new one")
    until(lambda: shop.installation.target("shop/agent")["state"] == "running", "it goes on")
    shop.order(SPOIL)
    until(lambda: _ended(pidfd), "it is stopped", 5)
    os.close(pidfd)
    until(lambda: shop.level() == "kill", "and latched")

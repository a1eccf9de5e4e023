"""`offswitch install` on a real Debian host with systemd, and what it leaves."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import pytest

from installation import until
from newcomer import LIBRARY, OURS, PLACE, Newcomer

TAG = f"{sys.version_info.major}{sys.version_info.minor}"
ACCOUNTS = (
    "offswitch-gateway",
    "offswitch-observer",
    "offswitch-recorder",
    "offswitch-station",
    "offswitch-watch",
)


def states(answer: dict[str, Any]) -> set[str]:
    """Give how the steps ended."""
    return {step["state"] for step in answer["steps"]}


def test_it_leaves_a_service_that_answers_and_starts_at_boot(newcomer: Newcomer) -> None:
    assert newcomer.active()
    assert newcomer.sh("systemctl is-enabled offswitch.service") == "enabled"
    assert newcomer.run(["offswitch", "status"]).returncode == 0
    checks = json.loads(newcomer.typed("doctor", "--json").stdout)["checks"]
    good = {check["name"] for check in checks if check["ok"]}
    assert {"warden", "rung", "privileges", "keeper", "group", "trust", "release"} <= good, checks
    for name in ACCOUNTS:
        assert newcomer.sh(f"getent passwd {name}").endswith("/nonexistent:/usr/sbin/nologin")


def test_SR_1_what_root_runs_is_roots_alone_and_not_the_checkout(newcomer: Newcomer) -> None:
    pid = newcomer.sh("systemctl show --property=MainPID --value offswitch.service")
    argv = newcomer.sh(f"tr '\\0' ' ' < /proc/{pid}/cmdline")
    assert argv.startswith(f"{PLACE}/bin/python -I -m offswitch.warden ")
    assert newcomer.sh(f"readlink -f {PLACE}/bin/python").startswith("/usr/bin/python3")
    loaded = newcomer.sh(f"cut -d/ -f2- -s /proc/{pid}/maps | sort -u")
    checkout = OURS.split("/.venv")[0].lstrip("/")
    assert checkout not in loaded
    assert not newcomer.sh(f"find {PLACE} ! -user root -o ! -type l -perm /022")
    unread = newcomer.run(["sh", "-c", f"find {PLACE} -type f ! -readable"], user="bob")
    assert not unread.stdout + unread.stderr


def test_SR_3_a_member_of_the_group_may_stop_and_not_rule_and_a_stranger_nothing(
    newcomer: Newcomer,
) -> None:
    newcomer.begin("shop/a")
    assert newcomer.typed("stop", "shop/a", user="bob").returncode == 4
    assert newcomer.pids("shop/a") == 1
    ran = newcomer.typed("run", "--user", "root", "--", "true", user="ann")
    assert (ran.returncode, newcomer.pids("shop/a")) == (125, 1)
    stopped = json.loads(newcomer.typed("stop", "shop/a", "--json", user="ann").stdout)
    assert stopped["confirmed"] is True
    newcomer.reset("shop/a")


def test_it_is_not_taken_away_while_something_runs_or_is_latched(newcomer: Newcomer) -> None:
    newcomer.begin("shop/b")
    before = newcomer.traces()["accounts"]
    code, kind, told = newcomer.refused("--remove", "--purge")
    assert (code, kind) == (1, "busy")
    assert "shop/b" in told
    newcomer.typed("stop", "shop/b")
    code, kind, told = newcomer.refused("--remove", "--purge")
    assert (code, kind) == (3, "latched")
    assert "offswitch reset shop/b" in told
    newcomer.sh("systemctl stop offswitch.service")
    code, kind, _told = newcomer.refused("--remove", "--purge")
    assert (code, kind) == (3, "latched"), "without a warden the latch on the disk counts"
    newcomer.sh("systemctl start offswitch.service")
    assert newcomer.traces()["accounts"] == before
    newcomer.reset("shop/b")


def test_RST_1_a_stop_outlives_a_reboot_of_the_host_and_its_state_too(newcomer: Newcomer) -> None:
    newcomer.begin("shop/c")
    order = json.loads(newcomer.typed("stop", "shop/c", "--json").stdout)["order"]
    key = newcomer.sh("cat /var/lib/offswitch/pin/ledger.vkey")
    newcomer.host.reboot()
    until(newcomer.answers, "the service answers after the boot")
    row = next(row for row in newcomer.status()["targets"] if row["target"] == "shop/c")
    assert (row["latched"], row["stops"]) == (True, [order])
    assert newcomer.typed("start", "shop/c").returncode == 3
    assert newcomer.sh("cat /var/lib/offswitch/pin/ledger.vkey") == key
    newcomer.reset("shop/c")


def test_a_second_time_changes_nothing_while_targets_run(newcomer: Newcomer) -> None:
    newcomer.begin("shop/d")
    before = newcomer.files()
    assert states(newcomer.install()) == {"already"}
    assert states(newcomer.install(ours=f"{PLACE}/bin/offswitch")) == {"already"}
    written = {name for name, facts in newcomer.files().items() if before.get(name) != facts}
    assert not {name for name in written if not name.startswith("run/")}
    assert newcomer.pids("shop/d") == 1
    newcomer.typed("stop", "shop/d")
    newcomer.reset("shop/d")


def test_a_warden_beside_the_service_is_named_before_anything_is_changed(
    newcomer: Newcomer,
) -> None:
    newcomer.sh("systemctl stop offswitch.service")
    warden = newcomer.host.popen([f"{PLACE}/bin/offswitch", "up"], stderr=-3)
    try:
        until(lambda: newcomer.typed("status", "--json").returncode == 0, "a warden answers")
        code, kind, told = newcomer.refused()
        assert (code, kind) == (1, "busy")
        assert "not the service's" in told
    finally:
        newcomer.host.kill(newcomer.host.pids("bin/offswitch up"), "TERM")
        warden.wait(30)
    newcomer.sh("systemctl start offswitch.service")


def test_without_root_it_says_so_and_changes_nothing(newcomer: Newcomer) -> None:
    done = newcomer.typed("install", user="ann")
    assert done.returncode == 5
    assert "sudo offswitch install" in done.stderr
    assert newcomer.typed("install", "--dry-run", user="ann").returncode == 0
    assert newcomer.typed("install", "--purge").returncode == 2


def test_taken_away_it_leaves_nothing_but_the_record_and_purged_nothing(
    newcomer: Newcomer,
) -> None:
    """The host is compared with itself before: files, accounts, units, cgroups, processes."""
    installed = newcomer.traces()
    assert states(newcomer.install("--remove", "--dry-run")) <= {"would", "already"}
    assert newcomer.traces() == installed, "a dry run changes nothing"
    newcomer.install("--remove")
    left = newcomer.traces()
    kept = {name for name in left["files"] if name.startswith("var/lib/offswitch")}
    assert "var/lib/offswitch/ledger/ledger.db" in kept
    owners = {left["files"][name][0] for name in kept}
    reserved = {uid for uid in owners if uid >= 1_899_999_900}  # ours, and handed out to nobody
    assert owners - reserved == {0}, "a number that is free now owns a part of the record"
    traces = [name for name in left["files"] if "offswitch" in name and name not in kept]
    assert (traces, left["units"], left["cgroups"]) == ([], [], [])
    assert "offswitch" not in "".join(left["accounts"])
    assert not newcomer.host.pids("/opt/offswitch")
    key = newcomer.sh("cat /var/lib/offswitch/pin/ledger.vkey")

    newcomer.install()
    newcomer.sh("usermod --append --groups offswitch ann")
    until(newcomer.answers, "the service answers")
    assert newcomer.sh("cat /var/lib/offswitch/pin/ledger.vkey") == key, "its record goes on"
    assert newcomer.typed("ledger", "verify").returncode == 6


@pytest.mark.long
def test_killed_half_way_it_goes_on_where_it_was(bare: Newcomer, rng: random.Random) -> None:
    """`kill -9` at random moments of an installation and of a removal; then once more in full."""
    for _time in range(20):
        _killed(bare, ["install"], rng.uniform(0.2, 4.0))
        bare.install()
        assert bare.answers()
        assert not bare.sh(f"ls -d {PLACE}.* 2>/dev/null || true")
        _killed(bare, ["install", "--remove", "--purge"], rng.uniform(0.2, 2.0))
        bare.install("--remove", "--purge")
        _nothing_is_left(bare)


def _killed(newcomer: Newcomer, words: list[str], after_s: float) -> None:
    """Type a command and kill it, and what it started, that long after."""
    inside = f"setsid {OURS} {' '.join(words)} & echo $!; wait"
    shell = newcomer.host.popen(["sh", "-c", inside], stdout=-1, stderr=-3, text=True)
    assert shell.stdout is not None
    pid = shell.stdout.readline().strip()
    time.sleep(after_s)
    newcomer.run(["sh", "-c", f"kill -9 -{pid}"])
    shell.communicate(timeout=30)


def _nothing_is_left(newcomer: Newcomer) -> None:
    left = newcomer.traces()
    assert not [name for name in left["files"] if "offswitch" in name]
    assert (left["units"], left["cgroups"]) == ([], [])
    assert "offswitch" not in "".join(left["accounts"])
    assert not newcomer.host.pids("/opt/offswitch")


@pytest.mark.long
@pytest.mark.parametrize("hidden", ["/run/systemd", "/lib/systemd"])
def test_without_systemd_the_rest_is_done_and_what_is_missing_is_said(
    bare: Newcomer, hidden: str
) -> None:
    """It does not run, as in an image that is built; or it is not there at all."""
    without = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "-"]
    done = bare.run([*without, OURS, "install", "--json"])
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert "systemd" in answer["missing"][0]
    assert not [each for each in answer["steps"] if each["name"].startswith("service")]
    assert bare.run(["offswitch", "--version"]).returncode == 0
    done = bare.run([*without, OURS, "install", "--remove", "--purge", "--json"])
    assert done.returncode == 0, done.stdout + done.stderr
    _nothing_is_left(bare)


def test_SEC_7_a_flipped_byte_is_said_the_stop_still_works_and_installed_anew_it_is_whole(
    newcomer: Newcomer,
) -> None:
    """It is flipped in what Python really loads, a compiled file; and elsewhere more is wrong."""
    flipped = f"{LIBRARY}/offswitch/warden/__pycache__/press.cpython-{TAG}.pyc"
    theirs, planted = f"{LIBRARY}/rich/console.py", f"{LIBRARY}/zz.pth"
    flip(newcomer, flipped)
    newcomer.sh("systemctl restart offswitch.service")
    until(lambda: newcomer.status()["notes"], "the warden says what it found")
    assert any("UNPROVEN" in note and flipped in note for note in newcomer.status()["notes"])
    newcomer.begin("shop/f")
    newcomer.begin("shop/g")
    row = next(row for row in newcomer.status()["targets"] if row["target"] == "shop/f")
    assert set(row["readiness"].values()) == {"unproven"}
    release = check(newcomer, "release")
    assert (release["ok"], flipped in release["detail"]) == (False, True)
    assert json.loads(newcomer.typed("stop", "shop/f", "--json").stdout)["confirmed"] is True

    flip(newcomer, theirs)
    newcomer.sh(f"echo import os > {planted}; mkdir {PLACE}.new; rm /usr/local/bin/offswitch")
    ask = f"{PLACE}/bin/python -I -c 'from offswitch.host.whole import in_place as i; print(i())'"
    found = newcomer.sh(ask)
    assert all(path in found for path in (flipped, theirs, planted))
    done = {each["name"] for each in newcomer.install()["steps"] if each["state"] == "done"}
    assert done == {PLACE, "/usr/local/bin/offswitch", "service offswitch.service"}
    assert newcomer.pids("shop/g") == 1, "what ran goes on while the service takes over"
    assert check(newcomer, "release")["ok"], check(newcomer, "release")
    assert not any("UNPROVEN" in note for note in newcomer.status()["notes"])
    assert json.loads(newcomer.typed("stop", "shop/g", "--json").stdout)["confirmed"] is True
    newcomer.reset("shop")


def check(newcomer: Newcomer, name: str) -> dict[str, Any]:
    """Give one of doctor's answers."""
    checks = json.loads(newcomer.typed("doctor", "--json").stdout)["checks"]
    return next(dict(each) for each in checks if each["name"] == name)


def flip(newcomer: Newcomer, path: str) -> None:
    """Flip a bit of the first letter of a docstring: the code stays code."""
    inside = newcomer.host.root / path.lstrip("/")
    data = bytearray(inside.read_bytes())
    data[data.index(b"press")] ^= 0x20
    inside.write_bytes(data)

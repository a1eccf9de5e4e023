"""Each process of ours has a user of its own, and may do what its work is and no more (SR-4)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from needs import needs_root
from offswitch.control import ids
from offswitch.control.client import Conversation
from offswitch.control.landlock import confine_files
from offswitch.control.ownership import take_over
from offswitch.control.peer import Peer
from offswitch.control.place import Place
from offswitch.control.seccomp import _program
from offswitch.errors import OffswitchError, Refused, Unreachable
from offswitch.warden.cells.account import account_of
from people import Person

READ_SEARCH, PTRACE = 1 << 2, 1 << 19
RULE = """
[[rule]]
name = "many"
target = "a"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
detectors = [{ kind = "threshold", series = "processes.count", above = 3 }]
"""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    installation = Installation(tmp_path)
    os.makedirs(installation.home, exist_ok=True)
    yield installation
    installation.close()


@pytest.fixture
def watch(one: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """A watch that was started as root, as `up` starts it."""
    one.start()
    Path(one.place.config).write_text(RULE)
    argv = [sys.executable, "-I", "-m", "offswitch.watch"]
    argv += ["--home", one.home, "--run", one.run_folder]
    with (
        open(f"{one.home}/watch.log", "wb") as log,
        subprocess.Popen(argv, stderr=log, start_new_session=True) as process,
    ):
        try:
            until(lambda: len(family(process.pid)) == 3, "the nursery and one eye are there")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def family(pid: int) -> dict[str, int]:
    """Give a process and its children by the names that they gave themselves."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = {}
    for child in children:
        with contextlib.suppress(OSError):  # one that was there between two eyes
            names[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
    eyes = {name: eye for name, eye in names.items() if name.startswith("offswitch-eye")}
    return {"watch": pid, **eyes}


def facts(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def has_shed(pid: int, uid: int, kept: int, groups: list[str]) -> None:
    """Assert that a process has this user, these capabilities, and no way to more."""
    until(lambda: facts(pid)["Seccomp"] == "2", "it has given its rights away")
    said = facts(pid)
    assert set(said["Uid"].split()) == set(said["Gid"].split()) == {str(uid)}
    assert said["Groups"].split() == groups
    assert int(said["CapEff"], 16) == int(said["CapPrm"], 16) == kept
    assert int(said["CapInh"], 16) == int(said["CapAmb"], 16) == 0
    assert int(said["CapBnd"], 16) == 0
    assert said["NoNewPrivs"] == "1"


def test_SR_4_each_process_of_ours_has_a_user_of_its_own_and_no_right_to_spare(
    one: Installation, watch: subprocess.Popen[bytes]
) -> None:
    pids = one.pids()
    has_shed(pids["observer"], ids.OBSERVER, 0, [])
    # This test's state lies below a closed folder, which the recorder must pass through.
    has_shed(pids["recorder"], ids.RECORDER, READ_SEARCH, [])
    group = str(os.stat(one.place.control).st_gid)
    has_shed(watch.pid, ids.WATCH, 0, [group])
    family_ = family(watch.pid)
    has_shed(family_["offswitch-eyes"], ids.WATCH, READ_SEARCH | PTRACE, [])
    has_shed(family_["offswitch-eye"], ids.WATCH, READ_SEARCH | PTRACE, [])
    assert {facts(pids[name])["Uid"].split()[0] for name in ("warden", "keeper")} == {"0"}
    assert os.geteuid() == 0
    assert os.stat("/root").st_mode & 0o007 == 0, "none of these could read our code by now"


def test_SR_4_watch_without_rights_still_sees_stops_and_records(
    one: Installation, watch: subprocess.Popen[bytes]
) -> None:
    one.run("sh", "-c", "for i in 1 2 3 4; do sleep 100 & done; wait", target="a")
    until(lambda: one.target("a")["confirmed"], "a rule stops it")
    [live] = one.status()["latched"]
    assert live["by"] == "rule:many"
    until(lambda: [each for each in one.entries() if each["kind"] == "decision"], "it is recorded")
    os.kill(family(watch.pid)["offswitch-eyes"], signal.SIGKILL)
    assert watch.wait(10) == 0, "without its nursery watch ends, to be started again whole"


def test_SR_4_with_warden_and_keeper_frozen_watch_leaves_a_name_in_the_spool(
    one: Installation, watch: subprocess.Popen[bytes]
) -> None:
    assert watch.poll() is None
    pids = one.pids()
    swarm = "until test -e go; do sleep 0.05; done; for i in 1 2 3 4; do sleep 100 & done; wait"
    one.run("sh", "-c", swarm, target="a")
    until(lambda: one.target("a")["signals"], "it is watched")
    try:
        for name in ("warden", "keeper"):
            os.kill(pids[name], signal.SIGSTOP)
        (one.work / "go").touch()
        until(lambda: os.listdir(one.place.spool), "a name is there")
        assert owner(f"{one.place.spool}/a") == ids.WATCH
    finally:
        for name in ("keeper", "warden"):
            os.kill(pids[name], signal.SIGCONT)
    until(lambda: one.target("a")["latched"], "and it is obeyed")


# --- what each could still do, were it taken over ----------------------------------

TRIES = """
import ctypes, json, os, signal, socket, subprocess, sys
how, home, run, victim = sys.argv[1:5]
from offswitch.control.place import Place
outside = [f"{home}/latch", f"{home}/installation", "/tmp/offswitch-test-never", "/dev/null"]
inside = {"recorder": f"{home}/ledger/x", "watch": f"{home}/evidence/x", "observer": None}[how]
fd = os.open(home, os.O_PATH)
if how == "recorder":
    from offswitch.ledger.ownership import become_recorder
    refused = become_recorder(home)
elif how == "observer":
    from offswitch.warden.observer.observer import become_observer
    refused = become_observer()
else:
    from offswitch.watch.settled import settle
    place, refused = settle(Place(home, run))
    inside = f"{place.home}/evidence/x"
assert refused == [], refused
libc = ctypes.CDLL(None, use_errno=True)
def works(call):
    try:
        return call() != -1
    except OSError:
        return False
def opened(path, flags):
    os.close(os.open(path, flags, 0o600))
families = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX,
            "netlink": socket.AF_NETLINK, "vsock": socket.AF_VSOCK}
tries = {
    "read what root alone may": lambda: opened("/etc/shadow", os.O_RDONLY),
    "read the ledger's key": lambda: opened(f"/proc/self/fd/{fd}/ledger/key", os.O_RDONLY),
    "read a one-time code": lambda: opened(f"/proc/self/fd/{fd}/people/x.code", os.O_RDONLY),
    **{f"write {path}": lambda path=path: opened(path, os.O_WRONLY | os.O_CREAT)
       for path in outside},
    "write its own": lambda: -1 if inside is None else opened(inside, os.O_WRONLY | os.O_CREAT),
    "run a program": lambda: subprocess.run(["/bin/true"]) and 0,
    "signal root's": lambda: os.kill(int(victim), 0),
    "trace": lambda: libc.ptrace(16, int(victim), 0, 0),
    "become root again": lambda: os.setuid(0),
    "unshare": lambda: libc.unshare(0x10000000),
    **{f"socket {name}": lambda family=family: socket.socket(family, socket.SOCK_DGRAM).close()
       for name, family in families.items()},
}
print(json.dumps([name for name, call in tries.items() if works(call)]))
"""


@pytest.mark.parametrize(
    ("how", "can"),
    [
        ("recorder", ["read the ledger's key", "write its own"]),
        ("observer", ["socket netlink"]),
        ("watch", ["write its own", "socket unix"]),
    ],
)
def test_SR_4_whoever_takes_it_over_can_do_its_work_and_nothing_else(
    one: Installation, how: str, can: list[str]
) -> None:
    one.start()
    until(lambda: os.path.exists(f"{one.home}/ledger/key"), "the ledger is there")
    os.mkdir(f"{one.home}/people", 0o700)
    Path(one.home, "people", "x.code").write_text("secret")
    argv = [sys.executable, "-I", "-c", TRIES, how, one.home, one.run_folder, str(os.getpid())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == can


def test_SR_4_without_landlock_a_user_without_rights_is_kept_out_all_the_same(
    one: Installation,
) -> None:
    """Three walls, and this is what the second holds where a kernel lacks the third."""
    one.start()
    until(lambda: os.path.exists(f"{one.home}/ledger/key"), "the ledger is there")
    program = TRIES.replace("libc = ", "libc = ", 1).replace(
        "outside = ",
        "import offswitch.control.landlock as l; l.confine_files = lambda **_: ''\noutside = ",
        1,
    )
    argv = [sys.executable, "-I", "-c", program, "watch", one.home, one.run_folder, "1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    can = set(json.loads(done.stdout))
    assert not {each for each in can if each.startswith(("read", "run", "trace", "become"))}


def test_SR_4_landlock_keeps_to_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            import ctypes  # noqa: PLC0415 - in a process of its own

            ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
            said = confine_files(write=[str(tmp_path / "in")], read=[str(tmp_path / "gone")])
            (tmp_path / "in" / "a").write_text("a")
            (tmp_path / "in" / "a").rename(tmp_path / "in" / "b")
            code = 2 if said else 0
            for forbidden in (tmp_path / "out" / "a", tmp_path / "a"):
                try:
                    forbidden.write_text("a")
                    code = 3
                except PermissionError:
                    continue
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_SR_4_the_filter_has_numbers_for_the_machines_that_servers_have(machine: str) -> None:
    for sockets in ("none", "any", 1):
        assert len(_program(machine, sockets, signals=False)) % 8 == 0
    with pytest.raises(KeyError):
        _program("z80", "none", signals=False)


# --- whose the ledger is ------------------------------------------------------------


def test_SR_4_a_ledger_that_was_roots_is_handed_over_and_goes_on(one: Installation) -> None:
    one.start()
    until(lambda: os.path.exists(f"{one.home}/pin/head"), "it has begun")
    one.stop("nobody")
    before = len(one.entries())
    assert one.warden is not None
    one.reset("nobody")
    one.warden.terminate()
    one.warden.wait(20)
    until(lambda: not os.path.exists(f"{one.home}/ledger/ledger.db-wal"), "it is closed")
    for folder in ("ledger", "pin"):
        os.chown(f"{one.home}/{folder}", 0, 0)
        for name in os.listdir(f"{one.home}/{folder}"):
            os.chown(f"{one.home}/{folder}/{name}", 0, 0)
    one.start()
    until(lambda: len(one.entries()) > before, "it is written on")
    for folder, mode in (("ledger", 0o700), ("pin", 0o755)):
        assert owner(f"{one.home}/{folder}") == ids.RECORDER
        assert stat.S_IMODE(os.stat(f"{one.home}/{folder}").st_mode) == mode
        for name in os.listdir(f"{one.home}/{folder}"):
            assert owner(f"{one.home}/{folder}/{name}") == ids.RECORDER, name
    assert stat.S_IMODE(os.stat(f"{one.home}/ledger/key").st_mode) == 0o600
    assert one.cli("ledger", "verify", "--json").returncode == 6, "consistent with its pin"


def owner(path: str) -> int:
    return os.lstat(path).st_uid


def test_SR_4_what_a_user_of_ours_planted_is_never_given_away(tmp_path: Path) -> None:
    needs_root()
    folder, treasure = tmp_path / "ledger", tmp_path / "treasure"
    folder.mkdir()
    treasure.write_text("root's")
    os.chown(folder, ids.RECORDER, ids.RECORDER)
    (folder / "key").symlink_to(treasure)
    os.link(treasure, folder / "ledger.db")
    (folder / "lock").write_text("")
    os.mkfifo(folder / "pipe")
    os.chown(folder / "lock", ids.RECORDER, ids.RECORDER)
    user = ids.User(4711, 4711)
    take_over(str(folder), user, 0o700)
    assert owner(str(folder)) == owner(str(folder / "lock")) == 4711
    assert treasure.stat().st_uid == 0
    os.chown(folder, 1234, 1234)
    with pytest.raises(PermissionError, match="it belongs to user 1234"):
        take_over(str(folder), user, 0o700)


def test_SR_4_users_that_were_installed_count_and_odd_lines_do_not(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text(
        "root:x:0:0::/:/bin/sh\noffswitch-watch:x:450:451::/:/bin/false\n"
        "offswitch-recorder:x:0:0::/:/bin/sh\noffswitch-observer\noffswitch-x:x:7:7::/:/\n"
    )
    found = ids.users(str(file))
    assert found["watch"] == ids.User(450, 451)
    assert found["recorder"].uid == ids.RECORDER, "never root"
    assert found["observer"].uid == ids.OBSERVER
    assert set(found) >= {"watch", "recorder", "observer", "gateway", "station"}
    assert all(uid > 1_879_048_191 for uid in ids.OURS), "beyond systemd's and subuid's ranges"


# --- rights by user -----------------------------------------------------------------

LOOK = {"ping", "status", "cells", "targets", "target", "alarms", "health"}
MAY = {
    ids.WATCH: LOOK | {"stop", "report"},
    ids.GATEWAY: LOOK | {"stop"},
    ids.STATION: LOOK | {"stop", "reset", "drill"},
    ids.OBSERVER: LOOK,
    ids.RECORDER: LOOK,
}
ASKED: dict[str, dict[str, Any]] = {
    **{name: {} for name in LOOK},
    "target": {"name": "a"},
    "stop": {"scopes": ["elsewhere"]},
    "report": {"signals": {}, "auto": [], "blind": [], "alarms": []},
    "reset": {"scope": "elsewhere", "reason": "a test"},
    "run": {"argv": ["true"], "target": "b"},
    "start": {"target": "a"},
    "declare": {"targets": []},
    "drill": {"do": "nothing"},
}


def asks(one: Installation, uid: int, gid: int) -> set[str]:
    """Have a process of that user ask for everything; give what was not refused to it."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([gid])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            for operation, more in ASKED.items():
                message = {"nonce": "0" * 32, "time_us": 1, "op": operation, **more}
                try:
                    with Conversation(one.place.warden_socket, 20) as conversation:
                        conversation.ask(message)
                except OffswitchError as error:
                    refused = "may not ask for" in error.message or "not allowed" in error.message
                    if refused or isinstance(error, Unreachable):
                        continue
                os.write(into, f"{operation} ".encode())
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(pid, 0)
    with open(out, encoding="ascii") as said:
        return set(said.read().split())


def test_SR_4_each_of_ours_may_ask_for_its_work_and_nothing_else(one: Installation) -> None:
    """By the kernel's word for who asks; the folder of the sockets is opened for the test."""
    one.start()
    one.run("sleep", "100", target="a")
    os.chmod(one.place.control, 0o755)
    os.chmod(one.place.warden_socket, 0o666)
    os.chmod(one.run_folder, 0o755)
    group = os.stat(one.place.control).st_gid
    assert {uid: asks(one, uid, group) for uid in MAY} == MAY
    assert asks(one, 0, 0) == ASKED.keys(), "whom they are measured by"
    assert asks(one, 4242, 4242) == set(), "a stranger"


def test_SR_4_only_watch_speaks_for_a_rule(one: Installation) -> None:
    one.start()
    os.chmod(one.place.control, 0o755)
    os.chmod(one.place.warden_socket, 0o666)
    os.chmod(one.run_folder, 0o755)
    group = (os.stat(one.place.control).st_gid,)
    for uid, by in ((ids.WATCH, "rule:x"), (ids.STATION, f"uid:{ids.STATION}")):
        scope = f"s{uid}"
        Person(one, uid, group).ask(
            {"op": "stop", "scopes": [scope], "channel": "rule", "by": "rule:x"}
        )
        [live] = [each for each in one.status()["latched"] if each["scope"] == scope]
        assert live["by"] == by


def test_SR_4_observer_and_recorder_cannot_even_reach_a_socket(one: Installation) -> None:
    one.start()
    os.chmod(one.run_folder, 0o711)
    for uid in (ids.OBSERVER, ids.RECORDER):
        answer = Person(one, uid, groups=()).ask({"op": "ping"})
        assert answer["error"]["kind"] == "unreachable"


def test_SR_4_no_target_runs_as_a_user_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_root()
    place, root = Place(str(tmp_path), str(tmp_path)), Peer(os.getpid(), 0, 0, ())
    daemon = account_of(place, root, "daemon", 0)
    monkeypatch.setattr(ids, "users", lambda: {"watch": ids.User(daemon.uid, daemon.gid)})
    with pytest.raises(Refused, match="daemon is the user of a process of ours"):
        account_of(place, root, "daemon", 0)

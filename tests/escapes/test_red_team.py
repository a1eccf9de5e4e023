"""The red team's hour: programs written to beat this very code, after reading it.

Each runs for real, is stopped for real, and this test counts for itself what lives and what
acts afterwards. What won when it was first run is closed, and its test fails without the
mending; what still wins is shown as that, and stands in the threat model as residual.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import offswitch
from hostile import QUIET_S, hostile
from installation import Installation, until
from needs import needs
from offswitch.guard import Guard
from offswitch.warden.cells import confine, users
from scale import runs
from stage import alive_as

PROGRAMS = ("dead_leader", "own_cgroups", "litter", "vfork_chain", "slow_to_die", "realtime")


def may_bound_mercy() -> bool:
    """Whether we have CAP_SYS_RESOURCE for the machine and not only for a namespace."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NICE)
    try:
        resource.setrlimit(resource.RLIMIT_NICE, (soft, hard + 1))
    except ValueError:
        return False
    resource.setrlimit(resource.RLIMIT_NICE, (soft, hard))
    return True


@pytest.mark.parametrize("program", PROGRAMS)
def test_ACT_7_no_program_of_the_red_team_outlives_its_stop(
    installation: Installation, program: str
) -> None:
    args = [installation.place.page] if program == "litter" else []
    for _run in range(runs(20)):
        with hostile(installation, program, *args) as target:
            if program == "own_cgroups":
                assert target.told("ANEW:") == "0"
                assert target.told("REACHED:") == "[]"
            if program == "realtime":
                # Without CAP_SYS_RESOURCE nobody can take the memory killer's mercy away.
                left = "[]" if may_bound_mercy() else "['mercy']"
                assert target.told("RAISED:") in {"[]", left}
            if program == "slow_to_die":  # at the lowest priority, on a machine that may be busy
                installation.press(target.name)
                until(lambda: installation.target(target.name)["state"] == "stopped", "it dies")
            else:
                target.stop()
            target.assert_dead()
    assert installation.answers()


def test_VER_3_a_brokers_job_whose_first_thread_is_dead_is_seen_and_swept(
    installation: Installation,
) -> None:
    """It won: /proc calls such a process a zombie, so every scan passed it over."""
    for _run in range(runs(20)):
        with hostile(installation, "idle") as target:
            target.stop()
            target.assert_dead()
            pid = target.broker("dead_leader")
            until(lambda: state_of(pid) == "Z" or is_over(pid), "its first thread is dead")  # noqa: B023
            os.waitpid(pid, 0)  # comes only when its last thread was killed
            target.assert_dead()


def state_of(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()[0]


def is_over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_a_process_is_dead_only_when_its_last_thread_is(installation: Installation) -> None:
    with hostile(installation, "dead_leader") as target:
        pid = int(target.running.born["pid"])
        until(lambda: state_of(pid) == "Z", "its first thread is dead")
        assert users.living_ids(target.uid) == [pid]
        assert alive_as(target.uid) == [pid]
        target.stop()
        assert users.living_ids(target.uid) == []


def test_ACT_7_no_rank_of_the_wardens_goes_to_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would win under a unit with LimitRTPRIO, whose limit a target would have inherited."""
    given: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(confine, "_limit", given.__setitem__)
    umask = os.umask(0o022)
    confine.follow(0)
    os.umask(umask)
    assert given[resource.RLIMIT_RTPRIO] == given[resource.RLIMIT_NICE] == (0, 0)


@pytest.mark.parametrize("user", [None, "nobody", "root"])
def test_ACT_7_nobody_can_ask_the_kernel_to_act_for_them_later(
    installation: Installation, user: str | None
) -> None:
    """It won: timers and writes in an io_uring came due in a freeze, and were done at the kill."""
    with hostile(installation, "later", user=user) as target:
        assert target.told("RING:") == os.strerror(errno.ENOSYS)
        target.stop("freeze")
        before = target.acts
        time.sleep(0.15)
        target.stop()
        time.sleep(QUIET_S)
        assert target.acts == before


def test_ACT_7_a_switch_inside_a_cell_holds_nothing(installation: Installation) -> None:
    """A warden, its keeper and helpers as a target's own children: they fall with it."""
    code = Path(installation.run_folder + "-code")
    shutil.copytree(Path(offswitch.__file__).parent, code / "offswitch")
    try:
        with hostile(installation, "own_switch", str(code)) as target:
            assert target.told("OWN:").startswith("None")
            until(lambda: len(alive_as(target.uid)) > 2, "its own warden runs")
            target.stop()
            target.assert_dead()
    finally:
        shutil.rmtree(code)


def test_SEC_3_a_forged_page_fools_the_forger_alone(installation: Installation) -> None:
    """Residual: a guard is cooperative. Nobody else reads that page, and the kill asks no guard."""
    with hostile(installation, "forger") as target:
        word = target.told("FORGED:")
        honest = Guard.from_page(installation.place.page, word)
        forged = Guard.from_page(str(target.folder / "forged"), word)
        assert honest.allowed()
        assert forged.allowed()
        installation.stop(target.name, level="restrict")
        assert not honest.allowed()
        assert forged.allowed(), "it lies to itself, and a lesser level than freeze is not held"
        target.stop()
        target.assert_dead()
        assert forged.allowed()


def test_SR_22_a_stolen_wake_up_delays_the_keeper_and_no_more(tmp_path: Path) -> None:
    """Residual: the sign of life can be stolen by whoever maps the page; the pidfd cannot."""
    one = Installation(tmp_path)
    try:
        one.start()
        with hostile(one, "wake_thief", user="nobody") as target:
            target.told("STOLEN:")
            one.kill_warden()
            folder = next(path for path in one.cgroups() if Path(path, "cgroup.events").exists())
            cell = Path(folder, str(target.running.born["cell"]), "cgroup.events")
            until(lambda: "frozen 1" in cell.read_text(), "the keeper has frozen it")
            before = target.acts
            time.sleep(QUIET_S)
            assert target.acts == before
            one.restart()
            target.stop()
    finally:
        one.close()
        shutil.rmtree(one.run_folder + "-acts", ignore_errors=True)


def test_SR_21_names_that_a_stranger_took_first_keep_nobody_from_a_user(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It won: a folder by the name of our counter of users, and nothing could be started."""
    counter = Path(f"/dev/shm/offswitch-red-team-{os.getpid()}")
    monkeypatch.setattr(users, "_COUNTER", str(counter))
    with hostile(installation, "squatter", str(counter), user="nobody") as target:
        assert target.told("TAKEN:") == str(counter)
        for _run in range(runs(20)):
            assert users.is_allotted(users.allot(installation.place))
        assert counter.is_file()
        assert counter.stat().st_uid == 0
        target.stop()
    counter.unlink()
    for aside in Path("/dev/shm").glob(counter.name + "-*"):
        shutil.rmtree(aside)


def test_a_program_that_lies_about_itself_commands_no_terminal(installation: Installation) -> None:
    """Names, arguments and reasons are shown; what is in them does not reach the terminal."""
    escape = "\x1b[2J\x1b]52;c;b3du\x07\r\n\u202eall is well\x9b2J"
    with hostile(installation, "liar", escape) as target:
        installation.stop(target.name, reason=escape)
        target.assert_dead()
        commands = (["status"], ["target", "show", target.name], ["target", "list"])
        commands += (["ledger", "show", "--all"], ["reset", target.name, "--reason", escape], [])
        for command in commands:
            said = installation.cli(*command)
            shown = said.stdout + said.stderr
            assert not set(shown) & set("\x1b\x07\r\x9b\u202e"), (command, shown)


@pytest.mark.long
def test_ACT_7_a_tracer_outside_keeps_the_dying_from_their_end_and_that_is_said(
    installation: Installation,
) -> None:
    """Residual, on a shared user: its tracer is not swept, and the kernel lets it hold the dead.

    What is held does not act; the stop is not confirmed as long as it is there, and is then.
    """
    with hostile(installation, "idle", user="nobody") as target:
        pid = int(target.running.born["pid"])
        tracer = os.fork()
        if tracer == 0:
            hold_at_exit(pid, target.uid)
        try:
            traced = f"TracerPid:\t{tracer}\n"
            until(lambda: traced in Path(f"/proc/{pid}/status").read_text(), "it is traced")
            answer = installation.stop(target.name)
            assert not answer["confirmed"]
            assert answer["targets"][0]["layers"][-1]["detail"] == "processes live in the cell"
            before = target.acts
            time.sleep(QUIET_S)
            assert target.acts == before
        finally:
            os.kill(tracer, signal.SIGKILL)
            os.waitpid(tracer, 0)
        until(lambda: installation.target(target.name)["state"] == "stopped", "it is seen dead")


def hold_at_exit(pid: int, uid: int) -> None:
    """Be a process outside of the cell that holds `pid` where it dies (PTRACE_O_TRACEEXIT)."""
    import ctypes  # noqa: PLC0415 - in the child alone

    with contextlib.suppress(BaseException):
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        libc = ctypes.CDLL(None)
        libc.ptrace(0x4206, pid, None, ctypes.c_long(1 << 6))  # SEIZE, with TRACEEXIT
        time.sleep(60)
    os._exit(0)


def test_what_is_told_of_a_target_is_one_line_of_json_each(installation: Installation) -> None:
    """A new line in a name, an argument or a reason makes no second entry."""
    with hostile(installation, "liar", '"}\n{"kind":"reset","scope":"/"}\n') as target:
        installation.stop(target.name, reason='x"}\n{"kind":"reset"}')
        said = installation.cli("ledger", "show", "--all", "--json").stdout
        entries = json.loads(said)
        rows = entries["entries"] if isinstance(entries, dict) else entries
        assert not any(row.get("kind") == "reset" for row in rows)


@pytest.fixture
def with_fuse(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation whose warden sees a /dev/fuse that is open to everybody, as is usual."""
    node = tmp_path / "fuse"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.stat("/dev/fuse").st_rdev)
        node.chmod(0o666)
        os.close(os.open(node, os.O_RDWR))
    except OSError as error:
        needs(None, f"/dev/fuse ({error.strerror})")
    one = Installation(tmp_path)
    bind = f'mount --bind {node} /dev/fuse && exec "$@"'
    one.program = ["unshare", "-m", "sh", "-c", bind, "sh", *one.program]
    try:
        yield one.start()
    finally:
        one.close()
        shutil.rmtree(one.run_folder + "-acts", ignore_errors=True)


def test_ACT_7_a_cell_of_its_own_cannot_serve_files_to_itself(with_fuse: Installation) -> None:
    """It won: its processes could not be killed, and nobody could ever reset its name."""
    with hostile(with_fuse, "own_files") as target:
        assert target.told("FUSE:") == "Permission denied"
        target.stop()
        target.assert_dead()


@pytest.mark.long
def test_ACT_7_who_serves_files_to_himself_does_not_act_and_is_not_called_stopped(
    with_fuse: Installation, tmp_path: Path
) -> None:
    """Residual, with --user: it waits in its own death until somebody aborts its file system."""
    control = tmp_path / "fusectl"
    control.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", control], check=True)
    before = set(os.listdir(control))
    try:
        with hostile(with_fuse, "own_files", user="nobody") as target:
            assert target.told("FUSE:") == "laid"
            answer = with_fuse.stop(target.name)
            assert not answer["confirmed"]
            acted = target.acts
            time.sleep(QUIET_S)
            assert target.acts == acted, "it is as good as dead"
            for connection in set(os.listdir(control)) - before:
                (control / connection / "abort").write_text("1")
            until(lambda: with_fuse.target(target.name)["state"] == "stopped", "it can die")
    finally:
        for connection in set(os.listdir(control)) - before:
            (control / connection / "abort").write_text("1")
        subprocess.run(["umount", control], check=True)

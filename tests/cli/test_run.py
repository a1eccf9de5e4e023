"""`offswitch run` around any program: its output, its signals and its exit code unharmed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
DIGEST = r"[0-9a-f]{64}"


@contextlib.contextmanager
def running(
    installation: Installation,
    *words: str,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `offswitch run WORDS` beside the test; at the end it is gone."""
    process = subprocess.Popen(
        [OFFSWITCH, "run", *words],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=installation.env,
        cwd=installation.work,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ran(
    installation: Installation, *words: str, data: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [OFFSWITCH, "run", *words],
        input=data,
        capture_output=True,
        env=installation.env,
        cwd=installation.work,
        timeout=60,
        check=False,
    )


def alive(installation: Installation, target: str) -> bool:
    rows = [row for row in installation.status()["targets"] if row["target"] == target]
    return bool(rows and rows[0]["pids"])


# --- exit codes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["no-such-program-anywhere"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_exit_code_is_the_targets_own(
    installation: Installation, words: list[str], code: int
) -> None:
    done = ran(installation, "--", *words)
    assert done.returncode == code, done.stderr
    assert (b"offswitch:" in done.stderr) == (code in {126, 127})


@pytest.mark.parametrize(
    "words", [[], ["--nope", "--", "true"], ["--target", "two words", "--", "true"]]
)
def test_125_is_every_refusal_of_ours(installation: Installation, words: list[str]) -> None:
    done = ran(installation, *words)
    assert done.returncode == 125
    assert b"next:" in done.stderr


def test_options_after_the_program_are_the_programs(installation: Installation) -> None:
    done = ran(installation, "sh", "-c", 'echo "$@"', "sh", "--target", "--json", "--help")
    assert done.stdout == b"--target --json --help\n"


# --- streams ----------------------------------------------------------------------


def test_stdin_stdout_and_stderr_pass_through_unchanged_byte_for_byte(
    installation: Installation, rng: object
) -> None:
    data = os.urandom(3_000_000)
    done = ran(installation, "--", "sh", "-c", "tee /dev/stderr", data=data)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert hashlib.sha256(done.stderr).digest() == hashlib.sha256(data).digest()


def test_a_reader_that_leaves_is_told_to_the_target_by_sigpipe(installation: Installation) -> None:
    with running(installation, "--target", "yes", "--", "yes") as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"y\ny\n"
        process.stdout.close()
        assert process.wait(20) == 128 + signal.SIGPIPE


def test_a_slow_reader_slows_down_the_target_and_nothing_piles_up(
    installation: Installation,
) -> None:
    count = "import os\nn=0\nwhile 1:\n n+=os.write(1,bytes(65536)); os.pwrite(3,b'%012d'%n,0)"
    script = f'exec 3>written; exec {PYTHON} -c "$0"'
    with running(installation, "--target", "fast", "--", "sh", "-c", script, count) as process:
        written = installation.work / "written"

        def settled() -> bool:
            before = written.read_bytes() if written.exists() else b""
            time.sleep(0.1)
            return bool(before) and before == written.read_bytes()

        until(settled, "the writer is held up")
        assert int(written.read_bytes()) < 2_000_000, "more was taken than anyone has read"
        assert process.stdout is not None
        assert len(process.stdout.read(4_000_000)) == 4_000_000
        until(lambda: int(written.read_bytes()) > 4_000_000, "it goes on when it is read")


def test_what_a_target_leaves_running_keeps_its_output_as_under_a_shell(
    installation: Installation,
) -> None:
    late = "(while [ ! -e go ]; do sleep 0.02; done; echo late) & echo early"
    with running(installation, "--target", "late", "--", "sh", "-c", late) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"early\n"
        assert process.wait(20) == 0, "run ends with its program"
        assert alive(installation, "late"), "what it left is under the switch"
        (installation.work / "go").touch()
        assert process.stdout.readline() == b"late\n"
        assert process.stdout.read() == b""


def test_raw_hands_the_callers_own_descriptors_on(installation: Installation) -> None:
    done = ran(
        installation, "--raw", "--target", "raw", "--", "sh", "-c", "readlink /proc/self/fd/1"
    )
    plain = ran(
        installation, "--target", "teed", "--", "sh", "-c", "echo seen; readlink /proc/self/fd/1"
    )
    assert done.stdout.startswith(b"pipe:")
    assert not Path(installation.home, "logs", "raw.log").exists()
    assert Path(installation.home, "logs", "teed.log").read_bytes() == plain.stdout


def test_the_log_is_capped_and_begins_again(installation: Installation) -> None:
    script = "head -c 9000000 /dev/zero; echo the end"
    assert ran(installation, "--target", "wordy", "--", "sh", "-c", script).returncode == 0
    log = Path(installation.home, "logs", "wordy.log").read_bytes()
    assert len(log) < 8 << 20
    assert log.endswith(b"the end\n")


# --- names ------------------------------------------------------------------------


def test_the_name_is_the_scripts_and_a_second_one_is_refused(installation: Installation) -> None:
    script = installation.work / "agent.py"
    script.write_text("import time; print('on', flush=True); time.sleep(60)")
    with running(installation, "--", PYTHON, "agent.py") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        assert alive(installation, "run/agent.py")
        second = ran(installation, "--", PYTHON, "agent.py")
        assert second.returncode == 125
        assert b"--target" in second.stderr


# --- signals ----------------------------------------------------------------------


def test_signals_to_run_go_to_the_target(installation: Installation) -> None:
    script = "trap 'echo usr1' USR1; trap 'echo int' INT; trap 'echo term; exit 7' TERM; echo on;"
    script += "while :; do sleep 0.02; done"
    with running(installation, "--target", "traps", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        told = [(signal.SIGUSR1, b"usr1\n"), (signal.SIGINT, b"int\n"), (signal.SIGTERM, b"term\n")]
        for number, line in told:
            process.send_signal(number)
            assert process.stdout.readline() == line
        assert process.wait(20) == 7


def test_the_end_of_run_hangs_the_target_up(installation: Installation) -> None:
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGHUP, lambda *_: sys.exit(open('hung-up', 'w').close()))\n"
        "print('on', flush=True)\n"
        "while True: signal.pause()\n"
    )
    with running(installation, "--target", "left", "--", PYTHON, "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.kill()
        until((installation.work / "hung-up").exists, "the target is hung up")
        until(lambda: not alive(installation, "left"), "it has ended")


def test_ctrl_z_stops_run_and_its_target_together(installation: Installation) -> None:
    script = "import os, time; print(os.getpid(), flush=True)\nwhile 1: time.sleep(0.01)"
    with running(installation, "--target", "paused", "--", PYTHON, "-c", script) as process:
        assert process.stdout is not None
        leader = process.stdout.readline().decode().strip()

        def state(pid: int | str) -> str:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

        process.send_signal(signal.SIGTSTP)
        both = f"{process.pid} {leader}"
        until(lambda: state(process.pid) == "T" and state(leader) == "T", f"{both} are stopped")
        process.send_signal(signal.SIGCONT)
        until(lambda: state(process.pid) != "T" and state(leader) != "T", "both go on")


# --- stops ------------------------------------------------------------------------


def test_a_stopped_target_ends_run_with_137_and_the_orders_digest(
    installation: Installation,
) -> None:
    with running(installation, "--target", "stopped", "--", "sleep", "600") as process:
        until(lambda: alive(installation, "stopped"), "it runs")
        order = installation.stop("stopped")["order"]
        _out, err = process.communicate(timeout=20)
        assert process.returncode == 137, err
        assert order.encode() in err
    refused = ran(installation, "--target", "stopped", "--", "true")
    assert refused.returncode == 125
    assert b"latched" in refused.stderr
    assert b"offswitch reset stopped" in refused.stderr
    assert installation.reset("stopped")["state"] == "done"


def test_the_relay_goes_on_when_the_warden_is_lost_and_another_one_comes(
    tmp_path: Path,
) -> None:
    """The keeper freezes it, the next warden thaws it; its output never had to be given up."""
    made = Installation(tmp_path)
    try:
        made.start()
        script = "n=0; while [ ! -e end ]; do n=$((n+1)); echo $n; sleep 0.02; done; exit 3"
        with running(made, "--target", "carried", "--", "sh", "-c", script) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"1\n"
            made.kill_warden()
            made.restart()
            lines = [int(process.stdout.readline()) for _ in range(50)]
            assert lines == list(range(2, 52)), "no line is lost or doubled"
            (made.work / "end").touch()
            _out, err = process.communicate(timeout=20)
            assert process.returncode == 125, "how it ended only the lost warden could know"
            assert b"the warden is gone" in err
    finally:
        made.close()


def test_SR_23_an_end_that_nobody_saw_is_told_once_while_others_hold_the_output(
    tmp_path: Path,
) -> None:
    """Warden and keeper are lost, more than once; the target lives on, and then ends."""
    made = Installation(tmp_path)
    try:
        made.start()
        script = "sleep 600 & echo $$; while [ ! -e end ]; do sleep 0.02; done"
        with running(made, "--target", "lost", "--", "sh", "-c", script) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(2):
                os.kill(made.pids()["keeper"], signal.SIGKILL)
                made.kill_warden()
                time.sleep(0.2)
                assert process.poll() is None, "its target lives, whoever is lost"
                made.restart()
            assert alive(made, "lost")
            (made.work / "end").touch()
            assert process.wait(30) == 125
            made.stop("lost")  # the process that holds the output
            _out, err = process.communicate(timeout=20)
            assert err.count(b"how is not known") == 1, err
    finally:
        made.close()


def test_a_run_needs_no_warden_beforehand(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    try:
        done = ran(made, "--", "echo", "hello")
        assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
        pid = int(made.ask({"op": "ping"})["pid"])
        assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0), "a session of its own"
        made._note_helpers()
        made._helpers.add(pid)
    finally:
        made.close()


def test_a_warden_that_cannot_come_up_is_named_with_its_reason(tmp_path: Path) -> None:
    made = Installation(tmp_path)
    try:
        Path(made.home).write_text("a file where a folder should be")
        done = ran(made, "--", "true")
        assert done.returncode == 125
        assert made.home.encode() in done.stderr
    finally:
        made.close()


def test_what_start_needs_is_for_its_owner_alone(installation: Installation) -> None:
    ran(installation, "--target", "secretive", "--", "sh", "-c", "exit 0", "--token=hush")
    spec = Path(installation.home, "targets", "secretive.json")
    assert spec.stat().st_mode & 0o777 == 0o600
    assert json.loads(spec.read_text())["argv"][-1] == "--token=hush"

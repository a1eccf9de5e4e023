"""A birth: in its cell before its first instruction, with nothing of the warden left on it."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios
import time

import pytest

from offswitch.errors import Storage
from offswitch.warden.cells import birth
from offswitch.warden.cells.limits import Limits
from stage import PYTHON, Stage, until

STATUS = ["cat", "/proc/self/status"]


def status_of(stage: Stage, argv: list[str] = STATUS, **options: object) -> dict[str, str]:
    actor = stage.bear(argv, **options)  # type: ignore[arg-type]
    assert stage.failure(actor) is None
    assert actor.wait() == 0
    lines = (line.split(":", 1) for line in actor.said().splitlines())
    return {line[0]: line[1].strip() for line in lines}


def test_ACT_7_a_target_is_born_with_no_privilege_left(stage: Stage) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        status = status_of(stage)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    uid = str(stage.actors[0].cell.uid)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {uid}
    assert status["Groups"] == ""
    assert status["NoNewPrivs"] == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigIgn", "SigBlk"):
        assert int(status[name], 16) == 0, name


def test_no_descriptor_of_ours_is_inherited_not_even_one_that_is_not_close_on_exec(
    stage: Stage,
) -> None:
    leak, other = os.pipe()
    os.set_inheritable(leak, True)
    os.dup2(leak, 200)
    actor = stage.bear(["ls", "/proc/self/fd"])
    actor.wait()
    for fd in (leak, other, 200):
        os.close(fd)
    assert actor.said().split() == ["0", "1", "2", "3"]  # 3 is ls reading the folder itself


def test_an_allotted_birth_has_a_keyring_a_session_and_a_group_of_its_own(stage: Stage) -> None:
    actor = stage.bear(["cat", "/proc/self/stat"])
    actor.wait()
    words = actor.said().rpartition(")")[2].split()
    assert words[2] == words[3] == str(actor.birth.pid)
    assert words[4] == "0", "no terminal"


def test_a_real_time_warden_that_the_memory_killer_spares_bears_ordinary_children(
    stage: Stage,
) -> None:
    program = (
        "import os; print(os.sched_getscheduler(0), os.nice(0), os.umask(0),"
        " open('/proc/self/oom_score_adj').read())"
    )
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        before = file.read()
    adjust("-1")
    umask = os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    try:
        actor = stage.bear([PYTHON, "-c", program])
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        os.umask(umask)
        adjust(before)
    actor.wait()
    assert actor.said().split() == ["0", "0", str(0o022), "0"]


def adjust(value: str) -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(value)
    except PermissionError:
        pass  # no CAP_SYS_RESOURCE here: then there is nothing to be inherited


def test_limits_umask_and_niceness_are_those_of_who_asked(stage: Stage) -> None:
    asks = subprocess.Popen(
        [
            "bash",
            "-c",
            "ulimit -n 777; ulimit -Sc 0; umask 027; renice -n 5 $$ >&2; echo; sleep 60",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert asks.stdout is not None
    asks.stdout.readline()
    show = ["bash", "-c", "ulimit -n; ulimit -Hn; umask; nice"]
    actor = stage.bear(show, caller=asks.pid)
    actor.wait()
    assert actor.said().split() == ["777", "777", "0027", "5"]
    asks.kill()
    asks.communicate()
    nobody = stage.bear(show, caller=asks.pid)
    nobody.wait()
    assert nobody.said().split()[0] == "1024"
    assert nobody.said().split()[2:] == ["0022", "0"]


def test_a_folder_as_input_is_refused(stage: Stage) -> None:
    """From a folder outside one could climb out of the workspace."""
    fd = os.open("/", os.O_RDONLY)
    actor = stage.bear(["true"], stdin=fd)
    os.close(fd)
    failure = stage.failure(actor)
    assert failure is not None
    assert (failure.kind, failure.exit_code) == ("refused", 125)


def test_the_environment_names_the_page_and_nothing_else_of_ours(stage: Stage) -> None:
    env = {
        "PATH": "/usr/bin",
        "OFFSWITCH_HOME": "/h",
        "OFFSWITCH_RUN": "/r",
        "OFFSWITCH_CONFIG": "/c",
        "TOKEN": "hers",
    }
    actor = stage.bear(["env"], env=env, page="/some/page", word=7)
    actor.wait()
    found = dict(line.split("=", 1) for line in actor.said().splitlines())
    assert found.pop("PWD") == str(actor.folder)
    assert found == {
        "PATH": "/usr/bin",
        "TOKEN": "hers",
        "OFFSWITCH_PAGE": "/some/page",
        "OFFSWITCH_WORD": "7",
    }


@pytest.mark.parametrize(
    ("argv", "code", "kind"),
    [
        (["no-such-program"], 127, "not-found"),
        (["/no/such/program"], 127, "not-found"),
        (["/etc/passwd"], 126, "refused"),
        (["/"], 126, "refused"),
        (["nul\0byte"], 125, "usage"),
    ],
)
def test_a_birth_that_fails_says_why_and_with_the_code_of_a_shell(
    stage: Stage, argv: list[str], code: int, kind: str
) -> None:
    actor = stage.bear(argv)
    failure = stage.failure(actor)
    assert failure is not None
    assert (failure.exit_code, failure.kind) == (code, kind)
    assert failure.hint or kind == "usage"
    assert os.waitstatus_to_exitcode(actor.wait()) == code


def test_a_folder_that_cannot_be_entered_is_named(stage: Stage) -> None:
    actor = stage.bear(["true"], cwd="/root")
    failure = stage.failure(actor)
    assert failure is not None
    assert failure.exit_code == 125
    assert "/root" in failure.message


def test_a_found_but_forbidden_program_beats_a_missing_one(stage: Stage) -> None:
    folder = stage.folder()
    (folder / "tool").write_text("#!/bin/sh\n")
    actor = stage.bear(["tool"], env={"PATH": f"{folder}:/nowhere"})
    failure = stage.failure(actor)
    assert failure is not None
    assert failure.exit_code == 126


def test_a_stop_between_fork_and_exec_reaches_the_child(stage: Stage) -> None:
    """The child waits at its gate in the cell: a kill at once after `spawn` leaves nothing."""
    for _ in range(5):
        actor = stage.bear(["sleep", "100"])
        actor.cell.kill()
        assert os.WTERMSIG(actor.wait()) == signal.SIGKILL
        assert actor.cell.populated() is False


def test_a_child_whose_cell_cannot_be_entered_never_runs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = stage.cell()
    monkeypatch.setattr(cell, "enter", refuse)
    folder = stage.folder()
    spec = birth.Spec(
        argv=("touch", str(folder / "ran")),
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        fds=(0, 1, 2),
        uid=cell.uid,
        gid=cell.uid,
    )
    with pytest.raises(Storage, match="nothing could be started"):
        birth.spawn(cell, spec)
    _pid, status = os.waitpid(-1, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 125
    assert not (folder / "ran").exists()
    assert cell.remove()
    cell.close()


def refuse(_pid: int) -> None:
    raise OSError(28, "No space left on device")


def test_limits_hold_a_fork_bomb_at_its_cap(stage: Stage) -> None:
    actor = stage.play("fork_bomb", limits=Limits(processes=20))
    until(lambda: len(actor.cell.pids()) >= 20, "it reaches its cap")
    time.sleep(0.05)
    assert len(actor.cell.pids()) <= 20
    assert actor.cell.held.processes in {"cgroup v1", "cgroup v2"}


def test_limits_on_memory_end_what_exceeds_them_and_nothing_else(stage: Stage) -> None:
    limits = Limits(processes=20, memory=64 << 20)
    program = "b = bytearray(256 << 20); print(len(b))"
    actor = stage.bear([PYTHON, "-c", program], limits=limits)
    assert actor.cell.held.memory in {"cgroup v1", "cgroup v2"}
    assert os.WIFSIGNALED(actor.wait())
    small = stage.bear([PYTHON, "-c", "print(len(bytearray(8 << 20)))"], limits=limits)
    assert small.wait() == 0


class Terminal:
    """A pty, and what came out of it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.text = b""

    def read(self) -> str:
        try:
            self.text += os.read(self.master, 65536)
        except OSError:
            pass
        return self.text.decode(errors="replace")

    def close(self) -> None:
        for fd in (self.master, self.slave):
            os.close(fd)


TYPIST = """
import fcntl, termios
answers = []
for fd in (0, 1, 2):
    for char in b"reset\\n":
        try:
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([char]))
            answers.append("typed")
        except OSError as error:
            answers.append(str(error.errno))
try:
    open("/dev/tty", "w")
    answers.append("tty")
except OSError:
    answers.append("no tty")
try:
    fcntl.ioctl(0, termios.TIOCSCTTY, 1)
    answers.append("stolen")
except OSError:
    answers.append("not stolen")
open("answers", "w").write(" ".join(answers))
"""


def test_SR_14_a_child_cannot_type_into_the_terminal_of_the_caller(stage: Stage) -> None:
    """The caller's own terminal as all three descriptors: the worst that a caller can pass."""
    person = Terminal()
    shell = os.fork()
    if shell == 0:  # the person's shell, whose terminal it is
        os.setsid()
        fcntl.ioctl(person.slave, termios.TIOCSCTTY, 0)
        time.sleep(60)
        os._exit(0)
    fds = (person.slave,) * 3
    actor = stage.bear([PYTHON, "-c", TYPIST], fds=fds)
    assert stage.failure(actor) is None
    actor.wait()
    answers = (actor.folder / "answers").read_text()
    assert "typed" not in answers
    assert "no tty not stolen" in answers
    assert input_waiting(person.slave) == 0
    os.kill(shell, signal.SIGKILL)
    os.waitpid(shell, 0)
    person.close()


def test_SR_14_with_a_terminal_of_its_own_a_child_types_to_itself_alone(stage: Stage) -> None:
    """A pty that nobody had: it becomes the target's, and what is typed there stays there."""
    own, person = Terminal(), Terminal()
    os.fchown(own.slave, 0, -1)
    fds = (own.slave,) * 3
    program = "tty; stty size; test -w /dev/tty && echo its own; " + f"{PYTHON} -c '{TYPIST}'"
    fcntl.ioctl(own.master, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 99, 0, 0))
    actor = stage.bear(["bash", "-c", program], fds=fds, tty=True, peer_uid=0)
    assert stage.failure(actor) is None
    actor.wait()
    assert "31 99" in own.read()
    assert "its own" in own.read()
    assert os.fstat(own.slave).st_uid == actor.cell.uid
    assert input_waiting(person.slave) == 0
    own.close()
    person.close()


def test_SR_14_a_terminal_of_another_session_is_refused(stage: Stage) -> None:
    person = Terminal()
    shell = os.fork()
    if shell == 0:
        os.setsid()
        fcntl.ioctl(person.slave, termios.TIOCSCTTY, 0)
        time.sleep(60)
        os._exit(0)
    until(lambda: os.tcgetpgrp(person.master), "the shell has its terminal")
    actor = stage.bear(["true"], fds=(person.slave,) * 3, tty=True)
    failure = stage.failure(actor)
    assert failure is not None
    assert failure.kind == "refused"
    os.kill(shell, signal.SIGKILL)
    os.waitpid(shell, 0)
    person.close()


def test_SR_14_uid_0_gets_no_terminal_that_is_not_its_own(stage: Stage) -> None:
    person = Terminal()
    actor = stage.bear(["true"], uid=0, fds=(person.slave,) * 3)
    failure = stage.failure(actor)
    assert failure is not None
    assert failure.kind == "refused"
    assert "TIOCSTI" in failure.message
    person.close()


def test_a_terminal_that_is_somebody_elses_is_not_handed_over(stage: Stage) -> None:
    """Only the terminal of who asked is given to the target: its owner says whose it is."""
    terminal = Terminal()
    os.fchown(terminal.slave, 12345, -1)
    actor = stage.bear(["true"], fds=(terminal.slave,) * 3, tty=True, peer_uid=1000)
    stage.failure(actor)
    assert os.fstat(terminal.slave).st_uid == 12345
    terminal.close()


def input_waiting(fd: int) -> int:
    buffer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int(struct.unpack("i", buffer)[0])

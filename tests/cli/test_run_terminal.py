"""`offswitch run` from a terminal: the target has one of its own, and the person's is safe."""

from __future__ import annotations

import os
import re
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.keyboard import Keyboard
from installation import PYTHON, Installation, until

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"

TIOCSTI = """
import fcntl, glob, os, sys, termios
text = sys.argv[1] + chr(10)
def press(fd):
    done = 0
    for key in text.encode():
        try:
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([key])); done += 1
        except OSError:
            pass
    return done
pressed = {fd: press(fd) for fd in (0, 1, 2)}
for path in ["/dev/tty", "/dev/console", *glob.glob("/dev/pts/*"), *glob.glob("/dev/tty[0-9]*")]:
    try:
        pressed[path] = press(os.open(path, os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        pressed[path] = error.errno
print("PRESSED", pressed, flush=True)
"""
"""A child that types into every terminal that it can reach, as was seen to work elsewhere."""

EDITOR = """
import tty
tty.setraw(0)
print("\\x1b[?1049h\\x1b[?25lfullscreen", flush=True)
input()
"""


@pytest.fixture
def person(installation: Installation) -> Iterator[Keyboard]:
    path = f"{os.path.dirname(OFFSWITCH)}:/usr/bin:/bin"
    env = {**installation.env, "PATH": path}
    with Keyboard(env, str(installation.work)) as keyboard:
        keyboard.expect("outer> ")
        yield keyboard


def test_an_interactive_shell_works_on_a_terminal_of_its_own(person: Keyboard) -> None:
    person.type("tty\n")
    own = re.search(r"/dev/pts/\d+", person.expect("outer> "))
    assert own is not None
    person.resize(33, 101)
    person.type("offswitch run --target shell -- env PS1=within: bash --norc --noprofile\n")
    person.expect("hwithin:")
    sleeper = f"{PYTHON} -c 'import time; print(6*7, flush=True); time.sleep(600)'"
    person.type(f"tty; stty size; {sleeper}\n")
    shown = person.expect("42\r\n")
    assert "/dev/pts/" in shown
    assert own[0] not in shown.split(), "it is another terminal than the person's"
    assert "33 101" in shown
    person.type("\x03")  # ^C ends the sleep and not the shell
    person.expect("hwithin:")
    person.type(f"{sleeper}\n")
    person.expect("42\r\n")
    person.type("\x1a")  # ^Z is the inner shell's business
    person.expect("Stopped")
    person.type("exit 7\n")
    person.expect("There are stopped jobs")
    person.type("exit 7\n")
    person.expect("outer> ")
    person.type("echo code=$?\n")
    person.expect("code=7")


def test_a_new_size_reaches_the_target(person: Keyboard) -> None:
    script = (
        "import os, signal as s; s.pthread_sigmask(s.SIG_BLOCK, [s.SIGWINCH]); print(6*7, flush=1);"
        "s.sigwait([s.SIGWINCH]); print(os.get_terminal_size(), flush=True)"
    )
    person.type(f'offswitch run --target sized -- {PYTHON} -c "{script}"\n')
    person.expect("\r42\r\n")
    person.resize(50, 132)
    person.expect("columns=132, lines=50")
    person.expect("outer> ")


def test_ctrl_z_stops_a_target_without_job_control_of_its_own_and_fg_goes_on(
    person: Keyboard,
) -> None:
    person.type(f"offswitch run --target looper -- {PYTHON} -c 'input(); print(6*7)'\n")
    until(lambda: _pids(person, "looper"), "it runs")
    person.type("\x1a")
    person.expect("Stopped")
    person.expect("outer> ")
    person.type("fg\n")
    person.expect("fg\r\n")
    person.type("\n")
    person.expect("42\r\n")
    person.expect("outer> ")


def _stty(person: Keyboard) -> str:
    """Ask the person's shell for the mode of their terminal."""
    person.type("stty -g; echo mode=$((6*7))\n")
    found = re.search(r"[0-9a-f]+(:[0-9a-f]+){10,}", person.expect("mode=42\r\n"))
    assert found is not None
    person.expect("outer> ")
    return found[0]


def alive(installation: Installation, target: str) -> bool:
    rows = [row for row in installation.status()["targets"] if row["target"] == target]
    return bool(rows and rows[0]["pids"])


def _pids(person: Keyboard, target: str) -> bool:
    """Tell by /proc whether a program of that relay runs (no second shell is at hand)."""
    name = f"--target\0{target}\0".encode()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if name in words and termios.tcgetattr(person.fd)[3] & termios.ICANON == 0:
            return True
    return False


def test_redirected_output_is_no_terminals_output(
    person: Keyboard, installation: Installation
) -> None:
    person.type(
        "offswitch run --target filed -- sh -c 'echo one; echo two >&2; test -t 1; echo $?' > out\n"
    )
    person.expect("two\r\n")
    person.expect("outer> ")
    assert (installation.work / "out").read_bytes() == b"one\n1\n"


def test_a_job_in_the_background_runs_on_and_comes_to_the_front(person: Keyboard) -> None:
    person.type("stty -a | tr ';' '\\n' | md5sum\n")
    before = re.search(r"[0-9a-f]{32}", person.expect("outer> "))
    person.type("offswitch run --target behind -- cat &\n")
    person.expect("outer> ")
    person.type("echo still ours; stty -a | tr ';' '\\n' | md5sum\n")
    person.expect("still ours\r\n")
    assert before is not None
    assert before[0] in person.expect("outer> "), "nobody touched the mode of the terminal"
    person.type("fg\n")
    person.expect("run --target behind")
    until(lambda: not termios.tcgetattr(person.fd)[3] & termios.ICANON, "it is in front")
    person.type("echoed\n\x04")
    person.expect("echoed\r\nechoed\r\n")
    person.expect("outer> ")


def test_a_stop_puts_the_terminal_back_and_names_the_order(
    person: Keyboard, installation: Installation
) -> None:
    before = _stty(person)
    script = installation.work / "editor.py"
    script.write_text(EDITOR)
    person.type(f"offswitch run --target editor -- {PYTHON} editor.py\n")
    person.expect("fullscreen")
    order = installation.stop("editor")["order"]
    shown = person.expect("outer> ")
    assert order in shown.replace("\r\n", "")
    assert "\x1b[?25h" in shown, "the cursor is shown again"
    assert "\x1b[?1047l" in shown, "the second screen is left"
    person.type("echo code=$?\n")
    person.expect("code=137")
    assert _stty(person) == before
    assert installation.reset("editor")["state"] == "done"


def test_a_killed_relay_takes_the_target_with_it(
    person: Keyboard, installation: Installation
) -> None:
    person.type("offswitch run --target orphan -- sleep 600 &\n")
    person.expect("outer> ")
    until(lambda: alive(installation, "orphan"), "it runs")
    person.type("kill -9 %1\n")
    until(lambda: not alive(installation, "orphan"), "it is hung up")


@pytest.mark.parametrize("where", ["terminal", "pipe", "raw"])
def test_SR_14_a_typed_TIOCSTI_reaches_no_terminal_but_its_own(
    person: Keyboard, installation: Installation, where: str
) -> None:
    """The kernel here would allow it; what keeps it out is that no descriptor of ours goes in."""
    script = installation.work / "tiocsti.py"
    script.write_text(TIOCSTI)
    planted = installation.work / f"typed-{where}"
    words = {"terminal": "", "pipe": "< /dev/null", "raw": "< /dev/null"}[where]
    flag = "--raw" if where == "raw" else ""
    command = (
        f"offswitch run {flag} --target typist -- {PYTHON} tiocsti.py 'touch {planted}' {words}\n"
    )
    person.type(command)
    person.expect("PRESSED")
    person.expect("outer> ")
    person.type("echo the shell has read everything\n")
    person.expect("read everything\r\n")
    person.expect("outer> ")
    assert not planted.exists(), "the target typed a command into the person's shell"

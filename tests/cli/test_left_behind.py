"""Where no warden runs: all is quiet after a planned end, and never after a loss that counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.emergency import Done, answer
from cli.person import Person
from installation import Installation, until
from needs import needs_root

SLEEP = ("sleep", "1000")


def planned(installation: Installation) -> None:
    """End the warden as its planned end does, or a `systemctl stop`."""
    assert installation.warden is not None
    installation._note_helpers()
    installation.warden.send_signal(signal.SIGTERM)
    assert installation.warden.wait(20) == 0


def killed(installation: Installation) -> None:
    installation.kill_everything()


def told(done: Done) -> str:
    """Give what was said as one line, however it was wrapped."""
    return " ".join((done.stdout + done.stderr).split())


Way = Callable[[Installation], None]
BOTH = pytest.mark.parametrize("ends", [planned, killed])


@BOTH
def test_a_warden_that_left_nothing_is_no_alarm(fresh: Installation, ends: Way) -> None:
    """What every newcomer does ten seconds after a run: look."""
    fresh.stop("gone")
    assert fresh.reset("gone")["state"] == "done"
    ends(fresh)
    bare = fresh.cli()
    assert (bare.returncode, bare.stdout.splitlines()[0]) == (
        0,
        "Nothing runs under the switch here.",
    )
    listed = fresh.cli("target", "list")
    assert (listed.returncode, listed.stderr) == (0, "")


def test_a_planned_end_leaves_no_socket_behind(fresh: Installation) -> None:
    planned(fresh)
    assert os.listdir(fresh.place.control) == []


@BOTH
def test_what_a_warden_left_latched_is_unknown_everywhere(fresh: Installation, ends: Way) -> None:
    fresh.stop("shop/eu")
    ends(fresh)
    for words in ((), ("target", "list"), ("status",)):
        done = fresh.cli(*words)
        assert done.returncode == 4, words
        assert "1 stop latched there" in told(done)
    assert fresh.cli().stdout.startswith(f"NO ANSWER from {fresh.run_folder}")
    assert answer(fresh.cli("status", "--json"))["installations"] == [
        {"installation": fresh.run_folder, "rung": "unknown", "state": "unreachable"}
    ]


def test_SR_16_a_latch_that_only_the_disk_still_has_is_unknown(fresh: Installation) -> None:
    """As after a reboot, which empties the run folder."""
    fresh.stop("shop/eu")
    until(lambda: fresh.status()["latched"][0]["durable"], "it is on the disk")
    planned(fresh)
    for name in (*os.listdir(fresh.place.control), "../page", "../latch", "../cells.json"):
        os.unlink(f"{fresh.place.control}/{name}")
    assert fresh.cli().returncode == 4
    Path(fresh.place.latch).write_bytes(b"garbled")
    assert "its latch cannot be read" in told(fresh.cli())


def test_a_cell_that_outlived_its_warden_is_unknown(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="a")
    killed(fresh)
    done = fresh.cli()
    assert (done.returncode, done.stdout[:9]) == (4, "NO ANSWER")
    assert "1 cell may still live there" in told(done)


def test_a_stop_that_nobody_has_obeyed_yet_is_unknown(fresh: Installation) -> None:
    planned(fresh)
    Path(fresh.place.spool, "all").touch()
    done = fresh.cli()
    assert done.returncode == 4
    assert "a stop in its spool" in told(done)


DEAD = "import socket; socket.socket(socket.AF_UNIX).bind('/run/offswitch/control/warden')"


def test_SR_7_a_run_goes_past_a_dead_system_warden_to_an_own_one() -> None:
    """The socket's file is there and may be opened; nobody listens."""
    needs_root()
    with Person() as person:
        script = (
            "mount -t tmpfs none /run && mkdir -p /run/offswitch/control"
            f' && {sys.executable} -c "{DEAD}" && chmod 0777 /run/offswitch/control/warden'
            ' && exec "$@"'
        )
        around = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        own = {k: v for k, v in person.env.items() if k != "OFFSWITCH_RUN"}
        done = subprocess.run(
            [*around, *person.command("offswitch", "run", "--", "true")],
            env=own,
            cwd=person.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert os.path.exists(f"{person.home}/state/run/page") or os.path.exists(
            f"{person.home}/state/run/control/warden"
        )


def test_who_may_not_speak_to_a_warden_is_told_which_group_may(tmp_path: Path) -> None:
    needs_root()
    made = Installation(tmp_path, gid=47_111)
    try:
        made.start()
        with Person() as person:
            person.env["OFFSWITCH_RUN"] = made.run_folder
            for words in (("status",), ("target", "list"), ("stop", "a"), ("run", "--", "true")):
                done = person.run("offswitch", *words)
                told = done.stderr.decode()
                assert "you may not speak to" in told, words
                assert "the group 47111" in told, words
                assert done.returncode == (125 if words[0] == "run" else 4)
    finally:
        made.close()

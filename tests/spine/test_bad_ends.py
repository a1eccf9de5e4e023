"""The warden is told to end at a bad moment: what was accepted an instant before is not lost."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from disk import freezable, frozen
from installation import Installation, until
from reboot import wipe
from straced import Strace


def test_RST_1_a_stop_accepted_just_before_its_warden_ends_survives_a_reboot(
    installation: Installation,
) -> None:
    """The disk's thread is slow; the warden is told to end as soon as the stop is accepted."""
    assert installation.warden is not None
    slow = ("-f", "-o", "/dev/null", "-e", "trace=pwrite64")
    strace = Strace(installation, *slow, "-e", "inject=pwrite64:delay_enter=300000")
    accepted = installation.press("nobody")
    installation.warden.terminate()
    installation.warden.wait(10)
    strace.end()
    wipe(installation)
    installation.restart()
    assert [live["digest"] for live in installation.status()["latched"]] == [accepted["order"]]


@pytest.mark.long
def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with freezable(tmp_path / "home", tmp_path / "disk") as home:
        one = Installation(tmp_path)
        try:
            one.start()
            assert one.warden is not None
            lock = os.open(one.place.lock, os.O_RDWR | os.O_CLOEXEC)
            with frozen(home):
                one.press("nobody")
                one.warden.terminate()
                until(lambda: is_free(lock), "it has let go of the run folder", 5)
            os.close(lock)
            one.warden.wait(10)
            one.restart()
            assert len(one.status()["latched"]) == 1, "it was on tmpfs all along"
        finally:
            one.close()


def is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True

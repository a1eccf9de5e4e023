"""What cron, `at` and sshd do: outside every cell, run something as a target's user."""

from __future__ import annotations

import subprocess
import time

from installation import Installation


def job_of(installation: Installation, uid: int) -> subprocess.Popen[str]:
    """Begin a job of `uid` that lives until it is killed; give it once it bears that user."""
    job = subprocess.Popen(
        ["sleep", "1000"], user=uid, group=uid, extra_groups=[], start_new_session=True, text=True
    )
    installation.children.append(job)
    return job


def ended_by(job: subprocess.Popen[str], seconds: float = 10.0) -> int:
    """Give the signal that ends it."""
    return -job.wait(seconds)


def lives(job: subprocess.Popen[str], seconds: float = 0.1) -> bool:
    """Whether it goes on living for a while."""
    time.sleep(seconds)
    return job.poll() is None

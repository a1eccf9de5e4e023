"""A drill on the rungs that an ordinary user has: fewer layers, and the truth of each (SR-25)."""

from __future__ import annotations

import json
import os
import sys

import pytest

from host import Host, booted
from installation import until

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"


def _running(host: Host, user: str) -> bool:
    done = host.run([OFFSWITCH, "status", "--json"], user=user)
    rows = json.loads(done.stdout or "{}").get("targets", [])
    return any(row["state"] == "running" for row in rows)


@pytest.mark.long
def test_DRL_1_SR_25_an_ordinary_user_drills_what_their_rung_has() -> None:
    with booted() as host:
        host.add_user("ann", lingering=True)
        host.add_user("bob")
        host.sh("umount /proc/sys/kernel/random/boot_id")
        for user in ("ann", "bob"):
            command = [OFFSWITCH, "run", "--target", "a", "--", "sleep", "1000"]
            child = host.popen(command, user=user)
            try:
                until(lambda at=user: _running(host, at), "a warden is there, and serves")
                done = host.run([OFFSWITCH, "drill", "run", "canary", "--json"], user=user)
                assert done.returncode == 0, (user, done)
                layers = [one["layer"] for one in json.loads(done.stdout)["layers"]]
                assert layers == ["process"], "it shares its user: nothing is swept, or denied"
                said = host.run([OFFSWITCH, "status", "--json"], user=user)
                targets = json.loads(said.stdout)["targets"]
                assert [row["target"] for row in targets] == ["a"]
            finally:
                child.kill()
                child.wait()

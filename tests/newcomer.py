"""What somebody types who installs Offswitch on a real host, and what it leaves there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from host import Host
from installation import until

OURS = f"{os.path.dirname(sys.executable)}/offswitch"
"""The command of this checkout, from which a host is installed."""
PLACE = "/opt/offswitch"
LIBRARY = f"{PLACE}/lib/python3.{sys.version_info.minor}/site-packages"
TOUCHED = ("etc", "opt", "usr/local/bin", "usr/bin", "var/lib/offswitch", "run", "dev/shm")
NOT_OURS = (
    "run/host",
    "run/systemd",
    "run/log",
    "run/udev",
    "run/lock",
    "run/dbus",
    "run/credentials",
)
_STAYS = ("-", "dev/shm/offswitch-users")
"""Old versions of passwd and group; which numbers targets had, for the rest of this boot (SR-9)."""


class Newcomer:
    """A host, and what somebody types on it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.run = host.run
        self.sh = host.sh
        self.children: list[subprocess.Popen[Any]] = []

    def install(self, *options: str, ours: str = OURS) -> dict[str, Any]:
        """Install from the checkout (or from `ours`), which must succeed."""
        done = self.run([ours, "install", "--json", *options], timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def refused(self, *options: str, user: str | None = None) -> tuple[int, str, str]:
        """Be refused; give the exit code, the kind, and message and hint as one text."""
        done = self.run([OURS, "install", "--json", *options], user)
        error = json.loads(done.stdout)["error"]
        return done.returncode, error["kind"], f"{error['message']} {error['hint']}"

    def typed(self, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """Type the installed command."""
        return self.run([f"{PLACE}/bin/offswitch", *words], user)

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.typed("status", "--json").stdout))

    def begin(self, target: str) -> None:
        """Have a target run, and wait until it does."""
        words = [f"{PLACE}/bin/offswitch", "run", "--target", target, "--", "sleep", "600"]
        with open(os.devnull, "r+b") as null:
            self.children.append(self.host.popen(words, stdout=null, stderr=null))
        until(lambda: self.pids(target), f"{target} runs")

    def pids(self, target: str) -> int:
        rows = {row["target"]: row for row in self.status()["targets"]}
        return int(rows[target]["pids"]) if target in rows else 0

    def reset(self, scope: str) -> None:
        done = self.typed("reset", scope, "--reason", "a test")
        assert done.returncode == 0, done.stdout + done.stderr

    def answers(self) -> bool:
        done = self.typed("status", "--json")
        return done.returncode in {0, 3} and self.active()

    def end(self) -> None:
        """End the host, and with it what was begun there."""
        self.host.end()
        for child in self.children:
            child.wait(30)

    def active(self) -> bool:
        return self.run(["systemctl", "is-active", "offswitch.service"]).stdout == "active\n"

    def files(self) -> dict[str, tuple[int, int, int]]:
        """List what lies where we could leave something, with owner, group and mode."""
        found: dict[str, tuple[int, int, int]] = {}
        root = self.host.root
        for top in TOUCHED:
            for folder, folders, files in os.walk(root / top):
                inside = os.path.relpath(folder, root)
                folders[:] = [name for name in folders if f"{inside}/{name}" not in NOT_OURS]
                for name in (*folders, *files):
                    info = os.lstat(os.path.join(folder, name))
                    found[f"{inside}/{name}"] = (info.st_uid, info.st_gid, info.st_mode)
        return found

    def traces(self) -> dict[str, Any]:
        """Give all that an installation could leave on this host."""
        accounts = [(self.host.root / f"etc/{name}").read_text() for name in ("passwd", "group")]
        units = self.sh("systemctl list-units --all --full --plain --no-legend | cut -d' ' -f1")
        cgroups = [path.name for path in Path(self.host.cgroup).iterdir() if path.is_dir()]
        return {
            "files": {n: f for n, f in self.files().items() if not n.endswith(_STAYS)},
            "accounts": accounts,
            "units": [unit for unit in units.splitlines() if "offswitch" in unit],
            "cgroups": sorted(name for name in cgroups if "offswitch" in name),
        }

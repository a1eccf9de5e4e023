"""A warden of an ordinary user, played by a process of this test that has become one.

It holds one cell, on the rung that it is told to stand on, with a program of tests/sabotage.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stage import PYTHON, SABOTAGE, alive_as, until

USERS = itertools.count(65_000)
"""A user for each warden: the limit on processes is counted by user, the dead included."""
WARDEN = """
import json, os, sys, time
from offswitch.control.place import Place
from offswitch.warden.cells import birth, cell, kernel, rung
from offswitch.warden.cells.limits import default_limits

folder, *argv = sys.argv[1:]
os.setresgid(*[int(os.environ["AS"])] * 3)
os.setresuid(*[int(os.environ["AS"])] * 3)
kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
place = Place(folder + "/home", folder + "/run")
made = cell.create(place, "c1", uid=os.geteuid(), own_uid=False, limits=default_limits(),
    here=rung.Standing(rung.Rung(os.environ["RUNG"])))
null = os.open("/dev/null", os.O_RDWR)
born = birth.spawn(made, birth.Spec(argv=tuple(argv), cwd=folder, env={"PATH": "/usr/bin:/bin"},
    fds=(null, null, 2), uid=os.geteuid(), gid=os.getegid(), limits=default_limits()))
print(json.dumps({"rung": made.facts()["rung"], "leader": born.pid}), flush=True)
for line in sys.stdin:
    began = time.monotonic()
    done = getattr(made, line.strip())()
    print(json.dumps({"done": done, "ms": (time.monotonic() - began) * 1000}), flush=True)
"""


def end_all_of(uid: int) -> None:
    """Kill all that a user of these tests has."""
    child = os.fork()
    if child == 0:
        os.setresuid(uid, uid, 1_899_999_000)
        try:
            os.kill(-1, 9)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


class LowlyWarden:
    """A warden without root, with one cell."""

    def __init__(self, program: str, *args: str, rung: str = "subreaper") -> None:
        self.uid = next(USERS)
        self.folder = Path(tempfile.mkdtemp(prefix="offswitch-lowly-"))
        self.folder.chmod(0o777)
        (self.folder / "acts").touch()
        (self.folder / "acts").chmod(0o666)
        script = self.folder / f"{program}.py"
        script.write_text((SABOTAGE / f"{program}.py").read_text())
        argv = [sys.executable, "-c", WARDEN, str(self.folder), PYTHON, "-I", str(script)]
        argv += args
        env = {"AS": str(self.uid), "RUNG": rung, "PATH": os.environ["PATH"]}
        self.process = subprocess.Popen(
            argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.first = self._read()
        until(lambda: self.acts > 0, "it acts")

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, what: str) -> Any:  # noqa: ANN401
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = self._read()
        assert answer["ms"] < 1000, "each call is bounded"
        return answer["done"]

    def kill_all(self) -> None:
        """Repeat the kill as a warden does, until nothing is found."""
        until(lambda: self.ask("kill") or not self.ask("populated"), "all that is found is dead")

    @property
    def acts(self) -> int:
        return (self.folder / "acts").stat().st_size

    def close(self) -> None:
        """Kill all that the user has, whatever the rung has missed."""
        end_all_of(self.uid)
        self.process.communicate()
        until(lambda: alive_as(self.uid) == [], "nothing is left")
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

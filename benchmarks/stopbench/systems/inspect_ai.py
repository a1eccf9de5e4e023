"""inspect-ai: the control commands of a framework for evaluations, with which agents are run."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path

from stopbench.caller import Caller, Cold, Hot, Word
from stopbench.case import PROGRAMS, PYTHON, Case
from stopbench.peers import peer_python
from stopbench.pen import Pen
from stopbench.systems.contract import Limit, System

__all__ = ["InspectAi"]

_PATIENCE_S = 30.0


class InspectAi(System):
    """One process that runs an evaluation for each case; the agent is a command of its sandbox."""

    name = "inspect-ai"
    setting = (
        "the agent runs by sandbox().exec; `task cancel`, whose action cancel is the strongest, by"
        " the control endpoint over an open connection (cold: inspect ctl task cancel). In the"
        " sandbox `local`: Docker's, which they advise for agents, needs a Docker that was not here"
    )
    limits = (
        Limit(
            "a cancelled command is sent SIGTERM, and SIGKILL two seconds later",
            "util/_subprocess.py",
        ),
        Limit(
            "the sandbox local is the file system and the user of the evaluation itself: meant for"
            " evaluations that run in another sandbox already",
            "documentation, Sandboxing",
        ),
        Limit(
            "an eval set that is invoked again on its folder goes on with what is not complete",
            "documentation, Eval Sets",
        ),
        Limit("applied=true says that the cancel was delivered", "inspect ctl task cancel --help"),
    )

    turns = 2

    def open(self, scenario: str) -> None:
        self._python = peer_python("inspect-ai")
        self._pen = Pen(f"stopbench-inspect-{time.monotonic_ns()}")
        self._host: subprocess.Popen[str] | None = None
        self._hung = 0

    @property
    def _env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        home = str(self.folder)
        return {**kept, "HOME": home, "XDG_DATA_HOME": f"{home}/data", "NO_PROXY": "*"}

    @property
    def _control(self) -> Path:
        assert self._host is not None
        return self.folder / "data" / "inspect_ai" / "control" / f"{self._host.pid}.sock"

    def _up(self, hung: int) -> subprocess.Popen[str]:
        if self._host is None or self._host.poll() is not None or hung != self._hung:
            self._down()
            argv = [str(self._python), "-I", str(PROGRAMS / "inspect_host.py"), str(hung)]
            self._host = self._pen.spawn(argv, talks=True, env=self._env)
            self._hung = hung
            if self._said(_PATIENCE_S) != "up":
                raise RuntimeError("inspect-ai does not come up")
        return self._host

    def _said(self, patience_s: float) -> str:
        assert self._host is not None
        assert self._host.stdout is not None
        ready, _, _ = select.select([self._host.stdout], [], [], patience_s)
        return self._host.stdout.readline().strip() if ready else ""

    def _down(self) -> None:
        if self._host is not None:
            self._host.kill()
            self._host.wait()

    def begin(self, case: Case) -> None:
        host = self._up(case.hung)
        self._ask(host, case)

    def _ask(self, host: subprocess.Popen[str], case: Case) -> None:
        files = (str(self._control), str(self._control.with_suffix(".json")))
        argv = case.pen.entering(case.agent(files))
        how = "set" if case.service else "single"
        assert host.stdin is not None
        host.stdin.write(json.dumps([str(self.folder / case.key), how, *argv]) + "\n")
        host.stdin.flush()

    def caller(self, case: Case) -> Caller:
        return Hot(Hot.program(PYTHON, "inspect_caller.py", str(self._control)))

    def command(self, case: Case) -> Caller | None:
        program = str(self._python.parent / "inspect")
        argv = [program, "ctl", "task", "cancel", "agent", "--json"]
        return Cold(argv, _read, self._env)

    def controller(self, case: Case, caller: Caller) -> int:
        assert self._host is not None
        return self._host.pid

    def restart(self, case: Case) -> None:
        """The program that runs the evaluation set is started again, as after a reboot."""
        self._down()
        self._ask(self._up(case.hung), case)
        time.sleep(3.0)

    def end(self, case: Case) -> None:
        """Kill what is left, and wait until its evaluation is over."""
        (case.pen.path / "cgroup.kill").write_text("1")
        if case.service or case.hung or self._host is None or self._said(5.0) != "over":
            self._down()

    def close(self) -> None:
        self._down()
        self._pen.close()


def _read(code: int, out: str) -> Word:
    return ("sent" if code == 0 and '"applied": true' in out else "not"), out.strip()[:200]

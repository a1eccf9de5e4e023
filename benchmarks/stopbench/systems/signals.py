"""kill -9 and pkill -g: a signal to a process, and to a process group."""

from __future__ import annotations

import subprocess

from stopbench.caller import Caller, Cold, Hot, Word
from stopbench.case import PROGRAMS, PYTHON, Case
from stopbench.systems.contract import Limit, System

__all__ = ["Kill", "Pkill"]


class _Signals(System):
    """A target that was started by hand, or by a service of the host."""

    kind = "pid"
    before: tuple[str, ...] = ()
    """What stands before the target's command."""

    def begin(self, case: Case) -> None:
        """Start it with a session of its own, by a user who may do nothing."""
        self._service: subprocess.Popen[str] | None = None
        if case.service:
            self._serve(case)
            return
        self.pid = case.pen.spawn([*self.before, *case.agent()], nobody=True).pid

    def _serve(self, case: Case) -> None:
        argv = [PYTHON, "-I", "-S", str(PROGRAMS / "service.py"), *self.before]
        argv += case.agent()
        self._service = case.pen.spawn(argv, talks=True, nobody=True)
        assert self._service.stdout is not None
        self.pid = int(self._service.stdout.readline())

    def caller(self, case: Case) -> Caller:
        return Hot(Hot.program(PYTHON, "kill_caller.py", self.kind, str(self.pid)))

    def controller(self, case: Case, caller: Caller) -> int:
        return caller.pid

    def restart(self, case: Case) -> None:
        """End the service, and start it again."""
        assert self._service is not None
        self._service.terminate()
        self._service.wait(5)
        self._serve(case)


def _sent(code: int, out: str) -> Word:
    return ("sent" if code == 0 else "not"), f"{code} {out}".strip()


class Kill(_Signals):
    """One process."""

    name = "kill"
    setting = "SIGKILL to the process, sent by a process that runs (cold: /bin/kill -9)"
    limits = (
        Limit("it says that a signal was sent, not what became of it", "kill(1), kill(2)"),
        Limit("one process is meant, not what it started", "kill(2), pid > 0"),
    )

    def command(self, case: Case) -> Caller | None:
        return Cold(["/bin/kill", "-9", str(self.pid)], _sent)


class Pkill(_Signals):
    """One process group."""

    name = "pkill"
    setting = (
        "SIGKILL to the process group of a target with a session of its own, sent by a process"
        " that runs (cold: pkill -KILL -g)"
    )
    limits = (
        Limit("the group is meant; who made itself a session or group has left it", "setsid(2)"),
        Limit("exit status 0 says that processes matched and could be signalled", "pkill(1)"),
    )
    kind = "group"

    def command(self, case: Case) -> Caller | None:
        return Cold(["pkill", "-KILL", "-g", str(self.pid)], _sent)

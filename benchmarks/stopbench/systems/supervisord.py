"""supervisord: a daemon that keeps programs running, and stops them when told."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from stopbench.caller import Caller, Cold, Hot, Word
from stopbench.case import PROGRAMS, PYTHON, Case
from stopbench.peers import peer_python
from stopbench.systems.contract import Limit, System

__all__ = ["Supervisord"]

_PATIENCE_S = 10.0


class Supervisord(System):
    """One daemon for each case."""

    name = "supervisord"
    setting = (
        "stopsignal=KILL, stopasgroup and killasgroup, the program as another user; stopProcess"
        " over an open connection to its Unix socket (cold: supervisorctl stop)"
    )
    limits = (
        Limit(
            "a stop reaches the process and, where told, its group", "configuration, stopasgroup"
        ),
        Limit(
            "with autostart a program is started when supervisord starts, whoever stopped it before"
            " (without it, nothing is started after a reboot)",
            "configuration, autostart",
        ),
        Limit(
            "events are queued for listeners, dropped when too many, and no stop waits for them",
            "events, buffer_size",
        ),
    )

    def open(self, scenario: str) -> None:
        self._python = peer_python("supervisor")

    def begin(self, case: Case) -> None:
        place = self._place(case)
        place.mkdir()
        place.chmod(0o711)
        self._configure(case, place)
        self._launch(case)

    def _place(self, case: Case) -> Path:
        return self.folder / case.key

    def _configure(self, case: Case, place: Path) -> None:
        files = tuple(str(place / name) for name in ("socket", "pid", "log", "conf"))
        command = " ".join(case.agent(files))
        text = f"""[unix_http_server]
file={place}/socket
[supervisord]
nodaemon=true
user=root
logfile={place}/log
pidfile={place}/pid
childlogdir={place}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{place}/socket
[program:agent]
command={command}
user=nobody
autostart=true
autorestart=true
startsecs=0
stopsignal=KILL
stopasgroup=true
killasgroup=true
"""
        for number in range(case.hung):
            text += (
                f"[eventlistener:deaf{number}]\ncommand={PYTHON} -I -S {PROGRAMS}/deaf.py\n"
                "events=PROCESS_STATE\nstopsignal=KILL\n"
            )
        (place / "conf").write_text(text)

    def _launch(self, case: Case) -> None:
        place = self._place(case)
        (place / "socket").unlink(missing_ok=True)
        argv = [str(self._python), "-I", "-m", "supervisor.supervisord", "-c", str(place / "conf")]
        self._daemon: subprocess.Popen[str] = case.pen.spawn(argv)
        end = time.monotonic() + _PATIENCE_S
        while not (place / "socket").exists():
            if time.monotonic() > end or self._daemon.poll() is not None:
                raise RuntimeError("supervisord does not come up")
            time.sleep(0.005)

    def caller(self, case: Case) -> Caller:
        socket = str(self._place(case) / "socket")
        return Hot(Hot.program(str(self._python), "supervisord_caller.py", socket))

    def command(self, case: Case) -> Caller | None:
        conf = str(self._place(case) / "conf")
        argv = [str(self._python), "-I", "-m", "supervisor.supervisorctl", "-c", conf]
        return Cold([*argv, "stop", "agent"], _read)

    def controller(self, case: Case, caller: Caller) -> int:
        return self._daemon.pid

    def restart(self, case: Case) -> None:
        """As its unit is restarted: SIGTERM, the end, a new one."""
        self._daemon.terminate()
        self._daemon.wait(_PATIENCE_S)
        self._launch(case)


def _read(code: int, out: str) -> Word:
    return ("stopped" if code == 0 and "agent: stopped" in out else "not"), out.strip()

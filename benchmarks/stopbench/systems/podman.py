"""podman kill: SIGKILL to a container's main process, and with it to its PID namespace."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from stopbench.caller import Caller, Cold, Hot, Word
from stopbench.case import PYTHON, Case
from stopbench.pen import Pen
from stopbench.systems.contract import Limit, System, Unfit

__all__ = ["Podman"]

_LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
_NETWORKED = frozenset({"stream", "revoked-credential"})


class Podman(System):
    """Debian's, with runc; its API served by a process of its own."""

    name = "podman"
    setting = (
        "a container with a PID namespace of its own, user 65534, no network unless the scenario"
        " needs one; kill and the state asked over an open connection to its API"
        " (cold: podman kill)"
    )
    limits = (
        Limit(
            "the main process is signalled; the others end with its PID namespace",
            "podman-kill(1), pid_namespaces(7)",
        ),
        Limit(
            "containers with restart policy always are started again by podman-restart.service;"
            " without that policy nothing is started after a reboot",
            "podman-run(1) --restart, podman-restart.service",
        ),
    )

    def open(self, scenario: str) -> None:
        for program in ("podman", "runc"):
            if shutil.which(program) is None:
                raise Unfit(f"{program} is not installed")
        self._pen = Pen(f"stopbench-podman-{time.monotonic_ns()}")
        root = self.folder / "root"
        for name in ("usr", "proc", "dev", "sys", "tmp", "etc", "run"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            if not (root / name).is_symlink():
                (root / name).symlink_to(f"usr/{name}")
        self._root = root
        self._serve()

    @property
    def _base(self) -> list[str]:
        at = self.folder
        base = ["podman", "--cgroup-manager=cgroupfs", "--runtime", "runc", "--events-backend=none"]
        places = ["--root", f"{at}/store", "--runroot", f"{at}/run", "--tmpdir", f"{at}/tmp"]
        return [*base, *places]

    @property
    def _socket(self) -> Path:
        return self.folder / "api"

    def _serve(self) -> None:
        self._socket.unlink(missing_ok=True)
        argv = [*self._base, "system", "service", "--time", "0", f"unix://{self._socket}"]
        said = self.folder / "service.err"
        self._service = self._pen.spawn(argv, errors=said)
        end = time.monotonic() + 20
        while not self._socket.exists():
            if time.monotonic() > end or self._service.poll() is not None:
                raise Unfit(f"podman's API does not come up: {said.read_text()[-400:]}")
            time.sleep(0.01)

    def begin(self, case: Case) -> None:
        if self._service.poll() is not None:
            self._serve()
        files = tuple(str(self.folder / name) for name in ("api", "store", "run", "tmp"))
        argv = [*self._base, "run", "-d", "--name", case.key, "--user", "65534", *_LIMITS]
        argv += ["--network", "host" if case.scenario in _NETWORKED else "none"]
        argv += ["-v", "/usr:/usr:ro", "-v", f"{case.folder}:{case.folder}"]
        if case.service:
            argv += ["--restart", "always"]
        argv += ["--rootfs", str(self._root), *case.agent(files)]
        self._run(argv)

    @staticmethod
    def _run(argv: list[str]) -> None:
        ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        if ran.returncode != 0:
            raise Unfit(f"{' '.join(argv[-6:])}: {ran.stderr.strip()}")

    def caller(self, case: Case) -> Caller:
        return Hot(Hot.program(PYTHON, "podman_caller.py", str(self._socket), case.key))

    def command(self, case: Case) -> Caller | None:
        return Cold([*self._base, "kill", case.key], _read)

    def controller(self, case: Case, caller: Caller) -> int:
        return self._service.pid

    def restart(self, case: Case) -> None:
        """As at a boot: its service, then what podman-restart.service does."""
        self._service.terminate()
        self._service.wait(10)
        self._serve()
        self._run([*self._base, "start", "--all", "--filter", "restart-policy=always"])

    def end(self, case: Case) -> None:
        argv = [*self._base, "rm", "-f", "-t", "0", case.key]
        subprocess.run(argv, capture_output=True, check=False, timeout=60)

    def close(self) -> None:
        argv = [*self._base, "rm", "-f", "-t", "0", "-a"]
        subprocess.run(argv, capture_output=True, check=False, timeout=60)
        self._pen.close()
        mounted = self.folder / "store" / "overlay"
        if mounted.is_dir():
            subprocess.run(["umount", str(mounted)], capture_output=True, check=False)


def _read(code: int, out: str) -> Word:
    return ("sent" if code == 0 else "not"), out.strip()

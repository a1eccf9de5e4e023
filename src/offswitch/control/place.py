"""Where an installation lives: its state (`home`) and its sockets and page (`run`).

`OFFSWITCH_HOME` and `OFFSWITCH_RUN` name it; without them root's is /var/lib/offswitch
and /run/offswitch, and a person's lies below XDG's folders. With `OFFSWITCH_RUN` set,
exactly that one is meant; without, `within_reach` lists all that a stop must address
(SR-7). Where `run` is not on tmpfs, page, ring and the live latch lie in /dev/shm in a
folder named after it, since a store into a file of a frozen disk blocks.
"""

from __future__ import annotations

import os

__all__ = ["Place", "chosen", "within_reach"]

_TMPFS_MAGIC = 0x01021994
_SYSTEM_HOME = "/var/lib/offswitch"
_SYSTEM_RUN = "/run/offswitch"


class Place:
    """The folders and files of one installation. A value; touches no disk until asked."""

    __slots__ = ("_memory", "home", "run")

    def __init__(self, home: str, run: str) -> None:
        """Name an installation by its state folder and its run folder (absolute paths)."""
        self.home = os.path.abspath(home)
        self.run = os.path.abspath(run)
        self._memory = ""

    def __eq__(self, other: object) -> bool:
        """Two places are equal when their run folders are: one warden each."""
        return isinstance(other, Place) and other.run == self.run

    def __hash__(self) -> int:
        """Hash by the run folder."""
        return hash(self.run)

    def __repr__(self) -> str:
        """Show both folders."""
        return f"Place(home={self.home!r}, run={self.run!r})"

    @property
    def control(self) -> str:
        """The folder of the sockets, 0750."""
        return self.run + "/control"

    @property
    def evidence(self) -> str:
        """What was kept of what was stopped, for its owner's eyes only; `evidence` is watch's."""
        return self.home + "/stopped"

    @property
    def warden_socket(self) -> str:
        """The warden's socket."""
        return self.run + "/control/warden"

    @property
    def keeper_socket(self) -> str:
        """The keeper's stop-only socket."""
        return self.run + "/control/keeper"

    @property
    def recorder_socket(self) -> str:
        """The recorder's socket, for the entries of watch and station."""
        return self.run + "/control/recorder"

    @property
    def spool(self) -> str:
        """The folder in which a file's name is a stop."""
        return self.run + "/stop"

    @property
    def lock(self) -> str:
        """The file whose lock makes a warden the only one."""
        return self.run + "/warden.lock"

    @property
    def memory(self) -> str:
        """The folder of what must never wait for a disk: `run` on tmpfs, else in /dev/shm."""
        if not self._memory:
            self._memory = self.run if _on_tmpfs(self.run) else self.shadow
        return self._memory

    @property
    def shadow(self) -> str:
        """The folder in /dev/shm that stands in where `run` is not on tmpfs."""
        import hashlib  # noqa: PLC0415 - only where it is needed: this module is on the fast path

        name = hashlib.sha256(self.run.encode()).hexdigest()[:16]
        return f"/dev/shm/offswitch-{name}"  # noqa: S108 - owner and mode are checked at use

    @property
    def page(self) -> str:
        """The page that guards map."""
        return self.memory + "/page"

    @property
    def ring(self) -> str:
        """The journal."""
        return self.memory + "/journal"

    @property
    def live_latch(self) -> str:
        """The latch's copy in memory, which survives every crash of ours."""
        return self.memory + "/latch"

    @property
    def latch(self) -> str:
        """The latch's own file, which survives a reboot (SR-16)."""
        return self.home + "/latch"

    @property
    def config(self) -> str:
        """The configuration: `OFFSWITCH_CONFIG` if set, never the current folder (SR-1)."""
        return os.environ.get("OFFSWITCH_CONFIG") or self.home + "/offswitch.toml"

    @property
    def specs(self) -> str:
        """The folder of what `start` needs, one 0600 file a target."""
        return self.home + "/targets"

    @property
    def reports(self) -> str:
        """The folder of the pipes by which targets report their steps, one a cell."""
        return self.memory + "/reports"

    @property
    def senses(self) -> str:
        """The folder of what gateways sense, a file a worker."""
        return self.memory + "/senses"

    @property
    def calls(self) -> str:
        """The folder of the books of tool calls, one a worker of a gateway."""
        return self.memory + "/calls"

    @property
    def logs(self) -> str:
        """The folder of the targets' capped output logs."""
        return self.home + "/logs"

    @property
    def cgroup(self) -> str:
        """The name of this installation's folder in the cgroup tree."""
        if self.run == _SYSTEM_RUN:
            return "offswitch"
        return self.shadow.rpartition("/")[2]


def _on_tmpfs(folder: str) -> bool:
    """Tell whether `folder`, or what of it exists, lies on tmpfs (by its mount)."""
    best, kind = "", ""
    real = os.path.realpath(folder)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split(" ")
            point = fields[4].replace("\\040", " ")
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, fields[fields.index("-") + 1]
    return kind in {"tmpfs", "ramfs"}


def _own() -> Place:
    """Give the caller's own installation."""
    env = os.environ
    home = env.get("OFFSWITCH_HOME")
    if not home:
        if os.geteuid() == 0:
            home = _SYSTEM_HOME
        else:
            state = env.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
            home = state + "/offswitch"
    run = env.get("OFFSWITCH_RUN")
    if not run:
        if os.geteuid() == 0:
            run = _SYSTEM_RUN
        elif env.get("XDG_RUNTIME_DIR"):
            run = env["XDG_RUNTIME_DIR"] + "/offswitch"
        else:
            run = home + "/run"
    return Place(home, run)


def _system() -> Place:
    return Place(_SYSTEM_HOME, _SYSTEM_RUN)


def chosen() -> Place:
    """Give the one installation that `run` and `start` use.

    With `OFFSWITCH_RUN` exactly that one; else the system's if its socket accepts the caller,
    else the caller's own.
    """
    own = _own()
    if os.environ.get("OFFSWITCH_RUN") or own.run == _SYSTEM_RUN:
        return own
    system = _system()
    return system if _accepts(system.warden_socket) else own


def _accepts(path: str) -> bool:
    """Tell whether somebody listens at `path` who takes us in, if perhaps not at once."""
    import socket  # noqa: PLC0415 - only where it is needed: this module is on the fast path

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def within_reach() -> list[Place]:
    """List every installation that a stop of this caller must address (SR-7)."""
    own = _own()
    if os.environ.get("OFFSWITCH_RUN"):
        return [own]
    places = [_system()]
    if own not in places:
        places.append(own)
    if os.geteuid() == 0 and os.path.isdir("/run/user"):
        for uid in sorted(os.listdir("/run/user")):
            run = f"/run/user/{uid}/offswitch"
            if os.path.isdir(run):
                places.append(Place(f"/run/user/{uid}/offswitch", run))
    return [place for place in places if os.path.isdir(place.run)] or [own]

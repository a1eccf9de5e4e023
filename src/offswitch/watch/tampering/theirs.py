"""A target's processes, from outside: what of theirs reaches for the stop?

    signals      SIGTERM is ignored by one without a terminal (a shell at a terminal ignores it by
                 custom), or what it does with it changed later than five seconds after it began
    descriptors  a file of ours, or of the control groups, is open for writing; the pipe for its
                 steps is its own
    names        `kill`, `offswitch` or what else ends things is a function of its shell, an alias
                 in a file that its shell reads, or a program of that name that appeared in a
                 folder of its PATH since it began

A stop here needs neither the target's signal handlers nor its shell: SIGKILL and the control
group pass by both. It is the intention that is told. Everything is the target's, so every count
is bounded, no link is followed, and nothing is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offswitch.control.place import Place
from offswitch.watch.tampering.small import bounded, facts_of, kernels

__all__ = ["Theirs"]

_TERM = 1 << 14
_LATER_S = 5.0
_MOST_PROCESSES = 256
_MOST_LINKS = 2000
_MOST_FOLDERS = 32
_MOST_SHADOWED = 64
_ENVIRON = 64 << 10
_CONTROL = ("/cgroup.procs", "/cgroup.kill", "/cgroup.freeze", "/cgroup.threads")
_ENDING = ("offswitch", "kill", "pkill", "killall", "systemctl")
_SHELL_FILES = (
    ".bashrc",
    ".bash_profile",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".config/fish/config.fish",
)
_SHADOW = re.compile(
    rb"^[ \t]*(?:alias[ \t]+|function[ \t]+)?(offswitch|kill|pkill|killall|systemctl)"
    rb"(?:[ \t]?=|[ \t]?\(\)|[ \t]+['\"{])",
    re.MULTILINE,
)
_SLACK_S = 1.0


@dataclass(slots=True)
class _Known:
    """One process, as it was first seen."""

    start: str
    catches: tuple[bool, bool]
    """Whether it ignores SIGTERM, and whether it catches it."""


class Theirs:
    """The processes of one target."""

    __slots__ = ("_from", "_known", "_place", "_shell_files")

    def __init__(self, place: Place) -> None:
        """Nothing is known before the first look."""
        self._place = place
        self._known: dict[int, _Known] = {}
        self._shell_files: dict[str, tuple[int, str]] = {}
        """The change time of each file that a shell reads, and what it shadows."""
        self._from = 0

    def wrong(self, pids: Sequence[int], wall_s: float) -> Iterator[tuple[str, str, bool]]:
        """Say what is wrong: which kind, what, and whether it lasts."""
        known: dict[int, _Known] = {}
        shown = pids[:_MOST_PROCESSES]
        shadowed: set[tuple[str, str]] = set()
        for pid in shown:
            try:
                fields = kernels(f"/proc/{pid}/stat").rpartition(")")[2].split()
                status = kernels(f"/proc/{pid}/status").splitlines()
                words = dict(line.split(":\t", 1) for line in status if ":\t" in line)
                ignores = bool(int(words["SigIgn"], 16) & _TERM)
                catches = bool(int(words["SigCgt"], 16) & _TERM)
                start, tty = fields[19], fields[4]
                age_s = float(kernels("/proc/uptime").split()[0])
                age_s -= int(start) / os.sysconf("SC_CLK_TCK")
            except (OSError, IndexError, KeyError, ValueError):
                continue
            one = self._known.get(pid)
            if one is None or one.start != start or age_s < _LATER_S:
                one = _Known(start, (ignores, catches))
            if ignores and tty == "0":
                yield "signals", f"pid {pid} ignores SIGTERM", True
            if one.catches != (ignores, catches):
                one.catches = (ignores, catches)
                yield "signals", f"pid {pid} changed what it does with SIGTERM", False
            known[pid] = one
            if len(shadowed) < _MOST_SHADOWED:
                yield from self._names(pid, wall_s - age_s, shadowed)
        self._known = known
        yield from self._descriptors(shown)

    def _descriptors(self, pids: Sequence[int]) -> Iterator[tuple[str, str, bool]]:
        """Look at open files, so many a look; the next look goes on from there."""
        place, room = self._place, _MOST_LINKS
        ours = {f"{one}/" for one in (place.home, place.run, place.memory)}
        fine = f"{place.reports}/"
        self._from = self._from % len(pids) if pids else 0
        for at in range(len(pids)):
            pid = pids[(self._from + at) % len(pids)]
            try:
                fds = os.listdir(f"/proc/{pid}/fd")[:room]
            except OSError:
                continue
            room -= len(fds)
            for fd in fds:
                try:
                    path = os.readlink(f"/proc/{pid}/fd/{fd}")
                except OSError:
                    continue
                control = path.startswith("/sys/") and path.endswith(_CONTROL)
                mine = any(path.startswith(one) for one in ours) and not path.startswith(fine)
                if (control or mine) and _writable(pid, fd):
                    yield "descriptors", f"pid {pid} has {path} open for writing", True
            if room <= 0:
                self._from += at + 1
                break

    def _names(
        self, pid: int, since_s: float, shadowed: set[tuple[str, str]]
    ) -> Iterator[tuple[str, str, bool]]:
        try:
            fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                raw = file.read(_ENVIRON)
        except OSError:
            return
        env = dict(pair.partition(b"=")[::2] for pair in raw.split(b"\0"))
        for name in _ENDING:
            if f"BASH_FUNC_{name}%%".encode() in env:
                yield "names", f"pid {pid} has a function that is called {name}", True
        root = f"/proc/{pid}/root"
        search = os.fsdecode(env.get(b"PATH", b"")).split(":")[:_MOST_FOLDERS]
        for folder in search:
            if not folder.startswith("/") or (root_free := (folder, "")) in shadowed:
                continue
            shadowed.add(root_free)
            for name in _ENDING:
                facts = facts_of(f"{root}{folder}/{name}")
                if facts is not None and facts.st_ctime >= since_s - _SLACK_S:
                    yield "names", f"{folder}/{name} is new on the PATH of pid {pid}", True
        home = os.fsdecode(env.get(b"HOME", b""))
        if home.startswith("/") and ("", home) not in shadowed:
            shadowed.add(("", home))
            for name in _SHELL_FILES:
                what = self._shell_file(f"{root}{home}/{name}", f"{home}/{name}", since_s)
                if what:
                    yield "names", what, True

    def _shell_file(self, path: str, shown: str, since_s: float) -> str:
        """Say what a file that a shell reads shadows, if it was written since the target began."""
        facts = facts_of(path)
        if facts is None or facts.st_ctime < since_s - _SLACK_S:
            return ""
        known = self._shell_files.get(shown)
        if known is not None and known[0] == facts.st_ctime_ns:
            return known[1]
        try:
            found = _SHADOW.search(bounded(path))
        except OSError:
            found = None
        what = f"{shown} makes {found[1].decode()} another thing" if found else ""
        if len(self._shell_files) > _MOST_SHADOWED:
            self._shell_files.clear()
        self._shell_files[shown] = (facts.st_ctime_ns, what)
        return what


def _writable(pid: int, fd: str) -> bool:
    try:
        lines = kernels(f"/proc/{pid}/fdinfo/{fd}").splitlines()
        flags = next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return False
    return bool(flags & os.O_ACCMODE) and not flags & os.O_PATH

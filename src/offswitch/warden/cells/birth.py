"""Birth: how a target's first process comes to live in its cell.

    warden                                   child
    fork ────────────────────────────────►  waits at the gate
    writes its pid into the cell
    opens the gate ──────────────────────►  session, terminal, descriptors, limits
    goes on serving orders                  workspace, user, no_new_privs
                                            exec ──► report pipe closes: born
                                            or: says on the report pipe what went wrong

The child is in the cell before it does anything but wait, so a stop that comes after
`spawn` has returned reaches it whatever it is doing, and whatever its parents, sessions
or groups become. Nothing of the warden goes with it: no descriptor but its three and the
one by which it may report, no keyring, no signal that is ignored, no priority, no protection
from the memory killer, no capability, no group that may stop. Everything slow happens in the
child.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from offswitch.errors import OffswitchError, Storage
from offswitch.warden.cells import workspace
from offswitch.warden.cells.confine import confine, follow, fresh_session, settle
from offswitch.warden.cells.limits import Held, Limits, hold_in_process
from offswitch.warden.cells.program import BirthFailed, environment, execute, keep_page
from offswitch.warden.cells.reports import write_end

__all__ = ["Birth", "BirthFailed", "Room", "Spec", "failure", "spawn"]

_STEPS, _REPORT = 3, 4
"""Behind the three of the target: by what it reports its steps, and our pipe until its exec."""


class Room(Protocol):
    """Where something is born: a cell, as far as a birth has to do with it."""

    @property
    def entrance(self) -> tuple[int, ...]:
        """Descriptors that the child needs to go in by itself; none where it is put in."""
        ...

    @property
    def marker(self) -> str:
        """What its processes are known by, where it has no cgroup; else empty."""
        ...

    @property
    def held(self) -> Held:
        """By what its limits are held."""
        ...

    def join(self, fds: Sequence[int]) -> None:
        """In the child: go in by `entrance`, under new numbers; returns inside."""
        ...

    def born(self) -> None:
        """The child is forked: let go of what was kept for it."""
        ...

    def enter(self, pid: int) -> None:
        """Put a process, new and still waiting, into it."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be born."""

    argv: tuple[str, ...]
    """The program, found by the PATH of `env`, and its arguments."""
    cwd: str
    """Its working directory, absolute."""
    env: Mapping[str, str]
    """Its environment, to which the page and the word are added."""
    fds: tuple[int, int, int]
    """Its stdin, stdout and stderr, as numbers of the warden."""
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Its other groups, without the one that may stop us."""
    peer_uid: int = 0
    """Who asked: a terminal of theirs is handed to the target's user."""
    tty: bool = False
    """Whether `fds` are a terminal that is to be its own (SR-14)."""
    workspace: bool = False
    """Whether it gets a mount namespace of its own: for an allotted user."""
    closed: tuple[str, ...] = ()
    """Folders of ours that a workspace must not show."""
    read_only: tuple[str, ...] = ()
    """Paths that it must not be able to write even inside its workspace (SR-1)."""
    page: str = ""
    """Path of the page."""
    page_fd: int = -1
    """A sealed copy of the page, of which the target is given a descriptor; -1: none."""
    word: int = -1
    """Its slot in the page; -1: none."""
    report: str = ""
    """Path of the pipe by which it reports its steps; empty: it has none."""
    limits: Limits = field(default_factory=Limits)
    caller: int = 0
    """Process of who asked: its resource limits, umask and niceness are the target's; 0: none."""


@dataclass(frozen=True, slots=True)
class Birth:
    """A process that is in its cell and on its way to its program."""

    pid: int
    pidfd: int
    report_fd: int
    """Readable when the exec has happened (end of file) or failed (one JSON object)."""


def spawn(cell: Room, spec: Spec) -> Birth:
    """Bear `spec` in `cell`, not waiting for the program; `Storage` says that nothing was born."""
    gate_out, gate_in = os.pipe2(os.O_CLOEXEC)
    report_out, report_in = os.pipe2(os.O_CLOEXEC)
    pid = pidfd = -1
    try:
        pid = os.fork()
        if pid == 0:
            _child(cell, spec, gate_out, gate_in, report_in)
        pidfd = os.pidfd_open(pid)
        cell.enter(pid)
        os.write(gate_in, b"1")
        cell.born()
    except OSError as error:
        os.close(report_out)
        if pidfd >= 0:
            os.close(pidfd)
        if pid > 0:
            os.kill(pid, signal.SIGKILL)  # it waits at a gate that will not open
        raise Storage(
            f"nothing could be started: {error.strerror}", "see `offswitch doctor`"
        ) from None
    finally:
        os.close(gate_out)
        os.close(gate_in)
        os.close(report_in)
    os.set_blocking(report_out, False)
    return Birth(pid, pidfd, report_out)


def failure(report: bytes) -> BirthFailed | None:
    """Read what came on the report pipe to its end: nothing means that the program was begun."""
    if not report:
        return None
    try:
        told = json.loads(report)
        return BirthFailed(
            str(told["kind"]), str(told["message"]), str(told["hint"]), int(told["exit"])
        )
    except (ValueError, KeyError, TypeError):
        return BirthFailed("internal", "the birth failed and could not say why", "", 125)


def _child(cell: Room, spec: Spec, gate: int, gate_in: int, report: int) -> NoReturn:
    """Be the child: never returns, never raises, never runs a line of the warden's clean-up."""
    try:
        signal.set_wakeup_fd(-1)  # the warden's: a signal here must not wake its loop
        os.close(gate_in)  # else our own copy would keep the gate from ever reading as closed
        if os.read(gate, 1) != b"1":
            os._exit(125)
        _become(cell, spec, report)
    except BirthFailed as failure:
        _tell(failure.kind, failure.message, failure.hint, failure.exit_code)
    except OffswitchError as error:
        _tell(error.kind, error.message, error.hint, 125)
    except BaseException as error:  # noqa: BLE001 - the edge of a process: told, then it ends
        _tell("internal", f"the birth failed: {error}", "see `offswitch doctor`", 125)
    finally:
        os._exit(125)


def _tell(kind: str, message: str, hint: str, code: int) -> NoReturn:
    told = {"kind": kind, "message": message, "hint": hint, "exit": code}
    try:
        os.write(_REPORT, json.dumps(told).encode())
    finally:
        os._exit(code)


def _arrange(
    fds: tuple[int, int, int], steps: int, report: int, more: tuple[int, ...]
) -> list[int]:
    """Put the three, its way to report (-1: none) and our pipe at 0 to 4, and `more` behind.

    All else is closed. Gives the new numbers of `more`; none of them is inherited.
    """
    wanted = (*fds, steps, report, *more)
    highest = max(*wanted, len(wanted)) + 1
    for place, fd in enumerate(wanted):
        if fd >= 0:
            os.dup2(fd, highest + place, inheritable=False)
    for place, fd in enumerate(wanted):
        if fd >= 0:
            os.dup2(highest + place, place, inheritable=place < _REPORT)
    os.closerange(len(wanted), 1 << 30)
    if steps < 0:
        os.closerange(_STEPS, _REPORT)
    return list(range(_REPORT + 1, len(wanted)))


def _become(cell: Room, spec: Spec, report: int) -> NoReturn:
    """Turn this process into the target; raises what stood in the way."""
    sys.setrecursionlimit(1000)
    way_in = cell.entrance
    page = (spec.page_fd,) if spec.page_fd >= 0 else ()
    steps = write_end(spec.report) if spec.report else -1
    more = _arrange(spec.fds, steps, report, (*way_in, *page))
    if way_in:
        follow(spec.caller)  # inside, its number would be a stranger's
        cell.join(more)
    fresh_session(spec)
    settle()
    env = environment(spec, cell.marker)
    if page:
        env["OFFSWITCH_PAGE"] = keep_page(more[-1])
    if spec.report:
        env["OFFSWITCH_REPORT"] = f"{_STEPS}:{os.fstat(_STEPS).st_ino}"
    cwd = spec.cwd
    if spec.workspace:
        cwd = workspace.enter(spec, env)
    if not way_in:
        follow(spec.caller)
    hold_in_process(spec.limits, cell.held)
    confine(spec)
    try:
        os.chdir(cwd)
    except OSError as error:
        raise BirthFailed(
            "not-found" if isinstance(error, FileNotFoundError) else "refused",
            f"the working directory {cwd} cannot be entered: {error.strerror}",
            "run from another folder, or name a user who may enter it: --user NAME",
            125,
        ) from None
    execute(spec.argv, env)

"""What must be true for everything to be stoppable right now, one function a question.

Each looks for itself where it can: at the mapped page, at the mount table, at the rights of
files. The warden's own word is asked only for what nobody else can see.
"""

from __future__ import annotations

import ctypes
import grp
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from offswitch.cli.gate_check import gateways_serve
from offswitch.cli.hook_check import hooks_hold
from offswitch.cli.lacking import barred, elsewhere, lacking
from offswitch.cli.status_report import acts
from offswitch.control.ids import WATCH
from offswitch.control.page import (
    HANDED_OUT,
    KEEPER_EPOCH,
    SLOTS,
    WARDEN_EPOCH,
    PageReader,
)
from offswitch.control.place import Place
from offswitch.decide.authority import Mode
from offswitch.host.drop_in import drop_in_of
from offswitch.host.setup import RUN as SYSTEM_RUN
from offswitch.host.whole import differing
from offswitch.warden.cells.canary import prove
from offswitch.warden.cells.rung import Rung
from offswitch.warden.door.reporting import WHO_MAY_RESET
from offswitch.warden.release import home, is_checkout
from offswitch.warden.trust import ours, writable_by_others

__all__ = ["CHECKS", "Check", "Facts"]

_MIB = 1 << 20
_VOLATILE = {"tmpfs", "ramfs", "overlay", "aufs", "squashfs"}
_RENEWAL_S = 0.9
_ANEW = "install it anew from its release, and ask who changed this: offswitch install"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    """What to do; empty where nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the warden said when it was asked; the rest is looked at."""

    place: Place
    ping: dict[str, Any]
    health: dict[str, Any]
    status: dict[str, Any]


def _warden(facts: Facts) -> Check:
    from offswitch import __version__  # noqa: PLC0415 - only to compare

    version = facts.ping.get("version")
    detail = f"pid {facts.ping.get('pid')}, epoch {facts.ping.get('epoch')}, version {version}"
    hint = "" if version == __version__ else f"this is {__version__}: restart the warden"
    return Check("warden", version == __version__, detail, hint)


def _rung(facts: Facts) -> Check:
    rung = str(facts.ping.get("rung"))
    if rung == Rung.ROOT:
        return Check("rung", True, "root-cgroup: cells that nothing leaves unseen")
    told = facts.health.get("standing", {})
    missing = "; ".join(map(str, told.get("missing", [])))
    return Check("rung", False, f"degraded: {rung}: {missing}", str(told.get("climb") or ""))


def _escapes(facts: Facts) -> Check:
    """Name what gets away on this rung, so that nobody has to look it up."""
    escapes = [str(each) for each in facts.health.get("standing", {}).get("escapes", [])]
    if not escapes:
        return Check("escapes", True, "none is known on this rung")
    hint = "climb, or bear it: each is shown by a test"
    return Check("escapes", True, "; ".join(escapes), hint)


def _privileges(facts: Facts) -> Check:
    try:
        with open(f"/proc/{facts.ping['pid']}/status", encoding="ascii", errors="replace") as file:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except (OSError, KeyError):
        return Check("privileges", True, "the warden lives where we cannot look at it")
    uid, effective = lines["Uid"].split()[1], int(lines["CapEff"], 16)
    detail = f"the warden runs as uid {uid}, capabilities {effective:x}"
    enough = uid == "0" and effective >= (1 << 21)
    return Check("privileges", enough, detail, "" if enough else "start it as root: offswitch up")


def _canary(facts: Facts) -> Check:
    """Cut a little target of our own, layer by layer: a return code is no proof."""
    if os.geteuid() != 0 or facts.ping.get("rung") != Rung.ROOT:
        return Check("canary", True, "not tried: it takes root, and cells that are cgroups")
    proofs = prove(facts.place)
    failed = [f"{proof.layer}: {proof.detail}" for proof in proofs if not proof.works]
    if failed:
        hint = "what this layer stops elsewhere is not stopped here; see docs/threat-model.md"
        return Check("canary", False, "; ".join(failed), hint)
    layers = ", ".join(proof.layer for proof in proofs)
    return Check("canary", True, f"a canary was really cut: {layers}")


def _helper(name: str, what: str) -> Callable[[Facts], Check]:
    def check(facts: Facts) -> Check:
        alive = bool(facts.health.get(name))
        detail = what if alive else "is not there"
        return Check(name, alive, detail, "" if alive else f"see {facts.place.home}/warden.log")

    return check


def _keeper(facts: Facts) -> Check:
    """Connect to the keeper's own socket: that it is there is not only the warden's word."""
    hint = f"see {facts.place.home}/warden.log; until it is back, nothing starts"
    if not facts.health.get("keeper"):
        return Check("keeper", False, "the warden has none", hint)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(facts.place.keeper_socket)
        except PermissionError:
            return Check("keeper", True, "alive (its socket is not for you)")
        except OSError as error:
            return Check("keeper", False, f"its socket does not answer: {error.strerror}", hint)
    return Check("keeper", True, "alive, its socket answers, it holds the cells' descriptors")


def _page(facts: Facts) -> Check:
    path = facts.place.page
    try:
        info = os.stat(path)
        reader = PageReader(path)
    except (OSError, ValueError) as error:
        return Check("page", False, f"{path}: {error}", "stop all, then restart the warden")
    words = reader.words
    used = words[HANDED_OUT]
    keeper_has_all = words[KEEPER_EPOCH] == words[WARDEN_EPOCH]
    reader.close()
    if info.st_mode & 0o022:
        return Check("page", False, f"{path} can be written by others", f"chmod 0444 {path}")
    if not keeper_has_all:
        return Check("page", False, "the keeper has not acknowledged every cell", "wait a second")
    if SLOTS - used < SLOTS // 20:
        hint = "restart the machine when it suits: words are not reused in a boot"
        return Check("page", False, f"{used} of {SLOTS} words are used", hint)
    whose = ""
    if info.st_uid and facts.ping.get("rung") == Rung.NAMESPACE:
        whose = ", out of a target's reach: its guard reads a sealed copy"
    elif info.st_uid:
        whose = ", forgeable by a target: it is its user's to write; its guard reads a sealed copy"
    return Check("page", True, f"{path}, {used} of {SLOTS} words used{whose}")


def _lease(facts: Facts) -> Check:
    """Watch the lease being renewed: a deadline in the future may be the last one."""
    hint = "the warden's loop hangs: the keeper freezes its cells; restart it"
    try:
        reader = PageReader(facts.place.page)
    except (OSError, ValueError) as error:
        return Check("lease", False, str(error), hint)
    try:
        first, until = reader.lease_left_ns(), time.monotonic() + _RENEWAL_S
        left = first
        while left <= first and time.monotonic() < until:
            time.sleep(0.01)
            left = reader.lease_left_ns()
    finally:
        reader.close()
    if left <= 0:
        return Check("lease", False, f"ran out {-left / 1e9:.1f} s ago: every guard refuses", hint)
    if left <= first:
        return Check("lease", False, f"not renewed for {_RENEWAL_S} s", hint)
    return Check("lease", True, f"renewed just now, {left / 1e9:.1f} s left")


def _clock(_facts: Facts) -> Check:
    """The wall clock dates the record; leases and stops do not depend on it."""
    newest = max(os.stat(__file__).st_mtime, 1_700_000_000)
    if time.time() < newest - 86_400:
        return Check("clock", False, "the wall clock is in the past", "set it: timedatectl")
    synchronised = _adjtimex() not in {None, 5}
    how = "synchronised" if synchronised else "perhaps not synchronised"
    return Check("clock", True, f"{how}: it dates the record, no lease needs it")


def _adjtimex() -> int | None:
    """Give the kernel's state of the clock (5: not synchronised), or None if it will not say."""
    buffer = ctypes.create_string_buffer(512)
    try:
        state: int = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None


def _sqlite(facts: Facts) -> Check:
    """SQLite 3.7.0 to 3.51.2 loses commits when two connections checkpoint a WAL together."""
    version = sqlite3.sqlite_version
    writers = list(_writers(f"{facts.place.home}/ledger/ledger.db"))
    if len(writers) > 1:
        who = ", ".join(str(pid) for pid in writers)
        hint = "end all but the recorder: only one may write"
        return Check("sqlite", False, f"{version}; processes {who} all write the ledger", hint)
    fixed = sqlite3.sqlite_version_info > (3, 51, 2)
    how = "" if fixed else ": its WAL-reset bug needs two writers, and there is one"
    return Check("sqlite", True, f"{version}{how}")


def _writers(database: str) -> Iterator[int]:
    """Find the processes that hold the ledger open for writing.

    Its write-ahead log tells nothing: SQLite opens that one for writing in a reader, too.
    """
    real = os.path.realpath(database)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == real and _writable(pid, fd):
                    yield int(pid)
                    break
        except OSError:
            continue


def _writable(pid: str, fd: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
        flags = next((line.split()[1] for line in file if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _journal(facts: Facts) -> Check:
    journal = facts.health.get("journal") or {}
    lost = int(journal.get("lost") or 0)
    room = os.statvfs(facts.place.memory)
    free = room.f_bavail * room.f_frsize
    if lost:
        hint = "stops were never delayed by it; see why the recorder fell behind: warden.log"
        return Check("journal", False, f"{lost} entries were lost; the ledger marks the gap", hint)
    if free < 16 * _MIB:
        hint = f"free space below {facts.place.memory}"
        return Check("journal", False, f"{free // _MIB} MiB are free on its tmpfs", hint)
    return Check("journal", True, f"nothing lost, {free // _MIB} MiB free beside it")


def _latch(facts: Facts) -> Check:
    problem = facts.health.get("latch_problem")
    live = facts.health.get("live_stops", 0)
    if problem:
        hint = f"free space or repair the disk of {facts.place.home}"
        return Check("latch", False, f"latched, not yet durable: {problem}", hint)
    return Check("latch", True, f"{live} live stops, all durable" if live else "nothing is latched")


def _state(facts: Facts) -> Check:
    home = facts.place.home
    kind = _file_system(home)
    room = os.statvfs(home)
    free = room.f_bavail * room.f_frsize
    if kind in _VOLATILE:
        hint = "set OFFSWITCH_HOME to a folder on a disk that survives a reboot"
        return Check("state", False, f"{home} lies on {kind}: a stop would not outlive it", hint)
    if free < 64 * _MIB:
        return Check("state", False, f"{home}: {free // _MIB} MiB left", "free some space")
    return Check("state", True, f"{home} on {kind}, {free // _MIB:,} MiB free")


_STARTERS = (
    ("/run/systemd/system", "systemd units and timers"),
    ("/var/spool/cron", "cron's @reboot jobs"),
    ("/etc/rc.local", "/etc/rc.local"),
    ("/run/docker.sock", "docker's restart policies"),
    ("/run/podman/podman.sock", "podman's restart policies"),
)


_ENABLED = "/etc/systemd/system/multi-user.target.wants/offswitch.service"


def _boot(facts: Facts) -> Check:
    """SR-16: name what could start before us at boot. It is no NO: what runs now can be stopped."""
    here = [what for path, what in _STARTERS if os.path.lexists(path)]
    named = ", ".join(here) or "nothing that we know of"
    if facts.place.run == SYSTEM_RUN and os.path.lexists(_ENABLED):
        return Check("boot", True, f"our service starts at boot; what starts beside it: {named}")
    detail = f"nothing of ours starts at boot; what could start targets then: {named}"
    hint = "what is latched and starts there runs until a warden does: offswitch install"
    return Check("boot", True, detail, hint)


def _adopted(facts: Facts) -> Check:
    """SR-16, SR-24: what others start is found when it starts, unless that is before us."""
    named = [str(row.get("adopted") or "") for row in facts.status.get("targets", [])]
    adopted = [name for name in named if name]
    if not adopted:
        return Check("adopted", True, "nothing is adopted")
    if not facts.health["pids"].get("finder"):
        hint = f"see {facts.place.home}/warden.log; it is started again by itself"
        return Check("adopted", False, "no finder: what is started again is not found", hint)
    free = [name for name in adopted if not _is_held_back(name)]
    early = f"; could start before us at boot: {', '.join(free)}" if free else ""
    return Check("adopted", True, f"{len(adopted)} are found again by name{early}")


def _is_held_back(adopted: str) -> bool:
    kind, _, unit = adopted.partition(" ")
    path = drop_in_of(unit) if kind == "unit" else None
    return path is not None and os.path.exists(path)


def _run(facts: Facts) -> Check:
    run, memory = facts.place.run, facts.place.memory
    if memory == run:
        return Check("run", True, f"{run} on {_file_system(run)}")
    return Check("run", True, f"{run} is not on tmpfs, so page and journal lie in {memory}")


def _file_system(folder: str) -> str:
    best, kind = "", "unknown"
    real = os.path.realpath(folder)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split(" ")
            point = fields[4].replace("\\040", " ")
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, fields[fields.index("-") + 1]
    return kind


def _group(facts: Facts) -> Check:
    info = os.stat(facts.place.control)
    if info.st_mode & 0o007:
        hint = f"chmod 0750 {facts.place.control}"
        return Check("group", False, f"{facts.place.control} is open to everybody", hint)
    if not info.st_mode & 0o050 or info.st_gid == WATCH:
        return Check("group", True, f"uid {info.st_uid} and root may stop; no group may")
    try:
        entry = grp.getgrgid(info.st_gid)
        who = f"{entry.gr_name} ({', '.join(entry.gr_mem) or 'nobody in it'})"
    except KeyError:
        who = f"gid {info.st_gid}"
    return Check("group", True, f"owner, root and group {who} may stop")


def _trust(facts: Facts) -> Check:
    """SR-1: nothing of ours is loaded from where anyone but its owner can write."""
    place = facts.place
    paths = [*ours(), place.home, place.run, place.config]
    found = writable_by_others(paths, os.stat(place.home).st_uid)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        hint = "take write rights from everyone but the owner, or install elsewhere"
        return Check("trust", False, f"{found[0]}{more}", hint)
    return Check("trust", True, "code, interpreter, configuration and state: their owner's alone")


def _release(facts: Facts) -> Check:
    """SEC-7: every file of ours and of what we use is what was released."""
    said = [note for note in facts.health.get("notes", []) if note.startswith("UNPROVEN:")]
    if said:
        return Check("release", False, said[0], _ANEW)
    if is_checkout(home()):
        return Check("release", True, "a checkout: its files are compared with nothing")
    found = differing()
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return Check("release", False, f"UNPROVEN: {found[0]}{more}. Stopping works", _ANEW)
    return Check("release", True, "our files and those that we use are what was released")


def _drills(facts: Facts) -> Check:
    """HMI-3: what the last drill did not see act is not ready, whatever else says so."""
    said = [note for note in facts.health.get("notes", []) if note.startswith("UNPROVEN by")]
    if said:
        hint = "see what it saw: offswitch drill figures; a clean drill makes it ready again"
        return Check("drills", False, said[0], hint)
    return Check("drills", True, "no layer failed in the last drill: offswitch drill figures")


def _mode(facts: Facts) -> Check:
    """SR-15: whether rules, leases and the keeper act."""
    said = [note for note in facts.health.get("notes", []) if note.startswith("OBSERVE MODE")]
    if said:
        hint = 'to have them act: mode = "act" in offswitch.toml, then start `offswitch up` again'
        return Check("mode", True, said[0], hint)
    return Check("mode", True, "rules, leases and the keeper act")


def _reset(facts: Facts) -> Check:
    """SR-2 and SR-5: whose word a reset takes, and whether a target could feign it."""
    notes = facts.status.get("notes", [])
    nobody = [note for note in notes if note.startswith(WHO_MAY_RESET)]
    if nobody:
        return Check("reset", True, nobody[0], "see: offswitch people list")
    alone = facts.health.get("authority") == Mode.LOCAL
    who = "ONE PERSON resets here alone" if alone else "two people of role safety reset a kill"
    forgeable = [note for note in notes if "reset" in note]
    if forgeable:
        hint = "start the warden as root and targets with a user of their own"
        return Check("reset", True, f"{who}; {forgeable[0]}", hint)
    return Check("reset", True, f"{who}; no target shares a user with who may reset")


def _targets(facts: Facts) -> Check:
    """Every target that lives must be seen, watched, and stand still if it is stopped."""
    rows = facts.status.get("targets", [])
    for row in rows:
        name = row["target"]
        if row["blind"]:
            return Check("targets", False, f"{name} is blind: nobody watches it", "offswitch up")
        if row["state"] in {"unknown", "unreachable"}:
            hint = f"offswitch status {name}"
            return Check("targets", False, f"{name}: it cannot be told what it does", hint)
        if row["level"] in {"kill", "poweroff"} and not row["confirmed"]:
            hint = f"offswitch stop {name}; see what may still act: offswitch target show {name}"
            return Check("targets", False, f"{name} is stopped, but not confirmed", hint)
        if barred(row):
            short = lacking(row, time.time_ns() // 1000)
            return Check("targets", False, f"{name}: {short}", f"offswitch target show {name}")
    far = [row["target"] for row in rows if acts(row) and elsewhere(row)]
    if far:
        said = f"{len(rows)} known; {len(far)} run elsewhere, and could go round their gateway"
        return Check("targets", True, said, f"why, and what to do: offswitch target show {far[0]}")
    if less := [row for row in rows if lacking(row)]:
        said = f"{len(rows)} known; {less[0]['target']}: {lacking(less[0])}"
        more = f" (and {len(less) - 1} more)" if len(less) > 1 else ""
        return Check("targets", True, said + more, f"offswitch target show {less[0]['target']}")
    return Check("targets", True, f"{len(rows)} known, every layer of the living ones is ready")


def _hooks(_facts: Facts) -> Check:
    """ACT-6: a coding agent's hook blocks when it is latched, and when nobody vouches for it."""
    return Check("hooks", *hooks_hold())


def _gateways(facts: Facts) -> Check:
    """Each gateway that is declared serves, hears the warden, and answers where it listens."""
    return Check("gateways", *gateways_serve(facts.place, list(facts.health.get("gates", []))))


CHECKS: tuple[Callable[[Facts], Check], ...] = (
    _warden,
    _rung,
    _escapes,
    _privileges,
    _canary,
    _keeper,
    _helper("observer", "alive: it sees whether a stop took effect"),
    _helper("recorder", "alive: it writes the ledger"),
    _page,
    _lease,
    _clock,
    _sqlite,
    _journal,
    _latch,
    _state,
    _boot,
    _adopted,
    _run,
    _group,
    _trust,
    _release,
    _drills,
    _mode,
    _reset,
    _targets,
    _gateways,
    _hooks,
)
"""All questions, in the order in which they are shown."""

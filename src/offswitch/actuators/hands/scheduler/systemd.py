"""Units of systemd: killed, kept from being started, and what would start them stopped as well.

    beforehand   a drop-in in /run: ConditionPathExists=!/run/offswitch-units/NAME
    at a stop    that file is made ─► its triggers and itself stopped, all its processes killed
    after it     the file goes; nothing is started

So systemd itself refuses every start, whoever asks for it (a timer, a person, `Restart=`, another
unit), from the first microsecond on and without being told. The commands go over its own socket,
opened while we were root and spoken to directly: no bus, no program, and no root to speak on. Where
that connection is lost (`systemctl daemon-reexec`), the process ends and another one is started.

A look asks over the system bus, as `nobody`, who may ask and not command (the bus knows only users
of /etc/passwd), and looks into the unit's cgroup. *Stopped* is: inactive, no job waits, nothing
that could trigger it is active, no process is left, and the file is there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.cgroup_of import CgroupOf
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.scheduler.dbus import Bus, Declined
from offswitch.config.section import ActuatorSection
from offswitch.control.ids import user_of
from offswitch.printable import printable

__all__ = ["Systemd"]

_NAME = "org.freedesktop.systemd1"
_AT = "/org/freedesktop/systemd1"
_MANAGER, _UNIT = f"{_NAME}.Manager", f"{_NAME}.Unit"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_PRIVATE, _BUS = "/run/systemd/private", "/run/dbus/system_bus_socket"
_FILES = "/run/offswitch-units"
_DROP_INS = "/run/systemd/system"
_DROP_IN = "90-offswitch-stop.conf"
_SIGKILL = 9
_NOBODY = 65534
_KILLS = frozenset({"kill", "poweroff"})
_STILL = frozenset({"inactive", "failed"})
_NOT_THERE = frozenset({f"{_NAME}.NoSuchUnit", f"{_NAME}.UnitMasked", f"{_NAME}.NoSuchProcess"})
_MOST_TRIGGERS = 32
_RELOAD_S = 20.0
"""How long systemd may take to read all its units again, which it does once after a boot."""

Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.\\@-]{1,220}\.(service|scope|slice|timer)$")]


class SystemdSettings(ActuatorSection):
    """Which units."""

    LAYER = "scheduler"
    READS = ("/sys/fs/cgroup", _FILES)
    WRITES = (_FILES,)

    kind: Literal["systemd"]
    units: Annotated[list[Unit], Field(min_length=1, max_length=32)]
    """By their whole names, such as `agent.service`; instances as `worker@1.service`."""
    refuse_starts: bool = True
    """Whether a drop-in in /run lets systemd refuse to start them while they are stopped.

    It takes one `daemon-reload`, when the hand is armed for the first time after a boot.
    """


@dataclass(frozen=True, slots=True)
class _State:
    """A unit, as systemd lists it."""

    name: str
    load: str
    """Whether systemd knows it: loaded, not-found, masked."""
    active: str
    sub: str
    job: str
    """What waits to be done with it: start, restart, stop; empty: nothing."""

    @property
    def still(self) -> bool:
        """Whether nothing runs, and nothing waits but a stop."""
        return self.active in _STILL and self.job in {"", "stop"}

    def words(self) -> str:
        """Say it in one line."""
        job = f", a job waits: {self.job}" if self.job else ""
        return f"{self.name} {self.active} ({self.sub}){job}"


class Systemd(Hand):
    """Stops units, and keeps them from being started."""

    Settings = SystemdSettings
    settings: SystemdSettings

    def __init__(self, settings: SystemdSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        acts = context.role is Role.ACT
        seconds = max(0.2, settings.deadline / 1e6 * 0.8)
        self._bus = Bus(_PRIVATE if acts else _BUS, _NAME, hello=not acts, timeout_s=seconds)
        self._cgroups = CgroupOf()
        self._cgroups.learn(context.remembered)
        self._triggers: tuple[str, ...] = ()
        self._proven: tuple[_State, ...] = ()
        self._folder = -1
        """Where its files are made."""

    def prepare(self) -> None:
        """With root's rights: connect, and have systemd heed a file of ours."""
        if self.context.role is Role.LOOK:
            with _as_nobody():
                self._bus.open()
            return
        self._bus.open()
        if not self.settings.refuse_starts:
            return
        try:
            os.makedirs(_FILES, exist_ok=True)
            os.chmod(_FILES, 0o711)  # noqa: S103 - who looks must see that a file is there
            user = user_of("hand-scheduler")
            if user is not None:
                os.chown(_FILES, user.uid, user.gid)
            self._folder = os.open(_FILES, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if [_write_drop_in(each) for each in self.settings.units].count(True):
                self._reload()
        except OSError as error:
            raise Trouble(f"{error.filename}: {error.strerror}", "refuse_starts = false") from None

    def _reload(self) -> None:
        usual, self._bus.timeout_s = self._bus.timeout_s, _RELOAD_S
        try:
            self._manager("Reload")
        finally:
            self._bus.timeout_s = usual

    def open(self) -> None:
        """Connect; who may not any more has a new process made, which begins as root."""
        try:
            self._bus.open()
        except Trouble:
            if os.geteuid() != 0:
                os._exit(os.EX_UNAVAILABLE)
            raise

    def close(self) -> None:
        """Hang up, unless that were for ever."""
        if os.geteuid() != 0:
            return
        self._bus.close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def arm(self) -> Readiness:
        """Change nothing of each unit, which takes the right to change something."""
        self._bus.drain()
        self._triggers = self._found_triggers()
        self._proven = tuple(self._states(self.settings.units))
        unknown = [each.name for each in self._proven if each.load == "not-found"]
        if unknown:
            return Readiness(Ready.DEGRADED, f"systemd knows no {', '.join(unknown)}")
        unheeded = []
        for unit in self.settings.units:
            path = self._manager("LoadUnit", "s", unit)
            if self.context.role is Role.ACT:
                self._manager("SetUnitProperties", "sba(sv)", unit, True, [])
            self._note(unit, path)
            if not self._heeded(path):
                unheeded.append(unit)
        if unheeded and self.settings.refuse_starts:
            detail = f"systemd does not heed our drop-in of {', '.join(unheeded)}: it may start it"
            return Readiness(Ready.DEGRADED, detail)
        if not self.settings.refuse_starts:
            return Readiness(Ready.DEGRADED, "whoever starts it is undone, not refused")
        alive = sum(not each.still for each in self._proven)
        return Readiness(Ready.READY, f"systemd answers; {alive} of {len(self._proven)} run")

    def trip(self, level: str) -> Acted:
        """Refuse starts, stop and kill; all commands are on their way before one is answered."""
        if level not in _KILLS:
            raise Trouble(f"no {level} of units", "name the process layer for this level")
        refused = self._refuse()
        units = self.settings.units
        sent = [self._send("StopUnit", "ss", each, "replace") for each in self._triggers]
        sent += [self._send("StopUnit", "ss", each, "replace") for each in units]
        sent += [self._send("KillUnit", "ssi", each, "all", _SIGKILL) for each in units]
        troubles = [str(trouble.message) for each in sent if (trouble := self._failed(each))]
        if troubles:
            raise Trouble("; ".join(troubles[:4]))
        happened = tuple(each.words() for each in self._proven)
        happened += tuple(f"{each} stopped: it would have started it" for each in self._triggers)
        return Acted(f"stopped and killed {', '.join(units)}{refused}", happened)

    def look(self) -> Sight:
        """Ask systemd, and the kernel."""
        if not self._triggers:
            self._triggers = self._found_triggers()
        for each in self._states([*self.settings.units, *self._triggers]):
            if not each.still:
                self._seen_alive(each.name)
                return Sight(False, each.words())
        left = self._cgroups.populated()
        self.memory = self._cgroups.told
        if left:
            return Sight(False, f"systemd calls it inactive, and processes are left in {left}")
        if self.settings.refuse_starts:
            missing = [each for each in self.settings.units if not os.path.exists(_path(each))]
            if missing:
                return Sight(False, f"inactive, and nothing keeps {missing[0]} from being started")
        return Sight(True, "inactive, no process left, and what would start it is stopped")

    def release(self) -> Acted:
        """Let them be started again; nothing is started."""
        for unit in self.settings.units:
            with suppress(FileNotFoundError):
                os.unlink(_path(unit))
        again = tuple(f"type: systemctl start {each}" for each in self._triggers)
        return Acted("they may be started again; nothing is started", reissue=again)

    def holds(self) -> tuple[str, ...]:
        """List what runs, and what would start it."""
        running = tuple(each.words() for each in self._proven if not each.still)
        return running + tuple(f"{each} would start it" for each in self._triggers)

    def route(self) -> Route:
        """Say what it rests on."""
        path = self._bus.path
        credential = "connected as root" if path == _PRIVATE else "none: anybody may look"
        return Route("unix", path, credential, "systemd", (path,))

    # --- systemd's words ---------------------------------------------------------------

    def _manager(self, member: str, signature: str = "", *args: object) -> Any:  # noqa: ANN401 - as systemd has it
        return self._bus.call(_AT, _MANAGER, member, signature, *args)

    def _send(self, member: str, signature: str, *args: object) -> int:
        return self._bus.send(_AT, _MANAGER, member, signature, *args)

    def _failed(self, serial: int) -> Trouble | None:
        """Wait for an answer; a unit that is not there needs no stopping."""
        try:
            self._bus.answer(serial)
        except Declined as declined:
            return None if declined.name in _NOT_THERE else declined
        except Trouble as trouble:
            return trouble
        return None

    def _states(self, names: list[str]) -> list[_State]:
        found = []
        for row in self._manager("ListUnitsByNames", "as", names):
            name, _text, load, active, sub, *_more, job, job_kind, _job_path = row
            loaded, shown = printable(load, 20), printable(active, 20)
            waits = printable(job_kind, 20) if job else ""
            found.append(_State(printable(name, 60), loaded, shown, printable(sub, 20), waits))
        if len(found) != len(set(names)):
            raise Trouble("systemd does not tell of all of them")
        return found

    def _found_triggers(self) -> tuple[str, ...]:
        """Name what would start one of them: timers, sockets, paths, automounts."""
        found: list[str] = []
        for unit in self.settings.units:
            path = self._manager("LoadUnit", "s", unit)
            found += self._bus.call(path, _PROPERTIES, "Get", "ss", _UNIT, "TriggeredBy")
        if len(found) > _MOST_TRIGGERS:
            raise Trouble(f"{len(found)} units would start it: too many")
        return tuple(dict.fromkeys(found))

    def _heeded(self, path: str) -> bool:
        drop_ins = self._bus.call(path, _PROPERTIES, "Get", "ss", _UNIT, "DropInPaths")
        return any(str(each).endswith(f"/{_DROP_IN}") for each in drop_ins)

    def _note(self, unit: str, path: str) -> None:
        """Remember the unit's cgroup, if it has one now."""
        kind = f"{_NAME}.{unit.rpartition('.')[2].capitalize()}"
        with suppress(Declined):
            folder = self._bus.call(path, _PROPERTIES, "Get", "ss", kind, "ControlGroup")
            self._cgroups.keep(folder)

    def _seen_alive(self, unit: str) -> None:
        if unit in self.settings.units:
            self._note(unit, self._manager("LoadUnit", "s", unit))

    def _refuse(self) -> str:
        """Make the files; say it where that did not work."""
        if not self.settings.refuse_starts:
            return ""
        try:
            for unit in self.settings.units:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                where = self._folder if self._folder >= 0 else None
                path = _file(unit) if where is not None else _path(unit)
                os.close(os.open(path, flags, 0o644, dir_fd=where))
        except OSError as error:
            return f"; its starts are not refused: {error.strerror}"
        return "; starts are refused"


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Connect as somebody who has no rights, where we have them all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _file(unit: str) -> str:
    """Name the file that keeps a unit from being started."""
    return hashlib.sha256(unit.encode()).hexdigest()[:32]


def _path(unit: str) -> str:
    return f"{_FILES}/{_file(unit)}"


def _write_drop_in(unit: str) -> bool:
    """Have systemd look for the file; whether that is new, so that it must read its units again."""
    text = (
        f"# Offswitch: while that file is there {unit} is stopped.\n"
        f"[Unit]\nConditionPathExists=!{_path(unit)}\n"
    )
    folder = f"{_DROP_INS}/{unit}.d"
    path = f"{folder}/{_DROP_IN}"
    with suppress(OSError), open(path, encoding="utf-8") as file:
        if file.read() == text:
            return False
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return True

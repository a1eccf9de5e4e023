"""The processes that `up` keeps alive: warden, station and, if configured, watch and gateway.

A warden that serves already is used as it is; if it goes, one of our own takes its place.
What dies is started again, at once the first time and with growing pauses if it dies
again, and each time is recorded. A process that has run for a minute is forgiven. The
targets that the configuration declares are told to every warden anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from offswitch.cli.alarm_words import alarm_words, what_to_type
from offswitch.cli.begin import daemon_environment, open_log, verifying_key, warden_answers
from offswitch.cli.declare import declare
from offswitch.cli.face import address, forget_address, last_word
from offswitch.cli.own_hands import cells_of
from offswitch.clock import SystemClock, boot_id
from offswitch.config.load import Loaded, load
from offswitch.control.client import Conversation, call
from offswitch.control.place import Place
from offswitch.errors import OffswitchError, Storage
from offswitch.host.drop_in import write_drop_in
from offswitch.model.entry import VERSION, EntryKind

__all__ = ["Household"]

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_FORGIVEN_S = 60.0
_LOOK_S = 1.0
_RECORD_S = 2.0
_END_S = 8.0
_BOTH_S = 3.0
"""How long a new watch has to begin before the old one ends."""
_FIRST_REPORT_S = 5.0
"""After so long watch has looked and said so."""
_SHOWN = 8
_MOST = 100

Tell = Callable[[str], None]


@dataclass(slots=True)
class _Member:
    """One of our own processes."""

    name: str
    module: str
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    pause: float = 0.0
    again_at: float = 0.0
    deaths: int = 0


@dataclass(slots=True)
class Household:
    """Keeps the processes of `place` alive; `turn` is called again and again."""

    place: Place
    loaded: Loaded | None
    """The configuration; None: there is none, so nothing is watched."""
    tell: Tell
    """Where a line for people goes."""
    own: bool = True
    """Whether a warden is started where none serves; else somebody else's is waited for."""
    face: bool = True
    """Whether a station is started."""
    gates: bool = True
    """Whether the gateways are started that the configuration declares."""
    _warden: _Member = field(default_factory=lambda: _Member("warden", "offswitch.warden"))
    _watch: _Member = field(default_factory=lambda: _Member("watch", "offswitch.watch"))
    _station: _Member = field(default_factory=lambda: _Member("station", "offswitch.station"))
    _gateway: _Member = field(default_factory=lambda: _Member("gateway", "offswitch.gateway"))
    _foreign: bool = False
    """Whether the warden that serves is somebody else's."""
    _declared_to: tuple[int, int] = (0, 0)
    _installation: str = ""
    _unrecorded: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_MOST))
    """Entries that no recorder has taken yet, the latest."""
    _looked: float = 0.0
    _noted: list[str] = field(default_factory=list)
    """The warden's notes that were passed on."""
    _told: dict[str, tuple[str, object]] = field(default_factory=dict)
    """What people were told of and that lasts, with what to say at its end."""
    _keyless: bool = False
    _held_back: set[str] = field(default_factory=set)
    """Declared units that start only where the warden lets them."""
    _relieved: list[tuple[float, subprocess.Popen[bytes]]] = field(default_factory=list)
    """A watch of the code before, and when it is to end (CLOCK_MONOTONIC)."""
    _leaving: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """See whether the ledger is yet to be made: its key is told once."""
        self._keyless = verifying_key(self.place) is None

    @property
    def owns_warden(self) -> bool:
        """Whether the warden ends with us; so does one that just died and is started again."""
        return self.own and not self._foreign

    def turn(self, now: float) -> None:
        """Start what is missing, notice what died, declare the targets to a new warden."""
        self._reap(self._warden, now)
        self._reap(self._watch, now)
        self._reap(self._station, now)
        self._reap(self._gateway, now)
        self._relieve(now)
        if now - self._looked < _LOOK_S and self._declared_to[0]:
            return
        self._looked = now
        if self._warden.process is None:
            foreign = warden_answers(self.place)
            if self._foreign and not foreign:
                next_ = "starting one" if self.own else "waiting for the next one"
                self.tell(f"the warden that served here has ended; {next_}")
            self._foreign = foreign
            if self.own and not foreign and now >= self._warden.again_at:
                self._start(self._warden, now)
        answers = self._declare()
        self._alarm(now)
        self._hand_in()
        if self._declared_to[0]:
            wanted = [self._watch] if self.loaded is not None else []
            wanted += [self._station] if self.face else []
            wanted += [self._gateway] if self.gates and self._declares_gateways else []
            for member in wanted:
                if member.process is None and now >= member.again_at:
                    self._start(member, now)
        if answers:
            self._pass_on()
            self._hold_back()

    @property
    def _declares_gateways(self) -> bool:
        return self.loaded is not None and bool(self.loaded.config.gateway)

    def listening(self) -> list[str]:
        """Say where the gateways that are started here may be reached."""
        if self.loaded is None or not self.gates:
            return []
        return [
            f"gateway {one.name}: {', '.join(one.listen)} → {one.upstream or 'as its routes say'}"
            for one in self.loaded.config.gateway
        ]

    def _start(self, member: _Member, now: float) -> None:
        place = self.place
        if member is self._station:
            forget_address(place)
        log = open_log(place)
        command = [sys.executable, "-I", "-m", member.module]
        command += ["--home", place.home, "--run", place.run]
        try:
            member.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env=daemon_environment(),
                start_new_session=True,
            )
        finally:
            os.close(log)
        member.since = now
        self.tell(f"{member.name} started, pid {member.process.pid}")

    def _reap(self, member: _Member, now: float) -> None:
        process = member.process
        if process is None or process.poll() is None:
            return
        member.process = None
        member.deaths += 1
        lived = now - member.since
        member.pause = min(max(member.pause * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        if lived > _FORGIVEN_S:
            member.pause = _FIRST_PAUSE_S
        member.again_at = now + member.pause
        self._looked = 0.0
        how = _how(process.returncode)
        why = last_word(self.place, member.name) if process.returncode > 0 else ""
        self.tell(
            f"{member.name} ended ({how}{why}) after {lived:.1f} s; again in {member.pause:.1f} s"
            f" (see {self.place.home}/warden.log)"
        )
        if member is self._warden:
            self._declared_to = (0, 0)
        self._record(member, how)

    def _renew_watch(self) -> None:
        """The warden was renewed in place: watch follows, the new one first, so that none is blind.

        For a moment both see, and both may stop; the latch joins what they say.
        """
        old = self._watch.process
        if old is None:
            return
        self._relieved.append((time.monotonic() + _BOTH_S, old))
        self._watch.process = None
        self._watch.again_at = 0.0

    def _relieve(self, now: float) -> None:
        for due, old in [each for each in self._relieved if each[0] <= now]:
            self._relieved.remove((due, old))
            old.terminate()
            self._leaving.append(old)
        self._leaving = [old for old in self._leaving if old.poll() is None]

    def _record(self, member: _Member, how: str) -> None:
        """Note an end for the record; it is handed in as soon as a recorder is there."""
        clock = SystemClock()
        public = {
            "v": VERSION,
            "kind": EntryKind.RESTART.value,
            "time_us": clock.wall_us(),
            "mono_us": clock.mono_us(),
            "boot": boot_id(),
            "installation": self._installation,
            "process": member.name,
            "what": f"ended: {how}",
            "channel": "process",
            "why": how,
            "prior": "running",
            "state": "to be started again",
            "deaths": member.deaths,
        }
        self._unrecorded.append({"public": public, "sealed": {"by": "up"}})

    def _hand_in(self) -> None:
        """Hand what is to be recorded to the recorder, if one answers."""
        if not self._unrecorded:
            return
        try:
            with Conversation(self.place.recorder_socket, _RECORD_S) as recorder:
                recorder.ask({"op": "record", "entries": list(self._unrecorded)})
        except OffswitchError:
            return
        self._unrecorded.clear()

    def _declare(self) -> bool:
        """Tell the declared targets to this warden, once; say whether it answers."""
        try:
            ping = call(self.place, {"op": "ping"}, _RECORD_S)
        except OffswitchError:
            return False
        known = (int(ping["pid"]), int(ping["epoch"]))
        if known == self._declared_to:
            return True
        if known[0] == self._declared_to[0]:
            self._renew_watch()
        self._read_again()
        if self.loaded is not None:
            with suppress(Storage):  # declared, if not kept, as a note of the warden's says
                call(self.place, declare(self.loaded), _RECORD_S * 2)
        self._held_back = set()
        self._declared_to = known
        self._installation = str(ping["installation"])
        whose = "" if self.owns_warden else " (not ours: it stays when this ends)"
        self.tell(f"warden {known[0]} serves {self.place.run}, rung {ping['rung']}{whose}")
        return True

    def _read_again(self) -> None:
        """Read the configuration anew: another one may have been applied meanwhile."""
        if self.loaded is None or not self._installation:
            return
        try:
            self.loaded = load(self.loaded.path, self.loaded.kinds, named=True)
        except OffswitchError as error:
            self.tell(f"the configuration as it was is kept: {error.message}")

    def _hold_back(self) -> None:
        """Keep declared units, once they are adopted, from starting before us at boot (SR-16)."""
        targets = self.loaded.config.target if self.loaded is not None else []
        declared = {target.name for target in targets if target.unit}
        if os.geteuid() != 0 or not declared - self._held_back:
            return
        for row in call(self.place, {"op": "targets"}, _RECORD_S)["targets"]:
            name, (kind, _, unit) = str(row["target"]), str(row["adopted"]).partition(" ")
            if name in declared - self._held_back and kind == "unit":
                self._held_back.add(name)
                try:
                    write_drop_in(self.place, name, unit)
                except OSError as error:
                    self.tell(f"{unit} may start before us at boot: {error}")

    def _pass_on(self) -> None:
        """Tell what the warden wants people to know, each thing when it comes (SR-2)."""
        if self._keyless and (key := verifying_key(self.place)):
            self._keyless = False
            self.tell(f"a new ledger; keep its verifying key elsewhere: {key}")
        notes = call(self.place, {"op": "health"}, _RECORD_S)["notes"]
        for note in notes:
            if note not in self._noted:
                self.tell(note)
        self._noted = notes

    def _alarm(self, now: float) -> None:
        """Tell once of each alarm that rises or falls, and of a rule that is blind (SR-13)."""
        try:
            said = call(self.place, {"op": "alarms"}, _RECORD_S)
        except OffswitchError:
            return
        standing: dict[str, tuple[str, object]] = {}
        for alarm in said.get("alarms", []):
            typed = what_to_type(alarm)
            words = alarm_words(alarm) + (f". To stop it: {typed}" if typed else "")
            which = (alarm["rule"], alarm["scope"], alarm["act"])
            standing[words] = (f"over: {alarm_words(alarm)}", which)
        if self._watch.process is not None and now - self._watch.since > _FIRST_REPORT_S:
            for scope in said.get("blind", [])[:_SHOWN]:
                words = f"BLIND: the automatic rule for {scope} sees nothing"
                standing[words] = (f"seen: {scope}", scope)
        for words in (words for words in standing if words not in self._told):
            self.tell(words)
        still = [same for _over, same in standing.values()]
        for over, same in self._told.values():
            if same not in still:  # what goes on, in other words, is not over
                self.tell(over)
        self._told = standing

    @property
    def ready(self) -> bool:
        """Whether a warden serves, watch runs if there is a configuration, and the face is up."""
        watching = self.loaded is None or self._watch.process is not None
        facing = not self.face or bool(address(self.place)) or self._station.deaths > 0
        return bool(self._declared_to[0]) and watching and facing

    def alive_targets(self) -> tuple[list[str], str]:
        """Name the targets that run now, and say why there may be others, where nobody can tell.

        A warden that does not answer leaves the cells that are not seen empty.
        """
        try:
            answer = call(self.place, {"op": "status", "scope": None}, _RECORD_S)
        except OffswitchError as error:
            cells = [cell.name for cell in cells_of(self.place, ["/"]) if cell.look() is not False]
            there = cells or warden_answers(self.place)
            return cells, error.message if there else ""
        return [str(row["target"]) for row in answer["targets"] if _may_run(row)], ""

    def end(self) -> None:
        """End what is ours, watch first, so that it does not call the warden's end a fault."""
        for old in [*self._leaving, *(each for _due, each in self._relieved)]:
            old.kill()
            old.wait()
        for member in (self._station, self._gateway, self._watch, self._warden):
            process = member.process
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self.tell(f"{member.name} does not end; it is killed")
                process.kill()
                process.wait()
            member.process = None


def _may_run(row: dict[str, Any]) -> bool:
    return bool(row["pids"]) or row["state"] in {"unknown", "unreachable"}


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

"""The loop that joins eyes, detectors, rules and the warden. One thread, nothing in it waits.

For each reading: the detectors of its series, the rules of those, the arbiter; a decision
to stop goes to the warden in the same breath. Only then is anything recorded. In between,
four times in the shortest interval and at least ten times a second: what has fallen
silent, which cells there are, what `status` shall show.

What an eye says is believed for its own sensors only: which source a reading belongs to
follows from the link that it came over, never from what it says (SR-6).
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from offswitch.clock import Clock
from offswitch.config.load import Loaded
from offswitch.control.peer import Peer
from offswitch.control.place import Place
from offswitch.decide.votes import Channel
from offswitch.model.decision import Choice, Decision
from offswitch.model.entry import EntryKind
from offswitch.model.reading import series as spell
from offswitch.model.target import Target
from offswitch.watch.bench import Bench
from offswitch.watch.beside import Beside
from offswitch.watch.channels import Source
from offswitch.watch.coverage import RUNNING, Coverage, coverage, watched
from offswitch.watch.desk.door import Desk
from offswitch.watch.desk.reception import Reception
from offswitch.watch.eyes import Bear, EyeLink
from offswitch.watch.lookout import Lookout
from offswitch.watch.nursery import launched
from offswitch.watch.onlookers import Batch, Onlooker, Onlookers
from offswitch.watch.prepared import Prepared
from offswitch.watch.renewal import apply
from offswitch.watch.report import report
from offswitch.watch.scribe import Scribe
from offswitch.watch.warden_link import Press, WardenLink
from offswitch.watch.wiring import Wiring

__all__ = ["Watch"]

_CELLS_US = 250_000
_REPORT_US = 500_000
_A_TARGET_US = 100
"""How much longer both take for each target: a large fleet must not keep the warden busy."""
_MOST_LONGER_US = 1_000_000
"""After three seconds without a report the warden calls everything blind."""
_LONGEST_TICK_US = 100_000
_SHORTEST_TICK_US = 5_000
_CHASE_US = 2_000
_HUNG_INTERVALS = 10
_HUNG_LEAST_US = 5_000_000

_MOST_STATES = 20
_MOST_ORDERED = 255

Message = dict[str, Any]


class Watch:
    """Everything of one watch process."""

    def __init__(
        self,
        place: Place,
        loaded: Loaded,
        clock: Clock,
        bear: Bear = launched,
        prepared: Mapping[str, Prepared] | None = None,
        onlookers: Sequence[Onlooker] = (),
        desk: Desk | None = None,
    ) -> None:
        """Watch for the installation at `place` as `loaded` says; eyes are started by `bear`.

        `prepared` is what the sensors got from root, `onlookers` see all that was read, and at
        `desk` people are heard.
        """
        self._loaded = loaded
        self._clock = clock
        self._warden = WardenLink(place, clock)
        self._scribe = Scribe(place, clock)
        self.wired = Wiring(place.home, loaded, clock, self._scribe, bear, prepared or {})
        self._beside = Beside()
        self._onlookers = Onlookers([self._beside, *onlookers])
        self._cells: dict[str, Message] = {}
        self._targets: dict[str, Target] = {}
        self._coverage: dict[str, Coverage] = {}
        self._warden_pid = 0
        self._cells_us = self._report_us = self._tick_us = 0
        self._pending: list[tuple[Decision, str]] = []
        self._ordered: list[Press] = []
        self._claimed: set[tuple[str, str, str, int]] = set()
        self._defect = ""
        self.running = True
        self._cover({}, {})
        self._tick = self._shortest_tick()
        self._lookout = Lookout()
        self.reception = Reception(
            place,
            desk or Desk(None, clock),
            self._scribe,
            self.wired,
            covered=lambda bench: self._coverage[bench.rule.scope.text],
            act=self._act,
            apply=self._apply,
        )

    def _shortest_tick(self) -> int:
        every = [source.section.every for source in self.wired.sources.values()]
        return max(min([_LONGEST_TICK_US, *(one // 4 for one in every)]), _SHORTEST_TICK_US)

    def _apply(self, peer: Peer, message: Message) -> Message:
        """Put another configuration in force."""
        answer, self._loaded = apply(peer, message, self._loaded, self.wired, self._scribe)
        if answer["applied"]:
            self._cover(self._targets, self._cells)
            self._tick = self._shortest_tick()
            self.reception.clerk.lower_all()
        return answer

    # --- the loop -----------------------------------------------------------------

    def run(self) -> None:
        """Watch until `running` is false."""
        for eye in self.wired.eyes.values():
            eye.start()
        self._scribe.tell(
            EntryKind.RESTART,
            "watch begins",
            why="it was started; what was written before its first look is not compared",
            prior="not watching",
            state="watching",
            process="watch",
            pid=os.getpid(),
        )
        self._scribe.rules(self._loaded, [bench.in_force() for bench in self.wired.benches])
        try:
            while self.running:
                try:
                    self._turn()
                except Exception as error:  # noqa: BLE001 - a defect must not end what watches
                    self._met(error)
        finally:
            self.close()

    def _turn(self) -> None:
        """Wait until something happens or is due, and see to it."""
        self._wait()
        for eye in list(self.wired.eyes.values()):
            for message in eye.messages():
                self._hear_from(eye, message)
            if eye.refused:
                self._scribe.tell(
                    EntryKind.NOTE,
                    f"eye {eye.name} kept rights that it should have lost",
                    why=eye.refused,
                    prior="with all rights",
                    state="with some of them",
                )
                eye.refused = ()
        now_us = self._clock.mono_us()
        if now_us - self._tick_us >= self._tick:
            self._tick_us = now_us
            self._tick_all(now_us)
        self._pump()
        self.reception.turn()
        self._look_on()

    def _look_on(self) -> None:
        """Let those who only look on have what was read; orders have left by now."""
        for finding in self._onlookers.turn(self._clock.mono_us(), self._clock.wall_us()):
            self._scribe.finding(finding)
        lost = self._onlookers.lost()
        if lost:
            self._scribe.tell(
                EntryKind.WATCH,
                f"{lost} readings were neither surveyed nor kept",
                why="more came than could be taken in; rules have judged them",
                prior="taken in",
                state="dropped",
            )

    def _met(self, error: Exception) -> None:
        """Tell of a defect of ours, once as long as it is the same, and watch on."""
        text = "".join(traceback.format_exception(error))
        if text == self._defect:
            return
        self._defect = text
        why = f"{type(error).__name__}: {error}"
        self._scribe.tell(EntryKind.NOTE, "defect", why=why, prior="watching", state="watching")
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass  # nobody reads it; the entry is there

    def _wait(self) -> None:
        poller = select.poll()
        for eye in self.wired.eyes.values():
            fd = eye.fileno()
            if fd is not None:
                poller.register(fd, select.POLLIN | (select.POLLOUT if eye.writing else 0))
        scribe = self._scribe.wait()
        waits = [*self._warden.waits(), *([scribe] if scribe else []), *self.reception.waits()]
        for fd, writing in waits:
            poller.register(fd, select.POLLIN | (select.POLLOUT if writing else 0))
        due_us = self._tick_us + self._tick - self._clock.mono_us()
        if self._onlookers.waiting:
            due_us = 0
        if self._warden.chasing():
            due_us = min(due_us, _CHASE_US)
        poller.poll(max(due_us, 0) / 1000)

    def close(self) -> None:
        """End the eyes and hang up."""
        self._scribe.tell(
            EntryKind.RESTART,
            "watch ends",
            why="it was told to end",
            prior="watching",
            state="not watching",
            process="watch",
            pid=os.getpid(),
        )
        self._scribe.pump()
        for eye in self.wired.eyes.values():
            eye.end()
        self._onlookers.close()
        self.reception.close()
        self._warden.close()
        self._scribe.close()

    def _pump(self) -> None:
        """Talk with the warden; and only after that record what was decided."""
        for press in self._warden.pump():
            if press.answer.get("confirmed") is not True:
                self._scribe.tell(
                    EntryKind.NOTE,
                    "a rule's stop is not confirmed",
                    why=str(press.answer.get("error", "the warden ended before it was")),
                    prior="stop ordered",
                    state="not confirmed",
                    by=press.decision.by,
                    channel="rule",
                    order=press.order,
                    scope=press.decision.scope.text,
                )
        while self._pending:
            self._record(*self._pending.pop(0))
        self._scribe.pump()

    # --- readings -----------------------------------------------------------------

    def _hear_from(self, eye: EyeLink, message: Message) -> None:
        """Take in a message; an eye that speaks nonsense is replaced, and nothing is believed."""
        try:
            self._hear(eye, message)
        except Exception as error:  # noqa: BLE001 - whoever took an eye over says anything
            eye.lose()
            self._scribe.tell(
                EntryKind.WATCH,
                f"eye {eye.name} spoke nonsense",
                why=f"{type(error).__name__}: {error}"[:1000],
                prior="looking",
                state="to be replaced",
            )

    def _hear(self, eye: EyeLink, message: Message) -> None:
        """Take in what an eye saw; stop at once what must be stopped."""
        key = (str(message.get("sensor")), str(message.get("target")))
        source = self.wired.sources.get(key)
        if source is None or self.wired.eye_of.get(key) != eye.name:
            return
        mono_us, wall_us = self._clock.mono_us(), self._clock.wall_us()
        before, note = source.state, source.note
        source.hear(
            mono_us,
            wall_us,
            problem=str(message.get("problem", ""))[:1000],
            absent=bool(message.get("absent")),
            note=str(message.get("note", ""))[:1000],
        )
        source.series = len(message["samples"])
        eye.remember(key, message.get("memory") or {})
        touched: dict[int, Bench] = {}
        seen: list[tuple[str, float, dict[str, str]]] = []
        for sample in message["samples"]:
            what, value, labels, raw = sample
            detail = {str(name)[:200]: str(text)[:1000] for name, text in raw.items()}
            number = float("nan") if value is None else float(value)
            series = spell(source.section.name, what, labels)
            seen.append((series, number, detail))
            for bench, judge in self.wired.by_series.get((*key, series), ()):
                judge.feed(mono_us, wall_us, number, detail)
                touched[id(bench)] = bench
        if source.state is not before:
            touched = {id(bench): bench for bench in self.wired.by_source.get(key, ())}
        for bench in touched.values():
            self._decide(bench, mono_us, wall_us)
        self._onlookers.see(Batch(*key, source.signal, source.hearsay, mono_us, wall_us, seen))
        if source.unseen_us and source.state is Channel.OK:
            self._tell_unseen(source, before, wall_us)
        elif source.state is not before or source.note != note:
            self._tell(source, before)

    def _decide(self, bench: Bench, mono_us: int, wall_us: int) -> None:
        covered = self._coverage[bench.rule.scope.text]
        known = covered.known(bench.in_force_now(mono_us).level)
        decision = bench.decide(known, mono_us, wall_us)
        if decision is not None:
            self._act(decision)

    def _act(self, decision: Decision) -> None:
        """Have a stop leave at once, and all of it recorded afterwards."""
        nonce = ""
        if decision.choice is Choice.STOP:
            press = self._warden.stop(decision)
            nonce = str(press.message["nonce"])
            self._ordered = [*self._ordered[-_MOST_ORDERED:], press]
        self._pending.append((decision, nonce))

    def _record(self, decision: Decision, nonce: str) -> None:
        for finding in decision.findings:
            claim = (finding.detector, finding.target, finding.series, finding.time_us)
            if claim not in self._claimed:
                if len(self._claimed) > 1000:  # noqa: PLR2004 - a bound, not a meaning
                    self._claimed.clear()
                self._claimed.add(claim)
                self._scribe.finding(finding)
        prior, state = self._states(decision)
        self._scribe.decision(decision, prior=prior, state=state, nonce=nonce)

    def _states(self, decision: Decision) -> tuple[str, str]:
        """Say in which state its scope is, and in which it will be."""
        names = islice(self._coverage[decision.scope.text].names, _MOST_STATES)
        running = sorted(f"{name} {self._cells[name]['state']}" for name in names)
        prior = ", ".join(running) or "nothing runs in it"
        return prior, "stop ordered" if decision.choice is Choice.STOP else prior

    # --- time ---------------------------------------------------------------------

    def _tick_all(self, now_us: int) -> None:
        """Let time pass: silence, hung eyes, cells, reports."""
        wall_us = self._clock.wall_us()
        for eye in self.wired.eyes.values():
            self._revive(eye)
            eye.flush()
        for source in self.wired.sources.values():
            before = source.state
            if source.age(now_us, wall_us):
                self._tell(source, before)
                for bench in self.wired.by_source.get(source.key, ()):
                    self._decide(bench, now_us, wall_us)
            self._replace_hung(source, now_us)
        for bench in self.wired.benches:
            self._decide(bench, now_us, wall_us)
        for sign in self._lookout.turn(self.wired.benches, now_us, wall_us):
            self._scribe.finding(sign)
        if not self._warden.connected:
            self.running = self.running and not self._warden.homeless()
            return
        longer_us = min(len(self._cells) * _A_TARGET_US, _MOST_LONGER_US)
        if now_us - self._cells_us >= _CELLS_US + longer_us:
            self._cells_us = now_us
            # What is accepted by now is latched in the answer, or somebody has reset it.
            sure = frozenset(one.decision.by for one in self._ordered if one.accepted)
            if self._warden.ask({"op": "cells"}, lambda answer: self._take_cells(answer, sure)):
                self._ordered = [one for one in self._ordered if not one.accepted]
        if now_us - self._report_us >= _REPORT_US + longer_us:
            self._report_us = now_us
            sources = self.wired.sources
            beside = self._beside.listed(sources)
            notes = [*self.reception.notes(), *self._onlookers.notes(now_us)]
            told = (notes, self.reception.shelved())
            for message in report(
                self.wired.benches, list(sources.values()), now_us, beside, *told
            ):
                self._warden.ask(message, lambda _answer: None)

    def _revive(self, eye: EyeLink) -> None:
        """Start an eye that is dead; what it looked at is looked at by nobody meanwhile."""
        if not eye.revive() or eye.lives == 1:
            return
        for key, name in self.wired.eye_of.items():
            if name == eye.name:
                self.wired.sources[key].lose()
        self._scribe.tell(
            EntryKind.WATCH,
            f"eye {eye.name} is replaced",
            why=eye.lost,
            prior="lost",
            state="starting",
            pid=eye.pid or 0,
        )

    def _tell_unseen(self, source: Source, before: Channel, wall_us: int) -> None:
        """Record since when, and until when, nobody has looked."""
        since_us, source.unseen_us = source.unseen_us, 0
        self._scribe.tell(
            EntryKind.WATCH,
            f"sensor {source.section.name} looks again",
            why=source.note or "its eye was replaced",
            prior=before.value,
            state=source.state.value,
            target=source.section.target,
            sensor=source.section.name,
            unseen_from_us=since_us,
            unseen_to_us=wall_us,
        )

    def _replace_hung(self, source: Source, now_us: int) -> None:
        """An eye that has long been silent though it lives is replaced."""
        age_us = source.silent_us(now_us)
        limit_us = max(_HUNG_INTERVALS * source.section.every, _HUNG_LEAST_US)
        if source.state is Channel.STALE and age_us > limit_us:
            eye = self.wired.eyes[self.wired.eye_of[source.key]]
            if eye.fileno() is not None:
                eye.lose("it was silent for too long")
            source.wait(now_us)

    def _tell(self, source: Source, before: Channel) -> None:
        """Record that a source fell silent, failed, or is back: a silent one is an alarm."""
        well = source.state is Channel.OK
        self._scribe.tell(
            EntryKind.WATCH,
            f"sensor {source.section.name} is {source.state}",
            why=(source.note or "it sees again") if well else source.problem,
            prior=before.value,
            state=source.state.value,
            target=source.section.target,
            sensor=source.section.name,
        )
        if not well:
            finding = source.finding()
            self._claimed.add((finding.detector, finding.target, finding.series, finding.time_us))
            self._scribe.finding(finding)

    # --- the warden ---------------------------------------------------------------

    def _take_cells(self, answer: Message, sure: frozenset[str] = frozenset()) -> None:
        rows = answer.get("cells")
        if not isinstance(rows, list):
            return
        cells = watched(rows)
        targets = {
            name: Target(name, row.get("labels") or {}, row.get("kind") or "process")
            for name, row in cells.items()
        }
        self._cover(targets, cells)
        self.reception.hear(rows, answer.get("ran_as"))
        for name, row in self._cells.items():
            if row["state"] in RUNNING:
                for sensor, make in self.wired.implicit.items():
                    if (sensor, name) not in self.wired.sources:
                        self.wired.add_source(make(name))
        self._forget_gone()
        for eye in self.wired.eyes.values():
            eye.tell_cells(self._cells)
        self._rearm(sure)
        if self._warden_pid == 0:
            self._warden_pid = -1
            self._warden.ask({"op": "ping"}, self._take_ping)

    def _forget_gone(self) -> None:
        """Let go of what every target has anyway, where the warden knows the target no more."""
        for key in list(self.wired.sources):
            gone = key[1] not in self._cells and key not in self.wired.by_source
            if gone and key[0] in self.wired.implicit:
                self.wired.forget(key)

    def _rearm(self, sure: frozenset[str]) -> None:
        """Where a person has reset what a rule stopped, the rule judges anew."""
        for bench in self.wired.benches:
            covered = self._coverage[bench.rule.scope.text]
            ordered = bench.rule.by in sure
            now_us = self._clock.mono_us()
            bench.hear_of_latches(covered.names, covered.latched, now_us, ordered=ordered)
            bench.heighten(now_us, on_probation=covered.on_probation)

    def _cover(self, targets: dict[str, Target], cells: dict[str, Message]) -> None:
        """Take in what there is, and find what of it lies in each rule's scope."""
        scopes = {bench.rule.scope.text for bench in self.wired.benches}
        self._coverage = coverage(scopes, targets, cells)
        self._targets, self._cells = targets, cells

    def _take_ping(self, answer: Message) -> None:
        if not answer.get("pong"):
            self._warden_pid = 0
            return
        self._warden_pid = int(answer.get("pid", 0))
        self._scribe.of(str(answer.get("installation", "")))

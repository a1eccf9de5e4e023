"""For people who write sensors, detectors and actuators: what a plugin must pass.

For sensors and detectors it is a suite: a class of tests for pytest. Subclass it in your own
tests, say how to make your plugin, and run them; ours are tested by the same suites. For the hands
of actuators it is one function, `check_hand`, since most of what they promise needs their peer.

    from offswitch.testing import DetectorSuite

    class TestMine(DetectorSuite):
        kind = "mine"
        keys = {"series": "processes.count", "limit": 10}
        calm = 1.0        # a value that is well inside
        loud = 1000.0     # a value that is far outside

A plugin is found by its entry point (`offswitch.plugins`), so install your package first.
"""

# ruff: noqa: S101, N802 - these are tests, and bear the IDs of requirements
from __future__ import annotations

import importlib
import json
import math
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, get_args

from pydantic import ValidationError

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.clock import Clock, SystemClock
from offswitch.config.section import ActuatorSection, DetectorSection, SensorSection
from offswitch.config.stop_plan import LayerName
from offswitch.plugins import DETECTORS, SENSORS, installed
from offswitch.watch.detectors.contract import Detector, Verdict
from offswitch.watch.sensors.contract import CellFacts, Glance, Need, Sensor, SensorContext, Signal

__all__ = ["DetectorSuite", "SensorSuite", "check_hand"]

_STEP_US = 100_000
_LONG_RUN = 4_000
_GROWTH = 64 * 1024
_PROOF_S, _LOOK_S, _SLACK_S = 2.0, 2.0, 0.5


class DetectorSuite:
    """What every detector promises (`watch.detectors.contract`)."""

    kind: ClassVar[str]
    """The entry point's name."""
    keys: ClassVar[Mapping[str, Any]]
    """Its keys in a rule, `series` included."""
    calm: ClassVar[float]
    """A reading that is well inside."""
    loud: ClassVar[float]
    """A reading that is far outside."""
    learning: ClassVar[int] = 200
    """How many calm readings it may need before it judges."""
    loudness: ClassVar[int] = 1
    """How many loud readings in a row make an alarm."""

    def said(self, value: float, number: int) -> Mapping[str, str]:  # noqa: ARG002 - for others
        """Give what is said with a reading, for a detector of events; `number` counts them."""
        return {}

    def section(self) -> DetectorSection:
        """Make the section that a configuration would."""
        cls = installed(DETECTORS)[self.kind].cls
        section: DetectorSection = cls.Settings.model_validate({"kind": self.kind, **self.keys})
        return section

    def make(self) -> Detector:
        """Make a fresh detector."""
        detector: Detector = installed(DETECTORS)[self.kind].cls(self.section())
        return detector

    def feed(self, detector: Detector, values: Sequence[float], start: int = 0) -> list[Verdict]:
        """Give readings a tenth of a second apart."""
        return [
            self.give(detector, (start + number) * _STEP_US, value, start + number)
            for number, value in enumerate(values)
        ]

    def give(self, detector: Any, mono_us: int, value: float, number: int) -> Verdict:  # noqa: ANN401 - with or without detail
        """Give one reading, with what was said if it wants that."""
        seen = (value, self.said(value, number)) if getattr(detector, "EVENTS", False) else (value,)
        verdict: Verdict = detector.update(mono_us, *seen)
        return verdict

    def test_its_kind_is_the_name_of_its_entry_point(self) -> None:
        """A configuration finds it by that name."""
        assert self.section().kind == self.kind

    def test_a_calm_series_never_trips(self) -> None:
        """No alarm without a reason."""
        verdicts = self.feed(self.make(), [self.calm] * 1000)
        assert not any(verdict.tripped for verdict in verdicts)

    def test_a_loud_reading_trips_and_says_why(self) -> None:
        """It rises at the latest after its own declared delay."""
        detector = self.make()
        self.feed(detector, [self.calm] * self.learning)
        delay = self.section().delay_us() // _STEP_US + self.loudness
        verdicts = self.feed(detector, [self.loud] * (delay + 1), self.learning)
        assert verdicts[-1].tripped
        assert verdicts[-1].score > 1
        assert verdicts[-1].why

    def test_the_same_readings_give_the_same_verdicts(self) -> None:
        """It is pure state: no clock, no randomness, nothing shared."""
        values = [self.calm, self.loud, self.calm] * 200
        assert self.feed(self.make(), values) == self.feed(self.make(), values)

    def test_DET_5_a_value_that_swings_raises_one_alarm(self) -> None:
        """A 10 Hz square wave for a minute: one annunciation at most."""
        detector = self.make()
        self.feed(detector, [self.calm] * self.learning)
        wave = [self.loud if number % 2 else self.calm for number in range(600)]
        states = [verdict.tripped for verdict in self.feed(detector, wave, self.learning)]
        rises = sum(
            now and not before for before, now in zip([False, *states], states, strict=False)
        )
        assert rises <= 1

    def test_rearming_lets_the_alarm_fall(self) -> None:
        """What a person has reset is judged anew, by what it does from then on."""
        detector = self.make()
        self.feed(detector, [self.calm] * self.learning)
        self.feed(detector, [self.loud] * (20 + self.loudness), self.learning)
        detector.rearm()
        assert not self.feed(detector, [self.calm], self.learning + 22 + self.loudness)[0].tripped

    def test_odd_numbers_neither_raise_nor_stick(self) -> None:
        """Infinity and the like may trip it; they may not break it."""
        detector = self.make()
        self.feed(detector, [self.calm] * self.learning)
        odd = [math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0]
        for verdict in self.feed(detector, odd, self.learning):
            assert isinstance(verdict.tripped, bool)
            assert isinstance(verdict.score, float)
        detector.rearm()
        later = self.feed(detector, [self.calm] * 10_000, self.learning + 100)
        assert not later[-1].tripped

    def test_its_memory_is_bounded(self) -> None:
        """However long the series, however fast the readings."""
        detector = self.make()
        values = [self.calm, self.loud] * (_LONG_RUN // 2)
        for number, value in enumerate(values):
            self.give(detector, number, value, number)
        tracemalloc.start()
        try:
            for number, value in enumerate(values, len(values)):
                self.give(detector, number, value, number)
            grown, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert grown < _GROWTH


class SensorSuite:
    """What every sensor promises (`watch.sensors.contract`)."""

    kind: ClassVar[str]
    """The entry point's name."""
    budget_s: ClassVar[float] = 2.0
    """How long a look may take on a slow machine."""

    def keys(self, folder: str) -> Mapping[str, Any]:
        """Give its own keys, for a source that the suite's test makes in `folder`."""
        raise NotImplementedError

    def source(self, folder: str) -> CellFacts | None:
        """Make the source in `folder`; give its target's cell, if the sensor looks at one."""
        raise NotImplementedError

    def stir(self, folder: str) -> None:
        """Make something happen in the source."""
        raise NotImplementedError

    def make(self, folder: str, cells: dict[str, CellFacts], clock: Clock | None = None) -> Sensor:
        """Make a fresh sensor of the target `suite/target`."""
        cls = installed(SENSORS)[self.kind].cls
        raw = {"name": "suite", "target": "suite/target", "kind": self.kind, "every": "100ms"}
        section: SensorSection = cls.Settings.model_validate({**raw, **self.keys(folder)})
        sensor: Sensor = cls(section, SensorContext(clock or SystemClock(), cells))
        return sensor

    def look(self, sensor: Sensor) -> Glance:
        """Look once, and hold it to its time."""
        begin = time.monotonic()
        glance = sensor.look()
        assert time.monotonic() - begin < self.budget_s
        return glance

    def looks(self, sensor: Sensor, times: int) -> list[Glance]:
        """Look several times, as an eye does: soon again where the sensor wants it."""
        glances = []
        for _ in range(times):
            glance = self.look(sensor)
            glances.append(glance)
            time.sleep(min(glance.again_us or 20_000, 20_000) / 1e6)
        return glances

    def opened(self, folder: str) -> tuple[Sensor, dict[str, CellFacts]]:
        """Make the source and a sensor of it."""
        facts = self.source(folder)
        cells = {} if facts is None else {"suite/target": facts}
        return self.make(folder, cells), cells

    def test_it_declares_what_it_is(self) -> None:
        """Its series, its signal, whether it reads what a target made."""
        cls = installed(SENSORS)[self.kind].cls
        assert cls.Settings.SERIES
        assert cls.SIGNAL in Signal
        assert isinstance(cls.ISOLATED, bool)
        assert isinstance(cls.IMPLICIT, str)
        assert set(Need) >= cls.NEEDS

    def test_what_it_reads_is_what_it_declares(self, tmp_path: os.PathLike[str]) -> None:
        """A rule may rest on each declared series, and on no other."""
        folder = os.fspath(tmp_path)
        sensor, _cells = self.opened(folder)
        raw = {"name": "suite", "target": "suite/target", "kind": self.kind}
        section = type(sensor).Settings.model_validate({**raw, **self.keys(folder)})
        try:
            self.looks(sensor, 3)
            self.stir(folder)
            glances = self.looks(sensor, 12)
        finally:
            sensor.close()
        read = [sample for glance in glances for sample in glance.samples]
        assert read
        for sample in read:
            assert section.problem(sample.what, sample.labels) is None
        assert not any(glance.problem for glance in glances)

    def test_a_source_that_is_not_there_is_no_exception(self, tmp_path: os.PathLike[str]) -> None:
        """It is absent or a problem, never a crash and never *all is well*."""
        sensor = self.make(os.fspath(tmp_path), {})
        try:
            for glance in self.looks(sensor, 3):
                assert glance.absent or glance.problem
                assert not glance.samples
        finally:
            sensor.close()

    def test_what_wakes_it_are_descriptors(self, tmp_path: os.PathLike[str]) -> None:
        """An eye can wait for them."""
        sensor, _cells = self.opened(os.fspath(tmp_path))
        try:
            self.looks(sensor, 2)
            assert all(os.fstat(fd) for fd in sensor.wake())
        finally:
            sensor.close()

    def test_it_closes_twice_and_leaves_no_descriptor(self, tmp_path: os.PathLike[str]) -> None:
        """Eyes live long."""
        before = set(os.listdir("/proc/self/fd"))
        sensor, _cells = self.opened(os.fspath(tmp_path))
        self.looks(sensor, 3)
        sensor.close()
        sensor.close()
        assert set(os.listdir("/proc/self/fd")) <= before


def check_hand(
    cls: type[Hand],
    settings: Mapping[str, Any],
    secrets: Mapping[str, str] | None = None,
    *,
    peer_is_here: bool = False,
) -> None:
    """Hold a hand to what it promises while its peer is not there.

    Args:
        cls: The class of the entry point.
        settings: Its keys, `kind` included, such that nobody answers: a port that is closed, or one
            behind which somebody listens and never says a word; a file that does not exist.
        secrets: What would be read at each of `Settings.SECRETS`; a made-up word unless given.
        peer_is_here: Its peer is never away, being the kernel: then what it finds is not judged.
    """
    section = _checked_section(cls, settings)
    made_up = {key: f"a secret for {key} that nobody may say" for key in section.SECRETS}
    known = {**made_up, **(secrets or {})}
    kept = {key: known[key] for key in section.SECRETS if getattr(section, key) is not None}
    for name in cls.IMPORTS:
        importlib.import_module(name)
    for role in Role:
        looks = role is Role.LOOK
        shown = {key: text for key, text in kept.items() if section.given(key, looks=looks)}
        before = set(os.listdir("/proc/self/fd"))
        hand = cls(section, Context(role, shown))
        try:
            said = _Said(hand, [])
            _ask_all(said, role, section)
            hand.leave()
            said.texts.append(hand.memory)
        finally:
            hand.close()
            hand.close()
        assert set(os.listdir("/proc/self/fd")) <= before, "a closed hand holds no descriptor"
        for secret in shown.values():
            assert not [text for text in said.texts if secret in text], "a secret is in no text"
        assert peer_is_here or not said.good, f"nobody is there, and it says {said.good}"


def _checked_section(cls: type[Hand], settings: Mapping[str, Any]) -> ActuatorSection:
    """Hold its Settings to what the configuration and the warden rest on."""
    raw = {"name": "suite", "target": "suite/target", **settings}
    section: ActuatorSection = cls.Settings.model_validate(raw)
    told = section.model_dump(mode="json", exclude_none=True)
    kinds = get_args(cls.Settings.model_fields["kind"].annotation)
    assert section.kind in kinds, "a configuration finds it by kind: Literal[its kind]"
    again = cls.Settings.model_validate_json(json.dumps(told))
    assert again == section, "its process is told its settings as JSON"
    assert section.layer() in get_args(LayerName), f"no layer {section.layer()!r} is known"
    assert cls.Settings.model_fields.keys() >= section.SECRETS | section.FILES
    assert not section.SECRETS & section.FILES
    try:
        cls.Settings.model_validate({**raw, "no_such_key_of_its": 1})
    except ValidationError:
        return section
    raise AssertionError("an unknown key is refused")


class _Said:
    """What a hand says, and how long it takes."""

    def __init__(self, hand: Hand, good: list[object]) -> None:
        self.hand = hand
        self.texts = [repr(hand), repr(hand.settings), repr(hand.context)]
        self.good = good
        """Good news."""

    def of(self, act: Callable[[], Any], budget_s: float, kind: type) -> Any:  # noqa: ANN401 - what a hand gives
        """Give what comes of it within its time, None for `Trouble`; keep every text."""
        begin = time.monotonic()
        found = None
        try:
            found = act()
            self.texts.append(repr(found))
        except Trouble as trouble:
            self.texts += [str(trouble), repr(trouble)]
        took_s = time.monotonic() - begin
        assert took_s < budget_s + _SLACK_S, f"{act} took {took_s:.1f} s"
        assert found is None or isinstance(found, kind), f"{found!r} is no {kind.__name__}"
        return found


def _ask_all(said: _Said, role: Role, section: ActuatorSection) -> None:
    """Ask everything of a hand: what it answers is in time, of its type, or `Trouble`."""
    hand = said.hand
    route = hand.route()
    assert isinstance(route, Route)
    assert all((route.transport, route.host, route.credential, route.component))
    said.texts.append(repr(route))
    with suppress(Trouble):
        hand.open()
    ready = said.of(hand.arm, _PROOF_S, Readiness)
    if ready is not None and ready.state is Ready.READY:
        said.good.append(ready)
    if role is Role.ACT:
        deadline_s = section.deadline / 1e6
        acted = said.of(lambda: hand.trip("kill"), deadline_s, Acted)
        said.good += [] if acted is None else [acted]
        said.of(hand.release, deadline_s, Acted)
    sight = said.of(hand.look, _LOOK_S, Sight)
    if sight is not None and sight.stands is True:
        said.good.append(sight)
    said.of(hand.holds, _PROOF_S, tuple)

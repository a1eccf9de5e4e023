"""The states of a target, walked through exhaustively: every state, event, level and life."""

from __future__ import annotations

import itertools
import random

import pytest

from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import parse_scope
from offswitch.model.state import Event, State, step
from offswitch.model.target import Target

HELD = {State.RESTRICTED, State.DRAINING, State.STOPPING, State.FROZEN, State.STOPPED}
"""What only a latch can bring about."""
LEVELS: list[Level | None] = [None, *Level]
EVERY = list(itertools.product(State, Event, LEVELS, (False, True)))


def test_RST_3_there_are_at_most_twelve_states_and_every_step_is_defined() -> None:
    assert len(State) <= 12
    for now, event, level, alive in EVERY:
        assert step(now, event, level, alive=alive) in State


def test_RST_3_no_start_while_latched() -> None:
    for now, event, level, alive in EVERY:
        after = step(now, event, level, alive=alive)
        if level is not None:
            assert after is not State.RUNNING or now is State.RUNNING, (now, event, level, alive)
            if event is Event.START:
                assert after is now


def test_RST_3_a_start_while_something_lives_changes_nothing() -> None:
    for now, level in itertools.product(State, LEVELS):
        assert step(now, Event.START, level, alive=True) is now


def test_RST_3_no_stop_without_a_latch() -> None:
    for now, event, level, alive in EVERY:
        after = step(now, event, level, alive=alive)
        if level is None and after in HELD:
            assert after is now, (now, event, alive)


def test_RST_2_a_reset_starts_nothing() -> None:
    """Running after a reset is only what was alive all along, such as what was frozen."""
    for now, level in itertools.product(State, LEVELS):
        assert step(now, Event.RESET, level, alive=False) not in {State.RUNNING, State.RESTRICTED}
    assert step(State.STOPPED, Event.RESET, None, alive=False) is State.IDLE
    assert step(State.FROZEN, Event.RESET, None, alive=True) is State.RUNNING


def test_RST_3_only_a_start_brings_the_dead_to_life() -> None:
    for now, event, level, alive in EVERY:
        after = step(now, event, level, alive=alive)
        if after is State.RUNNING and now is not State.RUNNING and not alive:
            assert event is Event.START
            assert level is None


def test_VER_1_from_freeze_on_only_what_was_observed_is_called_stopped() -> None:
    """However empty its cell looks: a job that it left with a broker may live."""
    for now, event, level, alive in EVERY:
        if level is not None and level >= Level.FREEZE and event is not Event.STANDSTILL:
            after = step(now, event, level, alive=alive)
            assert after is not State.STOPPED or now is State.STOPPED, (now, event, alive)
    for now, level, alive in itertools.product(State, list(Level)[2:], (False, True)):
        for event in (Event.STOP, Event.FOUND, Event.MOVED):
            assert step(now, event, level, alive=alive) is State.STOPPING, "and not even then"


def test_what_is_still_alive_is_never_called_stopped_by_an_order_alone() -> None:
    for now, level in itertools.product(State, (Level.RESTRICT, Level.DRAIN)):
        assert step(now, Event.STOP, level, alive=True) is not State.STOPPED
        assert step(now, Event.FOUND, level, alive=True) is not State.STOPPED


def test_lost_is_unknown_and_never_the_last_known() -> None:
    for now, level, alive in itertools.product(State, LEVELS, (False, True)):
        assert step(now, Event.LOST, level, alive=alive) is State.UNKNOWN


def test_VER_3_what_moves_while_stopped_or_frozen_is_stopping_again() -> None:
    for now, level in itertools.product(HELD, (Level.FREEZE, Level.KILL, Level.POWEROFF)):
        assert step(now, Event.MOVED, level, alive=True) is State.STOPPING
    for now, level in itertools.product(State, (Level.RESTRICT, Level.DRAIN, None)):
        assert step(now, Event.MOVED, level, alive=True) is now, "there it may move"


@pytest.mark.parametrize(
    ("level", "commanded", "seen"),
    [
        (Level.RESTRICT, State.RESTRICTED, State.RESTRICTED),
        (Level.DRAIN, State.DRAINING, State.DRAINING),
        (Level.FREEZE, State.STOPPING, State.FROZEN),
        (Level.KILL, State.STOPPING, State.STOPPED),
        (Level.POWEROFF, State.STOPPING, State.STOPPED),
    ],
)
def test_each_level_has_its_own_way(level: Level, commanded: State, seen: State) -> None:
    now = step(State.RUNNING, Event.STOP, level, alive=True)
    assert now is commanded
    alive = level < Level.KILL
    assert step(now, Event.STANDSTILL, level, alive=alive) is seen
    ended = step(now, Event.EXIT, level, alive=False)
    assert ended is (now if level >= Level.FREEZE else State.STOPPED)
    assert step(ended, Event.STANDSTILL, level, alive=False) is State.STOPPED
    assert step(seen, Event.RESET, None, alive=alive) is (State.RUNNING if alive else State.IDLE)


def test_one_of_two_stops_reset_leaves_what_the_other_holds_as_it_was() -> None:
    assert step(State.FROZEN, Event.RESET, Level.FREEZE, alive=True) is State.FROZEN
    assert step(State.STOPPED, Event.RESET, Level.KILL, alive=False) is State.STOPPED
    assert step(State.STOPPED, Event.RESET, Level.RESTRICT, alive=False) is State.STOPPED
    assert step(State.FROZEN, Event.RESET, Level.DRAIN, alive=True) is State.DRAINING
    assert step(State.DRAINING, Event.RESET, Level.RESTRICT, alive=True) is State.RESTRICTED


# --- latch and state together ---------------------------------------------------------


A = Target("a")


def a_stop(level: Level, number: int = 0) -> Stop:
    return Stop("0" * 32, parse_scope("a"), level, f"uid:{number}", "cli", f"{number}", number + 1)


class Machine:
    """One target with its latch, as the warden moves them: the latch first, then the state."""

    def __init__(self) -> None:
        self.latch = Latch()
        self.state = State.IDLE
        self.alive = False
        self.seen = False
        """Whether standstill was observed since the last command."""
        self.presses = 0

    @property
    def key(self) -> tuple[State, bool, bool, tuple[Level, ...]]:
        levels = tuple(sorted(each.stop.level for each in self.latch))
        return self.state, self.alive, self.seen, levels

    def do(self, action: str) -> None:
        word, _, argument = action.partition(" ")
        getattr(self, f"_{word}")(argument)

    def _event(self, event: Event) -> None:
        self.state = step(self.state, event, self.latch.level(A), alive=self.alive)

    def _stop(self, level: str) -> None:
        self.presses += 1
        self.latch.add(a_stop(Level(int(level)), self.presses))
        self.seen = False
        self._event(Event.STOP)

    def _reset(self, _argument: str) -> None:
        """Clear the highest stop; a kill only once standstill was seen, as the warden does."""
        found = sorted(self.latch, key=lambda each: each.stop.level)
        if not found or (found[-1].stop.level >= Level.KILL and not self.seen):
            return
        named = (found[-1].stop.digest,)
        scope = parse_scope("a")
        self.latch.clear(Reset("0" * 32, scope, named, "uid:0", "cli", "n", 1, "why"))
        self._event(Event.RESET)

    def _start(self, _argument: str) -> None:
        before = self.state
        self._event(Event.START)
        if self.state is State.RUNNING and before is not State.RUNNING:
            self.alive = True

    def _end(self, _argument: str) -> None:
        if self.alive:
            self.alive = False
            self._event(Event.EXIT)

    def _standstill(self, _argument: str) -> None:
        level = self.latch.level(A)
        if level is None or level < Level.FREEZE:
            return
        self.alive = self.alive and level is Level.FREEZE
        self.seen = True
        self._event(Event.STANDSTILL)

    def _restart(self, _argument: str) -> None:
        self.seen = False
        self._event(Event.LOST)
        self._event(Event.FOUND)


ACTIONS = [f"stop {level.value}" for level in Level]
ACTIONS += ["reset", "start", "end", "standstill", "restart"]


def replay(actions: tuple[str, ...]) -> Machine:
    machine = Machine()
    for action in actions:
        machine.do(action)
    return machine


def test_RST_3_in_every_reachable_state_latch_and_state_agree() -> None:
    """Walk until nothing new is found, with up to two live stops at once."""
    reached = {Machine().key: ()}
    front: list[tuple[str, ...]] = [()]
    while front:
        actions = front.pop()
        for action in ACTIONS:
            machine = replay((*actions, action))
            if len(machine.latch) > 2 or machine.key in reached:
                continue
            reached[machine.key] = (*actions, action)
            front.append((*actions, action))
    assert len(reached) > 40, "the walk went nowhere"
    for (state, alive, seen, levels), actions in reached.items():
        if levels:
            assert state in HELD, f"latched and {state}: {actions}"
        else:
            assert state not in HELD, f"{state} without a stop: {actions}"
        if state is State.RUNNING:
            assert alive, f"running and nothing lives: {actions}"
        if state in {State.STOPPED, State.IDLE, State.EXITED}:
            assert not alive, f"{state} and it lives: {actions}"
        if state is State.STOPPED and levels[-1] >= Level.FREEZE:
            assert seen, f"stopped, and nobody saw it: {actions}"


def test_RST_3_no_latch_without_a_stop() -> None:
    quiet = [action for action in ACTIONS if not action.startswith("stop")]
    for actions in itertools.product(quiet, repeat=4):
        assert len(replay(actions).latch) == 0


def test_DEC_4_stop_beats_start_in_every_order_of_their_steps() -> None:
    """A start has two steps, as in the warden: it asks the latch before its cell and after."""
    race = ["begin", "spawn", "stop 4", "stop 4"]
    for order in set(itertools.permutations(race)):
        if order.index("begin") < order.index("spawn"):
            assert ended_stopped(list(order)), order


def test_DEC_4_stop_beats_start_in_10_000_random_interleavings(rng: random.Random) -> None:
    for _ in range(10_000):
        steps = ["stop 4", "stop 4"] + ["stop 3"] * rng.randrange(2)
        rng.shuffle(steps)
        for _start in range(rng.randrange(1, 3)):
            first, second = sorted(rng.randrange(len(steps) + 1) for _ in range(2))
            steps.insert(second, "spawn")
            steps.insert(first, "begin")
        assert ended_stopped(steps), steps


def ended_stopped(steps: list[str]) -> bool:
    machine = Machine()
    begun = 0
    for each in steps:
        if each == "begin":
            begun += machine.latch.level(A) is None
        elif each == "spawn":
            if begun:
                begun -= 1
                machine.do("start")
        else:
            machine.do(each)
            machine.do("standstill")
            if machine.latch.level(A) is Level.FREEZE:
                assert machine.state in {State.FROZEN, State.STOPPED}
    return machine.latch.level(A) is Level.KILL and machine.state is State.STOPPED

"""The sweep by user id: what left the cell through a broker dies too, and cannot fight it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from offswitch.actuators.contract import Ready
from offswitch.actuators.sweep import Sweep
from offswitch.warden.cells.users import SWEEPERS
from offswitch.warden.sweeper import refusal
from scale import runs
from stage import Actor, Stage, alive_as, until


def fighting(stage: Stage, actor: Actor) -> None:
    """Two programs of its user, outside of its cell, that kill, trace and slow what they can."""
    pids = [stage.broker(actor, "anti_sweep"), stage.broker(actor, "anti_sweep")]

    def both_fight() -> bool:
        names = [Path(f"/proc/{pid}/comm").read_text() for pid in pids]
        return names == ["hostile\n"] * 2

    until(both_fight, "both fight")
    until(lambda: actor.cell.pids() == [], "they have killed the rest of their own user")


def test_SR_9_two_hostile_programs_cannot_sweep_the_sweeper(stage: Stage) -> None:
    for _run in range(runs(40)):
        actor = stage.play("idle")
        uid = actor.cell.uid
        fighting(stage, actor)
        assert stage.stop(actor) == {"process": True, "network": True, "sweep": True}
        assert alive_as(uid) == []
        stage.assert_nothing_acts(actor, 0.05)
        assert stage.sweeper.alive()


def test_SR_9_the_plain_way_of_sweeping_is_killed_by_the_swept(stage: Stage) -> None:
    """The twin that fails: a sweeper that becomes the agent is dead before it has acted."""
    actor = stage.play("idle")
    uid = actor.cell.uid
    fighting(stage, actor)
    plain = os.fork()
    if plain == 0:
        os.setresuid(uid, uid, uid)
        time.sleep(5)  # any work at all before kill(-1), such as one look at /proc
        os._exit(0)
    _pid, status = os.waitpid(plain, 0)
    assert os.WIFSIGNALED(status)


def test_SR_9_a_worker_has_the_agents_id_as_its_effective_one_alone(stage: Stage) -> None:
    """Seen from outside, waiting and at work: real and saved are never the agent's."""
    actor = stage.play("fork_bomb")
    uid = actor.cell.uid
    seen = set()

    def looked_while_it_worked() -> bool:
        for pid in children_of(stage.sweeper.pid):
            real, effective, saved = ids_of(pid)
            assert uid not in {real, saved}
            assert not (real == 0 and effective == uid)
            seen.add(real)
        return bool(seen & set(SWEEPERS)) and bool(stage.sweeper.results())

    def all_wait() -> bool:
        return {ids_of(pid) for pid in children_of(stage.sweeper.pid)} == {
            (reserved, reserved, reserved) for reserved in SWEEPERS
        }

    until(all_wait, "the workers wait, and none of them is root any more")
    stage.sweeper.ask(uid)
    until(looked_while_it_worked, "it is swept")
    assert stage.stop(actor)["sweep"]


def test_VER_1_a_sweeper_that_is_not_there_takes_no_layer_away(stage: Stage) -> None:
    """What was born in that moment is swept later, and until then nobody says that it was."""
    actor = stage.play("idle")
    ready = Sweep(stage.sweeper.ask, lambda: False).arm(actor.cell)
    assert ready.state is Ready.DEGRADED


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def ids_of(pid: int) -> tuple[int, int, int]:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            line = next(line for line in file if line.startswith("Uid:"))
    except (OSError, StopIteration):
        return (-1, -1, -1)
    real, effective, saved, _fs = (int(word) for word in line.split()[1:])
    return real, effective, saved


@pytest.mark.parametrize("uid", [0, 1, 1000, 65534, 1_899_999_999, 1_899_999_998])
def test_SR_9_ids_of_others_and_our_own_are_refused(stage: Stage, uid: int) -> None:
    assert refusal(uid, exclusive=False)
    stage.sweeper.ask(uid)
    assert until(stage.sweeper.results, "an answer") == [(uid, -1)]


def test_SR_9_uid_0_and_ours_are_refused_whoever_vouches_for_them(stage: Stage) -> None:
    for uid in (0, 1_899_999_999, 1_899_999_995, 1_899_999_998):
        assert refusal(uid, exclusive=True)
        stage.sweeper.ask(uid, exclusive=True)
        assert until(stage.sweeper.results, "an answer") == [(uid, -1)]
    assert not refusal(65533, exclusive=True)


def test_a_sweep_leaves_other_users_alone(stage: Stage) -> None:
    bystander = stage.play("idle")
    actor = stage.play("idle")
    stage.sweeper.ask(actor.cell.uid)
    assert until(stage.sweeper.results, "an answer") == [(actor.cell.uid, 0)]
    before = bystander.acts
    until(lambda: bystander.acts > before, "the bystander goes on")


def test_many_sweeps_at_once_are_all_done(stage: Stage) -> None:
    actors = [stage.play("idle") for _ in range(7)]
    for actor in actors:
        stage.sweeper.ask(actor.cell.uid)
    results: dict[int, int] = {}

    def all_told() -> bool:
        results.update(stage.sweeper.results())
        return len(results) == len(actors)

    until(all_told, "every sweep ends")
    assert set(results.values()) == {0}
    assert all(alive_as(actor.cell.uid) == [] for actor in actors)


def test_VER_3_a_start_hidden_until_after_the_stop_is_told_and_swept_within_a_second(
    stage: Stage,
) -> None:
    """A broker holds a job of the agent's until after the stop, as cron and at do."""
    for _run in range(runs(20)):
        actor = stage.play("idle")
        stage.stop(actor)
        until(stage.sweeper.results, "the stop's own sweep is over")
        stage.observer.watch(actor.cell.facts(), "kill")
        stage.messages(0.02)
        began = time.monotonic()
        stage.broker(actor, "idle")
        moved = next_event(stage)
        assert (moved["cell"], moved["layer"]) == (actor.cell.name, "sweep")
        stage.sweep.trip(actor.cell)
        until(lambda: alive_as(actor.cell.uid) == [], "it is swept")  # noqa: B023
        assert time.monotonic() - began < 1
        stage.observer.unwatch(actor.cell.name)
        stage.assert_nothing_acts(actor, 0.05)


def next_event(stage: Stage) -> dict[str, object]:
    def event() -> dict[str, object] | None:
        return next((each for each in stage.messages(0.5) if "event" in each), None)

    found: dict[str, object] = until(event, "the observer tells of it")
    return found

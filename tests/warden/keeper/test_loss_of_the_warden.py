"""What the keeper does when the warden is dead, hangs, or is back."""

from __future__ import annotations

import os
import signal
import time

import pytest

from installation import until
from keeper_stage import KeeperStage, gone
from offswitch.control.page import KEEPER_EPOCH, RUN
from offswitch.model.level import Level
from offswitch.warden.keeper_link import KILL_AFTER_S
from scale import runs

KILL = RUN + Level.KILL


def test_SR_22_a_dead_warden_freezes_every_cell_at_once(stage: KeeperStage) -> None:
    cast = stage.cast()
    cells = [stage.cell() for _ in range(3)]
    for number, cell in enumerate(cells):
        stage.hand(cast, cell, f"shop/{number}")
    cast.kill()
    began = time.monotonic()
    for cell in cells:
        until(cell.frozen, "a cell of a dead warden is frozen")
    assert time.monotonic() - began < 0.25
    assert all(cell.populated() for cell in cells)


def test_SR_21_a_warden_that_hangs_is_a_stale_lease_and_its_cells_freeze(
    stage: KeeperStage,
) -> None:
    cast = stage.cast(lease_s=0.4)
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    time.sleep(0.6)
    assert not cell.frozen(), "the lease was renewed all the time"
    cast.signal(signal.SIGSTOP)
    began = time.monotonic()
    until(cell.frozen, "the lease ran out")
    assert time.monotonic() - began < 0.4 + 0.3
    cast.signal(signal.SIGCONT)
    until(lambda: not cell.frozen(), "a fresh lease thaws what no stop covers")
    assert "no warden, or no lease" in cast("expect", "acted")["acted"]


def test_ACT_6_the_loss_of_the_controller_never_means_run_on(stage: KeeperStage) -> None:
    for number in range(runs(40)):
        cast = stage.cast(lease_s=0.5)
        acts = f"{stage.place.home}/acts{number}"
        cell = stage.cell("/bin/sh", "-c", f"while :; do echo >> {acts}; done")
        stage.hand(cast, cell, "shop/a")
        until(lambda acts=acts: os.path.exists(acts), "the target acts")
        cast.kill()
        died = time.monotonic()
        until(cell.frozen, "frozen")
        size = os.path.getsize(acts)
        assert time.monotonic() - died < 0.5, "the last effect came within the lease"
        time.sleep(0.05)
        assert os.path.getsize(acts) == size
        os.kill(cast.keeper, signal.SIGKILL)  # or it would thaw for the next warden


def test_SEC_6_a_frozen_controller_is_tripped_by_a_second_minimal_process(
    stage: KeeperStage,
) -> None:
    cast = stage.cast(lease_s=0.3)
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    assert cast.keeper != cast.process.pid
    cast.signal(signal.SIGSTOP)
    began = time.monotonic()
    until(cell.frozen, "tripped")
    assert time.monotonic() - began <= 0.3 + 0.2


@pytest.mark.parametrize(
    "limit_s", [0.8, pytest.param(KILL_AFTER_S, marks=pytest.mark.long, id="the default")]
)
def test_SR_22_after_its_limit_without_a_warden_the_keeper_kills_by_an_order_of_its_own(
    stage: KeeperStage, limit_s: float
) -> None:
    cast = stage.cast(kill_after_s=limit_s)
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    cast.kill()
    died = time.monotonic()
    until(cell.frozen, "frozen first")
    assert cell.wait(limit_s + 5) == signal.SIGKILL
    assert limit_s - 0.1 <= time.monotonic() - died < limit_s + 0.5
    until(lambda: gone(cast.keeper), "with nothing left to keep the keeper leaves", 15)
    assert [name for name in os.listdir(stage.place.home) if "keeper-orders" in name]
    [order] = stage.left()
    assert (order.by, order.channel, order.scope.text) == ("keeper", "keeper", "shop/a")
    assert order.level is Level.KILL
    assert order.installation == stage.id


def test_SR_22_a_warden_that_is_back_within_the_limit_prevents_the_kill(
    stage: KeeperStage,
) -> None:
    first = stage.cast(kill_after_s=0.6)
    cell = stage.cell()
    stage.hand(first, cell, "shop/a")
    first.kill()
    until(cell.frozen, "frozen")
    stage.cast(keeper=False)
    until(lambda: not cell.frozen(), "thawed")
    time.sleep(0.7)
    assert cell.populated()
    assert not stage.left()


def test_SR_22_a_cell_that_the_page_says_is_killed_is_killed_though_the_warden_died_before(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cell, other = stage.cell(), stage.cell()
    slot = stage.hand(cast, cell, "shop/a")
    stage.hand(cast, other, "shop/b")
    cast("set", slot, KILL)
    cast.kill()
    assert cell.wait() == signal.SIGKILL
    until(other.frozen, "the other is frozen only")
    until(stage.left, "the kill is an order")
    [order] = stage.left()
    assert (order.by, order.scope.text) == ("keeper", "shop/a")


def test_SR_22_a_returning_warden_thaws_what_no_stop_covers_and_nothing_else(
    stage: KeeperStage,
) -> None:
    first = stage.cast()
    running, stopped, drained = stage.cell(), stage.cell(), stage.cell()
    stage.hand(first, running, "shop/a")
    stage.hand(first, stopped, "shop/b", RUN + Level.RESTRICT)
    stage.hand(first, drained, "shop/c", RUN + Level.DRAIN)
    first.kill()
    for cell in (running, stopped, drained):
        until(cell.frozen, "frozen")
    second = stage.cast(keeper=False)
    assert second.facts["epoch"] == first.facts["epoch"] + 1
    until(lambda: not running.frozen(), "thawed, since no stop covers it")
    time.sleep(0.1)
    assert drained.frozen(), "a stop covers it: only the warden lets it go"
    assert stopped.frozen()


def test_SR_22_a_lease_without_a_raised_epoch_thaws_nothing_after_the_warden_died(
    stage: KeeperStage,
) -> None:
    cast = stage.cast(lease_s=3.0)
    cell = stage.cell()
    stage.hand(cast, cell, "shop/a")
    cast.kill()
    until(cell.frozen, "frozen, though the old lease is still fresh")
    page = stage.page()
    assert page.lease_left_ns() > 0
    time.sleep(0.3)
    assert cell.frozen()
    page.close()


def test_SR_22_the_old_keeper_leaves_when_the_new_one_has_everything(stage: KeeperStage) -> None:
    first = stage.cast()
    cell = stage.cell()
    stage.hand(first, cell, "shop/a")
    first.kill()
    until(cell.frozen, "frozen")
    second = stage.cast()
    slot = stage.hand(second, cell, "shop/a")
    assert not gone(first.keeper)
    second("ready")
    until(lambda: gone(first.keeper), "the old keeper left")
    until(lambda: not cell.frozen(), "and thawed what it had frozen")
    page = stage.page()
    assert page.words[KEEPER_EPOCH] == second.facts["epoch"]
    assert page.word(slot) == RUN
    page.close()
    assert stage.press("nowhere")["by"] == "keeper", "the socket is the new keeper's"
    second.kill()
    until(cell.frozen, "the new keeper holds the cell")


def test_SR_22_a_new_keeper_trusts_a_warden_that_is_still_coming_up(stage: KeeperStage) -> None:
    first = stage.cast(lease_s=0.2)
    first.kill()
    time.sleep(0.3)  # the lease in the page is stale now
    second = stage.cast(keeper=False)
    second("renew", 0.0, -1.0)
    second.keep()
    cell = stage.cell()
    stage.hand(second, cell, "shop/a")
    time.sleep(0.2)
    assert not cell.frozen(), "the lease was never its warden's; its death would be seen"
    second.kill()
    until(cell.frozen, "and is seen")


def test_SR_22_a_keeper_with_nothing_alive_and_no_warden_leaves(stage: KeeperStage) -> None:
    cast = stage.cast()
    cell = stage.cell()
    cell.programs[0].kill()
    cell.programs[0].wait()
    stage.hand(cast, cell, "shop/a")
    cast.kill()
    until(lambda: gone(cast.keeper), "nothing is left to keep", 12)
    assert not os.path.exists(stage.place.keeper_socket)


def test_SR_22_a_dismissed_keeper_leaves_at_once_and_takes_its_files_along(
    stage: KeeperStage,
) -> None:
    cast = stage.cast()
    cast("say", "dismiss")
    until(lambda: gone(cast.keeper), "dismissed")
    assert not os.path.exists(stage.place.keeper_socket)
    assert not [name for name in os.listdir(stage.place.memory) if "keeper-orders" in name]


def test_SR_22_a_cell_that_was_taken_back_is_let_alone(stage: KeeperStage) -> None:
    cast = stage.cast()
    kept, dropped = stage.cell(), stage.cell()
    stage.hand(cast, kept, "shop/a")
    stage.hand(cast, dropped, "shop/b")
    cast("say", "drop", dropped.path.name)
    cast.kill()
    until(kept.frozen, "frozen")
    assert not dropped.frozen()

"""The page and the ring are cut short, removed or replaced while they are in use.

Only root can do that, or a tool that tidies up as root. Whatever comes of it, stops work and
hold, what cannot read its word refuses, and nobody gets another's word.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from installation import Installation, until
from keeper_stage import gone
from offswitch.control.page import RUN
from offswitch.errors import Latched, Unreachable
from offswitch.guard import Guard

SLEEP = ("sleep", "100000")


def damage(path: Path, how: str) -> None:
    match how:
        case "cut short":
            os.truncate(path, 4096)
        case "emptied":
            os.truncate(path, 0)
        case "removed":
            path.unlink()
        case "another file":
            path.unlink()
            path.write_bytes(b"tidy" * 100)
        case "a link":
            path.unlink()
            path.symlink_to("/dev/zero")


def frozen(installation: Installation, cell: str) -> bool:
    [events] = [
        path
        for tree in installation.cgroups()
        for path in Path(tree).glob(f"{cell}/cgroup.events")
        if path.exists()
    ]
    return "frozen 1" in events.read_text()


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "how",
    [
        "emptied",
        "removed",
        pytest.param("cut short", marks=LONG),
        pytest.param("another file", marks=LONG),
        pytest.param("a link", marks=LONG),
    ],
)
def test_SR_21_SR_22_a_page_that_is_cut_short_removed_or_replaced_means_stop(
    installation: Installation, how: str
) -> None:
    one, page = installation, Path(installation.place.page)
    cells = {name: one.run(*SLEEP, target=name).born["cell"] for name in ("a", "b", "c")}
    kept = one.stop("c")["order"]
    keeper, slots = one.pids()["keeper"], {one.slot(name) for name in ("a", "b")}
    damage(page, how)
    if how != "emptied":
        until(lambda: any(str(page) in note for note in one.status()["notes"]), "it is said")
        assert not Guard.from_page(str(page), one.slot("a")).allowed()
        assert one.stop("b")["confirmed"] is True
        one.kill_warden()
    else:
        assert one.warden is not None
        assert one.warden.wait(20) == -signal.SIGBUS, "whoever maps it dies of it"
    until(lambda: frozen(one, cells["a"]), "the keeper reads stop, and does not die of it")
    if how == "a link":
        one.launch()
        assert one.warden.wait(20) == 5  # type: ignore[union-attr]
        assert "remove it" in one.said()
        page.unlink()
    one.restart()
    until(lambda: not frozen(one, cells["a"]), "a warden is back: what nobody stopped goes on")
    until(lambda: gone(keeper), "and the old keeper has seen it, or it would kill later")
    assert one.target("a")["state"] == "running"
    assert kept in {live["digest"] for live in one.status()["latched"]}
    with pytest.raises(Latched):
        one.run("true", target="c")
    one.run(*SLEEP, target="d")
    assert one.slot("d") not in slots | {one.slot("a")}, "nobody gets another's word"
    assert Guard.from_page(str(page), one.slot("d")).allowed()
    assert one.stop("a", "b")["confirmed"] is True
    assert one.word("a") > RUN
    assert one.target("d")["state"] == "running"
    until(lambda: not any(str(page) in note for note in one.status()["notes"]), "all is well")


@pytest.mark.parametrize(
    "how",
    [
        "cut short",
        *(pytest.param(how, marks=LONG) for how in ("removed", "another file", "a link")),
    ],
)
def test_REC_3_a_ring_that_is_damaged_in_use_keeps_no_stop_and_breaks_no_record(
    installation: Installation, how: str
) -> None:
    one, ring = installation, Path(installation.place.ring)
    for name in ("a", "b"):
        one.run(*SLEEP, target=name)
    until(one.entries, "a ledger is there")
    damage(ring, how)
    assert one.warden is not None
    if how == "cut short":
        with pytest.raises(Unreachable):  # it dies of writing it down; the stop is given by then
            one.press("a")
        assert one.warden.wait(20) == -signal.SIGBUS
        one.restart()
    else:
        assert one.press("a")["accepted"] is True
    until(lambda: one.target("a")["confirmed"], "the stop is the same")
    one.kill_everything()
    if how == "a link":
        one.launch()
        assert one.warden.wait(20) != 0
        assert str(ring) in one.said()
        ring.unlink()
    one.restart()
    assert one.target("a")["latched"] is True
    until(lambda: one.stop("b")["recorded"] == "durable", "durable")
    until(lambda: one.reset("/")["state"] == "done", "the evidence is sealed")
    assert one.cli("ledger", "verify").returncode == 6

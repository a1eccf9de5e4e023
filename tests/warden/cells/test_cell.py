"""What a cell tells by itself, and to whom."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from installation import until
from needs import needs, needs_root
from offswitch.control.place import Place
from offswitch.model.named import Named
from offswitch.warden.cells import cell as cells
from offswitch.warden.cells.adopted import AdoptedCell
from offswitch.warden.cells.cell import Cell, CgroupCell
from offswitch.warden.cells.cgroups import find_trees
from offswitch.warden.cells.limits import Limits

MADE_BY = ("us", "an earlier warden", "somebody else")


@contextmanager
def cell_made_by(who: str, place: Place) -> Iterator[CgroupCell]:
    made: Cell | None = cells.create(place, "one", uid=0, own_uid=False, limits=Limits(8))
    assert isinstance(made, CgroupCell)
    assert made.path is not None
    found: Cell | None = made
    if who == "an earlier warden":
        found = cells.find(place, made.facts())
    elif who == "somebody else":
        tree = find_trees().v2 or ""
        named = Named.of({"cgroup": made.path[len(tree) :]})
        assert named is not None
        found = AdoptedCell("one", named, tree, made.path[len(tree) :])
    assert isinstance(found, CgroupCell)
    try:
        yield found
    finally:
        made.kill()
        until(made.remove, "empty")
        for each in {made, found}:
            each.close()
        cells.clear_ground(place)


@pytest.mark.parametrize("who", MADE_BY)
def test_SR_22_who_reads_the_keepers_events_takes_no_report_from_the_warden(
    tmp_path: Path, who: str
) -> None:
    """The kernel reports a change once to an open file, and the keeper has its copies of ours."""
    needs_root()
    needs(find_trees().v2, "a v2 tree")
    with cell_made_by(who, Place(f"{tmp_path}/home", f"{tmp_path}/run")) as cell:
        teller, event = cell.teller
        keeper = os.dup(cell.fds()["events"])
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child, select.epoll() as epoll:
            Path(f"{cell.path}/cgroup.procs").write_text(str(child.pid), "ascii")
            until(lambda: b"populated 1" in os.pread(teller, 256, 0), "the warden has heard of it")
            epoll.register(teller, event)
            child.kill()
            child.wait()
            until(lambda: b"populated 0" in os.pread(keeper, 256, 0), "read by the keeper first")
            time.sleep(0.1)  # the kernel reports at most every 10 ms
            assert cell.populated() is False, "read by the warden, for something else"
            assert b"populated 0" in os.pread(keeper, 256, 0)
            os.close(keeper)
            assert epoll.poll(10) == [(teller, event | select.EPOLLERR)]

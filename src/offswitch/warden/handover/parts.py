"""What a hand-over takes from one code of the warden, and gives to the next."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from offswitch import __version__
from offswitch.warden.adopting import Adopter
from offswitch.warden.cells import cell
from offswitch.warden.core import Core
from offswitch.warden.door.feed import Feed
from offswitch.warden.door.ops import Operations
from offswitch.warden.door.server import Connection, Server
from offswitch.warden.gates.gates import Gates
from offswitch.warden.handover import row as row_of
from offswitch.warden.handover.passed import Passed
from offswitch.warden.keeper_link import KeeperLink
from offswitch.warden.reset.resetting import Resetter
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Parts", "gather", "go_on", "keeper_before", "take_up"]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one warden that hold what is in memory only."""

    core: Core
    stopper: Stopper
    starter: Starter
    resetter: Resetter
    adopter: Adopter
    operations: Operations
    gates: Gates
    server: Server
    lock: int
    """The descriptor that holds the run folder's lock."""
    log: int
    """The descriptor of `warden.log`."""


def gather(parts: Parts, asked: list[Connection]) -> Passed:
    """Take down all of it; nothing is changed by that, and everything goes on."""
    core, server, operations = parts.core, parts.server, parts.operations
    keeper = core.keeper
    open_ = server.connections()
    return Passed(
        code=__version__,
        gid=core.rights.gid,
        listener=server.fileno(),
        lock=parts.lock,
        log=parts.log,
        keeper=None if keeper is None else keeper.fileno(),
        keeper_pid=None if keeper is None else keeper.pid,
        connections=[
            {
                **each.passed(),
                "relays": operations.relayed(each),
                "follows": operations.feed.follows(each),
                "gate": Gates.passed(each),
            }
            for each in open_
        ],
        asked=[each.sock.fileno() for each in asked if not each.closed],
        rows={row.target.name: row_of.passed(row) for row in core.table},
        graves=parts.starter.graves.facts(),
        stopping=parts.stopper.passed(),
        resetting={**parts.resetter.passed(), "news": core.news.passed()},
        watch=core.watch.passed(),
        notes=dict(core.notes),
    )


def take_up(passed: Passed, parts: Parts) -> dict[int, Connection]:
    """Go on with all of it; give the connections by their descriptors, nothing heard yet.

    What the files say was found before: rows, cells, what is latched.
    """
    core, starter = parts.core, parts.starter
    for name, state in passed.rows.items():
        row = core.table.get(name) or Tracked.named(name)
        core.table.put(row)
        row_of.take_up(row, state)
        if state["ours"] and row.leader is not None and row.cell is not None:
            row.ours = True  # our child, as it was before
            core.children.expect(row.leader, partial(starter.ended, row, row.leader))
    for facts in passed.graves:
        found = cell.find(core.place, facts)
        if found is not None:
            starter.graves.dig(found)
    connections = {one["fd"]: parts.server.adopt(one["fd"]) for one in passed.connections}
    for one in passed.connections:
        if one["gate"] is not None:
            parts.gates.again(connections[one["fd"]], one["gate"])
        relayed = core.table.get(one["relays"]) if one["relays"] else None
        if relayed is not None:
            parts.operations.relay_on(connections[one["fd"]], relayed)
    core.news.take_up(passed.resetting["news"])
    parts.resetter.take_up(passed.resetting)
    core.watch.take_up(passed.watch)
    core.notes.update(passed.notes)
    core.notes.pop("handover", None)
    parts.stopper.take_up(passed.stopping, connections)
    core.children.catch_up()
    return connections


def go_on(passed: Passed, peers: dict[int, Connection], epoch: int, feed: Feed) -> None:
    """Serve what was heard and not served yet, and tell who asked for it that it is done.

    Who follows gets a whole picture again, after what was on its way to them.
    """
    for one in passed.connections:
        peers[one["fd"]].take_up(one)
        if one.get("follows") and not peers[one["fd"]].closed:
            feed.join(peers[one["fd"]])
    told = {"ok": True, "pid": os.getpid(), "epoch": epoch, "version": __version__}
    for fd in passed.asked:
        peers[fd].reply({**told, "before": passed.code})


def keeper_before(passed: Passed) -> KeeperLink | None:
    """Give the link to the keeper of the code before, if it had one that still lives."""
    if passed.keeper is None or passed.keeper_pid is None:
        return None
    try:
        return KeeperLink.again(passed.keeper, passed.keeper_pid)
    except OSError:
        return None

"""The local layers prove themselves anew: whatever disarms one is noticed within ten seconds."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bpftool import taken_off
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.actuators import bpf, sock_diag
from offswitch.actuators.canary import Canary
from offswitch.actuators.network import WARM, Network
from offswitch.warden.cells import cell as cells
from offswitch.warden.cells.cgroups import find_trees
from offswitch.warden.core import Core
from offswitch.warden.reproof import Reproof, would_kill
from offswitch.warden.table import Tracked
from stage import Stage, raised

NOTICED_S = 10.0
SLEEPS = (PYTHON, "-c", "import time; time.sleep(600)")
_ALLOW = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    needs_root()
    with raised() as stage:
        yield stage


def ground(home: Installation) -> str:
    return f"{find_trees().v2}/{home.place.cgroup}"


def readiness(home: Installation, layer: str) -> tuple[str, str]:
    target = home.ask({"op": "target", "name": "shop/eu"})
    return target["readiness"][layer], target["readiness_detail"][layer]


def becomes(home: Installation, layer: str, state: str) -> str:
    """Wait until a layer is so ready, for as long as it may take; say why it is."""
    until(lambda: readiness(home, layer)[0] == state, f"{layer} is {state}", NOTICED_S)
    return readiness(home, layer)[1]


def test_DRL_4_a_bpf_program_that_somebody_took_off_is_noticed_and_put_back(
    installation: Installation,
) -> None:
    with_it = installation.run(*SLEEPS, target="shop/eu")
    becomes(installation, "network", "ready")
    fd = os.open(f"{ground(installation)}/{WARM}", os.O_RDONLY)
    taken_off(fd, bpf.Attach.EGRESS)
    os.close(fd)
    assert "took our programs off" in becomes(installation, "network", "degraded")
    becomes(installation, "network", "ready")

    def told() -> list[str]:
        changes = [each for each in installation.entries() if each.get("what") == "readiness"]
        return [each["state"] for each in changes if each["layer"] == "network"]

    until(lambda: told()[-2:] == ["degraded", "ready"], "both are written down")
    with_it.close()


def test_DRL_4_a_program_that_denies_nobody_is_noticed_by_a_canary_that_goes_on_talking(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary, network = Canary(str(cells.ground(stage.place))), Network()
    assert canary.denied(network) == ""
    allow = [(bpf.Program.CGROUP_SKB, bpf.Attach.EGRESS, _ALLOW)]
    monkeypatch.setattr("offswitch.actuators.network.DENY", allow)
    harmless = Network()
    assert "goes on talking" in canary.denied(harmless)
    assert canary.denied(network) == "", "it talks, and is denied, as before"
    harmless.close()
    network.close()
    assert "goes on talking" in canary.denied(network), "programs that are gone deny nobody"
    canary.close()


def test_SR_8_sockets_that_cannot_be_destroyed_are_noticed_by_a_canary_whose_lives_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = Canary(str(cells.ground(stage.place)))
    assert canary.destroyed() == canary.destroyed() == ""
    monkeypatch.setattr(sock_diag.Diag, "destroy", lambda *_: 1)
    assert "lives on" in canary.destroyed(), "whatever it says that was taken"
    monkeypatch.setattr(sock_diag.Diag, "between", lambda *_: None)
    assert "not found" in canary.destroyed()
    canary.close()


def test_DRL_4_a_kill_that_the_kernel_takes_no_more_is_noticed(stage: Stage) -> None:
    cell = stage.cell()
    assert would_kill(cell) == ""
    assert cell.populated() is False, "asking kills nobody"
    actor = stage.bear(SLEEPS)
    assert would_kill(actor.cell) == ""
    assert actor.cell.populated()
    for twin in cell.facts()["twins"].values():
        os.rmdir(twin)
    os.rmdir(str(cell.path))
    os.mkdir(str(cell.path))
    assert "takes no kill" in would_kill(cell), "another bears its name now"
    os.rmdir(str(cell.path))
    cell.close()


@pytest.mark.long
@pytest.mark.parametrize("who", ["sweeper", "observer"])
def test_DRL_4_a_process_of_ours_that_hangs_is_noticed_and_replaced(
    installation: Installation, who: str
) -> None:
    running = installation.run(*SLEEPS, target="shop/eu")
    hung = installation.pids()[who]
    os.kill(hung, signal.SIGSTOP)
    layer = {"sweeper": "sweep", "observer": "process"}[who]
    assert f"{who} does not answer" in becomes(installation, layer, "degraded")
    becomes(installation, layer, "ready")
    assert installation.pids()[who] != hung
    assert any(each.get("what") == "silent" for each in installation.entries())
    assert installation.stop("shop/eu")["confirmed"]
    running.close()


@pytest.mark.long
def test_SR_22_a_keeper_that_hangs_is_noticed_and_never_ended(installation: Installation) -> None:
    running = installation.run(*SLEEPS, target="shop/eu")
    keeper = installation.pids()["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    assert "keeper does not answer" in becomes(installation, "process", "degraded")
    os.kill(keeper, signal.SIGCONT)
    becomes(installation, "process", "ready")
    assert installation.pids()["keeper"] == keeper
    running.close()


class Process:
    """One of the crew, that answers as long as it turns."""

    def __init__(self, who: str, reproof: Any = None) -> None:  # noqa: ANN401
        self.who = who
        self.reproof: Any = reproof
        self.turns = True
        self.child = subprocess.Popen(SLEEPS)
        self.pid = self.child.pid

    def ping(self) -> None:
        if self.turns:
            self.reproof.heard(self.who)


def test_HMI_3_who_is_silent_takes_a_layers_readiness_and_is_ended_unless_it_is_the_keeper() -> (
    None
):
    ready = {"process": ("ready", ""), "network": ("ready", ""), "sweep": ("ready", "")}
    row = SimpleNamespace(
        target=SimpleNamespace(name="t"), cell=object(), handed=(), readiness=dict(ready)
    )
    crew = {who: Process(who) for who in ("sweeper", "observer", "keeper")}
    core = SimpleNamespace(
        kill_steps=[],
        standing=SimpleNamespace(rung=None, ground=None),
        table=SimpleNamespace(names=lambda: ["t"], get=lambda _name: row),
        recording=SimpleNamespace(note=lambda *_a, **_k: None),
        hands=None,
        **crew,
    )
    reproof = Reproof(cast(Core, core))
    reproof.over(cast(Tracked, row), dict(ready))
    for each in crew.values():
        each.reproof = reproof
    affected = {"sweeper": {"sweep"}, "keeper": {"process"}, "observer": set(ready)}
    for who, process in crew.items():
        reproof._round()
        assert row.readiness == ready
        process.turns = False
        for _ in range(3):
            reproof._round()
            assert row.readiness == ready, "a moment's silence is no silence"
        reproof._round()
        lowered = {layer for layer, (state, _why) in row.readiness.items() if state == "degraded"}
        assert lowered == affected[who]
        process.turns = True
        if who != "keeper":
            assert process.child.wait(5) == -signal.SIGKILL
        reproof._round()
        reproof._round()
    for process in crew.values():
        process.child.kill()
        process.child.wait()


def test_HMI_3_a_network_whose_canary_cannot_be_cut_is_not_ready(stage: Stage) -> None:
    """Nothing was found against it, since nothing could be tried: that is no proof."""
    row = SimpleNamespace(target=SimpleNamespace(name="t"), cell=object(), handed=(), readiness={})
    works: list[tuple[Any, Any]] = []

    def in_thread(work: Any, then: Any) -> None:  # noqa: ANN401
        works.append((work, then))
        if len(works) == 2:
            raise OSError(24, "no descriptor is left")

    core = SimpleNamespace(
        kill_steps=[("network", stage.network)],
        standing=SimpleNamespace(rung=None, ground=None),
        table=SimpleNamespace(names=lambda: ["t"], get=lambda _name: row),
        loop=SimpleNamespace(in_thread=in_thread),
        hands=None, sweeper=None, observer=None, keeper=None,
    )  # fmt: skip
    reproof = Reproof(cast(Core, core))
    row.readiness = reproof.over(cast(Tracked, row), {"network": ("ready", "")})

    def refuse(_network: Network) -> str:
        raise OSError(24, "no descriptor is left")

    cut = SimpleNamespace(denied=refuse, destroyed=lambda: "")
    reproof._canary = cast(Canary, cut)
    reproof._round()
    work, then = works[0]
    then(work())
    assert row.readiness["network"] == (
        "degraded", "a canary cannot be cut: [Errno 24] no descriptor is left",
    )  # fmt: skip
    cut.denied = lambda _network: ""
    reproof._round()  # no thread
    reproof._round()  # one that hangs
    assert len(works) == 3
    assert row.readiness["network"][0] == "degraded"
    then(work())
    assert row.readiness["network"] == ("ready", "")
    reproof._proving = True
    for _ in range(3):
        reproof._round()
        assert row.readiness["network"] == ("ready", ""), "it takes a moment"
    reproof._round()
    assert "has not been cut" in row.readiness["network"][1]


def test_VER_3_a_denial_that_is_taken_off_what_is_frozen_is_put_back(
    installation: Installation,
) -> None:
    running = installation.run(*SLEEPS, target="shop/eu")
    assert installation.stop("shop/eu", level="freeze")["confirmed"]
    folder = str(Path(f"/proc/{running.born['pid']}/cgroup").read_text().split("0::")[1].strip())
    folder = f"{find_trees().v2}{folder}"
    fd = os.open(folder, os.O_RDONLY)
    taken_off(fd, bpf.Attach.EGRESS)
    until(lambda: bpf.attached(fd, bpf.Attach.EGRESS), "before it is killed for its limit", 8)
    os.close(fd)
    running.close()


def test_DRL_4_a_thousand_targets_are_proven_in_less_than_a_millisecond_a_second(
    stage: Stage,
) -> None:
    cell = stage.cell()
    rows = {
        f"t/{number}": SimpleNamespace(
            target=SimpleNamespace(name=f"t/{number}"),
            cell=cell,
            keeper_has_it=True,
            served=False,
            readiness={"process": ("ready", ""), "network": ("ready", "")},
        )
        for number in range(1000)
    }
    table = SimpleNamespace(names=lambda: list(rows), get=rows.get)
    core = SimpleNamespace(
        kill_steps=[("network", stage.network)],
        standing=SimpleNamespace(rung=None, ground=None),
        table=_Counted(table, len(rows)),
        keeper=None,
        gates=None,
        level=lambda _row: None,
    )
    reproof = Reproof(cast(Core, core))
    took = []
    for _second in range(8):
        began = time.thread_time()
        for _pass in range(4):
            reproof._pass()
        took.append(time.thread_time() - began)
    assert sorted(took)[4] < 0.003, took
    assert cell.remove()
    cell.close()


class _Counted:
    """A table of so many rows."""

    def __init__(self, table: Any, count: int) -> None:  # noqa: ANN401
        self.names, self.get = table.names, table.get
        self._count = count

    def __len__(self) -> int:
        return self._count

"""GPUs: a stub of NVIDIA's library lists processes that are real ones, in a real cell."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from needs import needs_root
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import CellFacts, Context, Role, Trouble
from offswitch.actuators.hands.gpu.nvml import Nvml, NvmlSection


@dataclass
class Listed:
    """As NVML gives it."""

    pid: int
    usedGpuMemory: int | None  # noqa: N815 - the library's name


@dataclass
class NvmlStub:
    """A stub of NVIDIA's binding: two cards, and whatever a test puts on them."""

    cards: list[list[Listed]] = field(default_factory=lambda: [[], []])
    broken: bool = False

    def put(self, pid: int, card: int = 0) -> None:
        self.cards[card].append(Listed(pid, 512 << 20))

    def module(self) -> types.ModuleType:
        made: Any = types.ModuleType("pynvml")
        made.NVMLError = type("NVMLError", (Exception,), {})

        def listed(card: int) -> list[Listed]:
            if self.broken:
                raise made.NVMLError("GPU is lost")
            return self.cards[card]

        made.nvmlInit = made.nvmlShutdown = lambda: None
        made.nvmlDeviceGetCount = lambda: len(self.cards)
        made.nvmlDeviceGetHandleByIndex = lambda at: at
        made.nvmlDeviceGetComputeRunningProcesses = listed
        return made  # type: ignore[no-any-return]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> NvmlStub:
    stub = NvmlStub()
    monkeypatch.setitem(sys.modules, "pynvml", stub.module())
    return stub


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


def hand(cell: CellFacts | None, role: Role = Role.ACT) -> Nvml:
    settings = NvmlSection(name="gpu", target="shop/eu", kind="nvml")
    made = Nvml(settings, Context(role))
    made.cell = cell
    made.open()
    return made


def at_work(home: Installation) -> tuple[int, CellFacts]:
    running = home.run("/bin/sleep", "1000", target="shop/eu")
    facts = home.ask({"op": "target", "name": "shop/eu"})["cell"]
    return int(running.born["pid"]), CellFacts(facts["path"], facts["cgroup_id"])


def test_ACT_2_what_the_driver_lists_of_a_cell_is_killed_and_nothing_else(
    gpus: NvmlStub, home: Installation
) -> None:
    pid, cell = at_work(home)
    other = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        gpus.put(pid)
        gpus.put(other.pid, 1)
        one = hand(cell)
        assert one.arm().state is Ready.READY
        assert one.holds() == (f"GPU: process {pid}, 512 MiB",)
        assert one.trip("kill").happened == (f"process {pid} held 512 MiB",)
        until(lambda: home.target("shop/eu")["state"] == "exited", "it ends")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_VER_2_memory_that_a_dead_process_still_holds_is_no_standstill(
    gpus: NvmlStub, home: Installation
) -> None:
    pid, cell = at_work(home)
    look = hand(cell, Role.LOOK)
    gpus.put(pid)
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    home.stop("shop/eu")
    seen = look.look()
    assert (seen.stands, seen.detail) == (
        False,
        f"512 MiB are held by processes that have ended: [{pid}]",
    )
    gpus.cards[0].clear()
    assert look.look().stands is True, "freed"


def test_VER_3_whose_memory_it_was_is_known_to_the_process_that_looks_next(
    gpus: NvmlStub, home: Installation
) -> None:
    pid, cell = at_work(home)
    look = hand(cell, Role.LOOK)
    gpus.put(pid)
    assert look.look().stands is False
    home.stop("shop/eu")
    later = Nvml(look.settings, Context(Role.LOOK, remembered=look.memory))
    later.cell = cell
    later.open()
    seen = later.look()
    assert (seen.stands, str(pid) in seen.detail) == (False, True)
    assert later.memory == look.memory


def test_VER_2_of_a_target_without_a_cgroup_nobody_can_tell_what_is_its_on_a_card(
    gpus: NvmlStub,
) -> None:
    look = hand(CellFacts(None, None), Role.LOOK)
    assert look.look().stands is True, "there is nobody on a card"
    gpus.put(1)
    assert look.look().stands is None


def test_VER_2_a_card_that_answers_nothing_any_more_shows_no_standstill(gpus: NvmlStub) -> None:
    look = hand(None, Role.LOOK)
    assert look.arm().state is Ready.DEGRADED, "nothing of it is there to be seen"
    gpus.broken = True
    with pytest.raises(Trouble, match="GPU is lost"):
        look.look()


def test_a_number_that_is_another_process_by_now_is_left_alone(
    gpus: NvmlStub, home: Installation
) -> None:
    pid, cell = at_work(home)
    gpus.put(pid)
    one = hand(cell)
    one.arm()
    one._known[pid] += 1  # it was born at another moment
    one.cell = None
    assert one.trip("kill").happened == ()
    assert home.target("shop/eu")["state"] == "running"

"""StopBench's judge is honest: who says "stopped" and does nothing is found out, us included.

Peers that need an environment of their own are not here; the full run is benchmarks/stopbench.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import until
from needs import needs

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from figures import Figures  # noqa: E402 - on the path by now
from stopbench.caller import Caller, Hot  # noqa: E402
from stopbench.case import PROGRAMS, PYTHON, Case  # noqa: E402
from stopbench.kept import Kept  # noqa: E402
from stopbench.measure import Outcome, Stand  # noqa: E402
from stopbench.pen import unified  # noqa: E402
from stopbench.results import Conditions, page  # noqa: E402
from stopbench.run import report  # noqa: E402
from stopbench.scenarios import SCENARIOS  # noqa: E402
from stopbench.systems import SYSTEMS  # noqa: E402
from stopbench.systems.contract import Unfit  # noqa: E402
from stopbench.systems.offswitch import Offswitch  # noqa: E402
from stopbench.systems.signals import Kill  # noqa: E402

sys.path.remove(str(BENCHMARKS))  # some of them bear the names of folders of tests

LIE = f"""
import sys
sys.path.insert(0, {str(PROGRAMS)!r})
from pressing import serve
serve(lambda: ("stopped", "all is well"))
"""


class Liar(Kill):
    """Says "stopped", and does nothing."""

    name = "liar"

    def caller(self, case: Case) -> Caller:
        return Hot([PYTHON, "-I", "-c", LIE])


LATE = f"""
import os, signal, sys, time
sys.path.insert(0, {str(PROGRAMS)!r})
from pressing import serve

def press():
    pid = int(sys.argv[1])
    os.kill(pid, signal.SIGSTOP)
    if os.fork() == 0:
        for each in (0, 1, 2):
            os.close(each)
        time.sleep(0.15)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        os._exit(0)
    return "stopped", "for a moment"

serve(press)
"""


class Dozer(Kill):
    """Says "stopped" of what wakes up a while later, and ends it then."""

    name = "dozer"

    def caller(self, case: Case) -> Caller:
        return Hot([PYTHON, "-I", "-c", LATE, str(self.pid)])


class OutOfReach(Kill):
    """Nobody can even ask it."""

    name = "out-of-reach"

    def caller(self, case: Case) -> Caller:
        return Hot([PYTHON, "-I", "-c", "raise SystemExit('no such file')"])


@pytest.fixture
def stand() -> Iterator[Stand]:
    needs(os.geteuid() == 0, "root: pens are cgroups")
    with Stand() as made:
        yield made
    assert not made.folder.exists()
    until(lambda: not list(unified().glob(f"stopbench-{made.name}-*")), "no pen is left over")


def test_who_says_stopped_and_does_nothing_is_found_out(stand: Stand, tmp_path: Path) -> None:
    told = stand.run(Liar(tmp_path), SCENARIOS["plain"], 0.0, cold=False)
    assert told is not None
    assert told.claim == "stopped"
    assert told.false_stopped
    assert told.survivors == ("agent",)
    assert told.last_action_ms > 300


def test_who_says_stopped_too_early_is_found_out_though_nobody_survives(
    stand: Stand, tmp_path: Path
) -> None:
    told = stand.run(Dozer(tmp_path), SCENARIOS["plain"], 0.0, cold=False)
    assert told is not None
    assert (told.claim, told.false_stopped, told.survivors) == ("stopped", True, ())
    assert 140 < told.last_action_ms < 400


@pytest.mark.long
def test_what_a_service_would_bring_back_is_kept_down_by_our_stop_and_by_nothing_else(
    stand: Stand,
) -> None:
    ours = Offswitch(stand.folder / "ours")
    ours.folder.mkdir()
    ours.folder.chmod(0o755)
    try:
        ours.open("service-restarted")
        told = stand.run(ours, SCENARIOS["service-restarted"], 0.0, cold=False)
    finally:
        ours.close()
    assert told is not None
    assert (told.false_stopped, told.survivors) == (False, ())


def test_a_system_that_nobody_reaches_has_survivors_and_no_claim(
    stand: Stand, tmp_path: Path
) -> None:
    told = stand.run(OutOfReach(tmp_path), SCENARIOS["plain"], 0.0, cold=False)
    assert told is not None
    assert (told.claim, told.words) == ("not", "no such file")
    assert not told.false_stopped
    assert told.survivors == ("agent",)


def test_two_scenarios_with_us_and_with_kill(stand: Stand) -> None:
    kill, ours = Kill(stand.folder / "kill"), Offswitch(stand.folder / "ours")
    ours.folder.mkdir()
    try:
        ours.open("plain")
        outcomes = {
            (system.name, name, False): [told]
            for name in ("plain", "child")
            for system in (kill, ours)
            if (told := stand.run(system, SCENARIOS[name], 0.0, cold=False)) is not None
        }
    finally:
        ours.close()
    figures = Figures("stopbench", "any", [])
    report(figures, outcomes)
    shown = {row.key: row.value for row in figures._rows}
    for name in ("plain", "child"):
        assert shown[f"offswitch/{name}/survivors"] == 0
        assert shown[f"offswitch/{name}/false-stopped"] == 0
        assert shown[f"offswitch/{name}/confirmed"] > 0
        assert outcomes["offswitch", name, False][0].claim == "stopped"
    assert shown["kill/plain/survivors"] == 0
    assert shown["kill/child/survivors"] == 1
    assert "kill/child/confirmed" not in shown  # it claims nothing, so nothing is held against it
    assert shown["kill/child/false-stopped"] == 0
    text = page(outcomes, SYSTEMS, Conditions.now(1, 0))
    assert "| child | 0 of 1 | **1** of 1: child |" in text


def test_a_page_is_made_of_runs_that_were_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "runs")
    kept.begin(Conditions("2026-11-28", "a machine", 0.5, 2, 0))
    calm = Outcome(0.2, 9.0, False, (), "stopped", "", 0.1)
    false = Outcome(400.0, 3.0, True, ("daemon",), "stopped", "", 0.1)
    for outcome in (calm, calm):
        kept.add("offswitch", "escaped", outcome, cold=False)
    for outcome in (calm, false):
        kept.add("supervisord", "escaped", outcome, cold=False)
    conditions, outcomes = kept.read()
    text = page(outcomes, SYSTEMS, conditions)
    assert "| escaped | 0.20 | offswitch" not in text  # ours is held against others
    assert "| escaped | 0.20 (0.20) | 200 (≥ 400) |" in text
    assert "| escaped | 0 of 2 | **1** of 2: daemon |" in text
    assert "| escaped | 0 of 2 | **1** of 2 |" in text
    assert "| escaped | 9.00 (9.00) | [6.00 (9.00)] |" in text
    flaws = 'a survivor in 1 of 2; a false "stopped" in 1 of 2'
    assert f"| escaped | 0.20 | supervisord 200 | {flaws} | yes |" in text


@pytest.mark.peers
@pytest.mark.parametrize("name", ["supervisord", "podman", "agent-hypervisor", "inspect-ai"])
def test_a_peer_stops_a_plain_process_and_says_so(stand: Stand, name: str) -> None:
    system = SYSTEMS[name](stand.folder / "peer")
    system.folder.mkdir()
    system.folder.chmod(0o755)
    try:
        try:
            system.open("plain")
        except Unfit as why:
            needs(False, str(why))
        told = stand.run(system, SCENARIOS["plain"], 0.0, cold=False)
    finally:
        system.close()
    assert told is not None
    assert (told.claim, told.false_stopped, told.survivors) == ("stopped", False, ())

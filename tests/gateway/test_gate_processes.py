"""The gateway's processes as they run: parent, supervisor, workers, and a real warden."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate_ground import layer
from gateway_stand import Stand, alive, children
from installation import Installation, until
from needs import needs_root
from offswitch.control.ids import users

EU, US = "/v1/chat/completions", "/us/v1/chat/completions"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One installation and its gateway for all tests of this module."""
    needs_root()
    one = Installation(tmp_path_factory.mktemp("stand"))
    stand = Stand(one)
    try:
        one.start()
        yield stand.start()
    finally:
        stand.close()
        one.close()


@pytest.fixture
def stand(standing: Stand) -> Iterator[Stand]:
    """Give it with nothing latched and nothing in flight, and leave it so."""
    yield standing
    standing.afresh()


def entries(stand: Stand, what: str) -> list[dict[str, Any]]:
    return [one for one in stand.installation.entries() if one.get("what") == f"gateway: {what}"]


def test_ACT_4_a_stop_ends_the_streams_of_its_scope_and_is_confirmed_by_what_others_see(
    stand: Stand,
) -> None:
    hit, spared = stand.stream(EU), stand.stream(US)
    answer = stand.installation.stop("shop/eu")
    assert answer["confirmed"] is True, layer(answer)
    assert str(layer(answer)["detail"]).startswith("1 stream cut; ")
    said, how = hit.rest()
    assert how == "closed"
    assert b"offswitch_stopped" in said
    assert stand.client(EU).answer()[0] == 503
    assert spared.until(b"token")
    stand.installation.reset("shop/eu")
    stand.stream(EU)


def test_SR_4_supervisor_and_workers_have_no_rights_and_the_gateways_user(stand: Stand) -> None:
    for pid in [stand.supervisor(), *stand.worker_pids()]:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        uid = str(users()["gateway"].uid)
        assert status["Uid"].split() == [uid] * 4
        assert int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"


def test_ACT_4_a_stalled_worker_is_cut_then_killed_and_whose_streams_died_with_it_is_listed(
    stand: Stand,
) -> None:
    hit, spared = stand.stream(EU), stand.stream(US)
    address = "{}:{}".format(*spared.sock.getsockname())
    [stalled] = stand.worker_pids()
    os.kill(stalled, signal.SIGSTOP)
    began = time.monotonic()
    stand.installation.press("shop/eu")
    assert hit.rest()[1] == "reset"
    assert time.monotonic() - began < 0.5, "20 ms, and what a busy machine adds"
    until(lambda: not alive(stalled), "its supervisor kills it", 2)
    until(stand.serves, "another takes its place")
    until(lambda: entries(stand, "collateral"), "it is listed")
    listed = entries(stand, "collateral")[-1]
    assert (listed["target"], listed["streams"]) == ("shop/us", 1)
    assert address in str(listed["detail"])
    assert entries(stand, "killed")[-1]["pid"] == stalled
    stand.stream(US)
    assert stand.client(EU).answer()[0] == 503
    until(lambda: stand.installation.target("shop/eu")["confirmed"], "it is seen")


@pytest.mark.long
def test_ACT_4_a_slow_worker_is_not_killed_where_nothing_is_to_be_cut(stand: Stand) -> None:
    spared = stand.stream(EU)
    [slow] = stand.worker_pids()
    os.kill(slow, signal.SIGSTOP)
    stand.installation.press("shop/eu", level="restrict")
    time.sleep(0.3)
    os.kill(slow, signal.SIGCONT)
    assert spared.until(b"token")
    assert stand.worker_pids() == [slow]


def test_ACT_6_a_lost_warden_means_a_cut_and_the_next_one_is_attached_to(stand: Stand) -> None:
    flying = stand.stream(EU)
    stand.installation.kill_everything()
    assert flying.rest()[1] in {"closed", "reset"}
    assert stand.client(EU).answer()[0] == 503
    stand.installation.restart()
    until(lambda: stand.client(EU).got or stand.stream(EU), "it serves again")
    answer = stand.installation.stop("shop/eu")
    assert answer["confirmed"] is True, layer(answer)


def test_ACT_6_workers_die_with_their_supervisor_and_others_take_their_place(
    stand: Stand,
) -> None:
    flying = stand.stream(EU)
    before = stand.worker_pids()
    os.kill(stand.supervisor(), signal.SIGKILL)
    flying.rest()
    until(lambda: not any(map(alive, before)), "they die")
    until(stand.serves, "others serve")
    stand.stream(EU)


@pytest.mark.long
def test_a_worker_that_dies_is_replaced_and_that_is_recorded(stand: Stand) -> None:
    before = stand.worker_pids()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: stand.serves() and before[0] not in stand.worker_pids(), "it is replaced")
    until(lambda: entries(stand, "restarted"), "it is recorded")
    assert "SIGKILL" in str(entries(stand, "restarted")[-1]["detail"])
    answer = stand.installation.stop("shop/eu")
    assert answer["confirmed"] is True, layer(answer)


def test_a_reload_serves_by_the_new_configuration_and_loses_no_stream(stand: Stand) -> None:
    assert stand.process is not None
    flying = stand.stream(EU)
    before = stand.worker_pids()
    stand.configure('[[gateway.route]]\ntarget = "shop/asia"\npath = "/asia/"\n')
    stand.process.send_signal(signal.SIGHUP)
    until(lambda: set(stand.worker_pids()) - set(before), "new workers are there")

    def known() -> set[str]:
        return {row["target"] for row in stand.installation.status()["targets"]}

    until(lambda: "shop/asia" in known(), "they serve what is declared now")
    stand.installation.stop("shop/asia")
    refused = "/asia/v1/chat/completions"
    until(lambda: b" 503 " in stand.client(refused).until(b"\r\n"), "the new workers serve alone")
    assert flying.until(b"token"), "the old worker ends what it has"
    answer = stand.installation.stop("shop/eu")
    assert answer["confirmed"] is True, layer(answer)
    assert b"offswitch_stopped" in flying.rest()[0], "and a stop still reaches it"
    until(lambda: not any(map(alive, before)), "then it ends", 5)


@pytest.mark.long
def test_a_reload_that_cannot_be_read_changes_nothing(stand: Stand) -> None:
    assert stand.process is not None
    before = stand.worker_pids()
    stand.configure("nonsense = 1\n")
    stand.process.send_signal(signal.SIGHUP)
    until(lambda: "not reloaded" in stand.said(), "it says so")
    assert stand.worker_pids() == before
    stand.stream(EU)


def test_a_gateway_that_is_told_to_end_lets_what_flies_end_and_leaves_nothing(
    stand: Stand,
) -> None:
    assert stand.process is not None
    pids = [*children(stand.process.pid), *stand.worker_pids()]
    flying = stand.stream(EU)
    stand.process.terminate()
    assert flying.until(b"token")
    flying.sock.close()
    assert stand.process.wait(10) == 0
    assert not any(map(alive, pids))
    stand.start()

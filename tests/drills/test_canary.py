"""The canary drill on the real path: what it shows, what it leaves alone, what it may clear."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from drill_by_hand import Drill
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.cli import checks
from offswitch.cli.checks import Facts
from offswitch.control.client import Conversation
from offswitch.control.ids import STATION
from offswitch.control.page import RUN
from offswitch.decide.authority import add_person
from offswitch.drills.canary import run_canary
from offswitch.drills.figures import figures
from offswitch.drills.record import drill_entries
from offswitch.errors import Busy, Latched, OffswitchError, Refused, Usage
from offswitch.warden.cells.users import living_ids
from scale import runs
from scripted import Scripted

SECRETS = {"ada": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "bob": "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"}
LAYERS = ["process", "sweep", "network"]
COUNTER = """
import time
number = 0
while True:
    print(number, time.monotonic_ns(), flush=True)
    number += 1
    time.sleep(0.002)
"""


def drills(installation: Installation, name: str = "") -> list[dict[str, Any]]:
    """Give the entries about drills, or about one."""
    told = [entry for entry in installation.entries() if entry["kind"] == "drill"]
    return [entry for entry in told if name in {"", entry["drill"]}]


def about(installation: Installation, target: str) -> list[dict[str, Any]]:
    """Give the entries about a drill's target and its stop."""
    return [
        entry
        for entry in installation.entries()
        if target in {entry.get("target"), entry.get("scope")}
    ]


def names(installation: Installation) -> list[str]:
    return [row["target"] for row in installation.status()["targets"]]


def forgotten(installation: Installation) -> bool:
    """Whether nothing below `.drill/` is known any more."""
    return not any(name.startswith(".drill") for name in names(installation))


# --- what it shows --------------------------------------------------------------------


def test_DRL_1_a_drill_passes_every_layer_and_leaves_nothing(shared: Installation) -> None:
    outcome = run_canary(shared.place)
    assert (outcome.state, outcome.trouble, outcome.exit_code) == ("passed", "", 0)
    assert [one.layer for one in outcome.layers] == LAYERS
    for one in outcome.layers:
        assert (one.seen, one.confirmed, one.passed) == (True, True, True), one
        assert one.last_act_ns is not None
        assert one.last_act_ns < 2_000_000_000
    until(lambda: forgotten(shared), "its target is forgotten")
    assert not shared.status()["latched"]
    told = drills(shared, outcome.drill)
    assert [entry["what"] for entry in told] == ["begin", *["layer"] * 3, "end"]
    assert all(entry["by"] == "uid:0" and not entry.get("missing") for entry in told)
    assert told[-1]["state"] == "passed"
    assert set(told[-1]["last_act_ns"]) == set(LAYERS)
    [run] = [entry for entry in about(shared, outcome.target) if entry["kind"] == "run"]
    assert living_ids(int(run["user"].split()[1])) == []


def test_DRL_1_it_is_stopped_and_recorded_as_any_target_is(shared: Installation) -> None:
    """The mark of a drill changes nothing in execution, latching or record."""
    outcome = run_canary(shared.place)
    told = about(shared, outcome.target)
    for kind in ("run", "order", "exit", "receipt", "reset"):
        assert kind in {entry["kind"] for entry in told}
    [order] = [entry for entry in told if entry["kind"] == "order"]
    assert (order["by"], order["channel"]) == (f"drill:{outcome.drill}", "drill")


def test_DRL_1_a_stream_beside_it_has_no_gap(shared: Installation) -> None:
    """Every number comes, in order, while drills kill what lives beside it."""
    production = shared.run(PYTHON, "-c", COUNTER, target="shop/stream")
    lines: list[bytes] = []
    ended = threading.Event()

    def read() -> None:
        kept = b""
        while not ended.is_set():
            *whole, kept = (kept + production.read()).split(b"\n")
            lines.extend(whole)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: len(lines) > 10, "the stream flows")
        for _ in range(runs(100)):
            before = len(lines)
            assert run_canary(shared.place).state == "passed"
            until(lambda at=before: len(lines) > at + 10, "it flows on")
        assert shared.word("shop/stream") == RUN
        row = shared.target("shop/stream")
        assert (row["state"], row["latched"]) == ("running", False)
    finally:
        ended.set()
        reader.join(10)
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == list(range(len(numbers)))


def test_DRL_3_a_dry_run_stops_nothing_and_earns_nothing(shared: Installation) -> None:
    run_canary(shared.place)
    before = figures(drills(shared), 0)
    outcome = run_canary(shared.place, dry=True)
    assert (outcome.state, outcome.layers, outcome.exit_code) == ("dry", (), 0)
    until(lambda: forgotten(shared), "its target is gone")
    after = figures(drills(shared), 0)
    assert [row.n for row in after.combined] == [row.n for row in before.combined]
    assert after.not_counted["dry"] == before.not_counted.get("dry", 0) + 1
    assert "order" not in {entry["kind"] for entry in about(shared, outcome.target)}


def test_a_drill_whose_last_act_nobody_saw_has_not_passed(shared: Installation) -> None:
    """The observer's word alone is not enough, and the readiness of the layers says so."""
    shared.run("sleep", "1000", target="shop/unseen")
    with Drill(shared) as drill:
        drill.press()
        answer = drill.end(seen=False)
    assert answer["state"] == "not-confirmed"
    assert all(one["confirmed"] and not one["passed"] for one in answer["layers"])
    ready = shared.target("shop/unseen")["readiness"]
    assert {ready[layer] for layer in LAYERS} == {"unproven"}
    run_canary(shared.place)
    ready = shared.target("shop/unseen")["readiness"]
    assert {ready[layer] for layer in LAYERS} == {"ready"}, "a clean drill raises it again"


def test_what_a_driller_says_is_bounded_and_odd_words_are_no_proof(shared: Installation) -> None:
    said = {"seen": "yes", "last_act_ns": 10**30, "why": "\ud800" + "x" * 5000}
    with Drill(shared, channel="\x1b[2J") as drill:
        drill.press()
        layers = {"process": said, "sweep": [], "network": None, "power": {}}
        body = {"op": "drill", "do": "end", "drill": drill.name, "layers": layers}
        frame = json.dumps(body).encode()
        drill.held.sock.sendall(len(frame).to_bytes(4, "big") + frame)
        answer = drill.held.receive()
    assert answer is not None
    assert answer["state"] == "not-confirmed"
    assert not any(one["seen"] or one["last_act_ns"] for one in answer["layers"])
    told = drills(shared, drill.name)
    assert {entry["channel"] for entry in told} == {"drill"}
    assert [entry["layer"] for entry in told if entry["what"] == "layer"] == LAYERS
    assert all(len(str(entry)) < 2000 for entry in told)
    assert run_canary(shared.place).exit_code == 0, "and a clean one makes all ready again"


# --- what was proven on something else ------------------------------------------------


def test_DRL_4_on_another_kernel_what_was_proven_is_void_at_once_and_until_the_next_pass(
    installation: Installation,
) -> None:
    installation.run("sleep", "1000", target="shop/a")
    assert run_canary(installation.place).state == "passed"
    path = Path(installation.home, "proven.json")
    until(path.exists, "what it was proven on is kept")
    kept = json.loads(path.read_text())
    assert set(kept) == set(LAYERS)
    kept["sweep"]["kernel"] = "4.19.0 an older one"
    path.write_text(json.dumps(kept))
    installation.kill_everything()
    installation.start()
    until(
        lambda: installation.target("shop/a")["readiness"]["sweep"] == "unproven",
        "a layer that was proven on another kernel is in doubt",
        2.0,
    )
    row = installation.target("shop/a")
    assert (row["readiness"]["process"], row["readiness"]["network"]) == ("ready", "ready")
    assert row["readiness_since"]["sweep"] >= row["readiness_since"]["process"]
    assert any("UNPROVEN by a change: sweep" in note for note in installation.status()["notes"])
    health = {"notes": installation.ask({"op": "health"})["notes"]}
    assert not checks._drills(Facts(installation.place, {}, health, {})).ok, "so doctor says NO"

    def proven() -> dict[str, str]:
        known = figures(drill_entries(installation.home), 0)
        return {one.layer: one.state.value for one in known.layers if one.demand == "resisting"}

    until(lambda: proven()["sweep"] == "unproven", "the figures begin anew")
    assert proven() == {"process": "proven", "network": "proven", "sweep": "unproven"}
    assert run_canary(installation.place).state == "passed"
    assert installation.target("shop/a")["readiness"]["sweep"] == "ready"
    until(
        lambda: json.loads(path.read_text())["sweep"]["kernel"] == kept["process"]["kernel"],
        "it is proven on this one",
    )


# --- a layer that is broken -----------------------------------------------------------


def test_HMI_3_a_kill_that_kills_nothing_is_found_by_the_next_drill(lying: Scripted) -> None:
    """Though the sweep kills what the broken layer left: nobody would have noticed otherwise."""
    lying.words = ("process",)
    lying.start()
    lying.run("sleep", "1000", target="shop/a")
    assert lying.target("shop/a")["readiness"]["process"] == "ready"
    done = lying.cli("drill", "run", "canary")
    assert done.returncode == 4, done.stderr
    assert "NOT CONFIRMED: process" in done.stdout
    by_layer = {entry["layer"]: entry for entry in drills(lying) if entry["what"] == "layer"}
    assert by_layer["process"]["passed"] == "no"
    assert "the witness" in by_layer["process"]["why"]
    assert by_layer["sweep"]["passed"] == by_layer["network"]["passed"] == "yes"
    ready = lying.target("shop/a")["readiness"]
    assert (ready["process"], ready["sweep"]) == ("unproven", "ready")
    assert any("UNPROVEN by a drill: process" in note for note in lying.status()["notes"])
    detail = lying.ask({"op": "target", "name": "shop/a"})["readiness_detail"]["process"]
    assert "did not see it act" in detail
    # It stays so through a restart, and only a clean drill makes it ready again.
    lying.kill_everything()
    lying.words = ("nothing",)
    lying.start()
    lying.run("sleep", "1000", target="shop/b")
    assert lying.target("shop/b")["readiness"]["process"] == "unproven"
    assert run_canary(lying.place).exit_code == 0
    assert lying.target("shop/b")["readiness"]["process"] == "ready"
    assert not any("UNPROVEN" in note for note in lying.status()["notes"])
    [row] = [row for row in figures(drills(lying), 0).layers if row.layer == "process" and row.n]
    assert (row.n, row.k, row.state) == (2, 1, "proven")


@pytest.mark.long
@pytest.mark.parametrize(("broken", "layer"), [("sweep", "sweep"), ("network,sockets", "network")])
def test_HMI_3_so_is_any_other_layer(lying: Scripted, broken: str, layer: str) -> None:
    lying.words = (broken,)
    lying.start()
    outcome = run_canary(lying.place)
    [failed] = [one for one in outcome.layers if not one.passed]
    assert (failed.layer, failed.seen, failed.confirmed) == (layer, False, False)
    assert outcome.exit_code == 4


# --- a real demand --------------------------------------------------------------------


def test_SR_20_a_real_stop_in_the_middle_wins_and_is_not_reset(shared: Installation) -> None:
    shared.run("sleep", "1000", target="shop/real")
    with Drill(shared) as drill:
        drill.press()
        real = shared.stop("/")
        assert real["confirmed"] is True, "it is confirmed as ever, the drill's target included"
        answer = drill.end()
    assert (answer["state"], answer["layers"], answer["reset"]) == ("overtaken", [], None)
    assert "another stop covers" in answer["trouble"]
    assert shared.target("shop/real")["latched"]
    assert shared.target(drill.target)["latched"]
    assert len(shared.status()["latched"]) == 2
    assert figures(drills(shared, drill.name), 0).not_counted == {"overtaken": 1}
    shared.reset("/")
    assert not shared.status()["latched"]
    run_canary(shared.place)
    until(lambda: forgotten(shared), "what it left is forgotten by the next one")


def test_SR_20_a_real_stop_that_comes_while_it_is_being_reset_holds(shared: Installation) -> None:
    """Whichever comes first: the real one is never cleared, nor is what it covers let go."""
    for late_s in [0.002 * number for number in range(runs(60))]:
        with Drill(shared) as drill:
            drill.press()
            layers = {name: {"seen": True} for name in drill.born["layers"]}
            body = {"op": "drill", "do": "end", "drill": drill.name, "layers": layers}
            drill.held.send(body)
            time.sleep(late_s)  # that much later: what is tried here is the moment itself
            shared.press("/")
            answer = drill.held.receive()
        assert answer is not None
        scopes = {live["scope"] for live in shared.status()["latched"]}
        kept = set() if answer["reset"] else {drill.target}
        assert scopes == {"/", *kept}
        assert answer["reset"] or "another stop covers" in answer["trouble"]
        shared.reset("/")


def test_SR_20_where_two_people_are_wanted_a_drill_still_asks_nobody(tmp_path: Path) -> None:
    """And nobody's stop of a real target goes the same way."""
    needs_root()
    one = Installation(tmp_path)
    try:
        one.start()
        for name, totp in SECRETS.items():
            add_person(one.home, name, uid=None, keys=[], totp=totp)
        one.run("sleep", "1000", target="shop/a")
        one.stop("shop/a")
        assert one.reset("shop/a")["state"] == "pending"
        outcome = run_canary(one.place)
        assert (outcome.state, outcome.trouble) == ("passed", "")
        assert outcome.reset is not None
        assert [live["scope"] for live in one.status()["latched"]] == ["shop/a"]
    finally:
        one.close()


def test_SR_20_a_stop_of_somebody_else_is_never_taken_for_the_drills_own(
    shared: Installation,
) -> None:
    """On the same target, at the same level, before the drill has pressed at all."""
    with Drill(shared) as drill:
        shared.stop(drill.target)
        answer = drill.end()
        assert (answer["state"], answer["reset"]) == ("overtaken", None)
    assert shared.target(drill.target)["latched"]


def test_SR_20_a_wider_stop_by_the_drill_itself_is_not_its_own(shared: Installation) -> None:
    """A patched drill that stops more than its target gets nothing cleared but what was its own.

    `.drill/canary` only begins as the target's name does, and does not cover it.
    """
    with Drill(shared) as drill:
        drill.press(".drill/canary")
        assert drill.end()["state"] == "failed"
    with Drill(shared) as drill:
        drill.press(drill.target, ".drill")
        assert drill.end()["state"] == "overtaken"
    scopes = {live["scope"] for live in shared.status()["latched"]}
    assert scopes == {".drill", ".drill/canary", drill.target}


def test_SR_20_what_is_no_drill_of_this_connection_is_not_reset(shared: Installation) -> None:
    """Nor by whoever claims that the stop of a real target was a drill's."""
    shared.run("sleep", "1000", target="shop/claimed")
    shared.stop("shop/claimed", channel="drill", by="drill:canary-1")
    with Drill(shared) as drill, pytest.raises(Refused):
        drill.end(drill="shop/claimed")
    with Conversation(shared.place.warden_socket, 10.0) as other:
        for name in ("canary-1", "shop/claimed", "", ".drill/canary-1"):
            with pytest.raises(Refused):
                other.ask({"op": "drill", "do": "end", "drill": name})
    assert shared.target("shop/claimed")["latched"]
    refused = [entry for entry in shared.entries() if entry.get("what") == "drill"]
    assert {entry["kind"] for entry in refused} == {"refused"}


def test_SR_20_whoever_drilled_is_gone_and_it_is_cleared_away(shared: Installation) -> None:
    with Drill(shared) as drill:
        drill.press()
    until(lambda: forgotten(shared), "its own stop is reset, its target forgotten")
    told = drills(shared, drill.name)
    assert told[-1]["state"] == "failed"
    assert figures(told, 0).counted == 0


def test_SR_4_the_stations_user_drills_as_well_and_runs_nothing_under_its_own(
    shared: Installation,
) -> None:
    """Without root, and without reading a file of ours; the sockets are opened for the test."""
    os.chmod(shared.run_folder, 0o755)
    os.chmod(shared.place.control, 0o755)
    os.chmod(shared.place.warden_socket, 0o666)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(STATION, STATION, STATION)
            os.setresuid(STATION, STATION, STATION)
            outcome = run_canary(shared.place, channel="console", by="person:ada")
            os.write(writer, f"{outcome.state} {outcome.drill}".encode())
        except BaseException as error:  # noqa: BLE001 - told to the test, which is another process
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader, encoding="utf-8") as said:
        state, _, name = said.read().partition(" ")
    assert state == "passed", name
    told = drills(shared, name)
    assert {(entry["by"], entry["channel"]) for entry in told} == {("person:ada", "console")}
    runs_ = [entry for entry in about(shared, told[0]["target"]) if entry["kind"] == "run"]
    assert runs_[0]["user"].startswith("allotted")


@pytest.mark.long
def test_SR_23_a_warden_hands_over_when_a_drill_is_over(installation: Installation) -> None:
    with Drill(installation) as drill:
        drill.press()
        with Conversation(installation.place.warden_socket, 30.0) as asked:
            asked.send({"op": "handover"})
            time.sleep(0.5)
            assert drill.end()["state"] == "passed"
            answer = asked.receive()
    assert answer is not None
    assert answer["ok"] is True
    assert run_canary(installation.place).exit_code == 0


@pytest.mark.long
def test_SR_20_another_warden_resets_nothing_that_it_did_not_make(
    installation: Installation,
) -> None:
    drill = Drill(installation)
    try:
        drill.press()
        installation.kill_warden()
        installation.restart()
        time.sleep(1)
        assert installation.target(drill.target)["latched"]
        with pytest.raises(OffswitchError):
            drill.end()
    finally:
        drill.__exit__()
    assert installation.target(drill.target)["latched"], "a person resets it"
    installation.reset(drill.target)
    run_canary(installation.place)
    until(lambda: forgotten(installation), "and the next drill forgets it")


@pytest.mark.long
def test_SR_20_without_an_observed_standstill_nothing_is_reset(installation: Installation) -> None:
    observer = installation.pids()["observer"]
    with Drill(installation) as drill:
        os.kill(observer, signal.SIGSTOP)
        try:
            drill.press()
            answer = drill.end()
        finally:
            os.kill(observer, signal.SIGCONT)
    assert answer["state"] == "not-confirmed"
    assert answer["reset"] is None
    assert "standstill is not confirmed" in answer["trouble"]
    assert installation.target(drill.target)["latched"]


# --- the reserved scope ---------------------------------------------------------------


def test_SR_20_nobody_else_makes_a_target_below_the_scope_of_drills(shared: Installation) -> None:
    for name in (".drill/mine", ".drill", ".drills/mine", ".other"):
        with pytest.raises(Usage):
            shared.run("sleep", "1", target=name)
        with pytest.raises(Usage):
            shared.ask({"op": "declare", "targets": [{"name": name}]})
        with pytest.raises(Usage):
            shared.ask({"op": "adopt", "target": name, "as": {"cgroup": "/x"}})
    assert forgotten(shared)


def test_a_drill_under_a_stop_does_not_begin(shared: Installation) -> None:
    before = len(drills(shared))
    shared.stop(".drill")
    with pytest.raises(Latched):
        run_canary(shared.place)
    assert len(drills(shared)) == before


def test_there_is_one_drill_at_a_time(shared: Installation) -> None:
    with Drill(shared) as drill:
        with pytest.raises(Busy):
            run_canary(shared.place)
        drill.press()
        assert drill.end()["state"] == "passed"

"""The recorder is stuck, dead or without a disk: the stop is the same, the gap is marked."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from disk import mounted
from installation import Installation, until
from needs import needs_root
from offswitch.decide.authority import add_person
from offswitch.errors import OffswitchError
from people import Person
from raw import Raw
from scale import runs


def stuck(installation: Installation) -> int:
    """Stop the recorder in its tracks, once it has a ledger; give its pid."""
    until(installation.entries, "a ledger is there")
    pid = int(installation.pids()["recorder"])
    os.kill(pid, signal.SIGSTOP)
    return pid


def durable(installation: Installation) -> bool:
    """Tell whether every live stop is in the latch's own file."""
    return all(live["durable"] for live in installation.status()["latched"])


def orders(installation: Installation) -> set[str]:
    return {str(e["digest"]) for e in installation.entries() if e["kind"] == "order"}


def test_REC_3_a_recorder_that_is_stuck_delays_no_stop_and_loses_nothing(
    installation: Installation,
) -> None:
    pid = stuck(installation)
    wanted = set()
    try:
        for name in ("a", "b"):
            installation.run("sleep", "1000", target=name)
            answer = installation.stop(name)
            assert answer["confirmed"] is True
            wanted.add(answer["order"])
        until(lambda: durable(installation), "the latch's own file needs no recorder")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: orders(installation) >= wanted, "every order is entered later")
    until(lambda: installation.reset("a")["state"] == "done", "and the evidence is sealed")


def test_REC_3_a_recorder_that_dies_again_and_again_loses_nothing(
    installation: Installation,
) -> None:
    wanted = set()
    for _ in range(runs(60)):
        pid = until(lambda: installation.pids()["recorder"], "the recorder is there")
        os.kill(pid, signal.SIGKILL)
        wanted.add(installation.stop("a")["order"])
        until(lambda: wanted <= orders(installation), "entered by the next recorder")
        installation.reset("a")
    assert installation.cli("ledger", "verify").returncode == 6


def test_REC_3_what_the_journal_could_not_hold_is_marked_as_a_gap(
    installation: Installation,
) -> None:
    """The recorder is stuck for so long that the ring is full: a stop works, the gap is told."""
    pid = stuck(installation)
    running = installation.run("sleep", "1000", target="a")
    for first in range(0, 3600, 200):  # refusals would be counted, not listed (SEC-4)
        installation.press(*(f"nobody/{first + n}" for n in range(200)), reason="x" * 2000)
    health = installation.ask({"op": "health"})
    assert health["journal"]["lost"] > 0
    assert installation.stop("a")["confirmed"] is True
    assert running.event("exited")["signal"] == 9
    assert any("the journal lost" in note for note in installation.status()["notes"])
    os.kill(pid, signal.SIGCONT)

    def gaps() -> list[dict[str, object]]:
        return [e for e in installation.entries() if e["kind"] == "gap" and "lost" in str(e)]

    until(gaps, "the gap is an entry")
    assert installation.cli("ledger", "verify").returncode == 6
    until(lambda: installation.reset("a")["state"] == "done", "what is missing is not waited for")


def test_REC_3_with_the_ledgers_disk_full_the_stop_is_the_same(tmp_path: Path) -> None:
    needs_root()
    (tmp_path / "home").mkdir()
    with mounted(tmp_path / "home" / "ledger", "4m") as disk:
        one = Installation(tmp_path)
        try:
            one.start()
            one.run("sleep", "1000", target="a")
            until(one.entries, "a ledger is there")
            disk.fill()
            answer = one.stop("a")
            assert answer["confirmed"] is True
            until(lambda: durable(one), "the latch has a disk of its own")
            disk.free()
            until(lambda: answer["order"] in orders(one), "entered once there is room")
            until(lambda: one.reset("a")["state"] == "done", "then a reset works")
            assert one.cli("ledger", "verify").returncode == 6
        finally:
            one.close()


def test_REC_2_every_entry_of_a_whole_life_says_who_by_which_channel_why_and_what_changed(
    tmp_path: Path,
) -> None:
    """Everything that a warden does and refuses, with each of its helpers lost, and itself."""
    one = Installation(tmp_path, gid=4200)
    try:
        _live(one.start())
        one.kill_everything()
        one.restart()
        until(lambda: one.target("a")["confirmed"], "found again, and seen again")
        one.reset("a", reason="all is well")
        assert one.warden is not None
        one.warden.terminate()
        one.warden.wait(10)
        until(lambda: "recorder ends" in str(one.entries()[-1].get("what")), "all is entered")
        entries = one.entries()
    finally:
        one.close()
    lacking = [(entry["kind"], entry["missing"]) for entry in entries if "missing" in entry]
    assert lacking == []
    acts = {"order", "receipt", "reset", "refused", "run", "start", "restart"}
    assert acts <= {entry["kind"] for entry in entries}
    for entry in entries:
        if entry["kind"] in acts:
            assert {"by", "channel", "prior", "state"} <= entry.keys(), entry
            assert "why" in entry or "reason" in entry, entry
    assert _told(entries, "restart", "process") >= {"warden", "recorder", "observer", "keeper"}
    assert _told(entries, "refused", "what") >= {
        "reset", "run", "start", "spool", "message", "declare", "proof",
    }  # fmt: skip
    stopped = [entry for entry in entries if entry["kind"] == "receipt"]
    assert {(entry["by"], entry["why"]) for entry in stopped} == {("uid:0", "the stop of a")}
    [done] = [e for e in entries if e["kind"] == "reset" and e["state"] == "done"]
    assert (done["prior"], done["states"]) == ({"a": "stopped"}, {"a": "idle"})


def _told(entries: list[dict[str, object]], kind: str, key: str) -> set[object]:
    return {entry.get(key) for entry in entries if entry["kind"] == kind}


def _live(one: Installation) -> None:
    def refused(ask: Callable[[], object]) -> None:
        with pytest.raises(OffswitchError):
            ask()

    one.run("true", target="b").event("exited")
    one.run("true", target="b", op="start").event("exited")
    one.run("sleep", "1000", target="a")
    one.stop("a", reason="nonsense")
    refused(lambda: one.reset("nobody"))
    refused(lambda: one.run("true", target="a"))
    refused(lambda: one.run("true", target="a", op="start"))
    Person(one).ask({"op": "declare", "targets": []})
    with Raw(one) as peer:
        peer.send(b"\xff\xff\xff\xff").answer()
    Path(one.place.spool, "no scope at all").touch()
    add_person(one.home, "ada", uid=None, keys=[], totp="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    Path(one.home, "authority").write_text("people\n")
    pending = one.reset("a")
    one.reset("a", digest=pending["reset"], proofs=["code ada 000000"])
    Path(one.home, "authority").unlink()
    Path(one.home, "authority.seen").unlink()
    for name in ("observer", "keeper", "sweeper"):
        pid = one.pids()[name]
        os.kill(pid, signal.SIGKILL)
        until(lambda name=name, pid=pid: one.pids()[name] not in {None, pid}, f"another {name}")

"""What nobody can look at any more is given up by two, and stopped if it reappears (SR-18)."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from adopted_ground import Ground
from authenticator import Authenticator
from installation import Installation, until
from offswitch.decide.authority import add_person
from offswitch.errors import NotFound, OffswitchError, Refused, Unconfirmed


def blind(one: Installation, name: str) -> int:
    """Kill the finder, and hold the next one before it has looked; give its pid."""
    while True:
        before = one.pids()["finder"]
        os.kill(before, signal.SIGKILL)
        found = until(lambda old=before: one.pids().get("finder") not in {old, None}, "another")
        assert found
        after = one.pids()["finder"]
        os.kill(after, signal.SIGSTOP)
        if {one.target(name)["state"] for _ in range(3)} == {"unknown"}:
            return after  # else it was quicker: once more


def test_SR_18_what_nobody_can_look_at_is_written_off_by_two_and_stopped_if_it_reappears(
    fresh: Installation, ground: Ground
) -> None:
    one, name = fresh, "shop/lost"
    path = ground.make("llm")
    one.ask({"op": "adopt", "target": name, "as": {"cgroup": path}})
    child = ground.born("llm", "sleep", "1000")
    assert one.stop(name)["confirmed"] is True
    child.wait()
    ground.remove("llm")
    until(lambda: one.target(name)["pids"] == 0, "it is gone")
    finder = blind(one, name)
    with pytest.raises(Unconfirmed, match="standstill") as refused:
        one.reset(name)
    assert "--write-off" in refused.value.hint
    with pytest.raises(Refused, match="one person alone"):
        one.reset(name, write_off=True, safe="the host is scrapped")

    keys = {who: Authenticator() for who in ("ada", "bob")}
    for who, key in keys.items():
        add_person(one.home, who, uid=None, keys=[], passkeys=[key.raw])
    with pytest.raises(OffswitchError, match="why it is safe"):
        one.reset(name, write_off=True)
    opened = one.reset(name, write_off=True, safe="the host is scrapped")
    digest = opened["reset"]
    assert (opened["state"], opened["people"]) == ("pending", 2)

    def confirm(who: str) -> dict[str, Any]:
        return one.reset(name, digest=digest, proofs=[keys[who].word(digest)])

    assert confirm("ada")["state"] == "pending"
    done = confirm("bob")
    assert (done["state"], done["written_off"]) == ("done", [name])
    assert "never confirmed" in done["notes"][-1]
    assert one.target(name)["confirmed"] is False
    entered = one.entries()
    [entry] = [e for e in entered if e["kind"] == "reset" and e["state"] == "done"]
    assert entry["not_confirmed"] == [name]
    [note] = [e for e in entered if "written off" in str(e.get("what"))]
    assert (note["target"], note["safe"]) == (name, "the host is scrapped")

    # It reappears; also under the next warden.
    one.kill_everything()
    os.kill(finder, signal.SIGKILL)
    ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    one.restart()
    assert child.wait(20) == -signal.SIGKILL
    until(lambda: one.target(name)["confirmed"], "it is stopped, and seen")
    [live] = one.status(name)["latched"]
    assert (live["by"], live["reason"]) == ("warden", "it was written off, and is there again")

    # Seen to stand still, it is reset as any other, and may live.
    digest = one.reset(name)["reset"]
    assert confirm("ada")["state"] == "pending"
    assert confirm("bob")["state"] == "done"
    child = ground.born("llm", "sleep", "1000")
    until(lambda: one.target(name)["state"] == "running", "it lives")
    assert child.poll() is None
    with pytest.raises(NotFound):
        one.reset(name)

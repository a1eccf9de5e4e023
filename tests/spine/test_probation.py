"""What was stopped starts restricted, and is watched more strictly, until that is over (RST-6)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, Running, until
from offswitch.errors import NotFound, Storage, Usage
from offswitch.model.level import Level
from offswitch.warden.reset.marks import STAGED, Marks

RUN, RESTRICTED = 1, 1 + Level.RESTRICT
LONG = {"people": {}, "not_who_stopped": False, "probation_s": 600.0}


def declare(one: Installation, reset: dict[str, Any] | None = None, **target: Any) -> None:  # noqa: ANN401
    said = {"op": "declare", "targets": [{"name": "a", **target}], "reset": reset or {}}
    one.ask(said)


def stopped_and_reset(one: Installation) -> None:
    one.run("sleep", "1000", target="a")
    one.stop("a")
    assert one.reset("a")["state"] == "done"


def started(one: Installation) -> Running:
    return one.run("sleep", "1000", target="a", op="start")


def test_RST_6_a_start_after_a_reset_is_restricted_from_its_first_instruction_until_it_is_over(
    installation: Installation,
) -> None:
    one = installation
    declare(one, {**LONG, "probation_s": 0.4})
    one.run("sleep", "1000", target="a")
    assert one.word("a") == RUN, "nobody has reset it"
    one.stop("a")
    one.reset("a")
    started(one)
    assert one.word("a") == RESTRICTED
    row = one.target("a")
    assert (row["state"], row["latched"], row["probation_s"]) == ("restricted", False, 0)
    [cell] = [cell for cell in one.ask({"op": "cells"})["cells"] if cell["target"] == "a"]
    assert (cell["probation"], cell["level"]) == (True, None)
    until(lambda: one.word("a") == RUN, "it is over")
    row = one.target("a")
    assert (row["state"], row["probation_s"]) == ("running", None)
    told = [e["what"] for e in one.entries() if str(e.get("what")).startswith("probation")]
    assert told == ["probation began", "probation ended"]
    until(lambda: json.loads(Path(one.home, "staged.json").read_text()) == [], "it is forgotten")
    one.stop("a", level="restrict")
    assert one.reset("a")["state"] == "done"
    assert one.word("a") == RUN, "what was not ended is not started again"


def test_RST_6_only_where_it_is_asked_for(installation: Installation) -> None:
    one = installation
    for reset, staged, word in (
        (None, None, RUN),
        (LONG, False, RUN),
        (LONG, None, RESTRICTED),
        (None, True, RESTRICTED),
    ):
        declare(one, reset, **({} if staged is None else {"staged": staged}))
        if one.target("a")["pids"] == 0:
            one.run("sleep", "1000", target="a")
        one.stop("a")
        assert one.reset("a")["state"] == "done"
        started(one)
        assert one.word("a") == word, (reset, staged)


def test_RST_6_a_person_ends_it_early_and_says_why(installation: Installation) -> None:
    one = installation
    declare(one, LONG)
    stopped_and_reset(one)
    with pytest.raises(NotFound):
        one.ask({"op": "end-probation", "target": "a"})
    started(one)
    # A stop comes on top of it, and its reset does not end it.
    one.stop("a", level="restrict")
    assert one.reset("a")["state"] == "done"
    assert one.word("a") == RESTRICTED
    assert one.cli("start", "a", "--full").returncode == 2
    ended = one.cli("start", "a", "--full", "--reason", "it was a false stop")
    assert ended.returncode == 0, ended.stderr
    assert one.word("a") == RUN
    [entry] = [e for e in one.entries() if e.get("what") == "probation ended"]
    assert (entry["why"], entry["by"]) == ("ended by a person", "uid:0")
    assert entry["reason"] == "it was a false stop"


def test_RST_6_it_survives_the_warden_and_is_no_lost_stop(installation: Installation) -> None:
    one = installation
    declare(one, LONG)
    stopped_and_reset(one)
    one.kill_everything()
    one.restart()
    started(one)
    assert one.word("a") == RESTRICTED, "the mark outlived the warden"
    one.kill_warden()
    one.restart()
    row = one.target("a")
    assert (row["state"], row["latched"]) == ("restricted", False)
    assert one.word("a") == RESTRICTED
    until(lambda: one.target("a")["pids"] == 1, "it lives on")
    one.ask({"op": "handover"})
    assert one.word("a") == RESTRICTED
    assert one.ask({"op": "end-probation", "target": "a", "reason": "x"})["state"] == "running"
    assert one.word("a") == RUN


def test_RST_6_a_mark_that_cannot_be_kept_leaves_it_latched(installation: Installation) -> None:
    one = installation
    declare(one, LONG)
    one.run("sleep", "1000", target="a")
    one.stop("a")
    in_its_place = Path(one.home, "staged.json.new")
    in_its_place.mkdir()
    with pytest.raises(Storage, match="nothing is reset"):
        one.reset("a")
    assert one.target("a")["latched"] is True
    one.kill_warden()
    one.restart()
    assert one.target("a")["latched"] is True
    in_its_place.rmdir()
    assert one.reset("a")["state"] == "done"
    assert json.loads(Path(one.home, "staged.json").read_text()) == ["a"], "before it says so"


def test_RST_6_marks_that_cannot_be_read_stage_every_start(tmp_path: Path) -> None:
    assert "a" not in Marks.kept(STAGED, str(tmp_path))
    for garbage in ("{", "7", "null", '["../x", 7]', "[" * 20000):
        (tmp_path / "staged.json").write_text(garbage)
        assert "staged cannot be read" in Marks.kept(STAGED, str(tmp_path)).trouble
    marks = Marks(STAGED).but(["a", "b"]).but(["c"], ["a"])
    marks.keep(str(tmp_path))
    assert Marks.kept(STAGED, str(tmp_path)).names == {"b", "c"}


def test_the_staged_key_is_checked(installation: Installation) -> None:
    with pytest.raises(Usage):
        declare(installation, {"probation_s": "30m"})


@pytest.mark.long
def test_RST_6_it_goes_on_after_a_lost_lease_and_begins_anew_where_the_target_ended(
    installation: Installation,
) -> None:
    one = installation
    declare(one, LONG)
    stopped_and_reset(one)
    running = started(one)
    cell = one.ask({"op": "target", "name": "a"})["cell"]
    assert one.warden is not None
    os.kill(one.warden.pid, signal.SIGSTOP)  # as after a suspend: the lease runs out
    try:
        until(lambda: "frozen 1" in Path(cell["path"], "cgroup.events").read_text(), "frozen")
    finally:
        os.kill(one.warden.pid, signal.SIGCONT)
    until(lambda: "frozen 0" in Path(cell["path"], "cgroup.events").read_text(), "it goes on")
    assert one.word("a") == RESTRICTED
    os.kill(running.born["pid"], signal.SIGKILL)
    until(lambda: one.target("a")["state"] == "exited", "it has ended")
    until(lambda: one.target("a")["probation_s"] is None, "and nothing is on probation")
    started(one)
    assert one.word("a") == RESTRICTED

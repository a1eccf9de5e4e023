"""The survey in watch: a finding is recorded and shown, and no rule has asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from offswitch.clock import SimulatedClock
from offswitch.config.load import Loaded, installed_kinds, parse
from offswitch.control.place import Place
from offswitch.watch.loop import Watch
from offswitch.watch.survey.survey import Survey

TABLES = b"""
[[sensor]]
name = "db"
target = "shop/agent"
kind = "sqlite"
path = "/nowhere/x.db"
tables = ["t"]
"""


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(1_000_000_000)


@pytest.fixture
def watch(tmp_path: Path, clock: SimulatedClock) -> Iterator[Watch]:
    kinds = installed_kinds()
    loaded = Loaded(parse(TABLES, "x", kinds), kinds, "x", "")
    place = Place(str(tmp_path), str(tmp_path))
    one = Watch(place, loaded, clock, onlookers=[Survey()])
    yield one
    one.close()


def test_a_series_that_no_rule_names_is_surveyed_recorded_and_shown(
    watch: Watch, clock: SimulatedClock
) -> None:
    rng = Random(1)
    link = watch.wired.eyes["sensor db"]
    for number in range(720):
        clock.advance(1_000_000)
        rows = rng.gauss(1000, 10) + (400 if number > 600 else 0)
        samples = [["rows", rows, {"table": "t"}, {}]]
        said = {"sensor": "db", "target": "shop/agent", "samples": samples, "problem": ""}
        watch._hear_from(link, said)
        watch._look_on()
    told = [{**one["sealed"], **one["public"]} for one in watch._scribe._waiting]
    findings = [one for one in told if one.get("detector") == "survey(e_detector)"]
    assert [one["series"] for one in findings] == ['db.rows{table="t"}']
    assert findings[0]["evidence"]["band"]
    assert not [one for one in told if one.get("what") == "defect"]
    (note,) = watch._onlookers.notes(clock.mono_us())
    assert note.startswith('survey: db.rows{table="t"} of shop/agent: it has changed')

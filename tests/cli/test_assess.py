"""`offswitch assess` over a real warden, its cells and its hands (MON-6, ACT-3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hooked_world import KEY, HookedWorld
from installation import Installation, until
from needs import needs_root
from offswitch.cli.assess import _missing, command

TARGET = "shop/eu"


@pytest.fixture
def world() -> Iterator[HookedWorld]:
    one = HookedWorld()
    yield one
    one.close()


def assessed(home: Installation, *words: str) -> tuple[int, dict[str, Any]]:
    done = home.cli("assess", *words, "--json")
    return done.returncode, json.loads(done.stdout)


def test_ACT_3_what_root_runs_here_has_two_ways_to_each_effect_that_share_nothing(
    fresh: Installation,
) -> None:
    """The check of CI: it fails where all layers come to rest on one thing."""
    needs_root()
    fresh.run("sleep", "1000", target=TARGET)
    code, said = assessed(fresh, "--independence")
    assert (code, said["ok"]) == (0, True)
    [target] = said["targets"]
    assert {one["effect"]: len(one["independent"]) for one in target["effects"]} == {
        "output": 2, "action": 2, "compute": 2,
    }  # fmt: skip
    assert not any(pair["fully"] for pair in target["sharing"])
    assert assessed(fresh, TARGET)[0] == 0
    told = fresh.cli("assess", "--independence").stdout
    assert "network · sweep" in told
    assert "process: warden" in told
    assert fresh.cli("assess", "nobody").returncode == 4


def test_MON_6_a_key_that_is_gone_is_named_with_the_layer_that_it_takes_along(
    fresh: Installation, world: HookedWorld, tmp_path: Path
) -> None:
    needs_root()
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    fresh.ask(
        {
            "op": "declare",
            "targets": [{"name": TARGET}],
            "actuators": [world.declared("hook", TARGET, key)],
        }
    )

    def state() -> str:
        return str(fresh.target(TARGET)["readiness"].get("credentials"))

    until(lambda: state() == "ready", "the hand has proven itself")
    fresh.run("sleep", "1000", target=TARGET)
    code, said = assessed(fresh)
    [target] = said["targets"]
    assert (code, target["lost"]) == (0, [])
    points = {(one["kind"], one["name"]): one["layers"] for one in target["points"]}
    assert points["file", str(key)] == ["credentials"]
    assert points["process", "hand hook"] == ["credentials"]
    assert points["host", world.url.removeprefix("http://")] == ["credentials"]
    key.unlink()
    code, said = assessed(fresh)
    assert (code, said["ok"]) == (1, False)
    [lost] = said["targets"][0]["lost"]
    assert (lost["layer"], lost["way"]) == ("credentials", "hook")
    assert str(key) in lost["detail"]
    told = fresh.cli("assess", TARGET)
    assert told.returncode == 1
    assert "! LOST: credentials by hook" in told.stdout


def test_HMI_3_nothing_is_said_to_be_sound_that_was_not_judged_or_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = {"target": "a", "state": "idle", "layers": {}, "hands": [], "starts_here": True}
    runs = waits | {"target": "b", "starts_here": False, "lives_here": True, "kept": True}
    runs["layers"] = {layer: {"state": "ready"} for layer in ("process", "network", "sweep")}
    ours = {name: {"pid": 1, "user": "root"} for name in ("warden", "keeper", "sweeper")}

    def said(*targets: dict[str, Any], left_out: int = 0) -> tuple[object, str]:
        facts = {"ours": ours, "targets": targets, "left_out": left_out, "installation": "/r"}
        monkeypatch.setattr("offswitch.cli.assess.call", lambda *_: facts)
        with pytest.raises(SystemExit) as ended:
            command(None, independence=True)
        return ended.value.code, capsys.readouterr().out

    assert "1 target: none of them runs, so nothing was judged." in said(waits)[1]
    code, told = said(waits, runs)
    assert code == 0
    assert "1 target: each effect has two layers that share nothing. 1 target not judged" in told
    code, told = said(runs, left_out=7)
    assert code == 1
    assert "7 targets NOT LOOKED AT" in told


def test_MON_6_what_a_hand_needs_is_looked_for_and_what_cannot_be_told_is_not_gone(
    tmp_path: Path,
) -> None:
    there = tmp_path / "key"
    there.touch()
    needs = ["sh", "json", "no_such_program", str(there), f"{there}/x", "libnvidia-ml.so.1"]
    files = [str(tmp_path / "gone"), "keyring:user:key", str(there)]
    found = _missing({"files": files, "route": {"needs": needs}})
    assert found == [str(tmp_path / "gone"), f"{there}/x", "no_such_program"]
    assert _missing({"route": None}) == []

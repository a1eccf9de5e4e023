"""Hands through a real warden: proven, commanded beside the rest, believed in nothing, replaced."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hooked_world import KEY, HookedWorld
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.errors import Latched

TARGET = "shop/eu"
Worlds = Callable[..., HookedWorld]


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    made: list[HookedWorld] = []

    def make(mood: str = "obeys") -> HookedWorld:
        made.append(HookedWorld(mood))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


def declare(home: Installation, *actuators: dict[str, Any], labels: Any = None) -> None:  # noqa: ANN401
    targets = [{"name": TARGET, "labels": labels or {}}]
    home.ask({"op": "declare", "targets": targets, "actuators": list(actuators)})


def hand(home: Installation, name: str = "hook") -> dict[str, Any]:
    hands = home.ask({"op": "target", "name": TARGET})["hands"]
    return next(each for each in hands if each["name"] == name)


def ready(home: Installation, *names: str) -> None:
    for name in names or ("hook",):
        until(lambda name=name: hand(home, name)["state"] == "ready", f"{name} is ready")


def layers(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    [target] = answer["targets"]
    return {layer["layer"]: layer for layer in target["layers"]}


def test_VER_1_a_hand_is_confirmed_by_its_look_and_undone_by_a_reset(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key, "relay"))
    ready(installation)
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True
    layer = layers(answer)["relay"]
    assert (layer["confirmed"], layer["detail"]) == (True, '/state is "stopped"')
    until(lambda: hand(installation)["happened"] == ["job 7: half done"], "it answers, too")
    acted = [each for each in installation.entries() if each.get("what") == "acted"]
    assert [(each["actuator"], each["done"], each["happened"]) for each in acted] == [
        ("hook", "yes", ["job 7: half done"])
    ]
    assert installation.reset(TARGET)["state"] == "done"
    until(lambda: world.releases == 1, "it is told of the reset")
    ready(installation)


def test_VER_1_an_actuator_that_does_not_act_is_never_confirmed_whatever_it_says(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    moods = {"credentials": "lies", "data": "hangs", "serving": "refuses", "gpu": "raises"}
    bad = {layer: worlds(mood) for layer, mood in moods.items()}
    good = worlds()
    declare(
        installation,
        *(world.declared(layer, TARGET, key, layer) for layer, world in bad.items()),
        good.declared("good", TARGET, key, "relay"),
    )
    ready(installation, *bad, "good")
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is False
    found = layers(answer)
    for layer, world in bad.items():
        assert found[layer]["confirmed"] is False, moods[layer]
        assert '/state is "running"' in found[layer]["detail"]
        assert abs(good.stops[0] - world.stops[0]) < 250_000_000, "none puts off another"
    assert found["relay"]["confirmed"] is True, "and none holds one up"
    assert any(each.get("what") == "hand silent" for each in installation.entries())
    bad["data"].mood = "obeys"
    until(lambda: bad["data"].state == "stopped", "the one in its place is told the same")


def test_VER_1_a_slow_actuator_is_confirmed_when_it_was_seen_and_not_before(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds("slow")
    world.delay_s = 0.3
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True
    assert layers(answer)["credentials"]["effect_ns"] > 300_000_000


def test_VER_3_what_a_hand_holds_and_comes_back_is_cut_again(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.stop(TARGET)
    world.state = "running"
    until(lambda: world.state == "stopped", "it is cut again")
    until(lambda: installation.target(TARGET)["confirmed"], "and seen to stand again, which counts")
    assert any(each["kind"] == "moved" for each in installation.entries())


def test_DRL_4_a_credential_that_has_changed_is_unproven_until_it_is_proven_anew(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    pid = hand(installation)["pid"]
    key.write_text("what was rotated in")
    until(lambda: hand(installation)["state"] == "unproven", "noticed")
    refused = "answers a probe by another key"
    until(lambda: refused in hand(installation)["detail"], "it is read, and refused there")
    assert hand(installation)["pid"] != pid
    key.write_text(KEY)
    ready(installation)


def test_DRL_4_a_server_that_does_not_take_the_key_any_more_is_noticed_by_itself(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    world.key = "rotated there"
    until(lambda: hand(installation)["state"] == "unproven", "within its next proofs", 10)
    assert installation.ask({"op": "target", "name": TARGET})["readiness"]["credentials"] == (
        "unproven"
    )


def test_HMI_3_a_hand_whose_look_sees_nothing_is_degraded(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    told = world.declared("hook", TARGET, key)
    told["settings"]["look_url"] = "http://127.0.0.1:1/state"
    declare(installation, told)
    until(lambda: hand(installation)["state"] == "degraded", "it could act, and nobody could see")
    answer = installation.stop(TARGET)
    assert world.state == "stopped"
    assert answer["confirmed"] is False, "nobody has seen it"


@pytest.mark.parametrize("which", ["pid", "look_pid"])
def test_ACT_6_a_hand_or_look_that_was_killed_is_replaced_and_knows_of_the_stop(
    which: str, installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.stop(TARGET)
    pid = hand(installation)[which]
    os.kill(pid, signal.SIGKILL)
    until(lambda: hand(installation)[which] not in {pid, None}, "another one is there")
    world.state = "running"
    until(lambda: world.state == "stopped", "what comes back is seen, and cut again")


def test_RST_1_a_new_warden_knows_its_hands_and_has_them_cut_what_is_latched(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.stop(TARGET)
    installation.kill_everything()
    world.state = "running"
    installation.restart()
    until(lambda: world.state == "stopped", "it is cut by the new warden's hand")
    until(lambda: installation.target(TARGET)["confirmed"], "and confirmed")


def test_RST_1_where_it_is_not_known_which_hands_there_were_no_stop_is_confirmed(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.kill_everything()
    Path(installation.home, "hands.json").write_text("[{")
    installation.restart()
    installation.run(PYTHON, "-c", "import time; time.sleep(1000)", target="shop/born-later")
    answer = installation.stop("shop")
    assert answer["confirmed"] is False
    for target in answer["targets"]:
        unsure = [each for each in target["layers"] if each["layer"] == "hands"]
        assert [each["confirmed"] for each in unsure] == [False], target["target"]
    assert installation.cli("doctor").returncode == 1
    assert installation.cli("status").returncode == 3
    declare(installation, world.declared("hook", TARGET, key))
    until(lambda: world.state == "stopped", "it is known again, and cuts what is latched")
    until(lambda: installation.target(TARGET)["confirmed"], "which is seen")


def test_SR_10_a_hand_that_holds_is_not_turned_to_another_target(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.stop(TARGET)
    with pytest.raises(Latched, match=f"holds {TARGET}"):
        declare(installation, world.declared("hook", "shop/us", key))
    world.state = "running"
    until(lambda: world.state == "stopped", "it holds as before")


def test_SR_10_a_hand_that_is_declared_no_more_stays_as_long_as_it_holds(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.stop(TARGET)
    declare(installation)
    world.state = "running"
    until(lambda: world.state == "stopped", "it still holds")
    installation.reset(TARGET)
    gone = lambda: not installation.ask({"op": "target", "name": TARGET})["hands"]  # noqa: E731
    until(gone, "it goes once nothing is held")
    kept = json.loads(Path(installation.home, "hands.json").read_text())
    until(lambda: not kept or not json.loads(Path(installation.home, "hands.json").read_text()),
          "and the next warden knows of none")  # fmt: skip


def test_ACT_1_a_lesser_stop_leaves_hands_alone_unless_the_plan_names_them(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    world = worlds()
    declare(installation, world.declared("hook", TARGET, key))
    ready(installation)
    installation.stop(TARGET, level="freeze")
    assert not world.stops
    installation.ask(
        {
            "op": "declare",
            "targets": [{"name": TARGET, "stop": {"restrict": ["credentials"]}}],
            "actuators": [world.declared("hook", TARGET, key)],
        }
    )
    installation.reset(TARGET)
    installation.stop(TARGET, level="restrict")
    until(lambda: world.stops, "it was named")


def test_SR_4_hand_and_look_have_users_of_their_own_and_no_rights(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    needs_root()
    declare(installation, worlds().declared("hook", TARGET, key))
    ready(installation)
    one = hand(installation)
    pids = [one["pid"], one["look_pid"], installation.pids()["observer"]]
    facts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    users = [next(line for line in each.splitlines() if line.startswith("Uid")) for each in facts]
    assert len({*users}) == 3
    assert not any("\t0\t" in each for each in users)
    for each in facts:
        rights = dict(line.split(":\t", 1) for line in each.splitlines() if ":\t" in line)
        assert int(rights["CapEff"], 16) & ~(1 << 2) & ~(1 << 19) == 0  # the observer may look
        assert rights["NoNewPrivs"] == "1"


def test_ACT_2_hands_are_told_beside_a_cell_and_all_of_it_is_seen(
    installation: Installation, worlds: Worlds, key: Path
) -> None:
    some = {name: worlds() for name in ("credentials", "data", "serving", "relay")}
    declare(
        installation,
        *(world.declared(layer, TARGET, key, layer) for layer, world in some.items()),
    )
    installation.run(PYTHON, "-c", "import time; time.sleep(1000)", target=TARGET)
    ready(installation, *some)
    began = time.monotonic_ns()
    answer = installation.stop(TARGET)
    assert answer["confirmed"] is True
    assert {*some, "process", "network", "sweep"} <= {*layers(answer)}
    assert all(world.stops[0] > began for world in some.values())

"""What one loss disarms of a stop, and what its layers share: over facts as a warden gives them."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.diagnose.assessment import Assessment, assess
from offswitch.diagnose.effects import COOPERATIVE, REACHES, Effect
from offswitch.warden.plan import HAND_LAYERS, LOCAL

OURS = {
    name: {"pid": number, "user": "root"}
    for number, name in enumerate(("warden", "keeper", "sweeper"), 100)
}
READY = {"state": "ready", "detail": "", "since_us": 1}


def hand(name: str, layer: str, host: str = "db:5432", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    route = {
        "transport": "tcp", "host": host, "credential": f"/etc/offswitch/{name}.key",
        "component": "a server", "needs": [], **more.pop("route", {}),
    }  # fmt: skip
    return {
        "name": name, "layer": layer, "kind": "x", "pid": 7, "look_pid": 8, "state": "ready",
        "detail": "asked a moment ago", "route": route, "files": [], "holds": [],
        "user": f"hand-{layer}", **more,
    }  # fmt: skip


def local(*hands: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Give the facts of a target that runs here, as root has it."""
    layers = dict.fromkeys(("guard", "process", "network", "sweep"), READY)
    return {
        "target": "shop/a", "state": "running", "lives_here": True, "kept": True,
        "layers": {**layers, **more.pop("layers", {})}, "hands": list(hands), **more,
    }  # fmt: skip


def far(*hands: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Give those of a target of which nothing is here but what was declared."""
    return {
        "target": "shop/far", "state": "idle", "lives_here": False, "kept": False,
        "layers": {}, "hands": list(hands), **more,
    }  # fmt: skip


def points(found: Assessment) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(point.kind, point.name): point.layers for point in found.points}


def reach(found: Assessment, effect: Effect) -> Any:  # noqa: ANN401
    return next(one for one in found.reach if one.effect is effect)


# --- which layer reaches what -----------------------------------------------------------


def test_ACT_3_every_layer_that_there_is_has_its_effects_and_the_guard_has_none() -> None:
    assert set(REACHES) == {*HAND_LAYERS, *LOCAL, "gateway", COOPERATIVE}
    assert REACHES[COOPERATIVE] == frozenset()
    assert all(reached for layer, reached in REACHES.items() if layer != COOPERATIVE)


# --- what is lost -----------------------------------------------------------------------


def test_MON_6_a_program_that_was_removed_is_named_with_the_layers_that_are_lost() -> None:
    nft = hand("nft", "network", "here", missing=["nft"], route={"needs": ["nft"]})
    found = assess(local(nft), OURS)
    assert not found.sound
    [lost] = found.lost
    assert (lost.layer, lost.name, lost.why) == ("network", "nft", "nft: not there")
    whole = assess(local(hand("nft", "network", "here", route={"needs": ["nft"]})), OURS)
    assert whole.sound
    assert ("program", "nft") not in points(whole), "the kernel's hook is another way"
    alone = assess(
        local(
            hand("nft", "network", "here", route={"needs": ["nft"]}),
            layers={"network": {"state": "unproven", "detail": "no cgroup BPF here"}},
        ),
        OURS,
    )
    assert points(alone)["program", "nft"] == ("network",)
    assert [(one.layer, one.name) for one in alone.lost] == [("network", "warden")]


@pytest.mark.parametrize("kind", ["podman socket", "key"])
def test_MON_6_a_file_that_is_gone_takes_its_layers_along(kind: str) -> None:
    path = "/run/podman/podman.sock" if kind == "podman socket" else "/etc/offswitch/x.key"
    made = hand("x", "container", "here", route={"credential": path}, missing=[path])
    found = assess(local(made), OURS)
    assert [(one.layer, one.why) for one in found.lost] == [("container", f"{path}: not there")]
    assert not found.sound
    kept = assess(local({**made, "missing": []}), OURS)
    assert kept.sound
    assert points(kept)["file", path] == ("container",)
    assert points(kept)["credential", path] == ("container",)


def test_MON_6_what_is_not_proven_counts_as_lost_and_is_told_why() -> None:
    found = assess(local(hand("pg", "data", state="unproven", detail="password refused")), OURS)
    assert [(one.layer, one.state, one.why) for one in found.lost] == [
        ("data", "unproven", "password refused")
    ]
    assert not found.sound


def test_HMI_3_a_layer_that_the_plan_names_and_nobody_has_is_lost() -> None:
    wanted = {"state": "absent", "detail": "its stop plan names it"}
    found = assess(local(layers={"data": wanted}), OURS)
    assert [(one.layer, one.name, one.wanted) for one in found.lost] == [("data", "nobody", True)]
    assert not found.sound
    without = {"state": "absent", "detail": "it shares its user"}
    shared = assess(local(layers={"sweep": without}), OURS)
    assert [one.wanted for one in shared.lost] == [False], "it runs like that"


# --- what one loss disarms ----------------------------------------------------------------


def test_MON_6_a_target_of_our_own_hangs_on_no_single_thing_that_could_be_helped() -> None:
    found = assess(local(), OURS)
    assert found.sound
    assert points(found)["process", "warden"] == ("network", "sweep")
    assert ("process", "keeper") not in points(found), "the warden can kill, too"
    root = next(one for one in found.points if one.name == "root")
    assert (root.effects, root.by_nature, root.grave) == (tuple(Effect), True, False)
    here = next(one for one in found.points if one.kind == "host")
    assert here.by_nature, "where the machine is gone, so is the target"


def test_MON_6_a_dead_process_of_ours_is_a_lost_way_and_what_is_left_hangs_on_the_rest() -> None:
    found = assess(local(), {**OURS, "keeper": {"pid": None, "user": ""}})
    assert [(one.layer, one.name, one.why) for one in found.lost] == [
        ("process", "keeper", "process keeper: not there")
    ]
    warden = next(one for one in found.points if one.name == "warden")
    assert warden.grave
    assert warden.effects == tuple(Effect)


def test_MON_6_one_key_for_two_layers_is_a_single_point_of_failure() -> None:
    same = {"credential": "/etc/offswitch/one.key"}
    far_away = far(hand("a", "data", route=same), hand("b", "credentials", route=same))
    key = next(one for one in assess(far_away, OURS).points if one.kind == "credential")
    assert (key.name, key.layers) == ("/etc/offswitch/one.key", ("credentials", "data"))
    assert (key.effects, key.grave) == ((Effect.ACTION,), True)


def test_MON_6_elsewhere_our_own_machine_and_warden_are_single_points() -> None:
    found = assess(far(hand("a", "serving", "gpu1:8000"), hand("b", "serving", "gpu2:8000")), OURS)
    grave = {(one.kind, one.name) for one in found.grave}
    assert ("process", "warden") in grave
    assert not {name for kind, name in grave if kind in {"host", "route"}}, "either will do"
    assert not found.sound


# --- what they share ------------------------------------------------------------------------


def test_ACT_3_on_one_machine_each_effect_has_two_layers_that_share_nothing() -> None:
    found = assess(local(), OURS)
    assert found.diverse
    assert {one.effect: one.independent is not None for one in found.reach} == dict.fromkeys(
        Effect, True
    )
    shared = {pair.layers: pair.shared for pair in found.sharing}
    assert shared["network", "sweep"] == {"process": ("warden",)}
    assert shared["process", "sweep"] == {}, "the keeper kills without warden and sweeper"


def test_ACT_3_two_layers_that_share_all_four_overlap_fully() -> None:
    same = {"credential": "/run/podman/podman.sock", "transport": "unix"}
    one = hand("a", "container", "here", route=same)
    other = hand("b", "scheduler", "somewhere:1", route=same)
    elsewhere = assess(local(one, other), OURS)
    assert elsewhere.diverse, "another host is a difference"
    pairs = {pair.layers: pair for pair in elsewhere.sharing}
    assert pairs["container", "scheduler"].shared.keys() == {"process", "credential", "transport"}
    found = assess(far(one, {**other, "route": one["route"]}), OURS)
    [pair] = found.sharing
    assert pair.fully
    assert not found.diverse
    assert reach(found, Effect.COMPUTE).common == (
        "process warden",
        "credential /run/podman/podman.sock",
        "transport unix",
        "host this machine",
    )


def test_ACT_3_with_one_layer_alone_no_effect_is_diverse() -> None:
    absent = {"state": "absent", "detail": ""}
    found = assess(local(layers={"sweep": absent, "network": absent}), OURS)
    assert not found.diverse
    assert reach(found, Effect.COMPUTE).common == ("only process",)
    nothing = assess(far(hand("a", "gpu")), OURS)
    assert reach(nothing, Effect.OUTPUT).common == ("nothing",)


def test_ACT_3_a_gateway_needs_no_warden_so_it_is_diverse_with_what_the_warden_does() -> None:
    gate = {"gateways": ["front"], "page": "/run/page", "layers": {"gateway": READY}}
    found = assess(far(hand("a", "serving", "gpu1:8000"), **gate), OURS)
    assert reach(found, Effect.OUTPUT).independent == ("gateway", "serving")
    assert points(found)["file", "/run/page"] == ("gateway",)


def test_what_does_not_run_and_will_start_here_is_not_judged() -> None:
    waits = far(hand("a", "data"), starts_here=True)
    found = assess(waits, OURS)
    assert (found.judged, found.sound, found.diverse) == (False, True, True)
    assert not assess(far(hand("a", "data", state="unproven"), starts_here=True), OURS).sound
    assert assess(far(), OURS).sound, "nothing is here, and nothing was declared"


def test_facts_that_are_garbled_are_judged_as_nothing_known() -> None:
    odd = {"target": 7, "layers": {"process": 3, "data": []}, "hands": [None, {"layer": "data"}]}
    found = assess(odd, {"warden": 5})
    assert not found.sound
    assert all(not way.able for way in found.ways)
    assert found.as_dict()["target"] == "7"

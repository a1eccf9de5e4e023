"""A stop signed beforehand, a button, a file: presented again it is a new order (SR-19)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.decide.authority import add_person
from offswitch.errors import Refused, Usage

Sign = Callable[..., str]
Make = Callable[[str], Path]
NAMESPACE = "offswitch-warrant"


def _line(**more: Any) -> str:  # noqa: ANN401
    return json.dumps({"kind": "warrant", "v": 1, "scopes": ["shop"], "level": "kill", **more})


def _warrant(sign: Sign, key: Path, **more: Any) -> str:  # noqa: ANN401
    line = _line(**more)
    return f"{line}\n{sign(key, line, NAMESPACE)}"


@pytest.fixture
def known(installation: Installation, ssh_key: Make) -> Path:
    """Give the key of a person whom the warden knows."""
    key = ssh_key("ada")
    line = key.with_suffix(".pub").read_text()
    add_person(installation.home, "ada", uid=None, keys=[line], totp=None)
    return key


def _said(one: Installation, order: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        notes = [e for e in one.entries() if e.get("what") == "warrant" and e["kind"] == "note"]
        return [e for e in notes if e["order"] == order]

    return dict(until(found, "the record says whether it holds")[0])


def test_SR_19_a_warrant_works_again_after_a_reset(
    installation: Installation, known: Path, sign: Sign, tmp_path: Path
) -> None:
    installation.run("sleep", "1000", target="shop/one")
    file = tmp_path / "w"
    file.write_text(_warrant(sign, known))
    first = json.loads(installation.cli("stop", "--warrant", str(file), "--json").stdout)
    assert first["confirmed"] is True
    said = _said(installation, first["order"])
    assert (said["state"], said["signed_by"]) == ("holds", "ada")
    assert installation.reset("shop")["state"] == "done"
    again = json.loads(installation.cli("stop", "--warrant", str(file), "--json").stdout)
    assert again["order"] != first["order"], "a new order"
    assert {live["scope"] for live in installation.status()["latched"]} == {"shop"}


def test_SR_19_a_warrant_that_does_not_hold_still_stops_on_the_spot(
    installation: Installation, ssh_key: Make, known: Path, sign: Sign, tmp_path: Path
) -> None:
    """Whoever may press here needs no warrant, so a bad one is their own press."""
    bad = {
        "a stranger's": _warrant(sign, ssh_key("mallory")),
        "not over this": _line(scopes=["other"]) + "\n" + sign(known, _line(), NAMESPACE),
        "of another use": _line() + "\n" + sign(known, _line(), "offswitch-reset"),
        "not signed": _line(),
        "expired": _warrant(sign, known, not_after_us=1),
        "for elsewhere": _warrant(sign, known, installation="0" * 32),
    }
    for name, text in bad.items():
        file = tmp_path / "w"
        file.write_text(text)
        answer = json.loads(installation.cli("stop", "--warrant", str(file), "--json").stdout)
        said = _said(installation, answer["order"])
        assert said["state"] == "does not hold", name
        assert said.get("signed_by") is None
        scope = answer["scopes"][0]
        [live] = [each for each in installation.status()["latched"] if each["scope"] == scope]
        assert live["by"] == "uid:0"
        assert installation.reset(scope)["state"] == "done"


def test_SR_19_from_far_away_nothing_is_stopped_unless_the_warrant_holds(
    installation: Installation, ssh_key: Make, known: Path, sign: Sign
) -> None:
    now = time.time_ns() // 1000
    bad = [
        _warrant(sign, ssh_key("mallory")),
        _line() + "\n" + sign(known, _line(scopes=["other"]), NAMESPACE),
        _line(),
        _warrant(sign, known, not_after_us=now - 1),
        _warrant(sign, known, installation="0" * 32),
    ]
    for text in bad:
        with pytest.raises(Refused):
            installation.ask({"op": "stop", "remote": True, "warrant": text, "scopes": ["/"]})
    with pytest.raises(Usage):
        installation.ask({"op": "stop", "remote": True, "scopes": ["/"]})
    assert installation.status()["latched"] == []
    refused = [entry for entry in installation.entries() if entry["kind"] == "refused"]
    assert len(refused) == len(bad) + 1

    good = _warrant(
        sign,
        known,
        not_after_us=now + 60_000_000,
        installation=installation.ask({"op": "ping"})["installation"],
    )
    for _ in range(2):
        message = {"op": "stop", "remote": True, "warrant": good, "scopes": ["/"]}
        assert installation.ask(message)["accepted"] is True
        [live] = installation.status()["latched"]
        assert (live["scope"], live["by"]) == ("shop", "person:ada"), (
            "its scopes, not the message's"
        )
        assert installation.reset("shop")["state"] == "done"


def test_SR_19_a_name_in_the_spool_works_again_after_a_reset(installation: Installation) -> None:
    orders = set()
    for _ in range(2):
        Path(installation.place.spool, "shop").touch()
        [live] = until(lambda: installation.status()["latched"], "it is obeyed")
        orders.add(live["digest"])
        assert installation.reset("shop")["state"] == "done"
    assert len(orders) == 2


def test_SR_19_a_stop_that_was_given_long_ago_joins_all_the_same(
    installation: Installation,
) -> None:
    answer = installation.stop("shop", time_us=1)
    assert answer["orders"]
    assert installation.status()["latched"][0]["time_us"] == 1

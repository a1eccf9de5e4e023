"""A press at the station: it stops, and shows what became of it."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from house import House
from installation import PYTHON, until

pytestmark = pytest.mark.usefixtures("as_root")


def test_one_click_without_a_script_stops_and_says_what_became_of_it(
    own: House,
    browser: Any,  # noqa: ANN401
) -> None:
    own.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="shop/agent")
    visit = browser.new_context(java_script_enabled=False)
    page = visit.new_page()
    name, password = own.first
    page.goto(own.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="STOP").click()
    page.get_by_text("confirmed", exact=True).wait_for()
    assert own.installation.target("shop/agent")["latched"]
    visit.close()


def test_a_stop_by_the_api_is_accepted_and_confirmed(home: House) -> None:
    home.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="api/agent")
    said = home.client().post("/api/v1/stops", json={"scopes": ["api/agent"], "wait_s": 10}).json()
    assert said["confirmed"], said
    assert said["accepted_by"] == "warden"


def test_DEC_2_and_HMI_2_the_first_operator_alone_stops_any_scope_and_says_why_only_then(
    home: House,
) -> None:
    declared = [("lab/train", {}), ("shop/eu", {"tenant": "acme"}), ("shop/us", {}), ("z", {})]
    targets = [{"name": name, "labels": labels} for name, labels in declared]
    home.installation.ask({"op": "declare", "targets": targets})
    for name, _labels in declared:
        home.installation.run("sleep", "1000", target=name)
    client, running = home.client(), [name for name, _labels in declared]
    for scope, hit in (
        ("lab/train", "lab/train"),
        ("tenant=acme", "shop/eu"),
        ("shop", "shop/us"),
        ("/", "z"),
    ):
        running.remove(hit)
        _press(client, scope, hit, list(running))
    orders = [one for one in home.installation.entries() if one["kind"] == "order"]
    assert {(one["by"], one["reason"]) for one in orders} == {("person:operator", "")}


def _press(client: httpx2.Client, scope: str, hit: str, spared: list[str]) -> None:
    path = "/" if scope == "/" else f"/scope/{scope}"
    before = until(lambda: _spans(client, path, [hit], spared), f"{scope} is shown before")
    assert "<textarea" not in before, "nothing is asked before"
    pressed = client.post("/stop", data={"scope": scope})
    assert pressed.status_code == 303, pressed.text
    at = pressed.headers["location"]
    after = until(lambda: _confirmed(client, at), f"{scope} is confirmed")
    assert "It is stopped. Why did you?" in after
    shown = _outcome(after)
    assert f">{hit}</a>" in shown, "what it hit"
    assert not [name for name in spared if f">{name}</a>" in shown]
    until(lambda: _spans(client, at, [], spared), f"{scope} is shown after")


def _confirmed(client: httpx2.Client, path: str) -> str:
    text = client.get(path).text
    return text if "<p><strong>■ CONFIRMED" in _outcome(text) else ""


def _outcome(text: str) -> str:
    return text.partition('<div id="outcome"')[2].partition("</div>")[0]


def _spans(client: httpx2.Client, path: str, hits: list[str], spared: list[str]) -> str:
    """Give a page if its STOP says that it hits and leaves those."""
    text = client.get(path).text
    said = re.sub("<[^>]*>", "", text.partition('<div id="span"')[2].partition("</div>")[0])
    hit = f"Hits {len(hits)}" + (f": {', '.join(hits)}" if hits else "")
    left = f"Leaves {len(spared)} running" + (f": {', '.join(spared[:3])}" if spared else "")
    return text if hit in said and left in said else ""

"""Keys that can only stop: a program's token, and a phone with one page (SEC-1)."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from house import House
from installation import PYTHON, until

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture(scope="module")
def home(town: House) -> House:
    return town


SLEEP = "import time\nwhile 1: time.sleep(1)"


@pytest.fixture(scope="module")
def admin(home: House) -> httpx2.Client:
    home.installation.run(PYTHON, "-c", SLEEP, target="shop/eu/agent")
    home.installation.run(PYTHON, "-c", SLEEP, target="shop/us/agent")
    return home.client()


def token(home: House, admin: httpx2.Client, name: str, scope: str) -> httpx2.Client:
    key = admin.post("/api/v1/tokens", json={"name": name, "scope": scope}).json()["token"]
    client = home.stranger()
    client.headers["authorization"] = f"Bearer {key}"
    return client


MATRIX = (
    "model=m-7",
    "tenant=acme",
    "region=eu",
    "users=minors",
    "agent=planner",
    "tool=mail",
    "host=h1",
    "org/team",
)


def test_DEC_5_one_press_reaches_any_subset_by_its_label_and_nothing_else(
    home: House, admin: httpx2.Client
) -> None:
    declared = []
    for number, scope in enumerate(MATRIX):
        key, _, value = scope.partition("=")
        inside = {key: value} if value else {}
        name = f"dec{number}/in" if value else f"{scope}/in"
        declared += [
            {"name": name, "labels": inside},
            {"name": f"dec{number}/out", "labels": {"tenant": f"other{number}"}},
        ]
    home.installation.ask({"op": "declare", "targets": declared})
    for target in declared:
        home.installation.run("sleep", "1000", target=str(target["name"]))
    stopped: set[str] = set()
    for scope, target in zip(MATRIX, declared[::2], strict=True):
        said = admin.post("/api/v1/stops", json={"scopes": [scope], "wait_s": 10}).json()
        stopped.add(str(target["name"]))
        assert said["confirmed"], (scope, said)
        assert [row["target"] for row in said["targets"]] == [target["name"]]
        rows = home.installation.status()["targets"]
        ours = [row for row in rows if row["target"] in {one["name"] for one in declared}]
        assert {row["target"] for row in ours if row["state"] != "running"} == stopped, scope
    wider = admin.post("/api/v1/stops", json={"scopes": ["dec0"], "wait_s": 10}).json()
    assert {row["target"] for row in wider["targets"]} == {"dec0/in", "dec0/out"}


def test_SEC_1_a_token_stops_its_scope_and_is_named_in_the_order(
    home: House, admin: httpx2.Client
) -> None:
    ci = token(home, admin, "ci", "shop/eu")
    beyond = ci.post("/api/v1/stops", json={"scopes": ["shop/us"]})
    assert beyond.status_code == 403
    assert ci.post("/api/v1/stops", json={"scopes": []}).status_code == 403
    said = ci.post("/api/v1/stops", json={"scopes": ["shop/eu"], "wait_s": 10}).json()
    assert said["confirmed"], said
    assert said["by"] == "token:ci"
    assert home.installation.target("shop/eu/agent")["latched"]
    assert not home.installation.target("shop/us/agent")["latched"]
    assert ci.get(f"/api/v1/stops/{said['press']}").json()["confirmed"]
    listed = admin.get("/api/v1/tokens").json()["tokens"]
    used = next(one for one in listed if one["name"] == "ci")
    assert used["seen_us"]
    assert "key" not in used


OPEN = {("post", "/api/v1/stops"), ("post", "/api/v1/tickets")}
"""What a token is for; and where a signature counts, whoever brings it."""


def test_SEC_1_a_token_reads_resets_acknowledges_and_changes_nothing(
    home: House, admin: httpx2.Client
) -> None:
    ci = token(home, admin, "reader", "/")
    operations = admin.get("/api/v1/openapi.json").json()["paths"]
    asked = 0
    for path, methods in operations.items():
        for method in methods:
            if (method, path) in OPEN:
                continue
            got = ci.request(method.upper(), re.sub(r"\{.*?\}", "x", path), json={})
            asked += 1
            assert got.status_code in {403, 404, 422}, (method, path, got.text)
            assert got.status_code != 404 or path == "/api/v1/stops/{press}"
    assert asked > 10
    assert ci.get("/").status_code in {401, 403}


def test_SEC_1_a_forged_or_revoked_token_is_nobodys_even_beside_a_session(
    home: House, admin: httpx2.Client
) -> None:
    gone = token(home, admin, "gone", "/")
    assert admin.delete("/api/v1/tokens/gone").status_code == 204
    assert gone.post("/api/v1/stops", json={"scopes": ["shop/us"]}).status_code == 401
    forged = {"authorization": "Bearer offswitch_forged"}
    got = admin.post("/api/v1/stops", json={"scopes": ["shop/us"]}, headers=forged)
    assert got.status_code == 401
    assert not home.installation.target("shop/us/agent")["latched"]

    def recorded() -> bool:
        found = home.installation.entries()
        return any("token" in str(one.get("why")) and one["kind"] == "refused" for one in found)

    until(recorded, "the forged token is recorded")


def test_a_phone_is_enrolled_once_stops_without_a_session_and_is_revoked(
    home: House,
    admin: httpx2.Client,
    browser: Any,  # noqa: ANN401
) -> None:
    made = admin.post("/devices", data={"name": "ada-phone", "scope": "shop/us"})
    assert "data:image/svg+xml" in made.text
    link = re.search(r"/d/enrol/[\w-]+", made.text)
    assert link is not None
    phone = browser.new_context(
        java_script_enabled=False, viewport={"width": 390, "height": 844}, base_url=home.url
    )
    page = phone.new_page()
    page.goto(link[0])
    page.get_by_role("button", name="Enrol it").click()
    page.get_by_role("button", name="STOP").wait_for()
    own = page.url
    assert home.stranger().get(link[0]).status_code == 404, "the link works once"
    manifest = home.stranger().get(f"{own}/manifest.webmanifest")
    assert manifest.json()["start_url"] == own.removeprefix(home.url)
    # The session that enrolled it is gone, and so is the station in between.
    admin.delete("/api/v1/session")
    home.kill()
    home.start()
    page.goto(home.url + own[own.index("/d/") :])
    page.get_by_role("button", name="STOP").click()
    page.get_by_text("Confirmed", exact=True).wait_for()
    assert home.installation.target("shop/us/agent")["latched"]
    key = own.rpartition("/")[2]
    with httpx2.Client(base_url=home.url) as other:
        assert other.get("/api/v1/status", headers={"cookie": key}).status_code == 401
        again = home.client()
        listed = again.get("/api/v1/devices").json()["devices"]
        assert [(one["name"], one["person"]) for one in listed] == [("ada-phone", "operator")]
        assert listed[0]["seen_us"]
        assert again.delete("/api/v1/devices/ada-phone").status_code == 204
        assert other.post(f"/d/{key}").status_code == 403
        foreign = {"sec-fetch-site": "cross-site"}
        assert other.post(f"/d/{key}", headers=foreign).status_code == 403
    phone.close()


def test_nobody_enrols_a_phone_for_what_they_may_not_stop(home: House) -> None:
    admin = home.client()
    admin.post("/api/v1/people", json={"name": "audit", "roles": ["auditor"]})
    link = admin.post("/api/v1/people/audit/invitation").json()["link"]
    auditor = home.stranger()
    auditor.post(link, data={"new": "a long enough word"})
    auditor.headers["x-csrf"] = auditor.get("/api/v1/session").json()["csrf"]
    got = auditor.post("/api/v1/devices", json={"name": "theirs", "scope": "/"})
    assert got.status_code == 403

"""A reset over the console: opened by one, confirmed by two whom the warden knows."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from house import House, house
from installation import PYTHON, until
from offswitch.decide.authority import add_person
from offswitch.decide.totp import code_at

pytestmark = pytest.mark.usefixtures("as_root")

GROUNDS = {
    "reason": "it deleted orders",
    "safe": "<b>the tool</b> is gone",
    "changed": "its token was taken away",
}
PEOPLE = ("ada", "ben", "cleo")


def secret(name: str) -> bytes:
    return hashlib.sha256(f"of {name}".encode()).digest()[:20]


def code(name: str, ahead: int = 0) -> str:
    """Give the code of a person; each is good once, so a later one is `ahead`."""
    return code_at(secret(name), int(time.time()) // 30 + ahead)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house whose warden knows three people with one-time codes."""
    people = {name: ["operator"] for name in (*PEOPLE, "oz")}
    with house(tmp_path_factory.mktemp("house"), people=people) as one:
        for name in PEOPLE:
            totp = base64.b32encode(secret(name)).decode()
            add_person(one.installation.home, name, uid=None, keys=[], totp=totp)
        one.installation.ask({"op": "people"})
        until(lambda: known(one), "the station knows who the warden knows")
        yield one


def known(home: House) -> bool:
    client = home.person("ada")
    return (
        client.get("/reset").status_code == 200 and "Single-person" not in client.get("/reset").text
    )


def stopped(home: House, name: str, level: str = "kill") -> None:
    home.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target=name)
    assert home.installation.stop(name, level=level)["confirmed"]


def form(client: Any, path: str) -> dict[str, str]:  # noqa: ANN401 - an HTTP client
    """Give the token of this session's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return {"csrf": found[1]}


def test_RST_4_two_browsers_reset_what_was_killed_and_whoever_stopped_it_is_told(
    home: House,
    browser: Any,  # noqa: ANN401 - playwright's
) -> None:
    stopped(home, "shop/two")
    ada, ben = (visit(home, browser, name, phone=name == "ben") for name in ("ada", "ben"))
    ada.goto(f"{home.url}/reset")
    ada.get_by_label("Scope, typed").fill("shop/two")
    ada.get_by_label("Cause").fill(GROUNDS["reason"])
    ada.get_by_label("Why is it safe now?").fill(GROUNDS["safe"])
    ada.get_by_label("What was changed since?").fill(GROUNDS["changed"])
    ada.get_by_role("button", name="Open this reset").click()
    ada.get_by_text("0 of 2").wait_for()
    address = ada.url
    prove(ada, "shop/two", code("ada"))
    ada.get_by_text("Your word is in").wait_for()
    assert home.installation.target("shop/two")["latched"], "one person is not enough"
    ben.goto(address)
    assert ben.get_by_text(GROUNDS["safe"]).count() == 1, "markup that a person wrote is text"
    prove(ben, "shop/two", code("ben"))
    ben.get_by_role("heading", name="Nothing was started").wait_for()
    assert not home.installation.target("shop/two")["latched"]
    assert home.installation.target("shop/two")["pids"] == 0
    done = [e for e in home.installation.entries() if e["kind"] == "reset"][-1]
    assert (done["state"], done["proven"]) == ("done", ["ada", "ben"])


def visit(home: House, browser: Any, name: str, *, phone: bool) -> Any:  # noqa: ANN401
    """Have somebody sign in with a browser of their own."""
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 800}
    page = browser.new_context(viewport=size).new_page()
    page.goto(f"{home.url}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"secret of {name}")
    page.get_by_role("button", name="Sign in", exact=True).click()
    return page


def prove(page: Any, scope: str, proof: str) -> None:  # noqa: ANN401
    page.get_by_label("Scope, typed once more").fill(scope)
    page.get_by_label("One-time code").fill(proof)
    page.get_by_role("button", name="Confirm this reset").click()


def test_RST_4_a_password_opens_a_reset_and_confirms_none(home: House) -> None:
    stopped(home, "shop/password")
    client = home.person("cleo")
    digest = opened(client, "shop/password")
    said = client.post(
        f"/reset/{digest}", data={"scope": "shop/password", **form(client, "/reset")}
    )
    assert "0 of 2" in client.get(f"/reset/{digest}").text, said.text
    wrong = {"scope": "shop/other", "proof": code("cleo"), **form(client, "/reset")}
    assert "no stop is latched at shop/other" in client.post(f"/reset/{digest}", data=wrong).text
    assert home.installation.target("shop/password")["latched"]


def opened(client: Any, scope: str) -> str:  # noqa: ANN401
    said = client.post("/reset", data={"scope": scope, **GROUNDS, **form(client, "/reset")})
    assert said.status_code == 303, said.text
    return str(said.headers["location"]).rpartition("/")[2]


@pytest.mark.parametrize("missing", ["scope", "reason", "safe", "changed"])
def test_RST_4_without_its_scope_and_all_its_grounds_none_is_opened(
    home: House, missing: str
) -> None:
    if not home.installation.status("shop/grounds")["targets"]:
        stopped(home, "shop/grounds")
    client = home.person("ada")
    given = {"scope": "shop/grounds", **GROUNDS, **form(client, "/reset")}
    said = client.post("/reset", data={**given, missing: " "})
    assert said.status_code == 409
    assert "it deleted orders" in said.text or missing == "reason", "nothing typed is lost"
    assert home.installation.ask({"op": "resets"})["resets"] == [] or missing


def test_SEC_1_an_operator_without_the_role_and_a_stolen_session_reset_nothing(
    home: House,
) -> None:
    stopped(home, "shop/operator")
    operator = home.person("oz")
    given = {"scope": "shop/operator", **GROUNDS, **form(operator, "/ledger")}
    assert operator.post("/reset", data=given).status_code == 409
    thief = home.person("ada")  # a session of somebody who may: it proves nothing
    body = {"scope": "shop/operator", "proofs": ["person ada", "ben confirmed", "code ben 000000"]}
    digest = opened(thief, "shop/operator")
    said = thief.post(f"/api/v1/resets/{digest}/confirm", json=body)
    assert said.json().get("state") != "done", said.text
    assert home.installation.target("shop/operator")["latched"]


def test_RST_4_without_a_session_or_with_a_foreign_form_none_is_opened(home: House) -> None:
    stopped(home, "shop/foreign")
    given = {"scope": "shop/foreign", **GROUNDS}
    assert home.stranger().post("/reset", data={**given, "csrf": "x"}).status_code == 401
    client = home.person("ada")
    client.headers.pop("x-csrf", None)
    assert client.post("/reset", data={**given, "csrf": "forged"}).status_code == 403
    refused = until(
        lambda: [e for e in home.installation.entries() if e.get("what") == "/reset"], "recorded"
    )
    assert refused[-1]["by"] == "person:ada"


def test_in_single_person_mode_the_page_says_so_and_asks_for_the_secret(own: House) -> None:
    stopped(own, "shop/alone", level="freeze")
    client = own.client()
    assert "Single-person mode" in client.get("/reset").text
    digest = opened(client, "shop/alone")
    given = {"scope": "shop/alone", "secret": "guessed", **form(client, "/reset")}
    said = client.post(f"/reset/{digest}", data=given, follow_redirects=True).text
    assert "does not count" in said
    assert own.installation.target("shop/alone")["latched"]
    assert not Path(own.installation.home, "people").exists()

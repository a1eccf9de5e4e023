"""A press at the station: it stops, and shows what became of it."""

from __future__ import annotations

from typing import Any

import pytest

from house import House
from installation import PYTHON

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


def test_a_stop_by_the_api_is_accepted_and_confirmed(own: House) -> None:
    own.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="shop/agent")
    said = own.client().post("/api/v1/stops", json={"scopes": ["shop/agent"], "wait_s": 10}).json()
    assert said["confirmed"], said
    assert said["accepted_by"] == "warden"

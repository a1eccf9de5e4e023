"""Incidents in the console: made of the record, written to by people, told on one page."""

from __future__ import annotations

import pytest

from house import House
from installation import PYTHON, until

pytestmark = pytest.mark.usefixtures("as_root")

HOSTILE = "</q><img src=x onerror=alert(1)> \x1b]0;owned\x07"


def test_a_stop_opens_one_and_a_person_notes_hands_over_and_closes_it(home: House) -> None:
    home.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="shop/inc")
    home.installation.stop("shop/inc", reason=HOSTILE)
    client = home.client()

    def found() -> list[dict[str, str]]:
        said = client.get("/api/v1/incidents").json()["incidents"]
        return [one for one in said if one["scope"] == "shop/inc"]

    name = until(lambda: [f for f in found() if f["state"] == "confirmed"], "opened")[0]["incident"]
    shown = client.get(f"/incidents/{name}").text
    assert "<img" not in shown
    assert "\x1b" not in shown
    assert "&lt;img src=x" in shown
    assert (
        client.post(f"/incidents/{name}", data={"what": "note", "text": HOSTILE}).status_code == 303
    )
    assert (
        client.post(f"/incidents/{name}", data={"what": "hand-over", "text": "ada"}).status_code
        == 303
    )
    refused = client.post(
        f"/incidents/{name}", data={"what": "close", "text": "a bug", "actions": "mended"}
    )
    assert "of its stops are live" in refused.text
    home.installation.reset("shop/inc")
    until(lambda: found()[0]["state"] == "reset", "it is reset")
    done = client.post(
        f"/api/v1/incidents/{name}/close",
        json={"cause": "a bug", "actions": ["mended"], "outcome": "false-stop"},
    )
    assert done.status_code == 202, done.text
    until(lambda: found()[0]["state"] == "closed", "it is closed")
    assert found()[0]["lead"] == "ada"
    months = client.get("/api/v1/incidents/figures").json()
    assert months["total"]["false_stops"] == 1


def test_REP_6_the_report_over_the_console_is_the_one_of_the_command_line(home: House) -> None:
    home.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="shop/rep")
    home.installation.stop("shop/rep")
    client = home.client()
    name = until(
        lambda: [
            one["incident"]
            for one in client.get("/api/v1/incidents").json()["incidents"]
            if one["scope"] == "shop/rep" and one["state"] == "confirmed"
        ],
        "opened",
    )[0]
    page = client.get(f"/api/v1/incidents/{name}/report")
    assert "script" not in page.headers["content-security-policy"].replace("sandbox", "")
    size = client.get("/api/v1/incidents").json()["size"]
    for at in range(size, size - 6, -1):  # the record may have grown meanwhile
        told = home.installation.cli("incident", "report", name, "--at", str(at))
        if told.stdout == page.text:
            return
    pytest.fail("no report of the command line is byte for byte this page")

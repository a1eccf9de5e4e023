"""A real station that tells real servers, and is told by them: nothing of it is in the way."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from house import House, house
from installation import PYTHON, until
from telling import Receiver

pytestmark = pytest.mark.usefixtures("as_root")

SLEEPS = ("-c", "import time\nwhile 1: time.sleep(1)")
SIGNING, HOOK = "slack-signing-hush", "pagerduty-hook-hush"
CONFIG = """
[[notify]]
name = "ours"
kind = "webhook"
url = "{url}/ours"
secret_file = "{folder}/hook"

[[notify]]
name = "pager"
kind = "pagerduty"
url = "{url}/pagerduty"
routing_key_file = "{folder}/routing"
webhook_secret_file = "{folder}/pagerduty"

[[notify]]
name = "room"
kind = "slack"
url = "{url}/slack"
token_file = "{folder}/token"
channel = "C1"
signing_secret_file = "{folder}/signing"
people = {{ U1 = "operator", U2 = "nobody-here" }}

[escalation]
lead = "ada"
[[escalation.step]]
person = "ada"
sinks = ["pager"]
"""
SECRETS = {
    "hook": "webhook-hush", "routing": "routing-hush", "pagerduty": HOOK, "token": "token-hush",
    "signing": SIGNING,
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    one = Receiver()
    one.answer = lambda _path, _body: {"channel": "C1", "ts": "17.5"}
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, server: Receiver) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("told")
    for name, text in SECRETS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    with house(folder, CONFIG.format(url=server.url, folder=folder)) as one:
        yield one


def told(server: Receiver, path: str, **wanted: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """Give what a server was sent that says all that."""
    for at, _headers, body in list(server.got):
        said = json.loads(body)
        if at.endswith(path) and all(said.get(key) == value for key, value in wanted.items()):
            return dict(said)
    return None


def entries(home: House, kind: str, **wanted: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    found = [entry for entry in home.installation.entries() if entry["kind"] == kind]
    return [one for one in found if all(one.get(key) == value for key, value in wanted.items())]


def slack(
    home: House, form: dict[str, str], *, secret: str = SIGNING, at_s: float | None = None
) -> tuple[httpx2.Response, dict[str, str], bytes]:
    """Send what Slack sends."""
    body = urlencode(form).encode()
    stamp = str(int(time.time() if at_s is None else at_s))
    signed = b"v0:" + stamp.encode() + b":" + body
    made = "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": made,
    }
    return home.stranger().post("/hooks/slack", content=body, headers=headers), headers, body


def said(answer: httpx2.Response) -> str:
    return str(answer.json()["blocks"][0]["text"]["text"])


def pressed(action: str, value: str) -> dict[str, str]:
    payload = {"user": {"id": "U1"}, "actions": [{"action_id": action, "value": value}]}
    return {"payload": json.dumps(payload)}


def test_a_stop_in_chat_stops_and_its_message_turns_from_commanded_to_confirmed(
    home: House, server: Receiver
) -> None:
    home.installation.run(PYTHON, *SLEEPS, target="chat/a")
    answer, _headers, _body = slack(home, {"user_id": "U1", "text": "stop chat/a"})
    assert said(answer) == "CONFIRMED: kill of chat/a by operator"
    assert home.installation.target("chat/a")["latched"]
    [order] = entries(home, "order", scope="chat/a")
    assert (order["by"], order["channel"]) == ("person:operator", "chat")
    thread = f"inc-{order['digest'][:8]}"
    until(lambda: told(server, "/ours", thread=thread, state="confirmed"), "the webhook is told")
    until(
        lambda: told(server, "/pagerduty", dedup_key=thread, event_action="trigger"),
        "PagerDuty is told",
    )
    until(lambda: entries(home, "page", thread=thread, sink="room"), "it is recorded")
    text = "\n".join(
        str(element)
        for at, _h, body in server.got
        if at.endswith(("chat.postMessage", "chat.update"))
        for element in json.loads(body)["blocks"]
    )
    assert "chat/a: confirmed" in text


def test_chat_can_never_reset(home: House) -> None:
    for words in ("reset chat/a", "RESET / --reason x", "start chat/a", "approve abcdef123456"):
        answer, _headers, _body = slack(home, {"user_id": "U1", "text": words})
        assert "chat can never" in said(answer)
    until(lambda: entries(home, "refused", channel="chat", by="person:operator"), "it is recorded")
    assert entries(home, "reset") == []


def test_what_slack_did_not_sign_now_and_once_is_refused_and_recorded(home: House) -> None:
    form = {"user_id": "U1", "text": "status"}
    good, headers, body = slack(home, form)
    assert "targets" in said(good)
    for answer in (
        slack(home, form, secret="guessed")[0],
        slack(home, form, at_s=time.time() - 301)[0],
        slack(home, form, at_s=time.time() + 301)[0],
        home.stranger().post("/hooks/slack", content=body, headers=headers),  # a copy
        home.stranger().post("/hooks/slack", content=body + b"&x=y", headers=headers),
        home.stranger().post("/hooks/slack", content=b"x" * 70_000, headers=headers),
        home.stranger().post("/hooks/slack", content=body),
    ):
        assert answer.status_code in {400, 403}, answer.text
        assert "secret" not in answer.text.replace("signing_secret_file", "")
    until(lambda: entries(home, "refused", channel="chat", by="slack"), "it is recorded")


def test_a_slack_user_who_is_nobody_here_may_do_nothing(home: House) -> None:
    home.installation.run(PYTHON, *SLEEPS, target="chat/b")
    for user in ("U2", "U9", ""):
        answer, _headers, _body = slack(home, {"user_id": user, "text": "stop chat/b"})
        assert "you are nobody here" in said(answer)
    assert not home.installation.target("chat/b")["latched"]


def test_a_button_stops_and_odd_presses_do_nothing(home: House) -> None:
    home.installation.run(PYTHON, *SLEEPS, target="chat/c")
    for odd in (
        {"payload": "{"},
        {"payload": "[]"},
        pressed("other", "x"),
        {},
        {"text": "\x1b[2J"},
    ):
        answer, _headers, _body = slack(home, {"user_id": "U1", **odd})
        assert answer.status_code == 200
        assert "\x1b" not in answer.text
    assert not home.installation.target("chat/c")["latched"]
    answer, _headers, _body = slack(home, pressed("offswitch-stop", "kill chat/c"))
    assert said(answer).startswith("CONFIRMED")


def page(home: House, target: str) -> str:
    """Have a stop told; gives its thread."""
    home.installation.press(target)
    found = until(lambda: entries(home, "order", scope=target), "it is recorded")
    return f"inc-{found[0]['digest'][:8]}"


def event(home: House, thread: str, number: int, *, secret: str = HOOK) -> httpx2.Response:
    """Send what PagerDuty sends."""
    body = json.dumps(
        {
            "event": {
                "id": f"01EVENT{number}",
                "event_type": "incident.acknowledged",
                "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1)),
                "agent": {"summary": "Ada \x1b[2J", "type": "user_reference"},
                "data": {"incident_key": thread, "status": "acknowledged"},
            }
        }
    ).encode()
    made = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-pagerduty-signature": f"v1=00,{made}"}
    return home.stranger().post("/hooks/pagerduty", content=body, headers=headers)


def test_VER_4_not_confirmed_calls_a_person_who_acknowledges_in_pagerduty_once(
    home: House, server: Receiver
) -> None:
    observer = home.installation.pids()["observer"]
    os.kill(observer, signal.SIGSTOP)
    try:
        home.installation.run(PYTHON, *SLEEPS, target="pd/a")
        thread = page(home, "pd/a")
        whole = {"thread": thread, "state": "not confirmed", "event": "not-confirmed"}
        paged = until(lambda: told(server, "/ours", **whole), "a person is told")
    finally:
        os.kill(observer, signal.SIGCONT)
    assert paged["page"]["acting"] == ["pd/a: NOT seen to have stopped (network, process, sweep)"]
    assert paged["page"]["command"] == "offswitch stop pd/a --level poweroff"
    assert paged["page"]["link"] == f"{home.url}/incidents/{thread}"
    critical = until(lambda: called(server, thread), "the chain calls")
    assert critical["payload"]["custom_details"]["Called"] == ["ada"]
    assert event(home, thread, 1, secret="guessed").status_code == 403
    assert event(home, thread, 2).json() == {"taken": True}
    assert event(home, thread, 2).status_code == 403, "a copy"
    assert event(home, "inc-00000000", 3).json() == {"taken": False}
    assert seen(home, thread) == "pagerduty:Ada \\x1b[2J"
    until(lambda: told(server, "/ours", thread=thread, phase="acknowledged"), "others hear of it")
    assert not told(server, "/pagerduty", dedup_key=thread, event_action="acknowledge")


def called(server: Receiver, thread: str) -> dict[str, Any] | None:
    for at, _headers, body in list(server.got):
        said = json.loads(body)
        critical = said.get("payload", {}).get("severity") == "critical"
        if at.endswith("/pagerduty") and said["dedup_key"] == thread and critical:
            return dict(said)
    return None


def test_what_is_acknowledged_here_is_acknowledged_in_pagerduty(
    home: House, server: Receiver
) -> None:
    first, second = page(home, "pd/b"), page(home, "pd/c")
    until(lambda: told(server, "/ours", thread=second), "both are told")
    until(lambda: seen(home, first) == "", "the page shows it")
    client = me(home)
    shown = client.get("/told").text
    assert f"/incidents/{first}" in shown
    csrf = shown.partition('name="csrf" value="')[2].partition('"')[0]
    answer = client.post(f"/told/{first}/acknowledge", data={"csrf": csrf})
    assert answer.status_code == 303, answer.text
    forged = client.post(f"/told/{second}/acknowledge", headers={"x-csrf": "guessed"})
    assert forged.status_code == 403
    assert "Acknowledged" in said(slack(home, pressed("offswitch-acknowledge", second))[0])
    for thread in (first, second):
        until(
            lambda thread=thread: told(
                server, "/pagerduty", dedup_key=thread, event_action="acknowledge"
            ),
            "PagerDuty hears of it",
        )
        until(lambda thread=thread: entries(home, "page", thread=thread, state="acknowledged"), "")
    nobody = home.stranger().post(f"/api/v1/pages/{first}/acknowledge")
    assert nobody.status_code in {401, 403}


SIGNED_IN: dict[str, httpx2.Client] = {}


def me(home: House) -> httpx2.Client:
    """Give the client of the first operator: to sign in takes a while, and that on purpose."""
    if home.url not in SIGNED_IN:
        SIGNED_IN[home.url] = home.client()
    return SIGNED_IN[home.url]


def seen(home: House, thread: str) -> str | None:
    """Say who has seen it; None where it is not known."""
    rows = me(home).get("/api/v1/pages").json()["pages"]
    return next((str(row["seen_by"]) for row in rows if row["thread"] == thread), None)


def test_what_waits_outlives_a_kill_and_is_sent_in_its_order(
    home: House, server: Receiver, tmp_path: Path
) -> None:
    server.answers = [(503, {}, b"x")] * 200
    threads = [page(home, f"late/{number}") for number in range(3)]
    until(lambda: waits(home) >= 3, "they wait", 40)
    home.kill()
    server.answers = []
    server.got.clear()
    home.start()
    until(lambda: all(told(server, "/ours", thread=one) for one in threads), "they are sent", 40)
    first = [
        json.loads(body)["thread"] for at, _headers, body in server.got if at.endswith("/ours")
    ]
    assert list(dict.fromkeys(one for one in first if one in threads)) == threads
    written = "\n".join(str(entry) for entry in home.installation.entries()) + home.said()
    assert [secret for secret in SECRETS.values() if secret in written] == []


def waits(home: House) -> int:
    ways = me(home).get("/api/v1/pages").json()["ways"]
    return min(int(way["waiting"]) for way in ways if way["sink"] == "ours")

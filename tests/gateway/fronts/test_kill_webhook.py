"""A kill webhook becomes a stop of the scope that it may name, and of nothing else."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator

import pytest

from installation import Installation
from offswitch.gateway.fronts.asked import Answer, Asked
from offswitch.gateway.fronts.kill_webhook import KillWebhook

TOKEN = "s3cret-of-the-webhook"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    one = Installation(tmp_path_factory.mktemp("webhook"))
    one.start()
    yield one
    one.close()


def ask(
    one: Installation, path: str, headers: dict[str, str], method: str = "POST", body: bytes = b""
) -> Answer:
    webhook = KillWebhook(one.place, TOKEN, ("shop/chat",), "webhook:litellm")
    return asyncio.run(webhook.answer(Asked(method, path, headers, body)))


def test_ACT_6_it_stops_its_scope_and_says_what_was_confirmed(installation: Installation) -> None:
    running = installation.run("sleep", "1000", target="shop/chat/one")
    answer = ask(installation, "/stop/shop/chat/one?source=litellm", BEARER, body=b'{"any": 1}')
    assert answer.status == 200
    assert answer.body["confirmed"] is True
    assert installation.target("shop/chat/one")["latched"]
    running.close()


def test_a_stop_that_nobody_confirmed_is_accepted_and_not_called_done(
    installation: Installation,
) -> None:
    answer = ask(installation, "/stop/shop/chat/nobody", BEARER, method="GET")
    assert (answer.status, answer.body["confirmed"]) == (202, False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer other"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Basic !!!"},
        {"x-api-key": "other"},
        {"x-api-key": "ünequal"},
    ],
)
def test_without_the_token_nothing_is_stopped(
    installation: Installation, headers: dict[str, str]
) -> None:
    answer = ask(installation, "/stop/shop/chat/two", headers)
    assert answer.status == 401
    assert not [row for row in installation.status()["targets"] if row["target"].endswith("two")]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Basic {b64encode(f'any:{TOKEN}'.encode()).decode()}"},
        {"x-api-key": TOKEN},
    ],
)
def test_the_token_may_be_shown_in_each_way_that_litellm_offers(
    installation: Installation, headers: dict[str, str]
) -> None:
    assert ask(installation, "/stop/shop/chat/three", headers).status == 202


@pytest.mark.parametrize(
    "path",
    [
        "/stop/shop",
        "/stop/",
        "/stop",
        "/stop/shop/chatty",
        "/",
        "/stop/shop/chat/../..",
        "/stop/%2F",
    ],
)
def test_what_is_not_its_scope_is_not_stopped_from_here(
    installation: Installation, path: str
) -> None:
    answer = ask(installation, path, BEARER)
    assert answer.status in {400, 404, 503}
    assert not [row for row in installation.status()["targets"] if row["target"] == "shop"]

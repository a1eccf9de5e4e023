"""From the file to fronts: every key arrives; what would be dangerous is refused with its line."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from offswitch.config.declared import Config
from offswitch.config.load import installed_kinds, parse
from offswitch.errors import BadConfig, Usage
from offswitch.gateway.exchange import Asked, Head, Shape
from offswitch.gateway.plan.given import Given, front_given
from offswitch.gateway.plan.match import by_head, choose
from offswitch.gateway.plan.reading import fronts
from offswitch.gateway.plan.route import Api, EvidenceKind, Route, Step
from offswitch.gateway.plan.upstream import Upstream

KEY = "5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8"
WHOLE = """
[[gateway]]
name = "models"
listen = ["127.0.0.1:8100", "[::1]:8100"]
upstream = "https://models.example.org/api/"
key_file = "upstream.key"
workers = 2
limits = { head = "16KiB", body = "1MiB", idle = "30s", connections = 100 }

[[gateway.route]]
target = "shop/eu/tools"
path = "/mcp"
api = "mcp"
upstream = "http://127.0.0.1:9000"
tools = { allow = ["read_*", "send_mail"], writes = ["send_mail"], hold = ["send_mail"] }

[[gateway.route]]
target = "shop/eu/checkout"
path = "/v1/"
model = "m-7*"
header = { X-Tenant = "acme" }
session = "X-Session"
restrict = ["model"]
steps = ["writes", "model"]
fallback = { model = "m-1" }
evidence = { kind = "vllm" }
ask = "the desk, 4711"
"""


def read(text: str) -> Config:
    return parse(text.encode(), "offswitch.toml", installed_kinds())


def test_every_key_arrives(tmp_path: Path) -> None:
    secret = tmp_path / "upstream.key"
    secret.write_text("sk-upstream\n")
    secret.chmod(0o600)
    [front] = fronts(read(WHOLE), str(tmp_path))
    assert [(each.host, each.port) for each in front.listen] == [("127.0.0.1", 8100), ("::1", 8100)]
    assert (front.workers, front.limits.head, front.limits.idle_s) == (2, 16 << 10, 30.0)
    assert front.targets == (
        "shop/eu/tools",
        "shop/eu/checkout",
        "shop/eu/checkout/model",
        "shop/eu/checkout/writes",
    )
    tools, chat = front.routes
    assert tools.api is Api.MCP
    assert tools.upstream == Upstream("127.0.0.1", 9000)
    assert tools.tools.allow == ("read_*", "send_mail")
    assert chat.upstream == Upstream(
        "models.example.org", 443, tls=True, prefix=b"/api", key=b"sk-upstream"
    )
    assert chat.header == {b"x-tenant": b"acme"}
    assert (chat.session, chat.restrict) == (b"x-session", frozenset({Step.MODEL}))
    assert chat.fallback is not None
    assert chat.fallback.model == "m-1"
    assert chat.evidence.kind is EvidenceKind.VLLM
    assert "sk-upstream" not in repr(front)


def test_a_credential_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "upstream.key"
    secret.write_text("sk-upstream\n")
    os.chmod(secret, 0o644)
    with pytest.raises(BadConfig, match="others may read it"):
        fronts(read(WHOLE), str(tmp_path))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('name = "models"', 'nam = "models"', "did you mean 'name'"),
        ('"https://models.example.org/api/"', '"models.example.org"', "such as"),
        ('"https://models.example.org/api/"', '"https://me:pw@host/"', "key_file"),
        ('"127.0.0.1:8100"', '"localhost"', "an address and a port"),
        ('"127.0.0.1:8100"', '"0.0.0.0:8100"', "lend its credential"),
        ('fallback = { model = "m-1" }', "", "say who answers"),
        (
            'fallback = { model = "m-1" }',
            'fallback = { model = "a", answer = "b" }',
            "one of the two",
        ),
        ('path = "/v1/"', 'path = "v1"', "what a path begins with"),
        ('steps = ["writes", "model"]', 'steps = ["write"]', "writes"),
        ('kind = "vllm"', 'kind = "prometheus"', "names its gauge"),
        ('session = "X-Session"', 'sesion = "X-Session"', "did you mean 'session'"),
        (
            'ask = "the desk, 4711"',
            'ask = "x"\n[[target]]\nname = "shop/eu/checkout/writes"',
            "already",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(before: str, after: str, said: str) -> None:
    with pytest.raises(BadConfig, match=r"offswitch\.toml:\d+: ") as error:
        read(WHOLE.replace(before, after))
    assert said in error.value.message


def routes() -> list[Route]:
    there = Upstream("127.0.0.1", 1)
    return [
        Route("tenant", there, path=b"/v1/", header={b"x-tenant": b"acme"}),
        Route("large", there, path=b"/v1/", model="m-7*"),
        Route("rest", there, path=b"/v1/"),
    ]


def test_the_first_route_that_fits_has_a_request() -> None:
    plain = Head(b"POST", b"/v1/chat/completions", [])
    tenant = Head(b"POST", b"/v1/chat/completions", [(b"x-tenant", b"acme")])
    assert [route.target for route in by_head(routes(), tenant)] == ["tenant"]
    assert [route.target for route in by_head(routes(), plain)] == ["large", "rest"]
    large = choose(by_head(routes(), plain), Asked(Shape.CHAT, "m-70b"))
    small = choose(by_head(routes(), plain), Asked(Shape.CHAT, "m-1"))
    assert (large and large.target, small and small.target) == ("large", "rest")


def test_a_header_that_decides_and_is_there_twice_leads_nowhere() -> None:
    both = [(b"x-tenant", b"acme"), (b"x-tenant", b"b")]
    assert by_head(routes(), Head(b"POST", b"/v1/chat/completions", both)) == []


def test_what_fits_no_route_belongs_to_nobody() -> None:
    assert by_head(routes(), Head(b"GET", b"/metrics", [])) == []
    only = routes()[1:2]
    assert choose(by_head(only, Head(b"POST", b"/v1/x", [])), Asked(Shape.CHAT, "m-1")) is None


def test_a_key_is_known_by_its_digest_alone() -> None:
    digest = hashlib.sha256(b"sk-mine").hexdigest()
    keyed = [Route("mine", Upstream("127.0.0.1", 1), key_sha256=digest)]
    for headers in ([(b"authorization", b"Bearer sk-mine")], [(b"x-api-key", b"sk-mine")]):
        assert by_head(keyed, Head(b"GET", b"/", headers))
    for headers in ([], [(b"authorization", b"Bearer sk-other")], [(b"authorization", b"sk-mine")]):
        assert not by_head(keyed, Head(b"GET", b"/", headers))


def test_what_is_typed_is_checked_as_a_file_is(tmp_path: Path) -> None:
    given = Given(["127.0.0.1:8100"], "http://127.0.0.1:8000", "shop/eu", workers=2)
    front = front_given(given, str(tmp_path))
    assert (front.targets, front.workers) == (("shop/eu",), 2)
    for wrong, said in (
        (replace(given, listen=["localhost:1"]), "--listen: an address and a port"),
        (replace(given, upstream="x"), "--upstream: such as"),
        (replace(given, target="a//b"), "--target: "),
        (replace(given, workers=0), "--workers: "),
        (replace(given, name="A B"), "--name: "),
    ):
        with pytest.raises(Usage, match=said):
            front_given(wrong, str(tmp_path))

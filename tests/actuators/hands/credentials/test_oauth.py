"""A stop of an agent's OAuth tokens, at a real authorization server made of Authlib."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import ECKey, RSAKey
from pydantic import ValidationError

from actuators.hands.authorization_server import ISSUER, AuthorizationServer, Client, Resource
from actuators.hands.stubs.web import Asked, Said
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.oauth import OAuth, OAuthSettings

SECRET, LOOKS = "the stopper's own secret", "the looker's own secret"


class Stage:
    """A server, two resources, and an agent with its tokens."""

    def __init__(self, shape: str = "{}") -> None:
        self.server = AuthorizationServer()
        self.server.clients["agent"] = Client("agent", SECRET)
        self.server.clients["looker"] = Client("looker", LOOKS)
        self.token = self.server.grant("agent", shape)
        self.resources = [Resource(self.server), Resource(self.server)]
        self.made: list[OAuth] = []

    def hand(self, role: Role = Role.ACT, secret: str = SECRET, **said: Any) -> OAuth:  # noqa: ANN401
        settings = OAuthSettings.model_validate(
            {
                "name": "tokens",
                "target": "shop/agent",
                "kind": "oauth",
                "revocation_url": f"{self.server.url}/revoke",
                "introspection_url": f"{self.server.url}/introspect",
                "resources": [f"{each.url}/me/?fields=name" for each in self.resources],
                "client_id": "agent",
                "secret_file": "/s",
                "look_client_id": "looker",
                "look_secret_file": "/l",
                "token_file": "/t",
                "refresh_token_file": "/r",
                **said,
            }
        )
        secrets = {"secret_file": secret, "look_secret_file": LOOKS}
        mine = {
            "token_file": self.token.access_token,
            "refresh_token_file": self.token.refresh_token,
        }
        secrets |= {key: value for key, value in mine.items() if getattr(settings, key)}
        hand = OAuth(settings, Context(role, secrets))
        hand.open()
        self.made.append(hand)
        return hand

    def look(self, **said: Any) -> OAuth:  # noqa: ANN401
        return self.hand(Role.LOOK, **said)

    def close(self) -> None:
        for one in (*self.made, *self.resources, self.server):
            one.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


def test_VER_2_tokens_are_revoked_and_seen_refused_by_server_and_resources(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    hand.trip("kill")
    assert stage.token.refresh_revoked
    assert stage.token.access_revoked
    assert look.look().stands is True
    hand.trip("kill")
    assert stage.resources[0].asked[-1].path == "/me/?fields=name", "an address stays as written"


def test_VER_2_a_server_that_says_done_and_does_nothing_is_found_out(stage: Stage) -> None:
    stage.server.lies = True
    assert "was told" in stage.hand().trip("kill").detail
    assert stage.look().look().stands is False


def test_VER_2_a_revoked_credential_used_on_a_second_worker_is_not_called_cut(
    stage: Stage,
) -> None:
    """Scenario: the server has revoked it, one resource knows, the other goes by its cache."""
    lagging = stage.resources[1]
    lagging.keeps = True
    hand, look = stage.hand(), stage.look()
    assert look.arm().state is Ready.READY
    hand.trip("kill")
    sight = look.look()
    assert sight.stands is False
    assert lagging.url.removeprefix("http://") in sight.detail
    assert stage.resources[0].url.removeprefix("http://") not in sight.detail
    lagging.forget()
    assert look.look().stands is True


def test_VER_2_a_resource_that_answers_nothing_leaves_it_unknown(stage: Stage) -> None:
    stage.hand().trip("kill")
    stage.resources[1].close()
    assert stage.look().look().stands is None


def test_VER_2_a_resource_that_takes_any_token_is_no_witness(stage: Stage) -> None:
    stage.resources[0].open_to_all = True
    proven = stage.look().arm()
    assert proven.state is Ready.UNPROVEN
    assert "takes any token" in proven.detail


def test_DRL_4_a_client_whose_secret_was_rotated_is_unproven(stage: Stage) -> None:
    hand = stage.hand()
    assert hand.arm().state is Ready.READY
    stage.server.clients["agent"].secret = "another one"
    proven = hand.arm()
    assert proven.state is Ready.UNPROVEN
    assert "would not revoke" in proven.detail
    with pytest.raises(Trouble, match="401"):
        hand.trip("kill")
    assert stage.look().look().stands is False


def test_DRL_4_a_token_that_was_rotated_is_unproven_to_hand_and_look(stage: Stage) -> None:
    stage.token.access_token, stage.token.refresh_token = "fresh one", "another fresh one"
    hand, look = stage.hand(), stage.look()
    assert hand.arm().state is Ready.READY
    stage.token.access_token = "rotated meanwhile"
    assert hand.arm().state is Ready.UNPROVEN
    assert look.arm().state is Ready.UNPROVEN


def test_DRL_4_a_looker_that_may_not_introspect_any_more_is_unproven(stage: Stage) -> None:
    """Who may not ask is told "not active" (RFC 7662), which must not be taken for cut."""
    stage.server.clients["looker"].introspects = False
    proven = stage.look(resources=[]).arm()
    assert proven.state is Ready.UNPROVEN
    assert "not be ours to ask about" in proven.detail


def test_what_would_be_left_to_the_agent_is_degraded(stage: Stage) -> None:
    alone = stage.hand(refresh_token_file=None).arm()
    assert alone.state is Ready.DEGRADED
    assert "refresh token" in alone.detail
    shared = stage.look(look_client_id=None, look_secret_file=None).arm()
    assert shared.state is Ready.DEGRADED
    assert "credential that acts" in shared.detail
    stage.server.clients["other"] = Client("other", SECRET)
    foreign = stage.hand(client_id="other").arm()
    assert foreign.state is Ready.DEGRADED
    assert "client agent's" in foreign.detail
    with pytest.raises(Trouble):
        stage.hand(client_id="other").trip("kill")


def test_a_token_that_resources_check_by_themselves_wants_to_be_tried_there() -> None:
    stage = Stage("head.{}.signature")
    proven = stage.look(resources=[]).arm()
    assert proven.state is Ready.DEGRADED
    assert "takes it until it expires" in proven.detail
    assert stage.look().arm().state is Ready.READY
    stage.close()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), ECKey),
        (lambda: rsa.generate_private_key(65537, 2048), RSAKey),
    ],
    ids=["ES256", "RS256"],
)
def test_a_client_that_signs_is_let_in_and_no_other(stage: Stage, make: Any, kind: Any) -> None:  # noqa: ANN401
    key, other = make(), make()
    stage.server.clients["agent"] = Client("agent", public_key=public(key, kind))
    said = {"method": "private_key_jwt", "audience": ISSUER, "resources": []}
    hand = stage.hand(secret=private(key), **said)
    assert hand.arm().state is Ready.READY
    assert stage.hand(secret=private(other), **said).arm().state is Ready.UNPROVEN
    look = stage.look(**said)
    assert look.look().stands is False
    hand.trip("kill")
    assert look.look().stands is True


def test_a_client_that_posts_its_secret_is_let_in(stage: Stage) -> None:
    assert stage.hand(method="client_secret_post").arm().state is Ready.READY


def test_RST_8_a_revoked_token_stays_refused_after_the_reset(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    assert look.look().stands is False
    hand.trip("kill")
    released = hand.release()
    assert "/t and /r" in released.reissue[0]
    assert look.look().stands is True


def test_VER_2_tokens_that_were_renewed_long_before_say_nothing_of_a_stop(stage: Stage) -> None:
    """The old ones are refused, and the agent works by new ones: that is not cut."""
    stage.hand().trip("kill")
    sight = stage.look().look()
    assert sight.stands is None
    assert "never seen to be good" in sight.detail


def test_SR_4_no_secret_is_in_any_text(stage: Stage) -> None:
    hand = stage.hand(secret="wrong but secret")
    texts = [hand.arm().detail, repr(hand.context), str(hand.route()), *hand.holds()]
    with pytest.raises(Trouble) as caught:
        hand.trip("kill")
    texts += [str(caught.value), str(stage.look().route()), stage.look().look().detail]
    texts += stage.hand().trip("kill").reissue
    hidden = (SECRET, LOOKS, "wrong but secret", stage.token.access_token)
    assert not any(secret in text for secret in hidden for text in texts)


def test_SR_4_nor_is_one_in_the_form_in_which_it_was_shown(stage: Stage) -> None:
    def quotes(asked: Asked) -> Said:
        return Said(401, asked.headers["authorization"].encode())

    stage.server.answer = quotes  # type: ignore[method-assign]
    with pytest.raises(Trouble, match="401 Basic •••") as caught:
        stage.hand().trip("kill")
    for pair in (f"agent:{SECRET}", f"agent:{quote_plus(SECRET)}"):
        assert base64.b64encode(pair.encode()).decode() not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        {"introspection_url": None},
        {"token_file": None},
        {"token_file": None, "refresh_token_file": "/r", "resources": ["https://api.example/me"]},
        {"look_client_id": "looker"},
        {"method": "private_key_jwt"},
        {"method": "none"},
        {"revocation_url": "http://login.example/revoke"},
    ],
)
def test_settings_that_mean_nothing_are_refused(said: dict[str, Any]) -> None:
    whole = {
        "name": "tokens",
        "target": "shop/agent",
        "kind": "oauth",
        "revocation_url": "https://login.example/revoke",
        "introspection_url": "https://login.example/introspect",
        "client_id": "agent",
        "secret_file": "/s",
        "token_file": "keyring:agent",
    }
    assert OAuthSettings.model_validate(whole).layer() == "credentials"
    with pytest.raises(ValidationError):
        OAuthSettings.model_validate({**whole, **said})


def private(key: Any) -> str:  # noqa: ANN401 - either of two kinds
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.decode()


def public(key: Any, kind: Any) -> Any:  # noqa: ANN401 - either of two kinds
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return kind.import_key(pem)

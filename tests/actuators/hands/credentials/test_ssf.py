"""Signals that a session is over: signed as the standards say, and believed by nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from pydantic import ValidationError

from actuators.hands.stubs.ssf import AUDIENCE, EVENTS, ISSUER, VERIFICATION, Receiver
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.ssf import Ssf, SsfSettings

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA")
"""It is deprecated for `Ed25519` (RFC 9864), which few receivers know."""
TOKEN, BEARER = "the agent's own token", "what the receiver wants to see"
KINDS: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ECKey.generate_key("P-256", {"kid": "one"}),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519", {"kid": "one"}),
    "RS256": lambda: RSAKey.generate_key(2048, {"kid": "one"}),
}


class Stage:
    """A receiver that knows our key, and the agent's session there."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.key = KINDS[algorithm]()
        self.receiver = Receiver(KeySet([self.key]), BEARER)
        self.receiver.sessions = {TOKEN: "shop-agent", "another token": "somebody"}
        self.made: list[Ssf] = []

    def hand(self, role: Role = Role.ACT, pem: str = "", **said: Any) -> Ssf:  # noqa: ANN401
        settings = SsfSettings.model_validate(
            {
                "name": "signals",
                "target": "shop/agent",
                "kind": "ssf",
                "receiver": f"{self.receiver.url}/events",
                "issuer": ISSUER,
                "audience": AUDIENCE,
                "stream": "stream-1",
                "key_file": "/k",
                "key_id": "one",
                "receiver_token_file": "/b",
                "subject": {
                    "format": "iss_sub",
                    "iss": "https://login.example",
                    "sub": "shop-agent",
                },
                "events": ["session-revoked", "credential-change"],
                "credential_type": "app",
                "resources": [f"{self.receiver.url}/me"],
                "token_file": "/t",
                **said,
            }
        )
        own = self.key.as_pem(private=True).decode()
        secrets = {"key_file": pem or own, "receiver_token_file": BEARER, "token_file": TOKEN}
        hand = Ssf(settings, Context(role, secrets))
        self.made.append(hand)
        hand.open()
        return hand

    def close(self) -> None:
        for one in (*self.made, self.receiver):
            one.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


@pytest.mark.parametrize("algorithm", list(KINDS))
def test_VER_2_a_session_is_said_to_be_over_and_its_token_seen_refused(algorithm: str) -> None:
    stage = Stage(algorithm)
    hand, look = stage.hand(), stage.hand(Role.LOOK)
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    hand.trip("kill")
    assert look.look().stands is True
    assert stage.receiver.headers[0] == {"alg": algorithm, "typ": "secevent+jwt", "kid": "one"}
    assert stage.receiver.sessions == {"another token": "somebody"}
    stage.close()


def test_what_is_said_is_what_caep_and_ssf_want(stage: Stage) -> None:
    hand = stage.hand()
    hand.arm()
    hand.trip("kill")
    verification, *told = stage.receiver.took
    assert verification["events"] == {VERIFICATION: {}}, "no state in what nobody asked for"
    events = {event: said for claims in told for event, said in claims["events"].items()}
    assert set(events) == {f"{EVENTS}/session-revoked", f"{EVENTS}/credential-change"}
    change = events[f"{EVENTS}/credential-change"]
    assert (change["change_type"], change["credential_type"]) == ("revoke", "app")
    assert abs(change["event_timestamp"] - told[0]["iat"]) <= 1, "in seconds"
    assert len({claims["jti"] for claims in stage.receiver.took}) == 3
    assert all(claims["sub_id"]["sub"] == "shop-agent" for claims in told)
    hand.trip("kill")
    assert len(stage.receiver.took) == 5, "once more does no harm"


def test_VER_2_a_receiver_that_takes_it_and_does_nothing_is_found_out(stage: Stage) -> None:
    stage.receiver.heeds = False
    stage.hand().trip("kill")
    assert stage.hand(Role.LOOK).look().stands is False


def test_VER_2_where_nothing_can_be_looked_at_nothing_is_confirmed(stage: Stage) -> None:
    blind = stage.hand(Role.LOOK, resources=[], token_file=None)
    assert blind.arm().state is Ready.UNPROVEN
    assert blind.look().stands is None


@pytest.mark.parametrize("algorithm", list(KINDS))
def test_DRL_4_a_key_that_the_receiver_does_not_know_any_more_is_unproven(algorithm: str) -> None:
    stage = Stage(algorithm)
    hand = stage.hand()
    assert hand.arm().state is Ready.READY
    stage.receiver.keys = KeySet([KINDS[algorithm]()])
    with pytest.raises(Trouble, match="invalid_key"):
        hand.arm()
    with pytest.raises(Trouble, match="invalid_key"):
        hand.trip("kill")
    stage.close()


@pytest.mark.parametrize(
    ("said", "err"),
    [
        ({"issuer": "https://elsewhere.example"}, "invalid_issuer"),
        ({"audience": "https://elsewhere.example"}, "invalid_audience"),
        ({"stream": "stream-2"}, "invalid_request"),
        ({"receiver_token_file": None}, "authentication_failed"),
    ],
)
def test_DRL_4_whatever_the_receiver_refuses_is_unproven(
    stage: Stage, said: dict[str, Any], err: str
) -> None:
    if "receiver_token_file" in said:
        stage.receiver.bearer = "rotated"
    with pytest.raises(Trouble, match=err):
        stage.hand(**said).arm()


def test_a_key_of_no_use_is_said(stage: Stage) -> None:
    of_another_curve = ECKey.generate_key("P-384").as_pem(private=True).decode()
    for pem in ("no key at all", of_another_curve):
        with pytest.raises(Trouble, match="signing key"):
            stage.hand(pem=pem)


def test_RST_8_no_signal_takes_a_revocation_back(stage: Stage) -> None:
    hand, look = stage.hand(), stage.hand(Role.LOOK)
    assert look.look().stands is False
    hand.trip("kill")
    before = len(stage.receiver.took)
    assert "/t" in hand.release().reissue[0]
    assert len(stage.receiver.took) == before, "a reset sends nothing"
    assert look.look().stands is True


def test_SR_4_no_secret_is_in_any_text_though_a_receiver_quotes_them(stage: Stage) -> None:
    hand = stage.hand()
    texts = [repr(hand.context), str(hand.route()), *hand.holds()]
    stage.receiver.bearer = "rotated"
    with pytest.raises(Trouble) as quoted:
        hand.trip("kill")
    stage.receiver.bearer, stage.receiver.keys = "", KeySet([KINDS["ES256"]()])
    with pytest.raises(Trouble) as signed:
        hand.trip("kill")
    texts += [str(quoted.value), str(signed.value), *hand.release().reissue]
    texts += [stage.hand(Role.LOOK).look().detail]
    last = stage.receiver.asked[-2].body.decode() or "none"
    assert not any(secret in text for secret in (TOKEN, BEARER, last) for text in texts)
    assert "•••" in str(quoted.value)


@pytest.mark.parametrize(
    "said",
    [
        {"subject": {"sub": "shop-agent"}},
        {"subject": {"format": "opaque", "id": "x" * 5000}},
        {"events": []},
        {"events": ["account-purged"]},
        {"events": ["credential-change"]},
        {"resources": ["https://shop.example/me"]},
        {"receiver": "http://shop.example/signals"},
    ],
)
def test_settings_that_mean_nothing_are_refused(said: dict[str, Any]) -> None:
    whole = {
        "name": "signals",
        "target": "shop/agent",
        "kind": "ssf",
        "receiver": "https://shop.example/signals",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "stream": "s",
        "key_file": "keyring:ssf",
        "subject": {"format": "opaque", "id": "shop-agent"},
    }
    assert SsfSettings.model_validate(whole).events == ["session-revoked"]
    with pytest.raises(ValidationError):
        SsfSettings.model_validate({**whole, **said})

"""The signed webhook against a receiver that keeps to its page: a toy plant with an axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from actuators.hands.stubs.receiver import Plant
from installation import until
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.webhook import Webhook, WebhookSection

KEY, LOOK_KEY = "the key we share", "the key to look"


class Stage:
    """A plant, and hands that speak with it."""

    def __init__(self) -> None:
        self.plant = Plant(KEY, LOOK_KEY)
        self.made: list[Webhook] = []
        self.secrets = {"key_file": KEY, "look_key_file": LOOK_KEY}

    def hand(self, use: Role = Role.ACT, **said: Any) -> Webhook:  # noqa: ANN401 - settings
        keys = {"name": "axis", "target": "cell/arm", "kind": "webhook", "as_layer": "relay"}
        keys |= {"url": f"{self.plant.url}/hook", "key_file": "/k", "look_key_file": "/l"}
        keys |= {"look_url": f"{self.plant.url}/account", "safe_state": "hold last: brake on"}
        section = WebhookSection.model_validate(keys | said)
        place = "key_file" if use is Role.ACT else "look_key_file"
        self.made.append(Webhook(section, Context(use, {place: self.secrets[place]})))
        return self.made[-1]

    def look(self, **said: Any) -> Webhook:  # noqa: ANN401 - settings
        return self.hand(Role.LOOK, **said)

    def close(self) -> None:
        for one in self.made:
            one.close()
        self.plant.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


def test_ACT_10_what_moves_ends_in_the_state_that_was_declared_and_is_seen_there(
    stage: Stage,
) -> None:
    stage.plant.brakes_s = 0.05
    hand, look = stage.hand(body={"command": "halt {target} at {level}"}), stage.look()
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    acted = hand.trip("kill")
    assert "braking" in acted.detail
    assert acted.happened == ("part 7 was half milled",)
    assert look.look().stands is False, "it was told, and still turns"
    until(lambda: look.look().stands, "it stands in the declared state", 5)
    told = stage.plant.heard[-1]
    assert told["safe_state"] == "hold last: brake on"
    assert told["command"] == "halt cell/arm at kill"
    assert (told["type"], told["target"], told["level"]) == ("offswitch.stop", "cell/arm", "kill")
    hand.trip("kill")
    assert stage.plant.heard[-1] == told, "told again, it is a message of its own and no copy"


def test_VER_2_a_receiver_that_says_yes_and_does_nothing_is_not_seen_to_have_stopped(
    stage: Stage,
) -> None:
    stage.plant.deaf = True
    hand, look = stage.hand(), stage.look()
    hand.trip("kill")
    sight = look.look()
    assert sight.stands is False
    assert '/state is "running"' in sight.detail


def test_what_must_stand_there_may_be_any_values(stage: Stage) -> None:
    look = stage.look(look_is={"/axis/rpm": 0, "axis/brake~11": "on"})
    assert look.look().stands is False
    stage.hand().trip("kill")
    assert look.look().stands is True
    assert stage.look(look_is={"/axis/rpm": False}).look().stands is False
    assert stage.look(look_is={"/axis/rpm": "0"}).look().stands is False
    assert stage.look(look_is={"/axis/rpm": 0.0}).look().stands is True
    with pytest.raises(Trouble, match="no /axis/speed"):
        stage.look(look_is={"/axis/speed": 0}).arm()


def test_DRL_4_a_rotated_key_is_found_by_the_next_proof(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    assert hand.arm().state is Ready.READY
    stage.plant.key, stage.plant.look_key = "another", "another"
    with pytest.raises(Trouble, match="401"):
        hand.arm()
    with pytest.raises(Trouble, match="401"):
        look.arm()
    with pytest.raises(Trouble):
        hand.trip("kill")


def test_DRL_4_an_answer_that_anybody_could_give_proves_less(stage: Stage) -> None:
    stage.plant.signs = False
    ready = stage.hand().arm()
    assert ready.state is Ready.DEGRADED
    assert "unsigned" in ready.detail


def test_DRL_4_an_answer_signed_by_another_key_proves_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = stage.hand()
    right = stage.plant._sign

    def odd(message_id: str, at: int, body: bytes) -> str:
        return right(message_id, at, body) if b"timestamp" in body else "v1,AAAA"

    monkeypatch.setattr(stage.plant, "_sign", odd)
    with pytest.raises(Trouble, match="another key"):
        hand.arm()


def test_a_page_that_says_stopped_beforehand_cannot_tell(stage: Stage) -> None:
    stage.hand().trip("kill")
    ready = stage.look().arm()
    assert ready.state is Ready.DEGRADED
    assert "no look would tell" in ready.detail


def test_without_a_page_to_look_at_nobody_looks(stage: Stage) -> None:
    look = stage.look(look_url=None, look_key_file=None)
    assert look.arm().state is Ready.ABSENT
    assert look.look().stands is None


def test_RST_8_a_receiver_that_revoked_credentials_is_not_told_of_a_release(stage: Stage) -> None:
    hand = stage.hand(as_layer="credentials")
    hand.trip("kill")
    heard = len(stage.plant.heard)
    assert any("issued anew" in one for one in hand.release().reissue)
    assert len(stage.plant.heard) == heard
    assert stage.look().look().stands is True


def test_a_release_starts_nothing(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    hand.trip("kill")
    assert hand.release().reissue == ("home the axis",)
    assert stage.plant.heard[-1]["type"] == "offswitch.release"
    assert look.look().stands is True
    stage.plant.start()
    assert look.look().stands is False


@pytest.mark.parametrize(
    "keys",
    [
        {"as_layer": "power"},
        {"as_layer": "process"},
        {"url": "http://example.org/"},
        {"url": "https://name:word@example.org/"},
        {"look_url": None},
        {"safe_state": None},
        {"look_is": {}},
        {"secret": "inline"},
    ],
)
def test_settings_that_mean_nothing_are_refused(keys: dict[str, Any]) -> None:
    said = {"name": "a", "target": "a", "kind": "webhook", "key_file": "/k"}
    said |= {"url": "https://h.example.org/x?y=1", "look_url": "https://h.example.org/"}
    said |= {"safe_state": "off", "look_key_file": "/l"}
    assert WebhookSection.model_validate(said).layer() == "credentials"
    with pytest.raises(ValidationError):
        WebhookSection.model_validate(said | keys)


def test_what_is_given_to_its_process_is_what_was_declared(stage: Stage) -> None:
    section = stage.hand(look_is={"/a": 0, "/b": True, "/c": "x", "/d": 0.5}).settings
    text = section.model_dump_json(exclude_none=True)
    assert WebhookSection.model_validate_json(text) == section


def test_SR_4_the_look_is_not_given_the_key_that_signs(stage: Stage) -> None:
    section = stage.look(look_key_file=None).settings
    assert section.given("key_file", looks=False)
    assert not section.given("key_file", looks=True)


def test_SR_4_no_text_shows_a_key_even_where_the_receiver_quotes_it(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    texts = [repr(hand), repr(hand.context), repr(hand.settings), repr(hand.route())]
    stage.plant.look_key = "changed"
    with pytest.raises(Trouble) as raised:
        look.look()
    texts.append(str(raised.value))
    assert "•••" in texts[-1]
    stage.plant._sign = lambda *_: "v1,"
    with pytest.raises(Trouble) as raised:
        hand.trip("kill")
    texts.append(str(raised.value))
    assert "•••" in texts[-1]
    assert KEY not in str(texts)
    assert LOOK_KEY not in str(texts)

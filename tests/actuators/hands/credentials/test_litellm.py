"""A stop of an agent's LiteLLM keys, against replicas of a stub with caches of their own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from actuators.hands.stubs.litellm import MASTER, Database, Replica, named
from installation import until
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.litellm import LiteLLM, LiteLLMSettings

KEY, OTHER = "sk-of-the-agent", "sk-of-somebody-else"


class Stage:
    """A proxy of two replicas that both have the agent's key in their caches."""

    def __init__(self) -> None:
        self.database = Database()
        self.database.make(KEY, key_alias="shop agent", user_id="shop", team_id="sales")
        self.database.make(OTHER)
        self.database.teams["sales"] = {}
        self.replicas = [Replica(self.database), Replica(self.database)]
        self.made: list[LiteLLM] = []
        assert all(replica.refused(KEY) is None for replica in self.replicas)

    def hand(self, role: Role = Role.ACT, secret: str = MASTER, **said: Any) -> LiteLLM:  # noqa: ANN401
        settings = LiteLLMSettings.model_validate(
            {
                "name": "keys",
                "target": "shop/agent",
                "kind": "litellm",
                "replicas": [replica.url for replica in self.replicas],
                "secret_file": "/s",
                "token_file": "/t",
                **said,
            }
        )
        secrets = {"secret_file": secret, "token_file": KEY}
        self.made.append(LiteLLM(settings, Context(role, secrets)))
        return self.made[-1]

    def close(self) -> None:
        for one in (*self.made, *self.replicas):
            one.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


def test_VER_2_a_key_is_blocked_at_every_replica_and_seen_refused_by_each(stage: Stage) -> None:
    hand, look = stage.hand(), stage.hand(Role.LOOK)
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    acted = hand.trip("kill")
    assert "2 replicas" in acted.detail
    assert acted.happened, "what was in flight is told (ACT-9)"
    assert look.look().stands is True
    assert stage.replicas[0].refused(OTHER) is None, "nobody else's key is touched"
    assert hand.trip("kill").detail == acted.detail, "once more does no harm"


def test_VER_2_a_revoked_credential_used_on_a_second_worker_is_not_called_cut(
    stage: Stage,
) -> None:
    """Scenario: the second replica is told nothing, and goes by its cache until that runs out."""
    told, lagging = stage.replicas
    hand, look = stage.hand(replicas=[told.url]), stage.hand(Role.LOOK)
    ready = hand.arm()
    assert ready.state is Ready.DEGRADED
    assert "another worker" in ready.detail
    hand.trip("kill")
    assert told.refused(KEY) is not None
    assert lagging.refused(KEY) is None, "the credential still works there"
    sight = look.look()
    assert sight.stands is False
    assert lagging.url.removeprefix("http://") in sight.detail
    lagging.forget()
    assert look.look().stands is True


def test_VER_2_one_address_behind_a_balancer_is_degraded_unless_it_is_all_there_is(
    stage: Stage,
) -> None:
    one = [stage.replicas[0].url]
    assert stage.hand(replicas=one).arm().state is Ready.DEGRADED
    assert stage.hand(Role.LOOK, replicas=one).arm().state is Ready.DEGRADED
    assert stage.hand(replicas=one, alone=True).arm().state is Ready.READY


def test_ACT_1_a_replica_that_refuses_holds_up_no_other_and_is_told(stage: Stage) -> None:
    deaf, heard = stage.replicas
    deaf.deaf = True
    hand = stage.hand()
    with pytest.raises(Trouble, match="503"):
        hand.trip("kill")
    assert heard.refused(KEY) is not None
    assert stage.hand(Role.LOOK).look().stands is False


def test_ACT_1_a_replica_that_hangs_holds_up_no_other(stage: Stage) -> None:
    heard = stage.replicas[1]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        urls = [f"http://127.0.0.1:{silent.getsockname()[1]}", heard.url]
        hand = stage.hand(replicas=urls, deadline="500ms")
        trip = threading.Thread(target=lambda: gave_up.append(failing(hand)))
        gave_up: list[str] = []
        trip.start()
        until(lambda: heard.refused(KEY), "the other one has blocked it")
        assert gave_up == [], "while the first one is still waited for"
        trip.join(10)
        assert "timed out" in gave_up[0]


def failing(hand: LiteLLM) -> str:
    with pytest.raises(Trouble) as caught:
        hand.trip("kill")
    return caught.value.message


def test_DRL_4_a_credential_that_was_rotated_is_unproven(stage: Stage) -> None:
    for secret in ("sk-rotated-away", KEY, ""):
        proven = stage.hand(secret=secret).arm()
        assert proven.state is Ready.UNPROVEN
        assert "would not block" in proven.detail


def test_DRL_4_a_proxy_that_lost_its_database_or_the_key_is_unproven(stage: Stage) -> None:
    del stage.database.keys[named(KEY)]
    proven = stage.hand().arm()
    assert proven.state is Ready.UNPROVEN
    assert "is not known" in proven.detail
    stage.replicas[1].close()
    assert stage.hand(Role.LOOK).arm().state is Ready.UNPROVEN


def test_DRL_4_a_look_by_a_key_that_is_refused_already_is_unproven(stage: Stage) -> None:
    stage.hand().trip("kill")
    proven = stage.hand(Role.LOOK).arm()
    assert proven.state is Ready.UNPROVEN
    assert "before any stop" in proven.detail


def test_VER_2_a_key_that_was_renewed_long_before_says_nothing_of_a_stop(stage: Stage) -> None:
    """The old key is refused, and the agent works by a new one: that is not cut."""
    look = stage.hand(Role.LOOK)
    del stage.database.keys[named(KEY)]
    for replica in stage.replicas:
        replica.forget()
    sight = look.look()
    assert sight.stands is None
    assert "never seen to be good" in sight.detail
    stage.database.make(KEY, blocked=True)
    assert look.look().stands is True, "that this very key is blocked needs no more proof"


def test_VER_2_a_refusal_for_want_of_a_database_is_no_proof(stage: Stage) -> None:
    look = stage.hand(Role.LOOK)
    stage.database.there = False
    for replica in stage.replicas:
        replica.forget()
    assert look.look().stands is None


def test_RST_8_a_key_is_never_unblocked_and_after_the_reset_nobody_can(stage: Stage) -> None:
    hand, look = stage.hand(), stage.hand(Role.LOOK)
    hand.arm()
    look.arm()
    hand.trip("kill")
    released = hand.release()
    assert named(KEY) not in stage.database.keys
    assert "/t" in released.reissue[0]
    assert "shop agent" in released.reissue[0]
    assert look.look().stands is True, "the old key stays refused"
    for replica in stage.replicas:
        replica.forget()
    assert look.look().stands is True, "and after a restart, too"
    assert not any(asked.path == "/key/unblock" for asked in stage.replicas[0].asked)


def test_RST_8_a_reset_of_a_stop_that_blocked_nothing_deletes_nothing(stage: Stage) -> None:
    assert "nothing is blocked" in stage.hand().release().detail
    assert named(KEY) in stage.database.keys


def test_RST_8_a_proxy_that_does_not_say_what_is_blocked_is_not_taken_for_clean(
    stage: Stage,
) -> None:
    stage.hand().trip("kill")
    with pytest.raises(Trouble, match="does not say"):
        stage.hand(secret="sk-rotated-away").release()
    assert named(KEY) in stage.database.keys
    assert "deleted 1" in stage.hand().release().detail
    assert "nothing is blocked" in stage.hand().release().detail, "and once more: it is gone"


def test_MON_3_the_keys_that_an_agent_made_for_itself_are_listed_and_blocked(
    stage: Stage,
) -> None:
    stage.database.make("sk-second", user_id="shop")
    hand = stage.hand(user="shop")
    assert hand.arm().state is Ready.READY
    assert len(hand.holds()) == 2
    stage.database.make("sk-third-made-after-the-proof", user_id="shop")
    hand.trip("kill")
    for key in (KEY, "sk-second", "sk-third-made-after-the-proof"):
        assert all(replica.refused(key) is not None for replica in stage.replicas)


def test_MON_3_one_key_that_is_refused_keeps_no_other_from_being_blocked(stage: Stage) -> None:
    second = named(stage.database.make("sk-second"))
    hand = stage.hand(keys=["0" * 64, second], team="no-such-team")
    with pytest.raises(Trouble, match="has not blocked"):
        hand.trip("kill")
    for key in (KEY, "sk-second"):
        assert all(replica.refused(key) is not None for replica in stage.replicas)


def test_SR_4_what_is_no_key_of_litellms_is_neither_sent_nor_told(stage: Stage) -> None:
    hand = stage.hand()
    odd = LiteLLM(
        hand.settings, Context(Role.ACT, {"secret_file": MASTER, "token_file": "odd key"})
    )
    proven = odd.arm()
    assert proven.state is Ready.UNPROVEN
    assert "sk-" in proven.detail
    with pytest.raises(Trouble, match="no key to block"):
        odd.trip("kill")
    assert not any("odd" in asked.path for asked in stage.replicas[0].asked)
    odd.close()


def test_a_team_is_blocked_as_a_whole_and_a_person_is_told_to_unblock_it(stage: Stage) -> None:
    hand = stage.hand(team="sales")
    assert hand.arm().state is Ready.READY
    stage.database.make("sk-of-the-team", team_id="sales")
    acted = hand.trip("kill")
    assert stage.replicas[1].refused("sk-of-the-team") is not None
    assert any("/team/unblock" in line for line in acted.reissue)
    assert stage.hand(team="nobody").arm().state is Ready.UNPROVEN


def test_SR_4_no_key_is_in_any_text(stage: Stage) -> None:
    hand = stage.hand(secret="sk-rotated-away")
    texts = [hand.arm().detail, repr(hand.context), repr(hand), str(hand.route()), *hand.holds()]
    with pytest.raises(Trouble) as caught:
        hand.trip("kill")
    texts += [str(caught.value), *stage.hand().trip("kill").reissue]
    texts += [stage.hand(Role.LOOK).look().detail, stage.hand(Role.LOOK).arm().detail]
    assert not any(key in text for key in (KEY, MASTER, "sk-rotated-away") for text in texts)


@pytest.mark.parametrize(
    "said",
    [
        {"replicas": []},
        {"replicas": ["http://litellm.example:4000"]},
        {"replicas": ["http://127.0.0.1:1", "http://127.0.0.1:1"]},
        {"replicas": ["http://127.0.0.1:1", "http://127.0.0.1:2"], "alone": True},
        {"keys": ["sk-in-plain-text"]},
        {"secret_file": "s"},
    ],
)
def test_settings_that_mean_nothing_are_refused(said: dict[str, Any]) -> None:
    good = {"replicas": ["http://127.0.0.1:1"], "secret_file": "/s", "token_file": "keyring:t"}
    whole = {"name": "keys", "target": "shop/agent", "kind": "litellm", **good}
    assert LiteLLMSettings.model_validate(whole).layer() == "credentials"
    with pytest.raises(ValidationError):
        LiteLLMSettings.model_validate({**whole, **said})

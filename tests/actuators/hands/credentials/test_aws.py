"""A stop of an AWS role and of a user, against a stub of IAM and STS (`-m peers`: against moto)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from actuators.hands.stubs.aws import Aws as Account
from actuators.hands.stubs.aws import Identity, credentials
from actuators.hands.stubs.web import Said
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.aws.hand import Aws, AwsSection
from offswitch.actuators.hands.credentials.aws.policy import at_stop, canary, denies_all
from offswitch.actuators.hands.credentials.aws.sigv4 import Keys
from offswitch.errors import BadConfig

STOPPER = ("iam:PutRolePolicy", "iam:GetRolePolicy", "iam:DeleteRolePolicy")
OF_USERS = (*[each.replace("Role", "User") for each in STOPPER],)
KEYS = ("iam:ListAccessKeys", "iam:UpdateAccessKey")


class Stage:
    """An account with who stops, who looks, and the target: a role and a user."""

    def __init__(self) -> None:
        self.aws = Account()
        self.made: list[Aws] = []
        self.stopper = self.aws.user("offswitch", *STOPPER, *OF_USERS, *KEYS)
        self.looker = self.aws.user("looker", STOPPER[1], OF_USERS[1], KEYS[0])
        self.role = self.aws.role("agent-role", "s3:ListBucket")
        self.user = self.aws.user("agent", "s3:ListBucket", keys=2)

    def hand(self, use: Role = Role.ACT, **said: Any) -> Aws:  # noqa: ANN401 - settings
        named = {} if "user" in said else {"role": "agent-role"}
        keys = {"secret_file": "/s", "look_secret_file": "/l", "endpoint": self.aws.url}
        section = AwsSection.model_validate(
            {"name": "cloud", "target": "shop/agent", "kind": "aws", **keys, **named, **said}
        )
        secrets = {"secret_file": credentials(first(self.stopper))}
        if use is Role.LOOK and section.look_secret_file:
            secrets = {"look_secret_file": credentials(first(self.looker))}
        if section.token_file:
            mine = self.user if section.user else self.role
            secrets["token_file"] = credentials(first(mine))
        return self.of(section, Context(use, secrets))

    def of(self, settings: AwsSection, context: Context) -> Aws:
        self.made.append(Aws(settings, context))
        return self.made[-1]

    def close(self) -> None:
        for one in self.made:
            one.close()
        self.aws.close()

    def look(self, **said: Any) -> Aws:  # noqa: ANN401 - settings
        return self.hand(Role.LOOK, **said)

    def tries(self) -> dict[str, str]:
        """Give the settings by which a look tries the target's own credential."""
        return {"token_file": "/t", "probe": f"{self.aws.url}/bucket?list-type=2&prefix=a%20b"}


def first(of: Identity) -> Keys:
    return next(iter(of.keys.values()))


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


def test_VER_2_a_role_is_denied_everything_and_that_is_seen_by_another_credential(
    stage: Stage,
) -> None:
    hand, look = stage.hand(), stage.look(**stage.tries())
    hand.open()
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    acted = hand.trip("kill")
    assert "denial" in acted.detail
    sight = look.look()
    assert sight.stands is True
    assert "AccessDenied" in sight.detail
    assert list(stage.role.policies) == ["OffswitchRevoke"], "the canary has gone"
    hand.trip("kill")
    assert look.look().stands is True


def test_VER_2_a_denial_that_aws_forgot_is_not_seen(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    stage.aws.forgets = True
    hand.trip("kill")
    assert look.look().stands is False


def test_VER_2_a_denial_of_which_no_service_has_heard_is_not_seen(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look(**stage.tries())
    stage.aws.slow_to_tell = True
    hand.trip("kill")
    sight = look.look()
    assert sight.stands is False
    assert "still answered" in sight.detail
    stage.aws.slow_to_tell = False
    assert look.look().stands is True


def test_VER_2_another_policy_of_that_name_denies_nothing(stage: Stage) -> None:
    for odd in (
        canary(),
        '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}',
        '{"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Deny", "NotAction": "*", "Action": "*", "Resource": "*"}]}',
        "[]",
        '{"Statement": 3}',
        "no JSON",
    ):
        assert not denies_all(quote(odd)), odd
    assert denies_all(quote(at_stop(1_800_000_000)))
    assert len(canary()) > len(at_stop(1_800_000_000)), "what is too long is refused beforehand"
    stage.role.policies["OffswitchRevoke"] = canary()
    assert stage.look().look().stands is False


def test_RST_8_sessions_of_before_the_reset_stay_refused_and_later_ones_are_not(
    stage: Stage,
) -> None:
    hand, look = stage.hand(), stage.look(**stage.tries())
    hand.trip("kill")
    during = stage.aws.session(stage.role, age_s=0)
    released = hand.release()
    assert "stays" in released.detail
    assert any("stay refused" in one for one in released.reissue)
    assert look.look().stands is False, "what comes now may work"
    for old in (first(stage.role), during):
        assert tried(stage, old) == 403
    assert tried(stage, stage.aws.session(stage.role, age_s=-10)) == 200
    hand.trip("kill")
    assert tried(stage, stage.aws.session(stage.role, age_s=-10)) == 403
    hand.release()
    assert "Condition" in json.loads(stage.role.policies["OffswitchRevoke"])["Statement"][0]


@pytest.mark.parametrize("ahead_s", [7200, -7200])
def test_RST_8_and_it_is_the_clock_of_aws_that_counts(stage: Stage, ahead_s: int) -> None:
    stage.aws.ahead_s = ahead_s
    hand = stage.hand()
    assert "this clock is" in hand.arm().detail
    hand.trip("kill")
    during = stage.aws.session(stage.role, age_s=0)
    hand.release()
    assert tried(stage, during) == 403


def tried(stage: Stage, keys: Keys) -> int:
    """Try a session on the bucket: a status."""
    looks = credentials(first(stage.looker))
    secrets = {"look_secret_file": looks, "token_file": credentials(keys)}
    look = stage.of(stage.look(**stage.tries()).settings, Context(Role.LOOK, secrets))
    assert look._trial is not None
    refused = look._trial.attempt().refused
    assert refused is not None
    return 403 if refused else 200


def test_VER_2_a_users_keys_are_inactive_and_stay_so(stage: Stage) -> None:
    hand, look = stage.hand(user="agent"), stage.look(user="agent", token_file="/t")
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert all(stage.user.active.values()), "a proof touches no key"
    assert len(hand.holds()) == 2
    acted = hand.trip("kill")
    assert len(acted.happened) == 2
    assert not any(stage.user.active.values())
    assert look.look().stands is True
    anew = stage.aws.key(stage.user)
    sight = look.look()
    assert sight.stands is False, "somebody made a key while it is latched"
    assert anew.access_key[-4:] in sight.detail
    hand.trip("kill")
    assert look.look().stands is True


def test_RST_8_a_users_keys_are_not_given_back(stage: Stage) -> None:
    hand = stage.hand(user="agent")
    hand.trip("kill")
    released = hand.release()
    assert not any(stage.user.active.values())
    assert any("a new access key" in one for one in released.reissue)


def test_an_inactive_key_alone_is_no_stop_of_a_user(stage: Stage) -> None:
    look = stage.look(user="agent")
    stage.user.policies["OffswitchRevoke"] = at_stop(1_800_000_000)
    assert look.look().stands is False
    stage.user.policies.clear()
    stage.user.active = dict.fromkeys(stage.user.active, False)
    assert look.look().stands is False


def test_keys_are_made_inactive_even_where_the_policy_is_refused(stage: Stage) -> None:
    hand = stage.hand(user="agent")
    stage.stopper.may -= {"iam:PutUserPolicy"}
    with pytest.raises(Trouble, match="AccessDenied"):
        hand.trip("kill")
    assert not any(stage.user.active.values())


def test_a_key_that_stays_active_keeps_no_other_from_being_made_inactive(stage: Stage) -> None:
    first_key, second = stage.user.active
    stage.aws.stubborn = first_key
    with pytest.raises(Trouble, match="ServiceUnavailable"):
        stage.hand(user="agent").trip("kill")
    assert stage.user.active == {first_key: True, second: False}


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [
        (403, "AccessDenied", True),
        (403, "InvalidClientTokenId", True),
        (403, "SignatureDoesNotMatch", None),
        (403, "RequestTimeTooSkewed", None),
        (503, "", None),
        (503, "ServiceUnavailable", None),
    ],
)
def test_VER_2_a_call_that_fails_for_another_reason_is_no_refusal(
    stage: Stage,
    status: int,
    code: str,
    refused: bool | None,  # noqa: FBT001 - what a trial tells
) -> None:
    text = f"<Error><Code>{code}</Code></Error>" if code else "busy"
    looks = [stage.look(**stage.tries()), stage.look(user="agent", token_file="/t")]
    stage.aws.answer = lambda _: Said(status, text.encode())  # type: ignore[method-assign]
    for look in looks:
        assert look._trial is not None
        assert look._trial.attempt().refused is refused


def test_VER_2_a_page_that_refuses_for_the_time_is_asked_by_its_own_clock(stage: Stage) -> None:
    look = stage.look(**stage.tries())
    stage.aws.ahead_s = 7200
    assert look._trial is not None
    assert look._trial.attempt().refused is False


@pytest.mark.parametrize("missing", [*STOPPER[::2]])
def test_DRL_4_a_right_that_is_missing_is_no_proof(stage: Stage, missing: str) -> None:
    stage.stopper.may -= {missing}
    hand = stage.hand()
    if missing == STOPPER[2]:
        ready = hand.arm()
        assert ready.state is Ready.DEGRADED
        assert "OffswitchProof stays" in ready.detail
        return
    with pytest.raises(Trouble, match="AccessDenied"):
        hand.arm()


@pytest.mark.parametrize("missing", [*KEYS, OF_USERS[0]])
def test_DRL_4_nor_is_one_about_keys(stage: Stage, missing: str) -> None:
    stage.stopper.may -= {missing}
    with pytest.raises(Trouble, match="AccessDenied"):
        stage.hand(user="agent").arm()


def test_DRL_4_a_rotated_credential_is_found_by_the_next_proof(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    assert hand.arm().state is Ready.READY
    old = first(stage.stopper).access_key
    stage.aws.key(stage.stopper)
    stage.stopper.active[old] = False
    with pytest.raises(Trouble, match="InvalidClientTokenId"):
        hand.arm()
    stage.looker.active = dict.fromkeys(stage.looker.active, False)
    with pytest.raises(Trouble, match="InvalidClientTokenId"):
        look.arm()
    with pytest.raises(Trouble):
        look.look()


def test_the_canary_is_written_once_and_then_when_it_is_due(stage: Stage) -> None:
    hand = stage.hand()
    for _ in range(3):
        hand.arm()
    puts = [one for one in stage.aws.asked if b"Action=PutRolePolicy" in one.body]
    assert len(puts) == 1
    hand.close()
    hand.arm()
    puts = [one for one in stage.aws.asked if b"Action=PutRolePolicy" in one.body]
    assert len(puts) == 2, "after a trouble nothing is proven"


def test_whoever_would_stop_itself_is_refused(stage: Stage) -> None:
    with pytest.raises(Trouble, match="itself"):
        stage.hand(user="offswitch").arm()
    stage.stopper = stage.role
    with pytest.raises(Trouble, match="itself"):
        stage.hand().arm()


def test_a_target_whose_credential_is_refused_already_shows_nothing(stage: Stage) -> None:
    stage.role.may = frozenset()
    with pytest.raises(Trouble, match="nothing is cut"):
        stage.look(**stage.tries()).arm()
    with pytest.raises(Trouble, match="cannot be found"):
        stage.look(role="nobody").arm()


def test_a_look_by_the_credential_that_acts_is_a_lesser_one(stage: Stage) -> None:
    assert stage.look(look_secret_file=None).arm().state is Ready.DEGRADED


def test_SR_4_each_process_is_given_the_credential_that_it_needs(stage: Stage) -> None:
    section = stage.look(**stage.tries()).settings
    given = {
        looks: {key for key in section.SECRETS if section.given(key, looks=looks)}
        for looks in (False, True)
    }
    assert given == {False: {"secret_file"}, True: {"look_secret_file", "token_file"}}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"role": "a", "user": "b"},
        {"role": "a", "token_file": "/t"},
        {"user": "a", "probe": "http://127.0.0.1/"},
        {"role": "a/b"},
        {"role": "a", "endpoint": "http://iam.example.org"},
        {"role": "a", "secret_file": "relative"},
    ],
)
def test_settings_that_mean_nothing_are_refused(keys: dict[str, Any]) -> None:
    said = {"name": "a", "target": "a", "kind": "aws", "secret_file": "/s"}
    with pytest.raises(ValidationError):
        AwsSection.model_validate(said | keys)


def test_what_is_not_overridden_is_aws() -> None:
    said = {"name": "a", "target": "a", "kind": "aws", "secret_file": "/s", "role": "a"}
    section = AwsSection.model_validate(said | {"region": "eu-central-1"})
    assert section.sts() == "https://sts.eu-central-1.amazonaws.com"
    assert section.layer() == "credentials"
    with pytest.raises(BadConfig, match="secret_file"):
        Aws(section, Context(Role.ACT, {"secret_file": "nothing"}))


def test_SR_4_no_text_shows_a_secret_even_where_aws_quotes_it(stage: Stage) -> None:
    stopper = Keys(first(stage.stopper).access_key, "wrong-secret-of-ours", "token-of-a-session")
    secrets = {"secret_file": credentials(stopper)}
    hand = stage.of(stage.hand().settings, Context(Role.ACT, secrets))
    texts = [repr(hand), repr(hand.context), repr(hand.settings), repr(hand.route())]
    for act in (hand.arm, lambda: hand.trip("kill"), hand.look, hand.release):
        with pytest.raises(Trouble) as raised:
            act()
        texts += [str(raised.value), repr(raised.value)]
    assert "SignatureDoesNotMatch" in str(texts)
    for secret in ("wrong-secret", "token-of-a-session"):
        assert secret not in str(texts)

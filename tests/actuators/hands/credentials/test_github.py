"""GitHub's tokens are revoked, each as it was given out, against a stub of GitHub's API."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from actuators.hands.stubs.github import GitHub
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.github import Github, GithubSection
from offswitch.actuators.hands.credentials.turned import Turned
from offswitch.clock import SimulatedClock

APP = "gho_16C7e42F292c6912E7710c838347Ae178B4a"
OTHER = "gho_another-token-of-the-same-person"
INSTALLATION = "ghs_installation0123456789"
PERSONAL = "github_pat_11ABCDEFG0123456789_abcdefgh"
OF_APP = {"client_id": "Iv1.8a61f9b3a7aba766", "secret_file": "/s", "token_file": "/t"}
WAYS: dict[str, dict[str, Any]] = {
    "app_token": OF_APP,
    "app_grant": OF_APP,
    "installation": {"token_file": "/t"},
    "bulk": {"token_file": "/t"},
    "org_pat": {"org": "acme", "pat_id": 250, "secret_file": "/s"},
}
TOKENS = {"app_token": APP, "app_grant": APP, "installation": INSTALLATION, "bulk": PERSONAL}


class Stage:
    """A GitHub, and hands that speak with it."""

    def __init__(self) -> None:
        self.github = GitHub()
        self.github.app_tokens = {APP, OTHER}
        self.github.installation_tokens = {INSTALLATION}
        self.github.personal_tokens = {PERSONAL}
        self.github.org_pats = list(range(1, 301))
        self.made: list[Github] = []

    def hand(self, way: str, use: Role = Role.ACT, tokens: str = "", **said: Any) -> Github:  # noqa: ANN401 - settings
        keys = {"name": "code", "target": "shop/agent", "kind": "github", "way": way}
        section = GithubSection.model_validate(keys | {"api": self.github.url} | WAYS[way] | said)
        secrets = {"token_file": tokens or TOKENS.get(way, "")}
        secrets["secret_file"] = (
            self.github.org_token if way == "org_pat" else self.github.client_secret
        )
        if section.look_secret_file is not None:
            secrets["look_secret_file"] = self.github.org_reader
        looks = use is Role.LOOK
        named = {key for key in secrets if getattr(section, key) is not None}
        kept = {key: secrets[key] for key in named if section.given(key, looks=looks)}
        self.made.append(Github(section, Context(use, kept)))
        return self.made[-1]

    def look(self, way: str, **said: Any) -> Github:  # noqa: ANN401 - settings
        return self.hand(way, Role.LOOK, **said)

    def close(self) -> None:
        for one in self.made:
            one.close()
        self.github.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    one.close()


@pytest.mark.parametrize("way", WAYS)
def test_VER_2_a_token_that_was_revoked_is_seen_to_be_refused(stage: Stage, way: str) -> None:
    hand, look = stage.hand(way), stage.look(way)
    rehearsed = way not in {"bulk", "org_pat"}
    assert hand.arm().state is (Ready.READY if rehearsed else Ready.DEGRADED)
    assert look.arm().state is (Ready.DEGRADED if way == "org_pat" else Ready.READY)
    assert look.look().stands is False
    hand.trip("kill")
    if way == "bulk":
        assert look.look().stands is False, "it was accepted, not done"
        stage.github.finish()
    assert look.look().stands is True
    hand.trip("kill")
    assert look.look().stands is True
    assert OTHER not in stage.github.good if way == "app_grant" else OTHER in stage.github.good


@pytest.mark.parametrize("way", WAYS)
def test_VER_2_a_revocation_that_the_server_forgot_is_not_seen(stage: Stage, way: str) -> None:
    hand, look = stage.hand(way), stage.look(way)
    look.arm()
    stage.github.forgets = True
    hand.trip("kill")
    stage.github.finish()
    assert look.look().stands is False


@pytest.mark.parametrize("way", WAYS)
def test_RST_8_a_revoked_token_stays_refused_and_is_not_given_back(stage: Stage, way: str) -> None:
    hand, look = stage.hand(way), stage.look(way)
    look.arm()
    hand.trip("kill")
    stage.github.finish()
    released = hand.release()
    assert "nothing" in released.detail
    assert len(released.reissue) == 1
    assert look.look().stands is True
    with pytest.raises(Trouble):
        look.arm()


@pytest.mark.parametrize("way", [*TOKENS])
def test_DRL_4_a_token_that_was_renewed_is_no_proof_any_more(stage: Stage, way: str) -> None:
    stage.github.app_tokens = {OTHER}
    stage.github.installation_tokens = {"ghs_renewed"}
    stage.github.personal_tokens = {"ghp_renewed"}
    for hand in (stage.hand(way), stage.look(way)):
        with pytest.raises(Trouble):
            hand.arm()


def test_DRL_4_a_renewed_secret_of_the_app_is_no_proof_any_more(stage: Stage) -> None:
    hand = stage.hand("app_token")
    assert hand.arm().state is Ready.READY
    stage.github.client_secret = "another"
    with pytest.raises(Trouble, match="401"):
        hand.arm()
    with pytest.raises(Trouble, match="not revoked"):
        hand.trip("kill")


def test_DRL_4_a_right_that_is_missing_is_found_where_it_can_be(stage: Stage) -> None:
    stage.github.org_token = "ghs_a-new-one"
    hand = stage.hand("org_pat")
    assert "cannot be rehearsed" in hand.arm().detail
    stage.github.org_token = "ghs_yet-another"
    with pytest.raises(Trouble):
        hand.arm()
    with pytest.raises(Trouble, match="lists no token"):
        stage.look("org_pat", pat_id=999).arm()
    stage.github.unauthenticated = 0
    with pytest.raises(Trouble, match="left this hour"):
        stage.hand("bulk").arm()


def test_VER_2_a_token_that_was_refused_long_before_the_stop_proves_nothing(stage: Stage) -> None:
    hand, look = stage.hand("app_token"), stage.look("app_token")
    look._clock = clock = SimulatedClock(10**12)  # type: ignore[assignment]
    assert look.arm().state is Ready.READY
    stage.github.app_tokens = {OTHER}  # renewed: the target works by the other one
    clock.advance(3_600_000_000)
    hand.trip("kill")
    sight = look.look()
    assert sight.stands is None
    assert "another" in sight.detail


def test_VER_2_who_came_up_after_the_stop_saw_nothing_good_and_cannot_tell(stage: Stage) -> None:
    stage.hand("installation").trip("kill")
    assert stage.look("installation").look().stands is None
    stage.hand("org_pat").trip("kill")
    assert stage.look("org_pat").look().stands is None


def test_VER_3_what_was_seen_is_handed_to_the_process_that_looks_next(stage: Stage) -> None:
    look = stage.look("app_token")
    look.arm()
    stage.hand("app_token").trip("kill")
    assert look.look().stands is True
    assert APP not in look.memory
    after = Github(look.settings, replace(look.context, remembered=look.memory))
    assert after.look().stands is True
    after.memory = ""  # the reset
    assert after.look().stands is None, "of another stop it knows nothing"
    after.close()


def test_what_turned_stays_so_until_it_is_good_again_or_the_stop_is_over(stage: Stage) -> None:
    turned = Turned(hand := stage.look("app_token"))
    assert turned.bad("a", 0)
    turned.good("a", 1_000_000)
    assert not turned.bad("a", 20_000_000)
    assert not turned.bad("a", 10**12)
    assert turned.has("a")
    assert not turned.has("b")
    turned.good("a", 10**12)
    assert not turned.has("a")
    assert "was seen to be good 21 s ago" in turned.bad("a", 10**12 + 21_000_000)
    turned.good("b", 10**12)
    assert not turned.bad("b", 10**12)
    hand.memory = ""
    assert not turned.has("b")
    assert len(hand.memory) < 4096


def test_each_of_several_tokens_is_revoked_and_tried(stage: Stage) -> None:
    both = f"{APP}\n{OTHER}\n"
    hand, look = stage.hand("app_token", tokens=both), stage.look("app_token", tokens=both)
    hand.arm()
    look.arm()
    assert len(hand.holds()) == 2
    stage.hand("app_token").trip("kill")
    assert look.look().stands is False, "the other one is good"
    assert "known no more" in hand.trip("kill").detail
    assert look.look().stands is True
    assert not stage.github.app_tokens


def test_ACT_1_a_token_that_is_not_revoked_keeps_no_other_from_it(stage: Stage) -> None:
    stage.github.stubborn = APP
    hand = stage.hand("app_token", tokens=f"{APP}\n{OTHER}\n")
    with pytest.raises(Trouble, match="not revoked: 503"):
        hand.trip("kill")
    assert stage.github.app_tokens == {APP}


def test_VER_2_a_server_that_is_down_does_not_pass_for_one_that_refuses(stage: Stage) -> None:
    look = stage.look("app_token")
    look._clock = clock = SimulatedClock(10**12)  # type: ignore[assignment]
    look.arm()
    stage.hand("app_token").trip("kill")
    assert look.look().stands is True
    stage.github.stubborn = APP
    clock.advance(61_000_000)
    with pytest.raises(Trouble, match="cannot be told: 503"):
        look.look()


def test_github_is_not_asked_about_a_refused_token_more_than_once_a_minute(stage: Stage) -> None:
    hand, look = stage.hand("installation"), stage.look("installation")
    look._clock = clock = SimulatedClock(10**12)  # type: ignore[assignment]
    look.arm()
    hand.trip("kill")
    for _ in range(50):
        assert look.look().stands is True
    assert stage.github.refused == 1
    stage.github.patience = 1
    clock.advance(61_000_000)
    sight = look.look()
    assert sight.stands is True, "locked out, it rests on what it saw"
    assert "locked out meanwhile (403)" in sight.detail, "and says so"
    assert stage.github.refused == 2
    stage.github.installation_tokens = {INSTALLATION}
    clock.advance(61_000_000)
    assert look.look().stands is False, "and it did ask again"


def test_a_bulk_revocation_is_not_handed_in_again_and_again(stage: Stage) -> None:
    hand = stage.hand("bulk")
    for _ in range(20):
        hand.trip("kill")
    assert stage.github.unauthenticated == 59
    assert stage.github.bulk == [PERSONAL]
    stage.github.unauthenticated = 0
    with pytest.raises(Trouble, match="rate limit"):
        stage.hand("bulk").trip("kill")


def test_SR_4_a_look_is_not_given_the_secret_by_which_tokens_are_revoked(stage: Stage) -> None:
    assert set(stage.look("app_token").context.secrets) == {"token_file"}
    assert set(stage.look("org_pat").context.secrets) == {"secret_file"}
    assert set(stage.look("org_pat", look_secret_file="/l").context.secrets) == {"look_secret_file"}
    assert set(stage.hand("app_token").context.secrets) == {"token_file", "secret_file"}


def test_an_organisations_look_may_have_a_credential_of_its_own(stage: Stage) -> None:
    look = stage.look("org_pat", look_secret_file="/l")
    assert look.arm().state is Ready.READY
    assert look.route().credential == "/l"


@pytest.mark.parametrize(
    ("way", "keys"),
    [
        ("app_token", {"client_id": None}),
        ("installation", {"secret_file": "/s"}),
        ("bulk", {"token_file": None}),
        ("org_pat", {"pat_id": 0}),
        ("org_pat", {"token_file": "/t"}),
        ("bulk", {"look_secret_file": "/l"}),
        ("bulk", {"api": "http://api.github.com"}),
        ("bulk", {"token": "ghp_inline"}),
    ],
)
def test_settings_that_mean_nothing_are_refused(way: str, keys: dict[str, Any]) -> None:
    said = {"name": "a", "target": "a", "kind": "github", "way": way} | WAYS[way]
    assert GithubSection.model_validate(said).layer() == "credentials"
    with pytest.raises(ValidationError):
        GithubSection.model_validate(said | keys)


@pytest.mark.parametrize("way", [*TOKENS])
def test_SR_4_no_text_shows_a_token_even_where_github_quotes_it(stage: Stage, way: str) -> None:
    stage.github.app_tokens = stage.github.installation_tokens = set()
    stage.github.personal_tokens = set()
    hand, look = stage.hand(way), stage.look(way)
    stage.github.client_secret = "another-secret"  # so that ours is refused, and quoted
    texts = [repr(hand), repr(hand.context), repr(hand.settings), repr(hand.route())]
    texts += [*hand.holds(), *hand.release().reissue]
    acts: list[Callable[[], Any]] = [hand.arm, lambda: hand.trip("kill"), look.arm, look.look]
    for act in acts:
        try:
            texts.append(repr(act()))
        except Trouble as trouble:
            texts += [str(trouble), repr(trouble)]
    pair = base64.b64encode(f"{OF_APP['client_id']}:the-secret-of-the-app".encode()).decode()
    for secret in (TOKENS[way], "the-secret-of-the-app", "another-secret", pair):
        assert secret not in str(texts)

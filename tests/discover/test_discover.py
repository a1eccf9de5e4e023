"""What runs already and is under no control: found, named, and its configuration written."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adopted_ground import Ground
from installation import Installation
from needs import needs_root
from offswitch.config.load import installed_kinds, parse
from offswitch.errors import Refused
from offswitch.host.discover.found import Find, find
from offswitch.host.discover.probe import Answer, ask
from offswitch.host.discover.seen import Seen, everything
from offswitch.host.discover.signs import SHARED_UNITS, SIGNS, met
from offswitch.host.discover.written import configuration, write
from offswitch.watch.sensors.processes.tcp import TcpSocket

SERVER = """\
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {
            "/metrics": b"# HELP vllm:x y\\n# TYPE vllm:x gauge\\nvllm:x 1\\n",
            "/v1/models": b'{"object": "list", "data": [{"id": "m-7\\\\u001b[2J"}]}',
        }.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
SLOW = """\
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
held = []
while True:
    held.append(server.accept()[0])
    held[-1].sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs that end with the test."""
    children: list[subprocess.Popen[str]] = []

    def begin(*argv: str, **more: Any) -> subprocess.Popen[str]:  # noqa: ANN401
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **more)
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.communicate()


def program(folder: Path, name: str) -> str:
    """Give a program of that name that only sleeps."""
    path = folder / name
    shutil.copy("/bin/sleep", path)
    return str(path)


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def known_by(argv: Sequence[str]) -> str:
    sign = met(argv)
    return sign.name if sign else ""


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ("/opt/venv/bin/python /opt/venv/bin/vllm serve m", "vllm"),
        ("python3.11 -m vllm.entrypoints.openai.api_server --model m", "vllm"),
        ("python3 -u -m sglang.launch_server", "sglang"),
        ("/usr/local/bin/ollama serve", "ollama"),
        ("./llama-server -m x.gguf", "llama-server"),
        ("node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js", "claude"),
        ("claude --continue", "claude"),
        ("npx -y @modelcontextprotocol/server-filesystem /srv", "mcp-server"),
        ("uvx mcp-server-git --repository .", "mcp-server"),
        ("python -m mcp_server_fetch", "mcp-server"),
        ("/usr/bin/python3 /srv/weather_mcp.py", "mcp-server"),
        ("torchrun --nproc-per-node 8 train.py", "torchrun"),
        ("/usr/bin/python3 -c print('vllm')", ""),
        ("vim vllm.py", ""),
        ("grep -r ollama .", ""),
        ("/usr/sbin/sshd -D", ""),
        ("", ""),
    ],
)
def test_programs_are_known_by_name_script_module_or_word(argv: str, name: str) -> None:
    assert known_by(argv.split(" ")) == name


def test_the_table_is_in_order() -> None:
    names = [sign.name for sign in SIGNS]
    assert len(names) == len(set(names))
    for unit in ("session-3.scope", "ssh.service", "user@1000.service", "cron.service"):
        assert SHARED_UNITS.fullmatch(unit)
    assert not SHARED_UNITS.fullmatch("vllm.service")


# --- from processes to finds -----------------------------------------------------------


def seen(pid: int, argv: str, cgroup: str = "/", parent: int = 1, **more: Any) -> Seen:  # noqa: ANN401
    return Seen(
        pid,
        parent,
        pid,
        argv.split(" ", maxsplit=1)[0][:15],
        tuple(argv.split(" ")),
        0,
        cgroup,
        **more,
    )


def finds(*processes: Seen, answers: dict[int, list[Answer]] | None = None) -> dict[str, Find]:
    found = find(
        [seen(1, "init", "/init.scope"), *processes], {999}, answers or {}, "/mine.slice/x"
    )
    return {one.name: one for one in found}


ID = "0123456789ab" * 5 + "cdef"


def test_the_name_is_that_of_the_container_the_unit_or_a_cgroup_of_its_own() -> None:
    found = finds(
        seen(10, "ollama serve", "/system.slice/ollama.service"),
        seen(11, "ollama runner", "/system.slice/ollama.service", 10),
        seen(20, "vllm serve", f"/system.slice/docker-{ID}.scope"),
        seen(30, "claude", "/user.slice/user-1000.slice/session-3.scope", 31),
        seen(31, "bash", "/user.slice/user-1000.slice/session-3.scope"),
        seen(40, "aider", "/jobs/one"),
        seen(41, "sh", "/jobs/one", 40),
        seen(
            50,
            "torchrun train.py",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/train.service",
        ),
        seen(60, "codex", "/"),
        seen(70, "goose", "/mine.slice/x"),
        seen(80, "opencode", "/system.slice/cron.service"),
        seen(999, "vllm serve", "/system.slice/held.service"),
    )
    named = {name: one.named.text if one.named else one.why for name, one in found.items()}
    assert named == {
        "found/ollama": "unit ollama.service",
        f"found/vllm-{ID[:12]}": f"container {ID[:12]}",
        "found/claude": "it shares session-3.scope with other programs",
        "found/aider": "cgroup /jobs/one",
        "found/torchrun-train": "unit user@1000.service/train.service",
        "found/codex": "it shares the root of the cgroup tree with other programs",
        "found/goose": "its cgroup /mine.slice/x holds the session that asks",
        "found/opencode": "it shares cron.service with other programs",
    }
    assert [one.pid for one in found["found/ollama"].members] == [10, 11]


def test_libraries_accelerators_and_answers_give_away_what_bears_no_name() -> None:
    found = finds(
        seen(10, "python3 x.py", "/a", libraries=("torch",)),
        seen(20, "./job", "/b", gpus=("/dev/nvidia0",)),
        seen(30, "python3 server.py", "/c"),
        seen(40, "python3 other.py", "/d"),
        answers={30: [Answer("http://127.0.0.1:1", True, ("m",))], 40: []},
    )
    kinds = {one.lead.pid: (one.sign.name, one.sign.kind) for one in found.values()}
    assert kinds == {
        10: ("torch", "ai"),
        20: ("gpu-job", "ai"),
        30: ("model-server", "model-server"),
    }


def test_the_configuration_is_accepted_and_hostile_texts_stay_texts() -> None:
    evil = 'vllm" ]\n[[rule]]\x1b[2J\\'
    found = finds(
        Seen(10, 1, 10, "vllm", ("vllm", evil), 0, "/system.slice/v.service"),
        Seen(11, 1, 11, "vllm", ("vllm", evil), 0, '/odd"\n[[rule]]'),
        Seen(12, 1, 12, "vllm", ("vllm", evil), 0, "/"),
        answers={10: [Answer("http://127.0.0.1:8000", metrics=True)] * 2},
    )
    text = configuration(list(found.values()))
    config = parse(text.encode(), "x", installed_kinds())
    assert [(one.unit, one.cgroup) for one in config.target] == [
        ("v.service", None),
        (None, '/odd"\\n[[rule]]'),
    ]
    assert [one.name for one in config.sensor] == ["vllm-v-metrics", "vllm-v-metrics-2"]
    assert config.rule == []
    assert "\x1b" not in text
    assert "cannot be controlled as it runs" in text
    assert "offswitch run --target found/vllm" in text


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "found.toml"
    write(str(path), "x = 1\n")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="is not overwritten"):
        write(str(path), "y")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        write(str(tmp_path / "link"), "y")
    assert path.read_text() == "x = 1\n"
    assert not (tmp_path / "elsewhere").exists()


# --- real processes and servers --------------------------------------------------------


def test_a_server_on_loopback_is_asked_and_one_that_hangs_costs_a_bounded_while(
    start: Start,
) -> None:
    port = int(line(start(sys.executable, "-I", "-c", SERVER)))
    answer = ask("127.0.0.1", port)
    assert answer == Answer(f"http://127.0.0.1:{port}", True, ("m-7\x1b[2J",))
    slow = int(line(start(sys.executable, "-I", "-c", SLOW)))
    assert ask("127.0.0.1", slow) == Answer(f"http://127.0.0.1:{slow}")
    assert ask("127.0.0.1", 1).models is None


def test_a_process_is_seen_with_what_it_has_open(start: Start, tmp_path: Path) -> None:
    child = start(sys.executable, "-I", "-c", SERVER)
    port = int(line(child))
    [one] = everything([child.pid])
    assert one.argv[:3] == (sys.executable, "-I", "-c")
    loopback = ipaddress.ip_address("127.0.0.1")
    assert [(each.local, each.local_port) for each in one.listens] == [(loopback, port)]
    assert isinstance(one.listens[0], TcpSocket)
    assert one.here
    assert not one.closed
    assert one.parent == os.getpid()
    assert everything([os.getpid(), 2**22 - 1]) == []


def test_discover_finds_real_programs_and_leaves_out_what_is_under_the_switch(
    start: Start, tmp_path: Path
) -> None:
    needs_root()
    installation = Installation(tmp_path)
    ground = Ground()
    try:
        installation.start()
        argv = [program(tmp_path, "llama-server"), "1000"]
        held = installation.run(*argv, target="held", user="root", cwd="/")
        free = start(*argv)
        ground.make("model")
        server = ground.born("model", sys.executable, "-I", "-c", SERVER, stdout=subprocess.PIPE)
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()
        said = json.loads(installation.cli("discover", "--json").stdout)
        rows = {pid: row for row in said["found"] for pid in row["pids"]}
        assert held.born["pid"] not in rows
        assert rows[free.pid]["program"] == "llama-server"
        model = rows[server.pid]
        assert model["kind"] == "model-server"
        assert model["metrics"] == [f"http://127.0.0.1:{port}/metrics"]
        assert model["models"] == ["m-7\\x1b[2J"]
        assert model["adopt"] == {"cgroup": f"{ground.path}/model"}
        config = parse(said["config"].encode(), "x", installed_kinds())
        assert f"{ground.path}/model" in [one.cgroup for one in config.target]
        file = tmp_path / "found.toml"
        told = installation.cli("discover", "--write", str(file), "--no-probe")
        assert told.returncode == 0, told.stderr
        assert "Cannot be controlled as it runs" in told.stdout
        assert "llama-server" in file.read_text()
        again = installation.cli("discover", "--write", str(file), "--json", "--no-probe")
        assert json.loads(again.stdout)["error"]["kind"] == "refused"
    finally:
        installation.close()
        ground.close()

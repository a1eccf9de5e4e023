"""The adapters as they are started, each with a real warden."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.fronts.stage import FrontStage, free_port
from installation import Installation, until
from offswitch.gateway.fronts.litellm_hook import Front, Stopped


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    one = Installation(tmp_path)
    one.start()
    yield one
    one.close()


@pytest.fixture
def adapter(installation: Installation, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Start one; gives the file with what it says."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str) -> Path:
        said = tmp_path / "adapter-said"
        with said.open("wb") as out:
            command = [sys.executable, "-I", "-m", "offswitch", "gateway", "adapter", *argv]
            started.append(subprocess.Popen(command, stderr=out, env=installation.env))
        until(lambda: started[-1].poll() is not None or said.read_text().count("\n"), "it begins")
        assert started[-1].poll() is None, said.read_text()
        return said

    yield start
    for each in started:
        each.send_signal(signal.SIGTERM)
        assert each.wait(10) == 0


def test_ACT_4_a_stop_at_the_warden_shuts_haproxy_and_a_reset_opens_it_again(
    installation: Installation, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    stage = FrontStage(tmp_path)
    try:
        said = adapter("haproxy", "--socket", stage.socket, "--server", "engines/engine=shop/chat")
        flows = stage.streams()
        running = installation.run("sleep", "1000", target="shop/chat")
        answer = installation.stop("shop/chat")
        running.close()
        assert answer["confirmed"] is True, "its cell is seen to be empty"
        assert flows.recv(4096) == b""
        assert stage.ask()[1].startswith(b"HTTP/1.1 503")
        until(lambda: "no session left" in said.read_text(), "it says what it saw")
        [gateway] = [one for one in answer["targets"][0]["layers"] if one["layer"] == "gateway"]
        assert gateway["confirmed"] is False, "what an adapter does is listed, and never counted"
        assert "a front of others" in gateway["detail"]
        state, why = installation.target("shop/chat")["readiness"]["gateway"], "nobody sees into it"
        assert state == "degraded", why
        installation.reset("shop/chat")
        until(lambda: "ready" in said.read_text(), "it is opened again")
        stage.streams()
    finally:
        stage.close()


def test_ACT_6_litellm_is_told_where_the_page_is_and_its_webhook_stops(
    installation: Installation, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    port, token, front = free_port(), tmp_path / "token", tmp_path / "front.json"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    more = ["--listen", f"127.0.0.1:{port}", "--token-file", str(token), "--front", str(front)]
    said = adapter("litellm", "--target", "shop/chat", "--model", "m-eu=shop/eu", *more)
    until(lambda: "kill_switch" in said.read_text(), "it listens")
    page = Front(str(front))
    page.check("m-7", begun=False)
    page.check("m-eu", begun=False)

    def fire(shown: str) -> tuple[int, dict[str, object]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/stop/shop/eu", b"{}", {"authorization": f"Bearer {shown}"}
        )
        with contextlib.ExitStack() as stack:
            try:
                answer = stack.enter_context(urllib.request.urlopen(request, timeout=20))
            except urllib.error.HTTPError as error:
                answer = stack.enter_context(error)
            return answer.status, json.load(answer)

    assert fire("other")[0] == 401
    page.check("m-eu", begun=False)
    status, told = fire("s3cret")
    assert status in {200, 202}
    assert told["order"]
    with pytest.raises(Stopped, match="shop/eu is stopped"):
        page.check("m-eu", begun=False)
    page.check("m-7", begun=False)


def test_a_stranger_who_speaks_no_http_is_no_trouble(
    installation: Installation, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    stage = FrontStage(tmp_path)
    port = free_port()
    try:
        words = ["haproxy", "--socket", stage.socket, "--server", "engines/engine=shop/chat"]
        adapter(*words, "--standing", f"127.0.0.1:{port}")
        for sent in (
            b"\x16\x03\x01",
            b"GET\r\n\r\n",
            b"A" * 40_000,
            b"GET / HTTP/1.1\r\nx\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    sock.recv(1000)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/shop/chat", timeout=5) as answer:
            assert json.load(answer)["state"] == "open"
    finally:
        stage.close()

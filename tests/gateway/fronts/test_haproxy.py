"""A real HAProxy, shut by its runtime socket and by its health check, and what is said of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import until
from needs import needs_program
from offswitch.errors import Unreachable, Usage
from offswitch.gateway.fronts.asked import serve
from offswitch.gateway.fronts.haproxy import Haproxy, Runtime, Server, State, server_given
from offswitch.gateway.fronts.standing import Standing
from offswitch.model.level import Level

TARGET = "shop/chat"
ENGINE = Server("engines", "engine", TARGET)


class Words:
    """What a `Following` says, at a test's word."""

    def __init__(self) -> None:
        self.held: Level | None = None
        self.targets = (TARGET,)
        self.notes: list[str] = []

    def level(self, target: str) -> Level | None:
        assert target == TARGET
        return self.held

    def note(self, target: str, text: str) -> None:
        self.notes.append(f"{target}: {text}")

    async def changed(self) -> None:
        await asyncio.sleep(0.005)


def _port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Stage:
    """An upstream that streams without an end, and HAProxy in front of it."""

    def __init__(self, folder: Path, check: int = 0) -> None:
        program = needs_program("haproxy")
        self.open: list[socket.socket] = []
        self.upstream = socket.create_server(("127.0.0.1", 0))
        self.port, self.socket = _port(), str(folder / "admin")
        how = f"check addr 127.0.0.1 port {check} inter 50ms fall 1 rise 1" if check else ""
        how += " on-marked-down shutdown-sessions" if check else ""
        config = folder / "haproxy.cfg"
        config.write_text(
            f"""global
    stats socket {self.socket} mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 1m
    timeout server 1m
frontend models
    bind 127.0.0.1:{self.port}
    default_backend engines
backend engines
    {f"option httpchk GET /{TARGET}" if check else ""}
    server engine 127.0.0.1:{self.upstream.getsockname()[1]} {how}
"""
        )
        threading.Thread(target=self._serve, daemon=True).start()
        self.process = subprocess.Popen([program, "-db", "-f", str(config)], stderr=-3)
        until(lambda: os.path.exists(self.socket), "haproxy is up")

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _peer = self.upstream.accept()
                self.open.append(sock)
                sock.recv(4096)
                sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nto~\r\n")

    def ask(self) -> tuple[socket.socket, bytes]:
        """Ask; give the connection and what came first."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.open.append(sock)
        sock.sendall(b"GET /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n")
        return sock, sock.recv(4096)

    def streams(self) -> socket.socket:
        """Give a stream that flows."""
        sock, said = self.ask()
        while b"to~" not in said:
            said += sock.recv(4096)
        assert said.startswith(b"HTTP/1.1 200")
        return sock

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(5)
        for sock in (self.upstream, *self.open):
            sock.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path)
    yield one
    one.close()


def test_ACT_4_a_stop_shuts_what_flows_through_haproxy_and_says_what_it_saw(stage: Stage) -> None:
    words, said = Words(), list[str]()
    front = Haproxy(Runtime(stage.socket), [ENGINE], words, said.append)  # type: ignore[arg-type]
    flows = stage.streams()

    async def follow(until_: str) -> None:
        async with asyncio.timeout(5):
            while not any(until_ in each for each in said):
                await front.step()
                await asyncio.sleep(0.005)

    words.held = Level.KILL
    asyncio.run(follow("no session left"))
    assert flows.recv(4096) == b"", "the stream is torn off"
    assert words.notes
    assert "no session left after" in words.notes[0]
    assert stage.ask()[1].startswith(b"HTTP/1.1 503"), "nothing new is taken"
    words.held = None
    asyncio.run(follow("ready"))
    stage.streams()


def test_a_drain_lets_what_flows_end_and_takes_nothing_new(stage: Stage) -> None:
    words = Words()
    front = Haproxy(Runtime(stage.socket), [ENGINE], words, str)  # type: ignore[arg-type]
    flows = stage.streams()
    words.held = Level.DRAIN
    asyncio.run(front.step())
    assert stage.ask()[1].startswith(b"HTTP/1.1 503")
    flows.settimeout(0.1)
    with pytest.raises(TimeoutError):
        flows.recv(1)
    words.held = Level.RESTRICT  # which HAProxy knows nothing of
    asyncio.run(front.step())
    stage.streams()


def test_what_others_put_into_maintenance_is_theirs_to_open(stage: Stage) -> None:
    runtime, words = Runtime(stage.socket), Words()
    front = Haproxy(runtime, [ENGINE], words, str)  # type: ignore[arg-type]
    asyncio.run(runtime.put(ENGINE, State.MAINT))
    asyncio.run(front.step())
    assert asyncio.run(runtime.sessions(ENGINE))[1] == "MAINT"


def test_a_haproxy_that_does_not_answer_is_never_called_shut(tmp_path: Path) -> None:
    words, said = Words(), list[str]()
    words.held = Level.KILL
    runtime = Runtime(str(tmp_path / "nowhere"))
    front = Haproxy(runtime, [ENGINE], words, said.append)  # type: ignore[arg-type]
    asyncio.run(front.step())
    assert len(said) == 1
    assert "NOT CONFIRMED" in said[0]
    assert "No such file" in words.notes[0]


def test_a_server_that_haproxy_does_not_know_is_an_error_and_no_silence(stage: Stage) -> None:
    unknown = Server("engines", "other", TARGET)
    for ask in (Runtime.sessions, lambda runtime, one: runtime.put(one, State.MAINT)):
        with pytest.raises(Unreachable):
            asyncio.run(ask(Runtime(stage.socket), unknown))


def test_a_front_that_nobody_stands_for_is_shut_by_its_health_check(tmp_path: Path) -> None:
    port, words = _port(), Words()

    async def story() -> None:
        server = await serve(("127.0.0.1", port), Standing(words).answer)  # type: ignore[arg-type]
        one = await asyncio.to_thread(Stage, tmp_path, port)
        runtime = Runtime(one.socket)

        async def status(wanted: str) -> None:
            async with asyncio.timeout(10):
                while True:
                    if (await runtime.sessions(ENGINE))[1].startswith(wanted):
                        return
                    await asyncio.sleep(0.01)

        try:
            await status("UP")
            flows = await asyncio.to_thread(one.streams)
            words.held = Level.KILL
            await status("DOWN")
            assert await asyncio.to_thread(flows.recv, 1) == b""
            words.held = None
            await status("UP")
            again = await asyncio.to_thread(one.streams)
            server.close()  # the adapter is gone
            await status("DOWN")
            assert await asyncio.to_thread(again.recv, 1) == b""
        finally:
            one.close()

    asyncio.run(story())


@pytest.mark.parametrize("text", ["engine=a", "b/s", "b/s=", "b/s;show=x", "b/s x=t", ""])
def test_a_server_is_named_as_haproxy_names_it_and_nothing_else(text: str) -> None:
    assert server_given("b/s-1.x=shop/eu") == Server("b", "s-1.x", "shop/eu")
    with pytest.raises(Usage):
        server_given(text)

"""A real HAProxy, shut by its runtime socket and by its health check, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.fronts.stage import TARGET, FrontStage, free_port
from offswitch.errors import Unreachable, Usage
from offswitch.gateway.fronts.asked import serve
from offswitch.gateway.fronts.haproxy import Haproxy, Runtime, Server, State, server_given
from offswitch.gateway.fronts.standing import Standing
from offswitch.model.level import Level

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


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[FrontStage]:
    one = FrontStage(tmp_path)
    yield one
    one.close()


def test_ACT_4_a_stop_shuts_what_flows_through_haproxy_and_says_what_it_saw(
    stage: FrontStage,
) -> None:
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


def test_a_drain_lets_what_flows_end_and_takes_nothing_new(stage: FrontStage) -> None:
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


@pytest.mark.parametrize(("level", "status"), [(Level.KILL, "MAINT"), (Level.DRAIN, "DRAIN")])
def test_RST_1_a_haproxy_that_was_started_anew_is_held_again(
    stage: FrontStage, level: Level, status: str
) -> None:
    runtime, words = Runtime(stage.socket), Words()
    front = Haproxy(runtime, [ENGINE], words, str)  # type: ignore[arg-type]

    async def until_held() -> None:
        async with asyncio.timeout(5):
            while True:
                await front.step()
                if (await runtime.sessions(ENGINE))[1].startswith(status):
                    return
                await asyncio.sleep(0.01)

    words.held = level
    asyncio.run(until_held())
    stage.stop()
    stage.start()
    assert asyncio.run(runtime.sessions(ENGINE))[1].startswith(("UP", "no check"))
    asyncio.run(until_held())


def test_what_others_put_into_maintenance_is_theirs_to_open(stage: FrontStage) -> None:
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


def test_a_server_that_haproxy_does_not_know_is_an_error_and_no_silence(stage: FrontStage) -> None:
    unknown = Server("engines", "other", TARGET)
    for ask in (Runtime.sessions, lambda runtime, one: runtime.put(one, State.MAINT)):
        with pytest.raises(Unreachable):
            asyncio.run(ask(Runtime(stage.socket), unknown))


def test_a_front_that_nobody_stands_for_is_shut_by_its_health_check(tmp_path: Path) -> None:
    port, words = free_port(), Words()

    async def story() -> None:
        server = await serve(("127.0.0.1", port), Standing(words).answer)  # type: ignore[arg-type]
        one = await asyncio.to_thread(FrontStage, tmp_path, port)
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


@pytest.mark.parametrize("scur", ["", "x", "-1"])
def test_VER_6_a_row_that_tells_no_sessions_is_not_a_row_without_sessions(
    monkeypatch: pytest.MonkeyPatch, scur: str
) -> None:
    async def tell(_runtime: Runtime, _command: str) -> str:
        return f"# pxname,svname,scur,status\nengines,engine,{scur},MAINT\n"

    monkeypatch.setattr(Runtime, "tell", tell)
    with pytest.raises(Unreachable):
        asyncio.run(Runtime("/nowhere").sessions(ENGINE))

"""A real llama.cpp server and the hand on it: what can be stopped, and what only looks stopped."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import until
from needs import needs, needs_root
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import Context, Role
from offswitch.actuators.hands.serving.llama_cpp import LlamaCpp
from peers.llama_server import LlamaRouter, LlamaServer, chat, missing

pytestmark = pytest.mark.peers
Make = Callable[..., LlamaCpp]


@pytest.fixture
def hand() -> Iterator[Make]:
    needs_root()
    made: list[LlamaCpp] = []

    def make(server: LlamaServer, role: Role = Role.ACT) -> LlamaCpp:
        url = f"http://127.0.0.1:{server.port}"
        said = {"name": "engine", "target": "shop/llm", "kind": "llama_cpp", "url": url}
        one = LlamaCpp(LlamaCpp.Settings.model_validate(said), Context(role))
        made.append(one)
        one.prepare()
        one.open()
        return one

    yield make
    for one in made:
        one.close()


class Caller:
    """One client, in a thread of its own."""

    def __init__(self, port: int, *, stream: bool, headers: dict[str, str] | None = None) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        body = json.loads(chat(stream=stream)) | {"model": "tiny"}
        words = {"content-type": "application/json"} | (headers or {})
        self.connection.request("POST", "/v1/chat/completions", json.dumps(body), words)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            answer = self.connection.getresponse()
            with answer:
                while answer.read1(1 << 16):
                    pass
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass
        self.connection.close()
        self.ended.set()


def load(server: LlamaRouter) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(
        "POST", "/models/load", '{"model": "tiny"}', {"content-type": "application/json"}
    )
    connection.getresponse().read()
    until(lambda: models(server)["status"]["value"] == "loaded", "the model is loaded")
    connection.close()


def models(server: LlamaRouter) -> Any:  # noqa: ANN401 - JSON
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/models")
    found = json.loads(connection.getresponse().read())["data"]
    connection.close()
    return found[0]


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Callable[..., LlamaRouter]]:
    needs(not missing(), missing())
    made: list[LlamaRouter] = []

    def make(preset: str = "", *more: str) -> LlamaRouter:
        made.append(LlamaRouter(tmp_path, preset, *more))
        load(made[-1])
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_VER_2_a_model_of_a_router_is_ended_at_once_and_stands_when_its_process_is_gone(
    router: Callable[..., LlamaRouter], hand: Make
) -> None:
    server = router("stop-timeout = 0\n", "--no-models-autoload")
    act, look = hand(server), hand(server, Role.LOOK)
    assert look.look().stands is False
    callers = [Caller(server.port, stream=stream) for stream in (True, False)]
    until(lambda: (act.arm(), len(act.holds()) == 2)[1], "both are in work")
    assert act.arm().state is Ready.READY
    told = act.trip("kill")
    assert "tokens written" in told.happened[0]
    until(lambda: look.look().stands, "unloaded", 2)
    assert all(each.ended.wait(2) for each in callers)
    again = Caller(server.port, stream=False)
    assert again.ended.wait(2), "who comes after it is refused"
    assert look.look().stands is True
    act.trip("kill")
    assert act.release().reissue == ("load tiny again: POST /models/load",)
    assert models(server)["status"]["value"] == "unloaded"


def test_VER_6_a_model_that_was_told_to_unload_and_writes_on_does_not_stand(
    router: Callable[..., LlamaRouter], hand: Make
) -> None:
    server = router("stop-timeout = 2\n", "--no-models-autoload")
    act, look = hand(server), hand(server, Role.LOOK)
    Caller(server.port, stream=False)
    until(lambda: (act.arm(), act.holds())[1], "it is in work")
    assert "stop-timeout = 0" in act.arm().detail
    assert act.trip("kill").detail == "unloads tiny", "the router says that it does"
    sight = look.look()
    assert (sight.stands, sight.detail) == (False, "tiny is loaded")
    until(lambda: look.look().stands, "two seconds later it is", 6)


def test_a_router_that_loads_by_itself_is_degraded_and_never_stands(
    router: Callable[..., LlamaRouter], hand: Make
) -> None:
    server = router("stop-timeout = 0\n")
    act, look = hand(server), hand(server, Role.LOOK)
    assert "loads it again" in act.arm().detail
    act.trip("kill")
    until(lambda: look.look().stands is None, "unloaded, for now", 2)
    Caller(server.port, stream=False)
    until(lambda: look.look().stands is False, "and loaded again")


@pytest.fixture
def single() -> Iterator[LlamaServer]:
    needs(not missing(), missing())
    with LlamaServer() as server:
        yield server


def test_VER_6_callers_of_one_model_are_cut_off_and_it_is_never_called_stopped_while_it_listens(
    single: LlamaServer, hand: Make
) -> None:
    act, look = hand(single), hand(single, Role.LOOK)
    told = act.arm()
    assert (told.state, "needs its cell" in told.detail) == (Ready.DEGRADED, True)
    assert look.arm().state is Ready.DEGRADED
    after = len(single.lines)
    caller = Caller(single.port, stream=True)
    task = single.began(after)
    cut = act.trip("kill")
    assert cut.detail.startswith("cut off "), "the caller, and our own look, which comes again"
    assert caller.ended.wait(2)
    assert single.ended(task, 2) is not None, "a stream is given up"
    until(lambda: "idle" in look.look().detail, "its slots are idle", 5)
    assert look.look().stands is None, "and it would serve whoever asks"
    single.process.kill()
    single.process.wait()
    until(lambda: look.look().stands is True, "nobody listens", 3)


def test_VER_6_what_was_asked_for_with_a_conversation_goes_on_without_its_caller(
    single: LlamaServer, hand: Make
) -> None:
    """Should this fail one day, llama.cpp has learnt it, and the hand may say more."""
    act, look = hand(single), hand(single, Role.LOOK)
    look.arm()
    after = len(single.lines)
    caller = Caller(single.port, stream=True, headers={"x-conversation-id": "c-1"})
    task = single.began(after)
    act.trip("kill")
    assert caller.ended.wait(2)
    assert single.ended(task, 1.5) is None, "it writes on for nobody"
    until(lambda: look.look().stands is False, "and that is seen", 4)

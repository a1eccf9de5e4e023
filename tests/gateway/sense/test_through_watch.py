"""From a chunk that passes to a stop: a real gateway worker, warden and watch, eyes without rights.

Five agents go wrong, each in a way of its own that the gateway can see, and one does not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gate import Client
from gate_ground import layer
from gateway_stand import Stand
from installation import Installation, until
from needs import needs_root
from scripted_upstream import ScriptedUpstream, Visit
from speaking_models import PROSE, chat, chat_calls, words
from watch.conftest import Shop

CANARY = "Zebra-7431-quiet-Harbour"
Say = Callable[[Visit], None]


class Ground:
    """An installation, a whole gateway in it, and a server with each agent's model."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.shop = Shop(self.installation)
        self.stand = Stand(self.installation)
        self.stand.upstream.script = self._visit
        self.says: dict[str, Say] = {}

    def _visit(self, visit: Visit) -> None:
        name = visit.line.split(b"/")[1].decode()
        visit.begin()
        try:
            self.says[name](visit)
        except OSError:
            visit.end()

    def start(self, tables: Sequence[str], routes: Sequence[str]) -> None:
        """Write the configuration, and start the gateway and watch by it."""
        gateway = (
            f'[[gateway]]\nname = "models"\nlisten = ["127.0.0.1:{self.stand.port}"]\n'
            f'upstream = "http://127.0.0.1:{self.stand.upstream.port}"\n'
        )
        every = [gateway, *routes, *tables]
        self.shop.config.write_text("".join(every))
        self.shop.config.chmod(0o600)
        self.stand.start()
        self.shop.start_watch(*every)

    def ask(self, name: str) -> Client:
        client = Client(self.stand.port)
        self.stand.clients.append(client)
        said = {"model": "m-7", "stream": True, "messages": [{"role": "user", "content": "go on"}]}
        client.ask(f"/{name}/v1/chat/completions", json.dumps(said).encode())
        return client

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["target"]: row for row in self.installation.status()["targets"]}

    def close(self) -> None:
        self.shop.close()
        self.stand.close()
        self.installation.close()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    needs_root()
    one = Ground(tmp_path)
    try:
        one.installation.start()
        yield one
    finally:
        one.close()


def route(target: str, more: str = "") -> str:
    path = f"/{target.rpartition('/')[2]}/"
    return f'[[gateway.route]]\ntarget = "{target}"\npath = "{path}"\n{more}'


def sensor(target: str) -> str:
    name = target.rpartition("/")[2]
    return f'[[sensor]]\nname = "{name}"\ntarget = "{target}"\nkind = "gateway"\nevery = "100ms"\n'


def rule(target: str, detector: str) -> str:
    name = target.rpartition("/")[2]
    return (
        f'[[rule]]\nname = "{name}"\ntarget = "{target}"\nharm = "it acts on"\n'
        f'time_to_harm = "5s"\nfalse_stop_cost = "minutes"\nact = "auto"\n'
        f"detectors = [{detector}]\n"
    )


def slowly(chunks: Callable[[], Iterator[bytes]], pause_s: float) -> Say:
    """Say the same for ever, at some pace."""

    def say(visit: Visit) -> None:
        while True:
            for chunk in chunks():
                if b"[DONE]" not in chunk:
                    visit.chunk(chunk)
                    time.sleep(pause_s)

    return say


def many(chunks: Callable[[int], Iterator[bytes]]) -> Say:
    """Answer, a bit different each time; then end."""
    count = iter(range(1_000_000))

    def say(visit: Visit) -> None:
        for chunk in chunks(next(count)):
            visit.chunk(chunk)
        visit.finish()

    return say


def answered(number: int) -> Iterator[bytes]:
    """Refuse three of four; from the hundredth answer on, none."""
    refused = number < 100 and number % 4
    return chat(["I'm sorry, but I cannot." if refused else f"Of course, here is {number}."])


def test_MON_1_and_DET_2_what_passes_is_a_fresh_signal_and_what_goes_wrong_in_it_is_stopped(
    ground: Ground,
) -> None:
    Path(ground.installation.home, "canaries").write_text(f"zebra: {CANARY}\n")
    burning = 'burn.tokens{direction="output"}'
    faults = {
        "shop/burn": f'{{ kind = "rate", series = \'{burning}\', above = 400, per = "1s" }}',
        "shop/trap": '{ kind = "threshold", series = "trap.repetition", above = 0.8 }',
        "shop/loop": '{ kind = "repetition", series = "loop.tool", times = 10 }',
        "shop/leak": '{ kind = "threshold", series = \'leak.canary{name="zebra"}\', above = 0 }',
        "shop/bold": '{ kind = "refusal_collapse", series = "bold.answer", learn = 100 }',
    }
    well = "shop/well"
    faults[well] = '{ kind = "threshold", series = "well.repetition", above = 0.8 }'
    ground.says = {
        "burn": slowly(lambda: chat(words(PROSE, 500)), 0.001),
        "trap": slowly(lambda: chat(words("I will try that again .", 500)), 0.002),
        "loop": many(lambda _number: chat_calls("search", ['{"q": "the same"}'])),
        "leak": slowly(lambda: chat([*words(PROSE, 20), *CANARY]), 0.01),
        "bold": many(answered),
        "well": slowly(lambda: chat(words(PROSE[::-1] + PROSE, 200)), 0.02),
    }
    tables = [sensor(target) + rule(target, detector) for target, detector in faults.items()]
    ground.start(tables, [route(target) for target in faults])
    until(lambda: ground.shop.seen("model", well), "watch looks", 15)
    streams = {name: ground.ask(name) for name in ("burn", "trap", "leak", "well")}
    for client in streams.values():
        client.until(b"data: ")

    def fresh() -> bool:
        said = json.loads(ground.installation.cli("status", "--json").stdout)
        ages = {row["target"]: row["signals"].get("model", {}) for row in said["targets"]}
        return ages[well].get("age_ms", 9999) < 2000 and not ages[well]["stale"]

    until(fresh, "the signal is fresh")
    for _ in range(12):
        ground.ask("loop").answer()
    for _ in range(300):
        client = ground.ask("bold")
        if client.until(b"\r\n").split()[1] == b"503":
            break
        client.close()
        ground.stand.clients.remove(client)
        time.sleep(0.002)

    def latched() -> bool:
        rows = ground.rows()
        return all(rows[target]["latched"] for target in faults if target != well)

    until(latched, "each of the faults is found and its target stopped", 10)
    assert not ground.rows()[well]["latched"], "this one does what it should"
    for name in ("burn", "trap", "leak"):
        assert streams[name].rest()[1] in {"closed", "reset"}, "its stream has ended"
    assert streams["well"].until(b"data: ")
    assert CANARY not in json.dumps(ground.installation.entries())


def test_VER_6_a_model_that_works_on_behind_a_closed_stream_is_not_confirmed(
    ground: Ground,
) -> None:
    metrics = ScriptedUpstream()
    written = iter(range(1000, 1_000_000, 100))
    works_on = [True]

    def page(visit: Visit) -> None:
        count = int(works_on[0])
        text = f"vllm:num_requests_running {count}\nvllm:generation_tokens_total {next(written)}\n"
        visit.answer(text.encode())
        visit.end()

    metrics.script = page
    evidence = f'evidence = {{ kind = "vllm", url = "http://127.0.0.1:{metrics.port}" }}\n'
    ground.says = {name: slowly(lambda: chat(["a"] * 50), 0.01) for name in ("on", "hosted")}
    ground.start([], [route("shop/on", evidence), route("shop/hosted")])
    streams = [ground.ask(name) for name in ("on", "hosted")]
    for client in streams:
        client.until(b"data: ")
    ground.installation.stop("shop/hosted")
    ground.installation.stop("shop/on")
    for client in streams:
        assert client.rest()[1] in {"closed", "reset"}

    until(lambda: not ground.installation.target("shop/on")["confirmed"], "it works on", 5)
    again = ground.installation.stop("shop/on")
    assert again["confirmed"] is False
    assert layer(again)["confirmed"] is False
    assert "egress cut, upstream still busy: vLLM's gauge, 1 request" in layer(again)["detail"]
    hosted = ground.installation.stop("shop/hosted")
    assert hosted["confirmed"] is True, "of the egress, and of nothing behind it"
    assert str(layer(hosted)["detail"]).endswith("egress cut, upstream not confirmed")
    works_on[0] = False
    until(lambda: ground.installation.target("shop/on")["confirmed"], "nothing works there", 5)
    notes = [one for one in ground.installation.entries() if one.get("what") == "gateway: upstream"]
    assert len(notes) >= 2
    metrics.close()

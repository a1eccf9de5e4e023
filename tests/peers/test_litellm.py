"""The real LiteLLM proxy with our hook: a stop refuses its calls and ends its streams."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import HandPage
from installation import until
from offswitch.control.page import RUN
from offswitch.gateway.fronts import litellm_hook
from offswitch.model.level import Level
from peers.environment import peer_environ, peer_python
from scripted_upstream import ScriptedUpstream, Visit

pytestmark = pytest.mark.peers
SLOT = 4
TOKEN = (
    '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m-7",'
    '"choices":[{"index":0,"delta":{"content":" token %d"},"finish_reason":null}]}'
)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Proxy:
    """LiteLLM's proxy as a process, the hook beside its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.page, self.port = folder, HandPage(), _free_port()
        self.page.set(SLOT, RUN)
        self.goes_on = threading.Event()
        self.upstream = ScriptedUpstream(self._script)
        shutil.copy(litellm_hook.__file__, folder / "litellm_hook.py")
        front = {
            "page": f"/proc/{os.getpid()}/fd/{self.page.fd}",
            "slots": {"shop/chat": SLOT},
            "models": {},
            "usual": "shop/chat",
        }
        (folder / "front.json").write_text(json.dumps(front))
        engine = {
            "model": "openai/m-7",
            "api_base": f"http://127.0.0.1:{self.upstream.port}/v1",
            "api_key": "sk-test",
        }
        config = {
            "model_list": [{"model_name": "m-7", "litellm_params": engine}],
            "litellm_settings": {"callbacks": "litellm_hook.hook"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        program = str(Path(peer_python("litellm")).with_name("litellm"))
        argv = [program, "--config", str(folder / "config.json"), "--host", "127.0.0.1"]
        argv += ["--port", str(self.port), "--telemetry", "False"]
        more = {"OFFSWITCH_FRONT": str(folder / "front.json"), "LITELLM_LOCAL_MODEL_COST_MAP": "1"}
        with (folder / "said").open("wb") as said:
            self.process = subprocess.Popen(
                argv, stdout=said, stderr=said, env=peer_environ(**more), cwd=folder
            )
        until(self._up, "litellm is up", 90)

    def _up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "said").read_text()[-3000:]
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def _script(self, visit: Visit) -> None:
        if b'"stream":true' not in visit.body.replace(b" ", b""):
            message = {"role": "assistant", "content": "It is open."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            said = {"id": "c", "object": "chat.completion", "created": 1, "model": "m-7"}
            visit.answer(json.dumps(said | {"choices": [choice]}).encode())
            return
        visit.begin()
        for number in range(10_000):
            visit.event(TOKEN % number)
            time.sleep(0.01)

    def ask(self, *, stream: bool) -> Any:  # noqa: ANN401 - urllib's answer
        said = [{"role": "user", "content": "Is it open?"}]
        body = json.dumps({"model": "m-7", "messages": said, "stream": stream}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            body,
            {"content-type": "application/json", "authorization": "Bearer sk-any"},
        )
        return urllib.request.urlopen(request, timeout=20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.upstream.close()
        self.page.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    one = Proxy(tmp_path_factory.mktemp("litellm"))
    yield one
    one.close()


def test_ACT_6_a_stop_refuses_the_calls_of_a_real_litellm_and_ends_its_streams(
    proxy: Proxy,
) -> None:
    with proxy.ask(stream=False) as answer:
        assert json.load(answer)["choices"][0]["message"]["content"] == "It is open."
    with proxy.ask(stream=True) as flows:
        assert b"token" in flows.readline()
        proxy.page.set(SLOT, RUN + Level.KILL)
        rest = flows.read()
    assert b"shop/chat is stopped" in rest
    assert rest.count(b"token") < 200
    asked = len(proxy.upstream.visits)
    with pytest.raises(urllib.error.HTTPError) as refused:
        proxy.ask(stream=False)
    with refused.value as error:
        assert error.code == 503
        assert error.headers["x-should-retry"] == "false"
        assert "shop/chat is stopped" in json.load(error)["error"]["message"]
    assert len(proxy.upstream.visits) == asked, "nothing of it reached the model"
    proxy.page.set(SLOT, RUN)
    proxy.ask(stream=False).close()

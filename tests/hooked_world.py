"""Something that a signed message stops, behind a real HTTP server; it may obey, lie, hang, refuse.

    world.mood = "lies"      it answers that it has stopped, and goes on
    world.mood = "hangs"     it takes the message and answers nothing
    world.mood = "slow"      it obeys after `world.delay_s`
    world.mood = "refuses"   it answers 500
    world.mood = "raises"    it breaks the connection off

Whoever posts to `/act` acts, as long as it runs; `world.acts` counts. `/again` has it run again.
How things are stands at `/state`, for whoever looks. As a program it says its address and serves.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from offswitch.model.webhook import signature

__all__ = ["KEY", "HookedWorld", "declared"]

KEY = "a-key-that-both-have"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    world: HookedWorld

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        pass  # whoever asked has gone


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def world(self) -> HookedWorld:
        found: HookedWorld = self.server.world  # type: ignore[attr-defined]
        return found

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        pass

    def do_GET(self) -> None:
        self.answer({"state": self.world.state, "stops": self.world.stops[-9:]})

    def do_POST(self) -> None:
        came = time.monotonic_ns()
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/act":
            self.act()
            return
        if self.path == "/again":
            self.world.state = "running"
            self.world.stops.clear()
            self.answer({})
            return
        said = json.loads(body)
        match said["type"]:
            case "offswitch.probe":
                self.world.probes += 1
                self.answer({"nonce": said["data"]["nonce"]})
            case "offswitch.release":
                self.world.releases += 1
                self.world.state = "running"
                self.answer({})
            case _:
                self.world.stops.append(came)
                self.stop()

    def act(self) -> None:
        allowed = self.world.state == "running"
        self.world.acts += allowed
        self.answer({}, 200 if allowed else 401)

    def stop(self) -> None:
        match self.world.mood:
            case "lies":
                self.answer({"detail": "it is stopped"})
            case "hangs":
                self.world.free.wait(30)
                self.close_connection = True
            case "refuses":
                self.answer({"detail": "no"}, 500)
            case "raises":
                self.close_connection = True
            case _:
                self.world.free.wait(self.world.delay_s)
                self.world.state = "stopped"
                self.answer({"happened": ["job 7: half done"]})

    def answer(self, what: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(what).encode()
        number, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        if number is not None:
            self.send_header("webhook-signature", signature(self.world.key, number, int(at), data))
        self.end_headers()
        self.wfile.write(data)


def declared(url: str, name: str, target: str, key: Path, layer: str) -> dict[str, Any]:
    """Give the actuator by which a warden stops what serves at `url`."""
    settings = {
        "name": name,
        "target": target,
        "kind": "webhook",
        "as_layer": layer,
        "url": f"{url}/hook",
        "key_file": str(key),
        "look_url": f"{url}/state",
        "look_is": {"state": "stopped"},
        "prove": "500ms",
    }
    told = {"name": name, "target": target, "kind": "webhook", "layer": layer}
    told |= {"settings": settings, "files": [str(key)]}
    return {**told, "deadline_us": 500_000, "prove_us": 500_000}


class HookedWorld:
    """One thing that can be stopped."""

    def __init__(self, mood: str = "obeys") -> None:
        self.mood = mood
        self.key = KEY
        self.delay_s = 0.0
        self.state = "running"
        self.stops: list[int] = []
        """When each stop came (CLOCK_MONOTONIC, ns)."""
        self.releases = 0
        self.acts = 0
        self.probes = 0
        self.free = threading.Event()

        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.world = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def declared(
        self,
        name: str,
        target: str,
        key: Path,
        layer: str = "credentials",
        **more: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Give the actuator as the warden is told it."""
        return {**declared(self.url, name, target, key, layer), **more}

    def close(self) -> None:
        self.free.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


if __name__ == "__main__":
    print(HookedWorld().url, flush=True)

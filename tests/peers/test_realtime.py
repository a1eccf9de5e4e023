"""The real OpenAI client's realtime session, a websocket, through the gateway: carried, and cut."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest

from gateway.hostile.test_websockets import frame
from offswitch.gateway.wire.frames import accepts
from peers.conftest import TARGET, Shop
from peers.environment import in_peer
from scripted_upstream import ScriptedUpstream, Visit

pytestmark = pytest.mark.peers

SESSION = """
import asyncio, json, sys
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

async def main():
    client = AsyncOpenAI(api_key="k", base_url=f"http://127.0.0.1:{sys.argv[1]}/v1")
    told = {"types": [], "error": None, "code": None, "reason": ""}
    async with client.realtime.connect(model="m-7") as session:
        await session.send({"type": "response.create"})
        try:
            while True:
                event = await session.recv()
                told["types"].append(event.type)
                if event.type == "error":
                    told["error"] = event.error.to_dict()
        except ConnectionClosed as ended:
            told["code"], told["reason"] = ended.rcvd.code, ended.rcvd.reason
    print(json.dumps(told))

asyncio.run(main())
"""


def opening(visit: Visit) -> None:
    visit.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: %b\r\n\r\n" % accepts(visit.headers[b"sec-websocket-key"])
    )


def test_ACT_1_a_realtime_session_ends_with_an_error_and_a_close(
    shop_of: Callable[..., Shop], upstream: ScriptedUpstream
) -> None:
    shop = shop_of()

    def script(visit: Visit) -> None:
        opening(visit)
        assert visit.sock.recv(65536)
        for number in range(10_000):
            said = {"type": "response.output_text.delta", "delta": f"token {number} "}
            visit.send(frame(json.dumps(said).encode(), 0x81))
            if number == 50:
                shop.gate.stop(TARGET)

    upstream.script = script
    told = in_peer("openai-agents", SESSION, str(shop.gate.port))
    assert told["types"][:50] == ["response.output_text.delta"] * 50
    assert told["types"][-1] == "error"
    assert told["error"]["code"] == "offswitch_stopped"
    assert (told["code"], told["reason"]) == (1008, f"stopped: {TARGET}")
    assert upstream.visits[0].line == b"GET /v1/realtime?model=m-7 HTTP/1.1"


def test_a_realtime_session_that_the_server_ends_passes_unchanged(
    shop_of: Callable[..., Shop], upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        opening(visit)
        visit.send(frame(b'{"type": "session.created"}', 0x81))
        visit.send(frame(struct.pack("!H", 4000) + b"bye", 0x88))
        visit.sock.recv(65536)
        visit.end()

    upstream.script = script
    shop = shop_of()
    told = in_peer("openai-agents", SESSION, str(shop.gate.port))
    assert told["types"] == ["session.created"]
    assert (told["code"], told["reason"]) == (4000, "bye")

"""The answer to a kill webhook, such as the one that LiteLLM keeps for each agent.

    LiteLLM ("kill_switch": {"url": "http://127.0.0.1:8198/stop/shop/eu/checkout",
                             "auth": {"type": "bearer", "token": "…"}})  ─►  a stop of that scope

Whoever shows the token may stop, alone and at once, and nothing else: there is no road back here.
The answer waits until the stop is confirmed, no longer than LiteLLM waits for it (ten seconds), and
says what was seen: 200 confirmed, 202 latched but not (yet) confirmed. LiteLLM keeps both in its
audit log, and takes both for success. The body of the request is not read: it is the caller's.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from base64 import b64decode
from binascii import Error as NotBase64
from urllib.parse import unquote

from offswitch.clock import new_nonce
from offswitch.control.client import Conversation
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.gateway.fronts.asked import Answer, Asked
from offswitch.model.level import Level

__all__ = ["KillWebhook"]

_PREFIX = "/stop/"
_WAIT_S = 8.0


class KillWebhook:
    """Turns a request into a stop of a scope that it may name."""

    def __init__(self, place: Place, token: str, scopes: tuple[str, ...], by: str) -> None:
        """`token` opens it, `scopes` and what lies below them may be stopped, `by` is who did."""
        self._place = place
        self._token = token.encode()
        self._scopes = scopes
        self._by = by

    async def answer(self, asked: Asked) -> Answer:
        """Stop what the path names; every method is taken, as LiteLLM offers them all."""
        if not self._opens(asked):
            return _error(401, "refused", "the token is not the one that stops", "")
        scope = unquote(asked.path.partition("?")[0])
        if not scope.startswith(_PREFIX):
            return _error(404, "not-found", "nothing is here", "POST /stop/SCOPE")
        scope = scope.removeprefix(_PREFIX).strip("/")
        if not any(f"{scope}/".startswith(f"{each}/") for each in self._scopes):
            return _error(404, "not-found", f"{scope[:200]} is not stopped from here", "--target")
        try:
            return await asyncio.to_thread(self._stop, scope)
        except OffswitchError as error:
            return _error(503, str(error.kind), str(error), "offswitch stop")

    def _opens(self, asked: Asked) -> bool:
        kind, _, shown = asked.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                shown = b64decode(shown, validate=True).decode().partition(":")[2]
            except (NotBase64, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            shown = asked.headers.get("x-api-key", "")
        return hmac.compare_digest(shown.strip().encode(), self._token)

    def _stop(self, scope: str) -> Answer:
        message = {
            "op": "stop",
            "scopes": [scope],
            "level": Level.KILL.label,
            "nonce": new_nonce(),
            "time_us": time.time_ns() // 1000,
            "channel": "rule",
            "by": self._by,
        }
        end = time.monotonic() + _WAIT_S
        with Conversation(self._place.warden_socket, _WAIT_S) as conversation:
            accepted = conversation.ask(message)
            said: dict[str, object] = {"order": accepted.get("order"), "confirmed": False}
            try:
                conversation.sock.settimeout(max(end - time.monotonic(), 0.1))
                final = conversation.receive()
            except OffswitchError:
                final = None
        if final is not None and final.get("confirmed"):
            return Answer(200, said | {"confirmed": True})
        return Answer(202, said | {"hint": f"offswitch status {scope}"})


def _error(status: int, kind: str, message: str, hint: str) -> Answer:
    return Answer(status, {"error": {"kind": kind, "message": message, "hint": hint}})

"""A receiver of our webhook as its page describes it, with an axis that moves: a toy plant.

It believes a message that is signed by the key, of now, and new. It runs until it is told to stop;
then it brakes in its own time, ends in the state that the message wants, and stays there, whatever
a release says. Its account of itself is a page of JSON that only the looking key opens.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json

from actuators.hands.stubs.web import Asked, Said, Stub

__all__ = ["Plant"]


class Plant(Stub):
    """A machine behind a controller. `url + "/hook"` takes messages, `url + "/account"` tells."""

    def __init__(self, key: str = "the key we share", look_key: str = "the key to look") -> None:
        self.key, self.look_key = key, look_key
        self.state, self.rpm = "running", 3000
        self.brakes_s = 0.0
        """How long it takes to stand."""
        self.deaf = False
        """Whether it answers 200 and does nothing."""
        self.signs = True
        """Whether it signs its answers to probes."""
        self.heard: list[dict[str, object]] = []
        self._seen: set[str] = set()
        self._stands_at: float | None = None
        self._wanted = ""
        super().__init__()

    def answer(self, asked: Asked) -> Said:
        if asked.path == "/account":
            return self._account(asked)
        message_id = asked.headers.get("webhook-id", "")
        at = int(asked.headers.get("webhook-timestamp", "0"))
        made = self._sign(message_id, at, asked.body)
        if not hmac.compare_digest(made, asked.headers.get("webhook-signature", "")):
            text = f"not signed by the key: {asked.headers.get('webhook-signature')} {self.key}"
            return Said(401, text.encode())
        if abs(self.now_s() - at) > 300:
            return Said(400, b"not of now")
        if message_id in self._seen:
            return Said(409, b"that came before")
        self._seen.add(message_id)
        return self._obey(message_id, at, json.loads(asked.body))

    def _obey(self, message_id: str, at: int, said: dict[str, dict[str, str]]) -> Said:
        data = said["data"]
        self.heard.append({"type": said["type"], **data})
        if str(said["type"]) == "offswitch.probe":
            answer = Said.of(200, {"nonce": data["nonce"]})
            if self.signs:
                answer.headers["webhook-signature"] = self._sign(message_id, at, answer.body)
            return answer
        if str(said["type"]) == "offswitch.stop" and not self.deaf:
            self._stands_at = self._stands_at or self.now_s() + self.brakes_s
            self._wanted = data.get("safe_state", "stopped")
            return Said.of(200, {"detail": "braking", "happened": ["part 7 was half milled"]})
        return Said.of(200, {"reissue": ["home the axis"]})

    def _account(self, asked: Asked) -> Said:
        if asked.headers.get("authorization") != f"Bearer {self.look_key}":
            return Said(401, f"who is {asked.headers.get('authorization')}?".encode())
        if self._stands_at is not None and self.now_s() >= self._stands_at:
            self.state, self.rpm = self._wanted, 0
        return Said.of(200, {"state": self.state, "axis": {"rpm": self.rpm, "brake/1": "on"}})

    def start(self) -> None:
        """Start it again by hand."""
        self.state, self.rpm, self._stands_at = "running", 3000, None

    def _sign(self, message_id: str, at: int, body: bytes) -> str:
        """As the standard says; written out here, so that ours is held against it."""
        key = self.key.encode()
        with contextlib.suppress(ValueError):
            if self.key.startswith("whsec_"):
                key = base64.b64decode(self.key[6:], validate=True)
        made = hmac.new(key, b"%s.%d.%s" % (message_id.encode(), at, body), hashlib.sha256)
        return f"v1,{base64.b64encode(made.digest()).decode()}"

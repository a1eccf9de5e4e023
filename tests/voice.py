"""Somebody else's voice at the warden's socket, without a process of their own: quick.

The kernel tells a listener the effective user of whoever connected, so it is enough to be
somebody else for that moment.
"""

from __future__ import annotations

import os
from typing import Any

from installation import Installation
from offswitch.control.client import Conversation
from offswitch.errors import OffswitchError


class Voice:
    """Speaks as one user, of the group that may stop; to the warden unless a `path` is given."""

    def __init__(self, one: Installation, uid: int, path: str = "") -> None:
        self._one = one
        self.uid = uid
        self._path = path or one.place.warden_socket

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message; give the final answer, or the error as it came."""
        os.setegid(self._one.gid)
        os.seteuid(self.uid)
        try:
            conversation = Conversation(self._path, 30.0)
        finally:
            os.seteuid(0)
            os.setegid(0)
        with conversation:
            try:
                answer = conversation.ask({"nonce": "0" * 32, "time_us": 1, **message})
            except OffswitchError as error:
                return {"error": error.as_dict(), "exit": error.exit_code}
            final = conversation.receive() if answer.get("accepted") else answer
            assert final is not None
            return final

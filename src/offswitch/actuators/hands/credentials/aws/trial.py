"""Whether the target's own credential of AWS still opens anything: one call by it, each time.

A role's sessions and a user's keys are tried on a page that the target may fetch, such as the list
of its bucket. A user's keys alone may be tried on STS: an inactive key is nobody there. Of a role
STS tells nothing: AWS answers *who am I* to whoever is denied everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from offswitch.actuators.hands.credentials.aws.query import Api, Refusal, Reply
from offswitch.actuators.hands.credentials.aws.sigv4 import Keys, Scope
from offswitch.actuators.hands.http import Line
from offswitch.clock import Clock
from offswitch.printable import printable

__all__ = ["Trial", "Tried"]

_REFUSALS = (401, 403)
_OVER = frozenset({"ExpiredToken", "ExpiredTokenException"})
_BUSY = 429


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one call by the target's credential."""

    refused: bool | None
    """None: it cannot be told from this answer."""
    detail: str


class Trial:
    """Makes that call."""

    def __init__(
        self, sts: str, probe: str | None, service: str, region: str, keys: Keys, clock: Clock
    ) -> None:
        """Try `keys` on `probe`, a page of `service`; without one on STS at `sts`."""
        self._api = Api(sts, Scope(region, "sts"), keys, clock)
        self._probe = probe
        self._scope = Scope(region, service)
        parts = urlsplit(probe or sts)
        self._line = Line(f"{parts.scheme}://{parts.netloc}", timeout_s=0.9)

    def attempt(self) -> Tried:
        """Call once; whatever is no answer is a `Trouble`."""
        if self._probe is None:
            return self._ask_sts()
        reply = self._api.get(self._line, self._probe, self._scope)
        return _meant(reply, reply.one("Code"))

    def _ask_sts(self) -> Tried:
        try:
            self._api.call("GetCallerIdentity")
        except Refusal as refusal:
            busy = refusal.code in {"Throttling", "ServiceUnavailable", "InternalFailure"}
            return Tried(None if busy else True, f"its keys are refused ({refusal.code})")
        return Tried(False, "its keys are still taken by STS")

    def close(self) -> None:
        """Hang up."""
        self._api.close()
        self._line.close()


def _meant(reply: Reply, code: str) -> Tried:
    said = f"{reply.status} {printable(code, 60)}".strip()
    if code in _OVER:
        return Tried(True, f"its own session has run out ({said})")
    if reply.status in _REFUSALS:
        return Tried(True, f"its own call is refused ({said})")
    if reply.status == _BUSY or reply.status >= 500:  # noqa: PLR2004 - a server's own trouble
        return Tried(None, f"its own call was not answered ({said})")
    return Tried(False, f"its own call is still answered ({said})")

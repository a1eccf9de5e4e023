"""Whether the target's own credential of AWS still opens anything: one call by it, each time.

A role's sessions and a user's keys are tried on a page that the target may fetch, such as the list
of its bucket. A user's keys alone may be tried on STS: an inactive key is nobody there. Of a role
STS tells nothing: AWS answers *who am I* to whoever is denied everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from offswitch.actuators.hands.credentials.aws.query import NOT_OF_THE_KEY, Api, Refusal, Reply
from offswitch.actuators.hands.credentials.aws.sigv4 import Scope
from offswitch.actuators.hands.http import Line
from offswitch.printable import printable

__all__ = ["Trial", "Tried"]

_REFUSALS = (401, 403)
_OVER = frozenset({"ExpiredToken", "ExpiredTokenException"})
_NO_KEYS = (
    frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "AccessDenied"}) | _OVER
)
"""How STS says that keys are nobody's, or nobody's any more."""
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
        self, sts: Api, probe: str | None, scope: Scope, ca_file: str | None = None
    ) -> None:
        """Try the keys of `sts` there, or on `probe`, a page of the service of `scope`."""
        self._api = sts
        self._probe = probe
        self._scope = scope
        self._line: Line | None = None
        if probe is not None:
            parts = urlsplit(probe)
            url = f"{parts.scheme}://{parts.netloc}"
            self._line = Line(url, timeout_s=0.9, ca_file=ca_file)

    def attempt(self) -> Tried:
        """Call once; whatever is no answer is a `Trouble`."""
        if self._probe is None or self._line is None:
            return self._ask_sts()
        reply = self._api.get(self._line, self._probe, self._scope)
        return _meant(reply, reply.one("Code"))

    def _ask_sts(self) -> Tried:
        try:
            self._api.call("GetCallerIdentity")
        except Refusal as refusal:
            if refusal.code in _NO_KEYS:
                return Tried(True, f"its keys are refused ({refusal.code})")
            return Tried(None, f"STS does not say whose its keys are ({refusal.code})")
        return Tried(False, "its keys are still taken by STS")

    def close(self) -> None:
        """Hang up."""
        self._api.close()
        if self._line is not None:
            self._line.close()


def _meant(reply: Reply, code: str) -> Tried:
    said = f"{reply.status} {printable(code, 60)}".strip()
    if code in _OVER:
        return Tried(True, f"its own session has run out ({said})")
    if code in NOT_OF_THE_KEY:
        return Tried(None, f"its own call was refused for its time or signature ({said})")
    if reply.status in _REFUSALS:
        return Tried(True, f"its own call is refused ({said})")
    if reply.status == _BUSY or reply.status >= 500:  # noqa: PLR2004 - a server's own trouble
        return Tried(None, f"its own call was not answered ({said})")
    return Tried(False, f"its own call is still answered ({said})")

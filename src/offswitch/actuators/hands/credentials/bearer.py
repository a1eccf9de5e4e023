"""Whether a server still takes a token: a request of our own, with the agent's own token.

No word of whoever revoked it counts, and no right is needed for it. A 401 says that the token is
good for nothing (RFC 6750, section 3.1); a 403 may mean that it is good for something else. So a
refusal counts where the same request was answered with a 2xx shortly before (`turned`): else the
token was renewed long since, and the target works by another one. A server that says outright why
it refuses (`sure`) is believed at once. All else tells nothing: a server that is down will be up
again, and then it will take the token or not.
"""

from __future__ import annotations

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Sight
from offswitch.actuators.hands.credentials.turned import Turned
from offswitch.actuators.hands.endpoint import Endpoint
from offswitch.actuators.hands.http import Answer
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import Clock, SystemClock, new_nonce

__all__ = ["Bearer"]

_REFUSED = frozenset({401, 403})
_TRY_US = 300_000_000


class Bearer:
    """One server that takes the token, or not."""

    def __init__(
        self, endpoint: Endpoint, token: str, turned: Turned, sure: bytes | None = None
    ) -> None:
        """Read `endpoint` by `token`; a refusal with `sure` in it needs no more proof."""
        self.clock: Clock = SystemClock()
        self._endpoint = endpoint
        self._token = token
        self._sure = sure
        self._turned = turned
        self._what = f"{endpoint.place} {token}"
        self._any = False
        self._tried_us: int | None = None

    @property
    def place(self) -> str:
        """Where it is asked."""
        return self._endpoint.place

    def look(self) -> Sight:
        """Use the token once."""
        answer = self._ask(self._token)
        now_us = self.clock.mono_us()
        if answer.ok:
            self._turned.good(self._what, now_us)
            return Sight(False, f"{self.place} still takes the token ({answer.status})")
        if answer.status in _REFUSED and not _without_store(answer):
            said = f"{self.place} refuses the token ({answer.status})"
            sure = self._sure is not None and self._sure in answer.body
            doubt = "" if sure else self._turned.bad(self._what, now_us)
            return Sight(None if doubt else True, said + doubt)
        said = unsaid(answer.text, [self._token], 120)
        return Sight(None, f"{self.place} answers {answer.status}, which tells nothing: {said}")

    def arm(self) -> Readiness:
        """Prove that a look would see: the token is taken, and one that was made up is not."""
        if self._takes_any():
            return Readiness(Ready.UNPROVEN, f"{self.place} takes any token, so it tells nothing")
        seen = self.look()
        if seen.stands is False:
            return Readiness(Ready.READY, f"{self.place} takes the token, as it should")
        why = f"{seen.detail}, before any stop" if seen.stands else seen.detail
        return Readiness(Ready.UNPROVEN, why)

    def _takes_any(self) -> bool:
        """Try a token made up that moment; seldom, for some lock out who shows bad ones often."""
        now_us = self.clock.mono_us()
        if self._tried_us is None or now_us - self._tried_us > _TRY_US:
            self._any = self._ask(f"offswitch-{new_nonce()}").ok
            self._tried_us = now_us
        return self._any

    def close(self) -> None:
        """Hang up."""
        self._endpoint.close()

    def _ask(self, token: str) -> Answer:
        return self._endpoint.ask("GET", headers={"authorization": f"Bearer {token}"})


def _without_store(answer: Answer) -> bool:
    """Tell whether it was refused only since who refuses cannot ask its own store (LiteLLM)."""
    return b'"no_db_connection"' in answer.body

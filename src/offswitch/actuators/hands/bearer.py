"""Whether a server still takes a token: a request of our own, with the agent's own token.

No word of whoever revoked it counts, and no right is needed for it. A 401 says that the token is
good for nothing (RFC 6750, section 3.1). A 403 may mean that it is good, for something else, so
by itself it is no proof: before the stop the same request was answered with a 2xx, which `arm`
made sure of, so a 403 afterwards is a refusal. Everything else can be known of nothing: a server
that is down will be up again, and then it will take the token or not.
"""

from __future__ import annotations

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Sight
from offswitch.actuators.hands.endpoint import Endpoint
from offswitch.actuators.hands.http import Answer
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import new_nonce

__all__ = ["Bearer"]

_REFUSED = frozenset({401, 403})


class Bearer:
    """One server that takes the token, or not."""

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        """Read `endpoint` by `token`."""
        self._endpoint = endpoint
        self._token = token

    @property
    def place(self) -> str:
        """Where it is asked."""
        return self._endpoint.place

    def look(self) -> Sight:
        """Use the token once."""
        answer = self._ask(self._token)
        if answer.ok:
            return Sight(False, f"{self.place} still takes the token ({answer.status})")
        if answer.status in _REFUSED and not _without_store(answer):
            return Sight(True, f"{self.place} refuses the token ({answer.status})")
        said = unsaid(answer.text, [self._token], 120)
        return Sight(None, f"{self.place} answers {answer.status}, which tells nothing: {said}")

    def arm(self) -> Readiness:
        """Prove that a look would see: the token is taken, and one that was made up is not."""
        if self._ask(f"offswitch-{new_nonce()}").ok:
            return Readiness(Ready.UNPROVEN, f"{self.place} takes any token, so it tells nothing")
        seen = self.look()
        if seen.stands is False:
            return Readiness(Ready.READY, f"{self.place} takes the token, as it should")
        if seen.stands is None:
            return Readiness(Ready.UNPROVEN, seen.detail)
        return Readiness(
            Ready.UNPROVEN,
            f"{seen.detail} before any stop: it was rotated, or is not the agent's",
        )

    def close(self) -> None:
        """Hang up."""
        self._endpoint.close()

    def _ask(self, token: str) -> Answer:
        return self._endpoint.ask("GET", headers={"authorization": f"Bearer {token}"})


def _without_store(answer: Answer) -> bool:
    """Tell whether it was refused only since who refuses cannot ask its own store (LiteLLM)."""
    return b'"no_db_connection"' in answer.body

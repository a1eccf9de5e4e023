"""What hands on model servers have in common: the keys, two credentials, and what a look may say.

A stop of a server has three parts, and no server has them all: answers in work end, no new one
begins, and both can be seen. What a server lacks is said by `arm`, never made up for by hope.

A closed client is no stopped model (VER-6): a look asks the server itself what it works on. Where
nobody listens any more at an address that did answer before, nothing can be asked of it and nothing
comes out of it; whether a process still computes behind it is for the process layer to say.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.http import Answer, Line
from offswitch.clock import Clock, SystemClock
from offswitch.config.section import ActuatorSection
from offswitch.printable import printable

__all__ = ["DENIED", "MISSING", "ServingHand", "ServingSettings", "Still", "Url"]

DENIED = frozenset({401, 403})
MISSING = frozenset({404, 501})
_SHOWN = 160
_STILL_US = 250_000
_GAP_US = 10_000_000
"""Where nobody looked for so long, what was seen before was another stop, or proves nothing now."""

Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$", max_length=500)]
"""Where a server's own address begins, without a question mark and without a password."""


class ServingSettings(ActuatorSection):
    """What every model server is reached by."""

    LAYER = "serving"
    SECRETS = frozenset({"key_file", "look_key_file"})
    FILES = frozenset({"ca_file"})

    url: Url
    """The server itself, not a front of it: the stop of one replica is one `[[actuator]]`."""
    key_file: str | None = None
    """A file with the key that it asks for, sent as a bearer token."""
    look_key_file: str | None = None
    """A key of its own for looking."""
    ca_file: str | None = None
    """Who vouches for its certificate, where it is none of the system's."""


class Still:
    """Whether a count (of tokens, of starts) has stood still for long enough to be called that."""

    def __init__(self, for_us: int = _STILL_US) -> None:
        """Begin with nothing seen."""
        self._for_us = for_us
        self._seen: tuple[float, int] | None = None
        """The count, and since when (`mono_us`) it has been that."""
        self._last_us = 0

    def holds(self, count: float, now_us: int) -> bool:
        """Take a count; whether it has been the same for so long."""
        gap, self._last_us = now_us - self._last_us > _GAP_US, now_us
        if self._seen is None or self._seen[0] != count or gap:
            self._seen = (count, now_us)
        return now_us - self._seen[1] >= self._for_us


class ServingHand(Hand):
    """The part of a hand that is the same for every server; each kind says what its calls are."""

    Settings: ClassVar[type[ServingSettings]] = ServingSettings
    component = "the server"
    settings: ServingSettings

    def __init__(self, settings: ServingSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self.clock: Clock = SystemClock()
        self.seen = context.remembered != ""
        """Whether it has answered to this instance, or to one before it under the same stop."""
        secrets = context.secrets
        looking = context.role is Role.LOOK
        self._key = (looking and secrets.get("look_key_file")) or secrets.get("key_file")
        self.line = self.dial(self._key)

    def dial(self, key: str | None) -> Line:
        """Make a line to the server; `key` is who we are."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        seconds = max(0.1, self.settings.deadline / 1e6 * 0.8)
        ca_file = self.settings.ca_file
        return Line(self.settings.url, headers=headers, timeout_s=seconds, ca_file=ca_file)

    def open(self) -> None:
        """Connect; where nobody listens any more, a look says so itself."""
        try:
            self.line.open()
        except Trouble as trouble:
            refused = isinstance(trouble.__context__, ConnectionRefusedError)
            if not (refused and self.seen and self.context.role is Role.LOOK):
                raise

    def close(self) -> None:
        """Hang up."""
        self.line.close()

    def get(self, path: str) -> Answer:
        """Read something of the server; a refusal of the key is a `Trouble`."""
        return self._heard("GET", path, self.line.ask("GET", path))

    def post(
        self, path: str, body: dict[str, object] | None = None, timeout_s: float | None = None
    ) -> Answer:
        """Command something; a refusal of the key is a `Trouble`."""
        return self._heard("POST", path, self.line.ask("POST", path, body, timeout_s=timeout_s))

    def _heard(self, method: str, path: str, answer: Answer) -> Answer:
        if answer.status in DENIED:
            raise Trouble(
                f"{self.line.place} refuses {method} {path} ({answer.status})", "see its key_file"
            )
        self.seen, self.memory = True, "it answered"
        return answer

    def wrong(self, path: str, answer: Answer) -> Trouble:
        """Say that an answer is not what was asked for."""
        text = printable(answer.text, _SHOWN)
        return Trouble(f"{self.line.place}: {path} answers {answer.status}: {text}")

    def open_to_all(self, path: str) -> bool:
        """Whether it answers there without a key: then whoever reaches it may do as we do."""
        if self._key is None:
            return True
        line = self.dial(None)
        try:
            return line.ask("GET", path).status not in DENIED
        except Trouble:
            return False
        finally:
            line.close()

    def same_key(self, ready: Readiness) -> Readiness:
        """Make *ready* of a look *degraded* where it has no credential of its own, and ours one."""
        secrets = self.context.secrets
        if self.context.role is Role.ACT or ready.state is not Ready.READY:
            return ready
        if "key_file" in secrets and "look_key_file" not in secrets:
            return Readiness(Ready.DEGRADED, "looks by the credential that acts: look_key_file")
        return ready

    def gone(self, trouble: Trouble) -> Sight:
        """Say what a look has seen that got no answer."""
        if self.seen and isinstance(trouble.__context__, ConnectionRefusedError):
            return Sight(True, f"nobody listens at {self.line.place} any more")
        raise trouble

    def route(self) -> Route:
        """Say what it rests on."""
        line, settings = self.line, self.settings
        files = tuple(each for each in (settings.ca_file,) if each)
        credential = settings.key_file or "none: whoever reaches it"
        return Route(line.transport, line.place, credential, self.component, files)

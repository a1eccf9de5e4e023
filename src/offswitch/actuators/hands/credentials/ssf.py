"""A signal to whoever trusts our word: this session is revoked (OpenID Shared Signals 1.0).

    trip   a Security Event Token (RFC 8417), signed, for each of `events`, pushed to the receiver
           (RFC 8935): CAEP 1.0 session-revoked, credential-change with change_type "revoke"
    arm    a verification event (SSF 1.0, section 8.1.4) by the same key over the same way: a
           receiver that does not know our key or our stream any more refuses it
    look   the agent's own token is refused by every one of `resources`

A signal commands nothing: a receiver that answers 202 has taken it, and what it does is its own
affair. So nothing is confirmed by that answer, and without `resources` nothing ever is.

What we send unasked bears no `state` (SSF 1.0, section 8.1.4.2): that is for the answer to a
receiver's question. Each token holds one event and no `exp`, as the standard wants it; each try
has a `jti` of its own. A receiver that counts what it is sent wants a longer `prove`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.credentials.bearer import Bearer
from offswitch.actuators.hands.credentials.jws import SIGNING_IMPORTS, Signer
from offswitch.actuators.hands.credentials.turned import Turned
from offswitch.actuators.hands.endpoint import Endpoint
from offswitch.actuators.hands.http import Answer
from offswitch.actuators.hands.together import at_once, everywhere, troubles, worst
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import Clock, SystemClock, new_nonce
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection
from offswitch.config.url import Url

__all__ = ["Ssf", "SsfSettings"]

_EVENTS = "https://schemas.openid.net/secevent"
_VERIFICATION = f"{_EVENTS}/ssf/event-type/verification"
_TYPE = "secevent+jwt"
_HEADERS = {"content-type": f"application/{_TYPE}", "accept": "application/json"}
_LARGEST_SUBJECT = 4000

Event = Literal["session-revoked", "credential-change"]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class SsfSettings(ActuatorSection):
    """The keys of an `[[actuator]]` of kind `ssf`."""

    LAYER = "credentials"
    SECRETS = frozenset({"key_file", "receiver_token_file", "token_file"})
    FILES = frozenset({"ca_file"})

    kind: Literal["ssf"]
    receiver: Url
    """Where the receiver takes what is pushed."""
    issuer: Text
    """Who we are to it (`iss`)."""
    audience: Text
    """Who it is (`aud`)."""
    stream: Text
    """The stream's id at the receiver, which a verification event is about."""
    key_file: Secret
    """Our private key in PEM: P-256, Ed25519 or RSA."""
    key_id: Text | None = None
    """Its name in the key set that the receiver reads (`kid`)."""
    receiver_token_file: Secret | None = None
    """What the receiver wants to see as `Authorization: Bearer …`."""
    subject: dict[str, Any]
    """Whose session it is (RFC 9493): { format = "iss_sub", iss = "…", sub = "…" }."""
    events: Annotated[list[Event], Field(min_length=1, default_factory=lambda: ["session-revoked"])]
    """What is said of it at a stop."""
    credential_type: Text | None = None
    """What credential it is, for credential-change: one that the receiver knows."""
    resources: Annotated[list[Url], Field(max_length=32, default_factory=list)]
    """Where the agent's token is good: every replica by its own address."""
    token_file: Secret | None = None
    """The agent's own token, which the look tries there."""
    ca_file: str | None = None
    """Who vouches for their certificates, where it is none of the system's."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not isinstance(self.subject.get("format"), str):
            raise ValueError("'subject' needs a 'format' (RFC 9493), such as \"iss_sub\"")  # noqa: TRY004
        if len(json.dumps(self.subject)) > _LARGEST_SUBJECT:
            raise ValueError("'subject' is too large")
        if "credential-change" in self.events and self.credential_type is None:
            raise ValueError("'credential-change' needs a 'credential_type'")
        if (self.token_file is None) != (not self.resources):
            raise ValueError("'resources' and 'token_file' go together")
        return self


class Ssf(Hand):
    """Tells one receiver that one subject's session is over."""

    Settings = SsfSettings
    IMPORTS = SIGNING_IMPORTS
    settings: SsfSettings

    def __init__(self, settings: SsfSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self.clock: Clock = SystemClock()
        self._secrets = context.secrets
        self._pushing = [self._endpoint(settings.receiver) for _ in settings.events]
        token = self._secrets.get("token_file")
        turned = Turned(self)
        self._bearers = [
            Bearer(self._endpoint(url), token, turned) for url in settings.resources if token
        ]
        self._signer: Signer | None = None

    def _endpoint(self, url: str) -> Endpoint:
        patience = max(0.1, self.settings.deadline / 1e6 * 0.8)
        return Endpoint(url, timeout_s=patience, ca_file=self.settings.ca_file)

    def open(self) -> None:
        """Read the key, where there is something to sign."""
        if self.context.role is Role.ACT and self._signer is None:
            self._signer = Signer(self._secrets.get("key_file", ""), self.settings.key_id)

    def arm(self) -> Readiness:
        """Push a verification event, or try the agent's token where it is good."""
        if self.context.role is Role.LOOK:
            if not self._bearers:
                why = "nothing can be looked at: name 'resources' and 'token_file'"
                return Readiness(Ready.UNPROVEN, why)
            return worst(at_once([bearer.arm for bearer in self._bearers]))
        stream = {"format": "opaque", "id": self.settings.stream}
        self._push(self._pushing[0], self._signed(_VERIFICATION, {}, stream))
        return Readiness(Ready.READY, f"{self._pushing[0].place} took a verification event")

    def trip(self, level: str) -> Acted:
        """Push every event at once."""
        del level
        signed = [self._of_session(event) for event in self.settings.events]
        calls: list[Callable[[], str]] = [
            partial(self._push, endpoint, token)
            for endpoint, token in zip(self._pushing, signed, strict=True)
        ]
        wrong = troubles(at_once(calls))
        if wrong:
            raise Trouble(wrong, "see the receiver, and our stream there")
        said = " and ".join(self.settings.events)
        return Acted(f"{self._pushing[0].place} was told {said}", reissue=self._reissue())

    def look(self) -> Sight:
        """Use the agent's token at every resource."""
        return everywhere(at_once([bearer.look for bearer in self._bearers]))

    # --- what is said ---------------------------------------------------------------

    def _of_session(self, event: Event) -> str:
        said: dict[str, Any] = {
            "event_timestamp": self._now_s(),
            "initiating_entity": "admin",
            "reason_admin": {"en": "stopped by Offswitch"},
        }
        if event == "credential-change":
            said["credential_type"] = self.settings.credential_type
            said["change_type"] = "revoke"
        return self._signed(f"{_EVENTS}/caep/event-type/{event}", said, self.settings.subject)

    def _signed(self, event: str, said: dict[str, Any], subject: dict[str, Any]) -> str:
        if self._signer is None:
            raise Trouble("there is no key to sign with", "name 'key_file'")
        return self._signer.sign(
            {
                "iss": self.settings.issuer,
                "aud": self.settings.audience,
                "jti": new_nonce(),
                "iat": self._now_s(),
                "sub_id": subject,
                "events": {event: said},
            },
            _TYPE,
        )

    def _push(self, endpoint: Endpoint, token: str) -> str:
        headers = dict(_HEADERS)
        bearer = self._secrets.get("receiver_token_file")
        if bearer:
            headers["authorization"] = f"Bearer {bearer}"
        answer = endpoint.ask("POST", token.encode(), headers)
        if not answer.ok:
            raise Trouble(f"{endpoint.place} refuses it: {self._refusal(answer, token)}")
        return endpoint.place

    def _refusal(self, answer: Answer, token: str) -> str:
        """Give a receiver's reason (RFC 8935, section 2.3), without what it may quote."""
        said: object = answer.text
        try:
            told = answer.json()
            if isinstance(told, dict) and "err" in told:
                said = f"{told['err']}: {told.get('description', '')}"
        except Trouble:
            pass
        return f"{answer.status} {unsaid(said, [*self._secrets.values(), token], 120)}"

    def _now_s(self) -> int:
        return self.clock.wall_us() // 1_000_000

    # --- afterwards -----------------------------------------------------------------

    def release(self) -> Acted:
        """Give nothing back: a session that was revoked begins anew or not at all (RST-8)."""
        return Acted("no signal takes a revocation back", reissue=self._reissue())

    def _reissue(self) -> tuple[str, ...]:
        where = f", its token written to {self.settings.token_file}" * bool(
            self.settings.token_file
        )
        return (f"a session of {self.settings.target} at {self.settings.audience}{where}",)

    def holds(self) -> tuple[str, ...]:
        """List the session that the target has."""
        return (f"session of {self.settings.target} at {self.settings.audience}",)

    def route(self) -> Route:
        """Say what it rests on."""
        settings = self.settings
        looks = self.context.role is Role.LOOK
        places = [bearer.place for bearer in self._bearers] if looks else [self._pushing[0].place]
        credential = settings.token_file if looks else settings.key_file
        return Route(
            self._pushing[0].transport,
            ", ".join(dict.fromkeys(places)),
            credential or "",
            "signals receiver",
            (settings.ca_file,) if settings.ca_file else (),
        )

    def close(self) -> None:
        """Hang up."""
        for endpoint in self._pushing:
            endpoint.close()
        for bearer in self._bearers:
            bearer.close()

"""An agent's OAuth tokens: revoked where they came from (RFC 7009), tried where they were good.

    trip   POST token=… to the revocation endpoint, refresh token and access token at once
    look   introspection says `active: false` (RFC 7662), and every resource answers the access
           token with 401; where only one of the two can be asked, that one

A revocation endpoint answers 200 to a token that it does not know, too (RFC 7009, section 2.2), so
its answer proves nothing. The challenge of `arm` uses just that: a token made up anew is revoked,
by our client's own credential, at the very endpoint that would act; a client that was rotated or
removed is answered 401. Introspection, where there is one, says whose the agent's token is.

A resource that checks a token's signature by itself takes it until it expires, whatever the
authorization server says: such a token, without `resources` to try it at, is *degraded*. So is an
access token alone: whoever holds its refresh token gets another one. A token that was active and
good shortly before the stop has been revoked; one that was not has been renewed, which proves
nothing (`turned`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal, Self, assert_never
from urllib.parse import quote_plus, urlencode, urlsplit

from pydantic import BeforeValidator, Field, model_validator

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
from offswitch.printable import printable

__all__ = ["OAuth", "OAuthSettings"]

_ASSERTED = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_ASSERTED_S = 60
_PARTS_OF_A_JWT = 3
_DENIED = 401


class Method(StrEnum):
    """How our client says who it is (RFC 6749, section 2.3; RFC 7523)."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    SIGNED = "private_key_jwt"


Text = Annotated[str, Field(min_length=1, max_length=500)]


class OAuthSettings(ActuatorSection):
    """The keys of an `[[actuator]]` of kind `oauth`."""

    LAYER = "credentials"
    SECRETS = frozenset({"secret_file", "look_secret_file", "token_file", "refresh_token_file"})
    FILES = frozenset({"ca_file"})

    kind: Literal["oauth"]
    revocation_url: Url
    """The revocation endpoint (RFC 7009)."""
    introspection_url: Url | None = None
    """The introspection endpoint (RFC 7662)."""
    resources: Annotated[list[Url], Field(max_length=32, default_factory=list)]
    """Where the agent's access token is good: every replica by its own address."""
    client_id: Text
    """The client to which the tokens were issued, or one that may revoke them."""
    method: Annotated[Method, BeforeValidator(Method)] = Method.BASIC
    """How it says who it is."""
    secret_file: Secret
    """Its secret; for `private_key_jwt` its private key in PEM."""
    key_id: Text | None = None
    """That key's name at the authorization server (`kid`)."""
    audience: Text | None = None
    """For whom it signs: the authorization server's issuer."""
    token_file: Secret | None = None
    """The agent's access token."""
    refresh_token_file: Secret | None = None
    """The agent's refresh token."""
    look_client_id: Text | None = None
    """Another client, by which the look introspects."""
    look_secret_file: Secret | None = None
    """Its secret."""
    ca_file: str | None = None
    """Who vouches for their certificates, where it is none of the system's."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method is Method.SIGNED and self.audience is None:
            raise ValueError("'private_key_jwt' needs 'audience'")
        if not self.token_file and not self.refresh_token_file:
            raise ValueError("name the agent's 'token_file', its 'refresh_token_file', or both")
        if not self.introspection_url and not (self.resources and self.token_file):
            raise ValueError(
                "nothing could see it: name 'introspection_url', or 'resources' and 'token_file'"
            )
        if self.resources and not self.token_file:
            raise ValueError("'resources' take the access token: name 'token_file'")
        if (self.look_client_id is None) != (self.look_secret_file is None):
            raise ValueError("'look_client_id' and 'look_secret_file' go together")
        return self


class OAuth(Hand):
    """Revokes one agent's tokens at one authorization server."""

    Settings = OAuthSettings
    IMPORTS = SIGNING_IMPORTS
    settings: OAuthSettings

    def __init__(self, settings: OAuthSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self.clock: Clock = SystemClock()
        secrets = context.secrets
        self._secrets = secrets
        given = {"refresh_token": "refresh_token_file", "access_token": "token_file"}
        self._tokens = {name: secrets[key] for name, key in given.items() if key in secrets}
        """By what RFC 7009 calls them; the refresh token first, since it fetches others."""
        self._revoking = {name: self._endpoint(settings.revocation_url) for name in self._tokens}
        asked = settings.introspection_url
        self._asking = {name: self._endpoint(asked) for name in self._tokens} if asked else {}
        access = self._tokens.get("access_token")
        self._turned = Turned(self)
        self._bearers = [
            Bearer(self._endpoint(url), access, self._turned)
            for url in settings.resources
            if access
        ]
        self._signer: Signer | None = None
        self._plain = False
        """Whether our secret goes into the header as it stands."""

    def _endpoint(self, url: str) -> Endpoint:
        patience = max(0.1, self.settings.deadline / 1e6 * 0.8)
        return Endpoint(url, timeout_s=patience, ca_file=self.settings.ca_file)

    def open(self) -> None:
        """Read the key, where our client signs."""
        signs = self.settings.method is Method.SIGNED and not self._own_look()
        if signs and self._signer is None:
            pem = self._secrets.get("secret_file", "")
            self._signer = Signer(pem, self.settings.key_id)

    # --- who we are -----------------------------------------------------------------

    def _own_look(self) -> bool:
        return self.context.role is Role.LOOK and self.settings.look_client_id is not None

    def _post(self, endpoint: Endpoint, form: dict[str, str]) -> Answer:
        """Ask as our client, or as the one that looks.

        A secret goes into a header form-encoded (RFC 6749, section 2.3.1), and many a server takes
        it as it stands only: where both differ, the way that was let in last is tried first.
        """
        first = self._plain
        answer = self._ask(endpoint, form, plain=first)
        if answer.status != _DENIED or not self._differs():
            return answer
        other = self._ask(endpoint, form, plain=not first)
        if other.status == _DENIED:
            return answer
        self._plain = not first
        return other

    def _client(self) -> tuple[str, str, Method]:
        """Give who we are here, our secret, and how we say it."""
        settings = self.settings
        if self._own_look():
            return settings.look_client_id or "", self._secrets["look_secret_file"], Method.BASIC
        return settings.client_id, self._secrets.get("secret_file", ""), settings.method

    def _differs(self) -> bool:
        client, secret, method = self._client()
        same = quote_plus(client) == client and quote_plus(secret) == secret
        return method is Method.BASIC and not same

    def _ask(self, endpoint: Endpoint, form: dict[str, str], *, plain: bool) -> Answer:
        headers = dict(_FORM)
        client, secret, method = self._client()
        match method:
            case Method.BASIC:
                headers["authorization"] = f"Basic {self._pair(plain=plain)}"
            case Method.POST:
                form = {**form, "client_id": client, "client_secret": secret}
            case Method.SIGNED:
                form = {
                    **form,
                    "client_id": client,
                    "client_assertion_type": _ASSERTED,
                    "client_assertion": self._assertion(client),
                }
            case _:
                assert_never(method)
        return endpoint.ask("POST", urlencode(form).encode(), headers)

    def _pair(self, *, plain: bool) -> str:
        client, secret, _ = self._client()
        pair = (client, secret) if plain else (quote_plus(client), quote_plus(secret))
        return base64.b64encode(":".join(pair).encode()).decode()

    def _assertion(self, client: str) -> str:
        if self._signer is None:
            raise Trouble("there is no key to sign with", "open first")
        now = self.clock.wall_us() // 1_000_000
        return self._signer.sign(
            {
                "iss": client,
                "sub": client,
                "aud": self.settings.audience,
                "jti": new_nonce(),
                "iat": now,
                "exp": now + _ASSERTED_S,
            },
            "JWT",
        )

    # --- proofs ---------------------------------------------------------------------

    def arm(self) -> Readiness:
        """Prove that it could be revoked, or that a look would see."""
        if self.context.role is Role.LOOK:
            return self._would_see()
        checks: list[Callable[[], Readiness]] = [self._would_revoke]
        if self._asking:
            checks += [partial(self._is_ours, name) for name in self._asking]
        proven = at_once(checks)
        if "refresh_token" not in self._tokens:
            alone = "only the access token is known: its refresh token would fetch another one"
            proven.append(Readiness(Ready.DEGRADED, alone))
        return worst(proven)

    def _would_revoke(self) -> Readiness:
        """Have a token revoked that was never there, by our own credential."""
        line = next(iter(self._revoking.values()))
        answer = self._revoke(line, f"offswitch-{new_nonce()}", None)
        if answer.ok:
            return Readiness(Ready.READY, f"{line.place} takes our client for revoking")
        return Readiness(Ready.UNPROVEN, f"{line.place} would not revoke: {self._words(answer)}")

    def _is_ours(self, name: str) -> Readiness:
        told = self._introspect(name)
        if told.get("active") is not True:
            return Readiness(Ready.UNPROVEN, f"the {name} is not active: rotated, or expired")
        whose = told.get("client_id")
        if isinstance(whose, str) and whose != self.settings.client_id:
            why = f"the {name} is client {printable(whose, 60)}'s: another may not be let revoke it"
            return Readiness(Ready.DEGRADED, why)
        return Readiness(Ready.READY, f"the {name} is active")

    def _would_see(self) -> Readiness:
        checks: list[Callable[[], Readiness]] = [bearer.arm for bearer in self._bearers]
        checks += [partial(self._seen_active, name) for name in self._asking]
        proven = at_once(checks)
        if self._asking and not self._own_look():
            why = "introspects by the credential that acts: name look_client_id"
            proven.append(Readiness(Ready.DEGRADED, why))
        access = self._tokens.get("access_token", "")
        if access.count(".") == _PARTS_OF_A_JWT - 1 and not self._bearers:
            why = "a resource that checks this token by itself takes it until it expires: name it"
            proven.append(Readiness(Ready.DEGRADED, why))
        return worst(proven)

    def _seen_active(self, name: str) -> Readiness:
        if self._active(name).stands is False:
            return Readiness(Ready.READY, f"the {name} is seen as active")
        why = f"the {name} is seen as not active before any stop: it may not be ours to ask about"
        return Readiness(Ready.UNPROVEN, why)

    # --- the stop -------------------------------------------------------------------

    def trip(self, level: str) -> Acted:
        """Revoke every token at once."""
        del level
        calls: list[Callable[[], str]] = [
            partial(self._revoked, line, name) for name, line in self._revoking.items()
        ]
        came = at_once(calls)
        wrong = troubles(came)
        if wrong:
            raise Trouble(wrong, "see the authorization server, and our client there")
        names = " and ".join(self._tokens)
        place = next(iter(self._revoking.values())).place
        return Acted(f"{place} was told to revoke {names}", reissue=self._reissue())

    def _revoked(self, line: Endpoint, name: str) -> str:
        answer = self._revoke(line, self._tokens[name], name)
        if not answer.ok:
            raise Trouble(f"{line.place} has not revoked the {name}: {self._words(answer)}")
        return name

    def _revoke(self, line: Endpoint, token: str, hint: str | None) -> Answer:
        form = {"token": token} if hint is None else {"token": token, "token_type_hint": hint}
        return self._post(line, form)

    def look(self) -> Sight:
        """Ask the authorization server, and use the access token at every resource."""
        looks: list[Callable[[], Sight]] = [bearer.look for bearer in self._bearers]
        looks += [partial(self._active, name) for name in self._asking]
        return everywhere(at_once(looks))

    def _active(self, name: str) -> Sight:
        active = self._introspect(name).get("active")
        place = self._asking[name].place
        now_us = self.clock.mono_us()
        if active is True:
            self._turned.good(f"{name} {self._tokens[name]}", now_us)
            return Sight(False, f"{place}: the {name} is active")
        if active is False:
            doubt = self._turned.bad(f"{name} {self._tokens[name]}", now_us)
            return Sight(None if doubt else True, f"{place}: the {name} is not active{doubt}")
        return Sight(None, f"{place} does not say whether the {name} is active")

    def _introspect(self, name: str) -> dict[str, Any]:
        line = self._asking[name]
        answer = self._post(line, {"token": self._tokens[name], "token_type_hint": name})
        if not answer.ok:
            raise Trouble(
                f"{line.place} tells nothing of the {name}: {self._words(answer)}",
                "see whether our client may introspect",
            )
        told = answer.json()
        if not isinstance(told, dict):
            raise Trouble(f"{line.place} answers no object")
        return told

    # --- afterwards -----------------------------------------------------------------

    def release(self) -> Acted:
        """Give nothing back: a token that was revoked never works again (RST-8)."""
        return Acted("revoked tokens stay revoked", reissue=self._reissue())

    def _reissue(self) -> tuple[str, ...]:
        target = self.settings.target
        files = [f for f in (self.settings.token_file, self.settings.refresh_token_file) if f]
        return (f"OAuth tokens for {target}, by a new grant, written to {' and '.join(files)}",)

    def holds(self) -> tuple[str, ...]:
        """List the tokens that the target has."""
        place = urlsplit(self.settings.revocation_url).hostname
        return tuple(f"OAuth {name.replace('_', ' ')} of {place}" for name in self._tokens)

    def route(self) -> Route:
        """Say what it rests on."""
        settings = self.settings
        line = next(iter(self._revoking.values()))
        places = [line.place]
        credential = settings.secret_file
        if self.context.role is Role.LOOK:
            places = [bearer.place for bearer in self._bearers]
            places += [asked.place for asked in self._asking.values()]
            own = settings.look_secret_file if self._asking else settings.token_file
            credential = own or credential
        return Route(
            line.transport,
            ", ".join(dict.fromkeys(places)),
            credential,
            "authorization server",
            (settings.ca_file,) if settings.ca_file else (),
        )

    def close(self) -> None:
        """Hang up."""
        for endpoint in (*self._revoking.values(), *self._asking.values()):
            endpoint.close()
        for bearer in self._bearers:
            bearer.close()

    def _words(self, answer: Answer) -> str:
        pairs = [self._pair(plain=plain) for plain in (True, False)]
        return f"{answer.status} {unsaid(answer.text, [*self._secrets.values(), *pairs], 120)}"

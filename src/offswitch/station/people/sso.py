"""Signing in at somebody else's: OpenID Connect's code flow with PKCE (extra `sso`).

    begin      state, nonce and verifier are ours; the browser goes to the provider
    finish     state ─► code ─► id token, whose signature, issuer, audience, time and nonce
               are checked ─► who it is, and which of our roles their groups have

Every call has a deadline and a bound, and none holds up anybody else. A provider that is gone
costs this one way in: passwords, passkeys and phones know nothing of it. What it says is who
somebody is; that somebody may confirm a reset it never says (SEC-5).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2

from offswitch.clock import Clock
from offswitch.config.station import Sso
from offswitch.decide.roles import Role
from offswitch.errors import BadConfig, OffswitchError, Refused, Unreachable, Usage
from offswitch.printable import printable
from offswitch.station.people.accounts import check_person
from offswitch.station.people.offers import Offers

try:
    from authlib.oauth2.rfc7636 import (  # type: ignore[import-untyped]
        create_s256_code_challenge,
    )
    from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet
except ImportError:  # the extra that nobody asked for
    HERE = False
else:
    HERE = True

__all__ = ["Arrived", "Provider", "provider_of"]

_CALL_S = 5.0
_WHOLE_S = 12.0
_MOST = 256 << 10
_FRESH_US = 3_600_000_000
_OPEN_US = 10 * 60_000_000
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
_LEEWAY_S = 60
_WELL_KNOWN = "/.well-known/openid-configuration"
_ELSEWHERE = "sign in another way; a password and a passkey need no provider"


@dataclass(frozen=True, slots=True)
class _Pending:
    """A sign-in that is under way at the provider."""

    nonce: str
    verifier: str
    back: str
    """Where the provider sends the browser to."""
    to: str
    """Where on our pages it goes then."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Somebody whom the provider has signed in."""

    subject: str
    """What the provider calls them, for ever."""
    name: str
    roles: frozenset[Role]
    to: str


class Provider:
    """The provider, as far as it is known."""

    def __init__(self, section: Sso, secret: str, clock: Clock) -> None:
        """Ask nothing yet; certificates are read here, while they can be."""
        self.issuer = section.issuer
        self._section = section
        self._secret = secret
        self._clock = clock
        self._trusted = ssl.create_default_context()
        self._pending: Offers[_Pending] = Offers(_OPEN_US)
        self._said: dict[str, Any] = {}
        self._said_us = 0
        self._keys: KeySet | None = None

    async def begin(self, back: str, to: str) -> tuple[str, str]:
        """Give where the browser goes, and the state that it has to bring back."""
        about = await self._about()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        self._pending.put(state, _Pending(nonce, verifier, back, to), self._clock.mono_us())
        query = {
            "response_type": "code",
            "client_id": self._section.client_id,
            "redirect_uri": back,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        at = about["authorization_endpoint"]
        return f"{at}{'&' if '?' in at else '?'}{urlencode(query)}", state

    async def finish(self, state: str, code: str) -> Arrived:
        """Give who has arrived; raises `Refused`, or `Unreachable`."""
        pending = self._pending.take(state, self._clock.mono_us())
        if pending is None:
            raise Refused("this sign-in is too old, or was not begun here", "begin it anew")
        try:
            async with asyncio.timeout(_WHOLE_S):
                return self._arrived(await self._claims(pending, code), pending.to)
        except TimeoutError:
            raise Unreachable("the provider does not answer in time", _ELSEWHERE) from None

    async def _claims(self, pending: _Pending, code: str) -> Mapping[str, Any]:
        about = await self._about()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.back,
            "code_verifier": pending.verifier,
        }
        said = await self._call("POST", about["token_endpoint"], form)
        try:
            return await self._checked(str(said.get("id_token", "")), said, pending)
        except (JoseError, ValueError) as error:
            raise Refused(
                f"the provider's word does not hold: {printable(error, 200)}", _ELSEWHERE
            ) from None

    async def _checked(
        self, token: str, said: Mapping[str, Any], pending: _Pending
    ) -> Mapping[str, Any]:
        try:
            decoded = jwt.decode(token, await self._known_keys(), _ALGORITHMS)
        except (JoseError, ValueError):  # perhaps by a key that is newer than what we know
            decoded = jwt.decode(token, await self._known_keys(again=True), _ALGORITHMS)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": self.issuer},
                "aud": {"essential": True, "value": self._section.client_id},
            },
            params={
                "nonce": pending.nonce,
                "client_id": self._section.client_id,
                "access_token": str(said.get("access_token", "")),
            },
        )
        claims.validate(self._clock.wall_us() // 1_000_000, _LEEWAY_S)
        return dict(decoded.claims)

    def _arrived(self, claims: Mapping[str, Any], to: str) -> Arrived:
        try:
            given = claims.get(self._section.name)
            name = check_person(given.lower() if isinstance(given, str) else "")
        except Usage as error:
            why = f"the provider's {self._section.name} is no name here: {error.message}"
            raise Refused(why, "[station.sso] name: another claim") from None
        groups = claims.get(self._section.groups) or []
        groups = groups if isinstance(groups, list) else [groups]
        known = self._section.roles
        roles = frozenset(Role(known[str(one)]) for one in groups[:1000] if str(one) in known)
        if not roles:
            raise Refused(f"no group of {name} has a role here", "[station.sso] roles")
        return Arrived(str(claims["sub"])[:255], name, roles, to)

    # --- what the provider says of itself -------------------------------------------

    async def _about(self) -> dict[str, Any]:
        now_us = self._clock.mono_us()
        if not self._said or now_us - self._said_us > _FRESH_US:
            said = await self._call("GET", self.issuer.rstrip("/") + _WELL_KNOWN)
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if said.get("issuer") != self.issuer or not all(
                isinstance(said.get(name), str) and _same_road(said[name], self.issuer)
                for name in names
            ):
                raise Refused("the provider does not describe itself as that issuer", _ELSEWHERE)
            self._said, self._said_us = said, now_us
        return self._said

    async def _known_keys(self, *, again: bool = False) -> KeySet:
        if self._keys is None or again:
            said = await self._call("GET", (await self._about())["jwks_uri"])
            self._keys = KeySet.import_key_set({"keys": list(said.get("keys", []))})
        return self._keys

    async def _call(self, method: str, url: str, form: dict[str, str] | None = None) -> Any:  # noqa: ANN401
        """Ask the provider; its answer is bounded, and it follows nowhere."""
        login = None if form is None else (self._section.client_id, self._secret)
        try:
            async with (
                asyncio.timeout(_CALL_S),
                httpx2.AsyncClient(
                    verify=self._trusted, timeout=_CALL_S, trust_env=False
                ) as client,
                client.stream(method, url, data=form, auth=login) as answer,
            ):
                body = b""
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST:
                        raise Unreachable("the provider's answer is too long", _ELSEWHERE)
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            why = printable(error, 150) or "not in time"
            raise Unreachable(f"the provider does not answer: {why}", _ELSEWHERE) from None
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if answer.status_code != 200 or not isinstance(said, dict):  # noqa: PLR2004
            raise Refused(f"the provider said {answer.status_code}", _ELSEWHERE)
        return said


def provider_of(section: Sso | None, home: str, clock: Clock) -> tuple[Provider | None, str]:
    """Make what is configured while its secret can be read; and say why it is not there."""
    if section is None:
        return None, ""
    if not HERE:
        return None, "[station.sso] needs: pip install 'offswitch[sso]'"
    path = os.path.join(home, section.secret_file)
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise BadConfig(f"{path}: others can read it", f"chmod 600 {path}")
            secret = file.read(1000).strip()
    except OSError as error:
        return None, f"[station.sso] {path}: {error.strerror}"
    except OffswitchError as error:
        return None, f"[station.sso] {error.message}"
    return Provider(section, secret, clock), ""


def _same_road(url: str, issuer: str) -> bool:
    """Tell whether a place of the provider's is reached as safely as the provider itself."""
    return url.startswith("https://") or (
        issuer.startswith("http://") and url.startswith("http://")
    )

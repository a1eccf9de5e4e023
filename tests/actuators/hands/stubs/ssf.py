"""A stub of a Shared Signals receiver: it takes pushed tokens as RFC 8935 says, and acts on them.

No receiver of other people's is to be had as a package. The tokens are checked by joserfc, with the
transmitter's public key and nothing of ours: signature, type, issuer, audience, one event, no
`exp`, a `jti` that is new; and a refusal is `{"err", "description"}`, as the standard has it.
"""

from __future__ import annotations

from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from actuators.hands.stubs.web import Asked, Said, Stub

__all__ = ["AUDIENCE", "EVENTS", "ISSUER", "VERIFICATION", "Receiver"]

ISSUER, AUDIENCE = "https://offswitch.example", "https://shop.example/signals"
EVENTS = "https://schemas.openid.net/secevent/caep/event-type"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
ALGORITHMS = ["ES256", "EdDSA", "RS256"]


class Receiver(Stub):
    """One receiver, that is at the same time where the session's token is good."""

    def __init__(self, keys: KeySet, bearer: str = "") -> None:
        self.keys = keys
        self.bearer = bearer
        self.stream = "stream-1"
        self.took: list[dict[str, Any]] = []
        self.headers: list[dict[str, Any]] = []
        self.sessions: dict[str, str] = {}
        """Token → subject."""
        self.heeds = True
        """Whether it does anything about what it takes."""
        super().__init__()

    def answer(self, asked: Asked) -> Said:
        if asked.method == "GET":
            token = asked.headers.get("authorization", "").removeprefix("Bearer ")
            return Said.of(200 if token in self.sessions else 401, {})
        if self.bearer and asked.headers.get("authorization") != f"Bearer {self.bearer}":
            return refused("authentication_failed", f"not {asked.headers.get('authorization')}")
        if asked.headers.get("content-type") != "application/secevent+jwt":
            return refused("invalid_request", "of another type")
        try:
            token = jwt.decode(asked.body.decode(), self.keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            return refused("invalid_key", f"nobody that I know signed {asked.body.decode()}")
        self.headers.append(jws.extract_compact(asked.body).headers())
        return self.taken(token.header, token.claims)

    def taken(self, header: dict[str, Any], claims: dict[str, Any]) -> Said:
        known = {before["jti"] for before in self.took}
        if claims["iss"] != ISSUER:
            return refused("invalid_issuer", claims["iss"])
        if claims["aud"] != AUDIENCE:
            return refused("invalid_audience", claims["aud"])
        if header["typ"] != "secevent+jwt" or "exp" in claims or "sub" in claims:
            return refused("invalid_request", "no event token")
        if len(claims["events"]) != 1 or claims["jti"] in known:
            return refused("invalid_request", "one event, once")
        ((event, said),) = claims["events"].items()
        if event == VERIFICATION:
            if "state" in said:
                return refused("invalid_state", "nobody asked")
            if claims["sub_id"] != {"format": "opaque", "id": self.stream}:
                return refused("invalid_request", "no such stream")
        elif self.heeds:
            who = claims["sub_id"].get("sub")
            self.sessions = {key: of for key, of in self.sessions.items() if of != who}
        self.took.append(claims)
        return Said(202)


def refused(err: str, description: str) -> Said:
    return Said.of(400, {"err": err, "description": description})

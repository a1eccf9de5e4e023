"""Authlib as an authorization server over loopback HTTP, and resources that go by its word.

Real are Authlib's revocation endpoint (RFC 7009), its introspection endpoint (RFC 7662) and its
ways of telling clients apart, private_key_jwt included; ours are the store of clients and tokens,
and the HTTP around it. A resource keeps what it knows of a token in a cache, as they do.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import AuthorizationServer as Framework
from authlib.oauth2.rfc6749 import ClientMixin, OAuth2Request, TokenMixin
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from actuators.hands.stubs.web import Asked, Said, Stub

__all__ = ["ISSUER", "AuthorizationServer", "Client", "Resource", "Token"]

ISSUER = "https://login.example"
METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]


@dataclass
class Client(ClientMixin):
    """One client."""

    client_id: str
    secret: str = ""
    public_key: Any = None
    introspects: bool = True

    def get_client_id(self) -> str:
        return self.client_id

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and secrets.compare_digest(self.secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method == "private_key_jwt") == (self.public_key is not None)


@dataclass
class Token(TokenMixin):
    """One grant: an access token and its refresh token."""

    client_id: str
    access_token: str
    refresh_token: str
    access_revoked: bool = False
    refresh_revoked: bool = False
    expires_at: float = 0

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.client_id

    def is_expired(self) -> bool:
        return self.expires_at < time.time()

    def is_revoked(self) -> bool:
        return self.access_revoked


class Half(TokenMixin):
    """One of the two tokens of a grant."""

    def __init__(self, token: Token, name: str) -> None:
        self.token = token
        self.name = name

    def check_client(self, client: Client) -> bool:
        return self.token.check_client(client)

    def is_expired(self) -> bool:
        return self.token.is_expired()

    def is_revoked(self) -> bool:
        return self.token.access_revoked if self.name == "access" else self.token.refresh_revoked


class Request(OAuth2Request):
    """What Authlib wants to be told of a request. The way is loopback, which it calls insecure."""

    def __init__(self, asked: Asked) -> None:
        headers = {name.title(): value for name, value in asked.headers.items()}
        super().__init__(asked.method, f"{ISSUER}{asked.path}", headers=headers)
        self.fields = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        self.payload = BasicOAuth2Payload(self.fields)

    @property
    def form(self) -> dict[str, str]:
        return self.fields


class Asserted(JWTBearerClientAssertion):
    """Clients that sign."""

    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, server: AuthorizationServer) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def get_audiences(self) -> list[str]:
        return [ISSUER]

    def validate_jti(self, claims: Any, jti: str) -> bool:  # noqa: ANN401 - Authlib's
        fresh = jti not in self.seen
        self.seen.add(jti)
        return fresh

    def resolve_client_public_key(self, client: Client) -> Any:  # noqa: ANN401 - Authlib's
        return client.public_key


class AuthorizationServer(Framework, Stub):
    """The server: `/revoke` and `/introspect`."""

    def __init__(self) -> None:
        Framework.__init__(self)
        self.clients: dict[str, Client] = {}
        self.tokens: list[Token] = []
        self.lies = False
        """Whether it answers 200 to a revocation and revokes nothing."""
        server = self

        class Revocation(RevocationEndpoint):
            CLIENT_AUTH_METHODS = METHODS

            def query_token(self, token_string: str, token_type_hint: str | None) -> Half | None:
                return server.half(token_string)

            def revoke_token(self, token: Half, request: Request) -> None:
                if server.lies:
                    return
                token.token.access_revoked = True
                if token.name == "refresh":
                    token.token.refresh_revoked = True

        class Introspection(IntrospectionEndpoint):
            CLIENT_AUTH_METHODS = METHODS

            def query_token(self, token_string: str, token_type_hint: str | None) -> Half | None:
                return server.half(token_string)

            def check_permission(self, token: Half, client: Client, request: Request) -> bool:
                return client.introspects

            def introspect_token(self, token: Half) -> dict[str, object]:
                return {"active": True, "client_id": token.token.client_id}

        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)
        self.register_client_auth_method("private_key_jwt", Asserted(self))
        Stub.__init__(self)

    def query_client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    def half(self, text: str) -> Half | None:
        for token in self.tokens:
            if text == token.access_token:
                return Half(token, "access")
            if text == token.refresh_token:
                return Half(token, "refresh")
        return None

    def grant(self, client_id: str, shape: str = "{}") -> Token:
        """Give a client its tokens."""
        names = (shape.format(secrets.token_urlsafe(16)) for _ in range(2))
        token = Token(client_id, *names, expires_at=time.time() + 3600)
        self.tokens.append(token)
        return token

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Authlib's
        return

    def create_oauth2_request(self, request: Any) -> Request:  # noqa: ANN401 - Authlib's
        return request if isinstance(request, Request) else Request(request)

    def handle_response(self, status: int, body: Any, headers: Any) -> Said:  # noqa: ANN401 - Authlib's
        return Said.of(status, body)

    def answer(self, asked: Asked) -> Said:
        name = {"/revoke": "revocation", "/introspect": "introspection"}.get(asked.path)
        if name is None:
            return Said(404)
        said: Said = self.create_endpoint_response(name, asked)
        return said


class Resource(Stub):
    """One replica of what the access token is good for."""

    def __init__(self, server: AuthorizationServer) -> None:
        self.server = server
        self.good: set[str] = set()
        """What it keeps of tokens that were good when it asked."""
        self.keeps = False
        self.open_to_all = False
        super().__init__()

    def forget(self) -> None:
        self.good.clear()

    def takes(self, token: str) -> bool:
        if token in self.good:
            return True
        half = self.server.half(token)
        good = half is not None and half.name == "access" and not half.is_revoked()
        if good and self.keeps:
            self.good.add(token)
        return good

    def answer(self, asked: Asked) -> Said:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self.open_to_all or self.takes(token):
            return Said.of(200, {"path": asked.path})
        return Said.of(401, {}, www_authenticate='Bearer error="invalid_token"')

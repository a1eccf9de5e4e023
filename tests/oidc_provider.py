"""A small OpenID Connect provider on loopback, that signs in whoever comes as who it was told."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

__all__ = ["CLIENT", "SECRET", "OidcProvider"]

CLIENT, SECRET = "offswitch-test", "shared with the provider"


class OidcProvider:
    """One provider. What it says next is `claims`; `wrong` changes it just before it is signed."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.signs_with = self.key
        self.claims: dict[str, Any] = {"sub": "s-1", "preferred_username": "ada", "groups": ["ops"]}
        self.wrong: dict[str, Any] = {}
        self.hangs = threading.Event()
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.post(self)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def get(self, ask: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(ask.path)
        if parts.path == "/.well-known/openid-configuration":
            if self.hangs.is_set():
                time.sleep(20)
            names = {"authorization": "authorize", "token": "token"}
            about = {f"{name}_endpoint": f"{self.issuer}/{at}" for name, at in names.items()}
            answer(ask, {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **about})
        elif parts.path == "/keys":
            answer(ask, {"keys": [self.key.as_dict(private=False)]})
        elif parts.path == "/authorize":
            query = {key: value[0] for key, value in parse_qs(parts.query).items()}
            assert query["client_id"] == CLIENT
            assert query["code_challenge_method"] == "S256"
            code = secrets.token_urlsafe(8)
            self._codes[code] = query
            back = {"state": query["state"], "code": code}
            ask.send_response(302)
            ask.send_header("Location", f"{query['redirect_uri']}?{urlencode(back)}")
            ask.end_headers()

    def post(self, ask: BaseHTTPRequestHandler) -> None:
        body = ask.rfile.read(int(ask.headers["content-length"])).decode()
        form = {key: value[0] for key, value in parse_qs(body).items()}
        query = self._codes.pop(form["code"], {})
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        login = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        sealed = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if (
            ask.headers["authorization"] != f"Basic {login}"
            or sealed != query.get("code_challenge")
            or form["redirect_uri"] != query["redirect_uri"]
        ):
            answer(ask, {"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        about = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 60}
        claims = {**about, "nonce": query["nonce"], **self.claims, **self.wrong}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signs_with)
        answer(ask, {"id_token": token, "access_token": "x", "token_type": "Bearer"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(ask: BaseHTTPRequestHandler, body: dict[str, Any], status: int = 200) -> None:
    data = json.dumps(body).encode()
    ask.send_response(status)
    ask.send_header("Content-Type", "application/json")
    ask.send_header("Content-Length", str(len(data)))
    ask.end_headers()
    ask.wfile.write(data)

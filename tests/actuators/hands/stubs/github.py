"""A stub of GitHub's REST API, as far as tokens are checked and revoked, in its documented shapes.

It is no GitHub: paths, methods, statuses and fields are those of docs.github.com/rest (apps/oauth
authorizations, apps/installations, credentials/revoke, orgs/personal-access-tokens, rate-limit),
and what the documents leave open is guessed here. Like GitHub it locks out for a while who shows
refused credentials again and again, and takes a bulk revocation without saying when it is done.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs

from actuators.hands.stubs.web import Asked, Said, Stub

__all__ = ["GitHub"]


def _no(status: int, message: str) -> Said:
    url = "https://docs.github.com/rest"
    return Said.of(status, {"message": message, "documentation_url": url, "status": str(status)})


class GitHub(Stub):
    """One GitHub with one app, one organisation, and tokens."""

    def __init__(self) -> None:
        self.client_id, self.client_secret = "Iv1.8a61f9b3a7aba766", "the-secret-of-the-app"
        self.app_tokens: set[str] = set()
        self.installation_tokens: set[str] = set()
        self.personal_tokens: set[str] = set()
        self.org_token = "ghs_may-list-and-revoke"
        self.org_reader = "ghs_may-list-only"
        self.org_pats: list[int] = []
        self.bulk: list[str] = []
        """Handed in to be revoked, and not yet done."""
        self.stubborn = ""
        """A token about which it answers nothing but that it is busy."""
        self.unauthenticated = 60
        self.refused = 0
        self.patience = 1_000
        """How many refused credentials it takes before it locks out."""
        self.forgets = False
        """Whether it says yes and revokes nothing."""
        super().__init__()

    @property
    def good(self) -> set[str]:
        return self.app_tokens | self.installation_tokens | self.personal_tokens

    def finish(self) -> None:
        """Do what was handed in in bulk."""
        self.personal_tokens -= set(self.bulk)
        self.bulk = []

    def answer(self, asked: Asked) -> Said:
        shown = asked.headers.get("authorization", "").encode() + asked.body
        if self.stubborn and self.stubborn.encode() in shown:
            return _no(503, "Service Unavailable")
        return self._answer(asked)

    def _answer(self, asked: Asked) -> Said:
        assert asked.headers["user-agent"], "GitHub refuses whoever does not say its name"
        scheme, _, shown = asked.headers.get("authorization", "").partition(" ")
        path, _, query = asked.path.partition("?")
        if scheme == "Basic":
            return self._of_app(asked, base64.b64decode(shown).decode())
        if scheme == "Bearer" and shown not in self.good | {self.org_token, self.org_reader}:
            self.refused += 1
            if self.refused > self.patience:
                return _no(
                    403, "Maximum number of login attempts exceeded. Please try again later."
                )
            return _no(401, f"Bad credentials {shown}")
        match (asked.method, path.split("/")[1:]):
            case ("GET", ["rate_limit"]):
                core = {"limit": 60, "remaining": self.unauthenticated, "reset": 1, "used": 0}
                return Said.of(200, {"resources": {"core": core}, "rate": core})
            case ("POST", ["credentials", "revoke"]):
                return self._revoke_in_bulk(asked, scheme)
            case (method, ["installation", *rest]):
                return self._of_installation(method, rest, shown)
            case (method, ["orgs", "acme", "personal-access-tokens", *rest]):
                return self._of_org(method, rest, query, shown, asked)
        return _no(404, "Not Found")

    def _of_installation(self, method: str, rest: list[str], shown: str) -> Said:
        if shown not in self.installation_tokens:
            return _no(403, "Resource not accessible by integration")
        if (method, rest) == ("DELETE", ["token"]):
            if not self.forgets:
                self.installation_tokens.discard(shown)
            return Said(204)
        return Said.of(200, {"total_count": 0, "repositories": []})

    def _of_app(self, asked: Asked, shown: str) -> Said:
        if shown != f"{self.client_id}:{self.client_secret}":
            return _no(401, f"Bad credentials {shown} {asked.headers['authorization']}")
        token = asked.json().get("access_token")
        what = asked.path.removeprefix(f"/applications/{self.client_id}/")
        match (asked.method, what):
            case ("POST", "token"):
                if token not in self.app_tokens:
                    return _no(404, "Not Found")
                app = {"client_id": self.client_id, "name": "shop", "url": "https://shop.example"}
                return Said.of(200, {"id": 1, "token": token, "app": app, "scopes": ["repo"]})
            case ("DELETE", "token" | "grant"):
                if token not in self.app_tokens:
                    return _no(422, "Validation Failed")
                if not self.forgets:
                    self.app_tokens -= self.app_tokens if what == "grant" else {token}
                return Said(204)
        return _no(404, "Not Found")

    def _revoke_in_bulk(self, asked: Asked, scheme: str) -> Said:
        if scheme:
            return _no(403, "This endpoint takes no credential")
        self.unauthenticated -= 1
        if self.unauthenticated < 0:
            return _no(403, "API rate limit exceeded for 127.0.0.1.")
        tokens: Any = asked.json().get("credentials")
        if not isinstance(tokens, list) or not tokens:
            return _no(422, "Validation Failed")
        if not self.forgets:
            self.bulk += tokens
        return Said.of(202, {})

    def _of_org(self, method: str, rest: list[str], query: str, shown: str, asked: Asked) -> Said:
        if shown not in {self.org_token, self.org_reader}:
            return _no(403, "Resource not accessible by personal access token")
        if method == "GET" and not rest:
            number = int(parse_qs(query)["page"][0])
            part = self.org_pats[(number - 1) * 100 : number * 100]
            more = len(self.org_pats) > number * 100
            link = f'<{self.url}/orgs/acme/personal-access-tokens?page={number + 1}>; rel="next"'
            return Said.of(200, [{"id": one} for one in part], **({"link": link} if more else {}))
        if shown != self.org_token:
            return _no(403, "Resource not accessible by integration")
        if not rest or int(rest[0]) not in self.org_pats:
            return _no(404, "Not Found")
        if asked.json().get("action") != "revoke":
            return _no(422, "Validation Failed")
        if not self.forgets:
            self.org_pats.remove(int(rest[0]))
        return Said(204)

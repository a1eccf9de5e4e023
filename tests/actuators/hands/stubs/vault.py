"""A stub of Vault's API, as far as a stop needs it; `-m peers` runs the same tests on OpenBao.

Shaped after what OpenBao 2.7.2 answers: policies (in their JSON form), service and batch tokens,
logins by name and password with the leases of their tokens, entities, accessors, and whether a
token may. A prefix is a path, never a beginning of a name; what is not there is a 404 or the words
"invalid accessor"; a token that is no more is "permission denied".
"""

from __future__ import annotations

import fnmatch
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from actuators.hands.stubs.web import Asked, Said, Stub

__all__ = ["ROOT", "VaultStub", "refuse"]

ROOT = "root"
OPEN = {"auth/token/lookup-self": {"read"}, "sys/capabilities-self": {"update"}}
"""What every token may (the policy `default`)."""


@dataclass
class Kept:
    """One token."""

    text: str
    policies: list[str]
    path: str
    kind: str = "service"
    entity: str = ""
    ends: float = 0.0
    accessor: str = field(default_factory=lambda: secrets.token_hex(8))


def refuse(status: int, *why: str) -> Said:
    return Said.of(status, {"errors": list(why)})


def give(data: dict[str, Any] | None, **more: Any) -> Said:  # noqa: ANN401 - JSON
    return Said.of(200, {"data": data, "warnings": None, "auth": None, **more})


class VaultStub(Stub):
    """A server that was unsealed, with the root token `root`."""

    def __init__(self) -> None:
        self.policies: dict[str, dict[str, set[str]]] = {}
        self.tokens = {ROOT: Kept(ROOT, ["root"], "auth/token/root")}
        self.entities: dict[str, bool] = {}
        """Id → whether it is disabled."""
        self.names: dict[str, str] = {}
        """Name of a user → its entity."""
        self.sealed = False
        super().__init__()

    # --- what is asked ---

    def answer(self, asked: Asked) -> Said:
        path, _, query = asked.path.removeprefix("/v1/").partition("?")
        if self.sealed:
            return refuse(503, "Vault is sealed")
        body = json.loads(asked.body) if asked.body else {}
        method = "LIST" if query == "list=true" else asked.method
        if path.startswith("auth/userpass/login/"):
            return self.login(path)
        token = self.alive(asked.headers.get("x-vault-token", ""))
        wants = {"GET": "read", "LIST": "list"}.get(method, "update")
        if token is None or not self.may(token, path, wants):
            return refuse(403, "permission denied")
        return self.done(method, path, body, token)

    def alive(self, text: str) -> Kept | None:
        token = self.tokens.get(text)
        if token is None or (token.ends and token.ends < time.time()):
            return None
        return None if self.entities.get(token.entity) else token

    def may(self, token: Kept, path: str, what: str) -> bool:
        able = self.able(token, path)
        rooted = path.startswith(("sys/leases/revoke-", "sys/leases/lookup/"))
        return "root" in able or (what in able and ("sudo" in able or not rooted))

    def able(self, token: Kept, path: str) -> set[str]:
        if "root" in token.policies:
            return {"root"}
        found = set(OPEN.get(path, set()))
        for name in token.policies:
            for pattern, given in self.policies.get(name, {}).items():
                if fnmatch.fnmatchcase(path, pattern):
                    found |= given
        return found

    def done(self, method: str, path: str, body: dict[str, Any], token: Kept) -> Said:
        first, _, rest = path.partition("/")
        match (first, rest):
            case ("auth", "token/lookup-self"):
                return give(self.about(token))
            case ("auth", "token/create"):
                ends = time.time() + int(body["ttl"].rstrip("s")) if "ttl" in body else 0.0
                kind = body.get("type", "service")
                return self.make(list(body["policies"]), "auth/token/create", kind, ends=ends)
            case ("auth", "token/lookup-accessor" | "token/revoke-accessor"):
                return self.by_accessor(body["accessor"], revoke=rest.endswith("revoke-accessor"))
            case ("identity", _):
                return self.entity(method, rest.removeprefix("entity/id/"), body)
            case ("sys", "capabilities-self"):
                able = {p: sorted(self.able(token, p)) or ["deny"] for p in body["paths"]}
                return give(able)
            case ("sys", _) if rest.startswith("leases/"):
                return self.leases(rest.removeprefix("leases/"))
            case ("sys", _) if rest.startswith("policies/acl/"):
                rules = json.loads(body["policy"])["path"]
                given = {path: set(rule["capabilities"]) for path, rule in rules.items()}
                self.policies[rest.removeprefix("policies/acl/")] = given
        return Said(204)

    # --- tokens, leases, entities ---

    def login(self, path: str) -> Said:
        name = path.rsplit("/", 1)[1]
        entity = self.names.setdefault(name, secrets.token_hex(8))
        if self.entities.setdefault(entity, False):
            return refuse(403, "permission denied")
        return self.make(["default"], path, entity=entity)

    def make(
        self,
        policies: list[str],
        path: str,
        kind: str = "service",
        entity: str = "",
        ends: float = 0,
    ) -> Said:
        made = Kept(secrets.token_hex(12), policies, path, kind, entity, ends)
        self.tokens[made.text] = made
        known = {"client_token": made.text, "accessor": made.accessor, "entity_id": made.entity}
        return give(None, auth=known)

    def about(self, token: Kept) -> dict[str, Any]:
        ttl = int(token.ends - time.time()) if token.ends else 0
        return {"accessor": token.accessor, "ttl": ttl, "type": token.kind, "path": token.path}

    def by_accessor(self, accessor: str, *, revoke: bool) -> Said:
        for token in self.tokens.values():
            if token.accessor == accessor and token.kind == "service":
                if revoke:
                    del self.tokens[token.text]
                    return Said(204)
                return give(self.about(token))
        if revoke:
            return give(None, warnings=["No token found with this accessor"])
        return refuse(400, "1 error occurred:\n\t* invalid accessor\n\n")

    def entity(self, method: str, known: str, body: dict[str, Any]) -> Said:
        if known not in self.entities:
            return refuse(404)
        if method == "GET":
            return give({"id": known, "disabled": self.entities[known]})
        self.entities[known] = bool(body["disabled"])
        return Said(204)

    def leases(self, rest: str) -> Said:
        what, _, prefix = rest.partition("/")
        below = prefix.rstrip("/") + "/"
        held = [t for t in self.tokens.values() if f"{t.path}/".startswith(below)]
        held = [t for t in held if t.kind == "service" and t.text != ROOT]
        if what == "lookup":
            return give({"keys": [t.accessor for t in held]}) if held else refuse(404)
        for token in held:
            del self.tokens[token.text]
        return Said(204)

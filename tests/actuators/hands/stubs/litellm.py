"""A stub of the LiteLLM proxy: several replicas over one database, each with a cache of its own.

Shaped after LiteLLM 1.100: what `/key/block`, `/key/info`, `/key/list`, `/key/delete`,
`/team/block` and the check of a key answer, and that a replica goes by its cache for as long as it
lasts, which is what makes a blocked key work on elsewhere. A real proxy wants a PostgreSQL and a
query engine that no package ships, so this is what the everyday tests have.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

from actuators.hands.stubs.web import Asked, Said, Stub

__all__ = ["MASTER", "Database", "Replica", "named"]

MASTER = "sk-master-of-all"


def named(key: str) -> str:
    """Give the hash by which a key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


class Database:
    """What all replicas share."""

    def __init__(self) -> None:
        self.keys: dict[str, dict[str, Any]] = {}
        self.teams: dict[str, dict[str, Any]] = {}
        self.there = True

    def make(self, key: str, **about: Any) -> str:  # noqa: ANN401 - a row
        self.keys[named(key)] = {"blocked": None, "key_alias": None, "user_id": None, **about}
        return key


def wrong(status: int, message: str, kind: str = "auth_error") -> Said:
    told = {"message": message, "type": kind, "param": "None", "code": str(status)}
    return Said.of(status, {"error": told})


class Replica(Stub):
    """One replica, with one worker."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.cache: dict[str, dict[str, Any]] = {}
        self.deaf = False
        """Whether it takes no command: then only its cache running out helps."""
        super().__init__()

    def forget(self) -> None:
        """Let the cache run out."""
        self.cache.clear()

    def answer(self, asked: Asked) -> Said:
        bearer = asked.headers.get("authorization", "").removeprefix("Bearer ")
        refused = self.refused(bearer)
        if refused is not None:
            return refused
        url = urlsplit(asked.path)
        if url.path == "/v1/models":
            return Said.of(200, {"object": "list", "data": [{"id": "m-7", "object": "model"}]})
        if bearer != MASTER:
            message = f"Only proxy admin can be used to ... Route={url.path}. Your role=internal"
            return wrong(401, message)
        if self.deaf and asked.method == "POST":
            return wrong(503, "busy", "internal_server_error")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        return self.managed(url.path, query, asked)

    def refused(self, key: str) -> Said | None:
        """Check a key as a replica does: by its cache, and by the database only without one."""
        if key == MASTER:
            return None
        if not key.startswith("sk-"):
            return wrong(401, "LiteLLM Virtual Key expected, starts with 'sk-'")
        token = named(key)
        row = self.cache.get(token)
        if row is None:
            if not self.database.there:
                return wrong(401, "Authentication Error, no connection", "no_db_connection")
            found = self.database.keys.get(token)
            if found is None:
                return not_found(token)
            row = self.cache[token] = dict(found)
        if row["blocked"]:
            return wrong(401, "Authentication Error, Key is blocked. Update via `/key/unblock`")
        if self.database.teams.get(str(row.get("team_id")), {}).get("blocked"):
            return wrong(401, f"Authentication Error, Team={row['team_id']} is blocked.")
        return None

    def managed(self, path: str, query: dict[str, str], asked: Asked) -> Said:  # noqa: PLR0911
        keys, teams = self.database.keys, self.database.teams
        match path:
            case "/key/block":
                token = asked.json()["key"]
                if token not in keys:
                    return not_found(token)
                keys[token]["blocked"] = True
                self.cache[token] = dict(keys[token])
                return Said.of(200, {"token": token, **keys[token]})
            case "/key/info":
                if query["key"] not in keys:
                    return wrong(404, "Key not found in database", "not_found_error")
                return Said.of(200, {"key": query["key"], "info": keys[query["key"]]})
            case "/key/list":
                mine = [key for key, row in keys.items() if row["user_id"] == query["user_id"]]
                return Said.of(200, {"keys": mine, "total_pages": 1, "current_page": 1})
            case "/key/delete":
                gone = [key for key in asked.json()["keys"] if keys.pop(key, None) is not None]
                for key in gone:
                    self.cache.pop(key, None)
                return Said.of(200, {"deleted_keys": gone})
            case "/team/info" if query["team_id"] in teams:
                return Said.of(200, {"team_id": query["team_id"], "team_info": {}})
            case "/team/block" if asked.json()["team_id"] in teams:
                teams[asked.json()["team_id"]]["blocked"] = True
                return Said.of(200, {})
            case _:
                return wrong(404, "Not Found", "not_found_error")


def not_found(token: str) -> Said:
    message = f"Authentication Error, Invalid proxy server token passed. key={token}, not found"
    return wrong(401, message, "token_not_found_in_db")

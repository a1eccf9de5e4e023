"""What Vault or OpenBao gave an agent: its token and all that it was lent, revoked.

    trip   entities disabled, tokens revoked by their accessors, leases revoked below `prefixes`
    look   the agent's own token looked up by itself: refused; nothing leased below `prefixes`
           (LIST), no such accessor any more, by a token of its own
    arm    the very paths asked of `sys/capabilities-self`, and how long our own token still lives

A prefix is a path: `auth/approle/login` are the tokens of all who came in by AppRole,
`database/creds/shop` the database users that were made for that role, which the database drops.
An entity that is disabled gets no new token by any way in; a person enables it again, and the
tokens that it had stay revoked (RST-8). Without an entity or a token to revoke, an agent whose
leases end gets itself new ones: that is said as *degraded*. So is a batch token, which can be
revoked by nobody, and a token of ours that ends soon.

`force` (revoke-force) forgets leases that the database cannot drop: they end here and go on there,
so it is for what `revoke-prefix` cannot, and never the default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import AfterValidator, Field, model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.credentials.turned import Turned
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.together import at_once, everywhere, troubles, worst
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import Clock, SystemClock
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection, Duration
from offswitch.config.url import Url
from offswitch.printable import printable

__all__ = ["Vault", "VaultSettings"]

_DENIED, _MISSING = 403, 404
_NO_ACCESSOR = frozenset({400, 403, 404})
"""Vault's and OpenBao's releases differ in how they say that an accessor is none."""
_GONE = (b"invalid accessor", b"token not found")
"""In what words: the second where it ends just then, by its prefix (seen)."""


def _plain(value: str) -> str:
    if {".", ".."} & set(value.split("/")):
        raise ValueError("a path without . and ..")
    return value


Path = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.@-]+(/[A-Za-z0-9_.@-]+)*/?$", max_length=500),
    AfterValidator(_plain),
]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


class VaultSettings(ActuatorSection):
    """The keys of an `[[actuator]]` of kind `vault`."""

    LAYER = "credentials"
    SECRETS = frozenset({"secret_file", "look_secret_file", "token_file"})
    FILES = frozenset({"ca_file"})

    kind: Literal["vault"]
    url: Url
    """Of the server, without `/v1`."""
    namespace: Annotated[str, Field(pattern=r"^[^\s]+$", max_length=200)] | None = None
    """The namespace in which all of this lies."""
    secret_file: Secret
    """The token that may revoke, and nothing else."""
    look_secret_file: Secret | None = None
    """A token that may only look: list leases, look accessors up, read entities."""
    prefixes: Annotated[list[Path], Field(max_length=50, default_factory=list)]
    """Below which every lease is revoked."""
    accessors: Annotated[list[Id], Field(max_length=50, default_factory=list)]
    """The accessors of the agent's tokens."""
    entities: Annotated[list[Id], Field(max_length=50, default_factory=list)]
    """The ids of the agent's entities, which are disabled."""
    token_file: Secret | None = None
    """The agent's own token, which the look tries."""
    force: bool = False
    """Whether leases are forgotten where they cannot be revoked."""
    warn: Duration = 3_600_000_000
    """A token of ours that ends sooner is told of."""
    ca_file: str | None = None
    """Who vouches for its certificate, where it is none of the system's."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.prefixes or self.accessors or self.entities):
            raise ValueError("name at least one of 'prefixes', 'accessors' and 'entities'")
        return self


class Vault(Hand):
    """Revokes what one agent has from one Vault or OpenBao."""

    Settings = VaultSettings
    settings: VaultSettings

    def __init__(self, settings: VaultSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self._secrets = context.secrets
        looks = context.role is Role.LOOK
        own = self._secrets.get("look_secret_file") if looks else None
        self._by = own or self._secrets.get("secret_file", "")
        self._own_look = own is not None
        headers = {"x-vault-request": "true"}
        if settings.namespace is not None:
            headers["x-vault-namespace"] = settings.namespace
        patience = max(0.1, settings.deadline / 1e6 * 0.8)
        calls = len(settings.entities) + len(settings.accessors) + len(settings.prefixes)
        self._lines = [
            Line(settings.url, headers=headers, timeout_s=patience, ca_file=settings.ca_file)
            for _ in range(calls)
        ]
        """One for each call of a stop: one that hangs holds up no other."""
        self._line = self._lines[0]
        self._held: tuple[str, ...] = ()
        self.clock: Clock = SystemClock()
        self._turned = Turned(self)
        self._doubted = False
        """Whether what was seen gone last may have been gone for long."""

    def open(self) -> None:
        """Connect."""
        self._line.open()

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, line: Line | None = None
    ) -> Answer:
        headers = {"x-vault-token": self._by}
        return (line or self._line).ask(method, f"/v1/{path}", body, headers=headers)

    # --- proofs ---------------------------------------------------------------------

    def arm(self) -> Readiness:
        """Ask whether the very calls of a stop, or of a look, would be allowed."""
        looks = self.context.role is Role.LOOK
        wanted = self._looking_paths() if looks else self._paths()
        parts: list[Readiness | Trouble] = [self._allowed(wanted), self._lasts()]
        if looks:
            parts += self._would_see()
        else:
            parts += self._reaches_all()
            self._held = self._leased()
        return worst(parts)

    def _paths(self) -> dict[str, frozenset[str]]:
        """Give each path of a stop, and what it wants of it."""
        how = "revoke-force" if self.settings.force else "revoke-prefix"
        update, root = frozenset({"update"}), frozenset({"update", "sudo"})
        paths = {f"identity/entity/id/{entity}": update for entity in self.settings.entities}
        if self.settings.accessors:
            paths["auth/token/revoke-accessor"] = update
        return paths | {f"sys/leases/{how}/{prefix}": root for prefix in self.settings.prefixes}

    def _looking_paths(self) -> dict[str, frozenset[str]]:
        paths = {f"identity/entity/id/{e}": frozenset({"read"}) for e in self.settings.entities}
        if self.settings.accessors:
            paths["auth/token/lookup-accessor"] = frozenset({"update"})
        listed = frozenset({"list", "sudo"})
        return paths | {f"sys/leases/lookup/{_folder(p)}": listed for p in self.settings.prefixes}

    def _allowed(self, wanted: dict[str, frozenset[str]]) -> Readiness:
        """Ask the server itself what our token may do there (sys/capabilities-self)."""
        answer = self._ask("POST", "sys/capabilities-self", {"paths": list(wanted)})
        if not answer.ok:
            return Readiness(Ready.UNPROVEN, self._refusal(answer))
        told = _data(answer)
        missing = []
        for path, wants in wanted.items():
            given = told.get(path)
            has = set(given) if isinstance(given, list) else set()
            if "root" not in has and not wants <= has:
                missing.append(f"{' and '.join(sorted(wants - has))} on {path}")
        if missing:
            return Readiness(Ready.UNPROVEN, f"its token lacks {', '.join(missing)}")
        return Readiness(Ready.READY, f"{self._line.place} would let it")

    def _lasts(self) -> Readiness:
        """See how long our own token lives."""
        answer = self._ask("GET", "auth/token/lookup-self")
        if not answer.ok:
            return Readiness(Ready.UNPROVEN, self._refusal(answer))
        ttl = _data(answer).get("ttl")
        warn_s = self.settings.warn // 1_000_000
        if isinstance(ttl, int) and 0 < ttl < warn_s:
            why = f"its own token ends in {ttl} s: renew it, or write another one there"
            return Readiness(Ready.DEGRADED, why)
        return Readiness(Ready.READY)

    def _reaches_all(self) -> list[Readiness]:
        """Tell of what a stop would leave to the agent."""
        if self.settings.accessors or self._closes():
            return []
        why = "its leases alone are revoked: with its token it gets new ones; name an 'entities' id"
        return [Readiness(Ready.DEGRADED, why)]

    def _closes(self) -> bool:
        """Tell whether an agent is seen to have no token at all, whichever it worked by."""
        logins = any(prefix.startswith("auth/") for prefix in self.settings.prefixes)
        return logins or bool(self.settings.entities)

    def _would_see(self) -> list[Readiness | Trouble]:
        """Look now: what is not cut has to be seen as not cut."""
        parts: list[Readiness | Trouble] = []
        if not self._own_look:
            why = "looks by the credential that acts: name look_secret_file"
            parts.append(Readiness(Ready.DEGRADED, why))
        seen = [self._seen(look) for look in (*self._tokens(), *self._entities())]
        for sight in seen:
            if isinstance(sight, Trouble) or sight.stands is False:
                continue
            why = sight.detail
            if sight.stands:
                why += " before any stop: it was rotated, or has ended"
            parts.append(Readiness(Ready.UNPROVEN, why))
        parts += [sight for sight in seen if isinstance(sight, Trouble)]
        leased = [self._seen(look) for look in self._leases()]
        if not seen and not any(isinstance(s, Sight) and s.stands is False for s in leased):
            why = "nothing is leased now, so whether it would be seen is not shown: name token_file"
            parts.append(Readiness(Ready.DEGRADED, why))
        return [*parts, *self._batch()]

    def _batch(self) -> list[Readiness]:
        token = self._secrets.get("token_file")
        if token is None:
            return []
        answer = self._lookup_self(token)
        if not answer.ok or _data(answer).get("type") != "batch":
            return []
        why = "the agent's token is a batch token: nobody can revoke it before it ends"
        return [Readiness(Ready.DEGRADED, why)]

    # --- the stop -------------------------------------------------------------------

    def trip(self, level: str) -> Acted:
        """End the way in, the tokens, and what they were lent, all at once."""
        del level
        ends: list[tuple[str, dict[str, Any] | None]] = []
        ends += [(f"identity/entity/id/{e}", {"disabled": True}) for e in self.settings.entities]
        revoke = "auth/token/revoke-accessor"
        ends += [(revoke, {"accessor": accessor}) for accessor in self.settings.accessors]
        how = "revoke-force" if self.settings.force else "revoke-prefix"
        lent: list[tuple[str, dict[str, Any] | None]]
        lent = [(f"sys/leases/{how}/{prefix}", None) for prefix in self.settings.prefixes]
        came = self._revoke([*ends, *lent])
        if ends and lent and not troubles(came):  # a last lease, taken while the token still lived
            came += self._revoke(lent)
        wrong = troubles(came)
        if wrong:
            raise Trouble(wrong, "what was allowed is revoked; see its token's policy")
        return Acted(
            f"{self._line.place} was told to revoke {self._what()}", reissue=self._reissue()
        )

    def _revoke(self, calls: list[tuple[str, dict[str, Any] | None]]) -> list[str | Trouble]:
        def revoke(line: Line, path: str, body: dict[str, Any] | None) -> str:
            answer = self._ask("POST", path, body, line)
            gone = "accessor" in (body or {}) and _no_such(answer)
            if not answer.ok and not gone:
                raise Trouble(f"{path}: {self._refusal(answer)}")
            return path

        pairs = zip(self._lines, calls, strict=False)
        return at_once([partial(revoke, line, path, body) for line, (path, body) in pairs])

    def look(self) -> Sight:
        """Look every part up; what is gone is gone for the agent, too."""
        firm = [self._seen(look) for look in (*self._entities(), *self._leases())]
        own: list[Sight | Trouble] = []
        for look in self._tokens():
            self._doubted = False
            sight = self._seen(look)
            if not (self._doubted and self._closes()):  # that needs no old token's word
                own.append(sight)
        return everywhere([*own, *firm])

    def _tokens(self) -> list[Callable[[], Sight]]:
        token = self._secrets.get("token_file")
        looks: list[Callable[[], Sight]] = []
        looks += [partial(self._token_seen, token)] if token is not None else []
        looks += [partial(self._accessor_seen, accessor) for accessor in self.settings.accessors]
        return looks

    def _entities(self) -> list[Callable[[], Sight]]:
        return [partial(self._entity_seen, entity) for entity in self.settings.entities]

    def _leases(self) -> list[Callable[[], Sight]]:
        return [partial(self._prefix_seen, prefix) for prefix in self.settings.prefixes]

    def _seen(self, look: Callable[[], Sight]) -> Sight | Trouble:
        try:
            return look()
        except Trouble as trouble:
            return trouble

    def _token_seen(self, token: str) -> Sight:
        answer = self._lookup_self(token)
        if answer.ok:
            return self._good(f"token {token}", "the agent's token is taken")
        if answer.status == _DENIED:
            return self._bad(f"token {token}", "the agent's token is refused")
        return Sight(None, self._refusal(answer))

    def _good(self, what: str, said: str) -> Sight:
        self._turned.good(what, self.clock.mono_us())
        return Sight(False, said)

    def _bad(self, what: str, said: str) -> Sight:
        """Say that it is gone; of what was gone long before that proves nothing (`turned`)."""
        doubt = self._turned.bad(what, self.clock.mono_us())
        self._doubted = doubt != ""
        return Sight(None if doubt else True, said + doubt)

    def _entity_seen(self, entity: str) -> Sight:
        answer = self._ask("GET", f"identity/entity/id/{entity}")
        if answer.status == _MISSING:
            return self._bad(entity, f"there is no entity {entity[:8]}")
        if not answer.ok:
            return Sight(None, self._refusal(answer))
        if _data(answer).get("disabled") is True:
            return Sight(True, f"entity {entity[:8]} is disabled")
        return self._good(entity, f"entity {entity[:8]} is not disabled")

    def _accessor_seen(self, accessor: str) -> Sight:
        answer = self._ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if answer.ok:
            return self._good(accessor, f"the token of accessor {accessor[:8]} lives")
        if _no_such(answer):
            return self._bad(accessor, f"there is no token of accessor {accessor[:8]}")
        return Sight(None, self._refusal(answer))

    def _prefix_seen(self, prefix: str) -> Sight:
        answer = self._ask("GET", f"sys/leases/lookup/{_folder(prefix)}?list=true")
        if answer.status == _MISSING and _empty(answer):
            return Sight(True, f"nothing is leased below {prefix}")
        if not answer.ok:
            return Sight(None, self._refusal(answer))
        keys = _data(answer).get("keys")
        count = len(keys) if isinstance(keys, list) else 0
        if not count:
            return Sight(True, f"nothing is leased below {prefix}")
        return Sight(False, f"{count} leased below {prefix}")

    def _lookup_self(self, token: str) -> Answer:
        return self._line.ask("GET", "/v1/auth/token/lookup-self", headers={"x-vault-token": token})

    # --- afterwards -----------------------------------------------------------------

    def release(self) -> Acted:
        """Give nothing back (RST-8)."""
        return Acted("what was revoked stays revoked", reissue=self._reissue())

    def _what(self) -> str:
        settings = self.settings
        counts = {
            "entities": len(settings.entities),
            "tokens": len(settings.accessors),
            "prefixes": len(settings.prefixes),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)

    def _reissue(self) -> tuple[str, ...]:
        settings = self.settings
        file = f", written to {settings.token_file}" if settings.token_file else ""
        needed = [f"a token for {settings.target}{file}"]
        needed += [f"entity {e} is disabled: enable it last" for e in settings.entities]
        needed += [f"new leases below {prefix}" for prefix in settings.prefixes]
        return tuple(needed)

    def _leased(self) -> tuple[str, ...]:
        """List what is leased, where our token may see it."""
        found: list[str] = []
        for prefix in self.settings.prefixes:
            answer = self._ask("GET", f"sys/leases/lookup/{_folder(prefix)}?list=true")
            keys = _data(answer).get("keys") if answer.ok else None
            some = keys[:50] if isinstance(keys, list) else []
            found += [f"lease {_folder(prefix)}{printable(key, 60)}" for key in some]
        return tuple(found)

    def holds(self) -> tuple[str, ...]:
        """List the tokens and leases that the target has."""
        tokens = (f"token of accessor {accessor[:8]}…" for accessor in self.settings.accessors)
        return (*tokens, *self._held)

    def route(self) -> Route:
        """Say what it rests on."""
        settings = self.settings
        own = settings.look_secret_file if self._own_look else None
        return Route(
            self._line.transport,
            self._line.place,
            own or settings.secret_file,
            "Vault or OpenBao",
            (settings.ca_file,) if settings.ca_file else (),
        )

    def close(self) -> None:
        """Hang up."""
        for line in self._lines:
            line.close()

    def _refusal(self, answer: Answer) -> str:
        said = unsaid(answer.text, self._secrets.values(), 120)
        return f"{self._line.place} answers {answer.status}: {said}"


def _folder(prefix: str) -> str:
    return quote(prefix if prefix.endswith("/") else f"{prefix}/", safe="/@")


def _empty(answer: Answer) -> bool:
    """Tell an empty list, a 404 without a reason, from a wrong address: that one has words."""
    try:
        told = answer.json()
    except Trouble:
        return False
    return isinstance(told, dict) and told.get("errors") == []


def _no_such(answer: Answer) -> bool:
    known = any(words in answer.body for words in _GONE)
    return answer.status in _NO_ACCESSOR and known


def _data(answer: Answer) -> dict[str, Any]:
    told = answer.json()
    data = told.get("data") if isinstance(told, dict) else None
    return data if isinstance(data, dict) else {}

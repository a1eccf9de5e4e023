"""The keys that a LiteLLM proxy gave an agent: blocked at every replica, deleted after the reset.

    trip     POST /key/block at every replica (and /team/block); each key of `user` likewise
    look     GET `probe` with the agent's own key at every replica: 401 or 403 from all of them
    release  POST /key/delete of what is blocked: nobody can unblock it any more (RST-8)

Why blocked first and not deleted. Each replica, and each worker of one, keeps what it knows of a
key in a cache of its own for as long as its settings say, and asks the database only afterwards.
A block may be said again to every replica, and each one writes it into its own cache at once. A
deletion can be said once: the next replica finds no such key, and goes on by its cache. A block
also keeps the key's record, with what it spent, for whoever asks what happened. A reset gives it
back by no means: `release` deletes it, and a person makes another.

Blocking acts on new requests only. What a model already answers goes on to its end: that is for
the layers `gateway` and `serving` to cut. One address behind a balancer, or one with several
workers, is several replicas of which one is told: that is said as *degraded*, unless `alone`.

`arm` blocks a key that does not exist, made up anew each time: whoever may not block, or has no
database, does not answer that this very key is not found.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, Context, Hand, Role, Route, Sight, Trouble
from offswitch.actuators.hands.credentials.bearer import Bearer
from offswitch.actuators.hands.credentials.turned import Turned
from offswitch.actuators.hands.endpoint import Endpoint
from offswitch.actuators.hands.http import Answer, Line
from offswitch.actuators.hands.together import at_once, everywhere, troubles, worst
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import new_nonce
from offswitch.config.secret import Secret
from offswitch.config.section import ActuatorSection
from offswitch.config.url import Url
from offswitch.printable import printable

__all__ = ["LiteLLM", "LiteLLMSettings"]

_PAGE, _MOST_PAGES = 100, 10
_SHORT = 8
_PREFIX = "sk-"
_HASH = re.compile(r"[0-9a-f]{64}")
_NOT_FOUND = 404
_GONE = frozenset({401, _NOT_FOUND})
_BLOCKED = b"Key is blocked"
"""Why a key is refused that was blocked, and was not renewed meanwhile."""

KeyHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Id = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f]{1,200}$")]


class LiteLLMSettings(ActuatorSection):
    """The keys of an `[[actuator]]` of kind `litellm`."""

    LAYER = "credentials"
    SECRETS = frozenset({"secret_file", "token_file"})
    FILES = frozenset({"ca_file"})

    kind: Literal["litellm"]
    replicas: Annotated[list[Url], Field(min_length=1, max_length=32)]
    """Every replica by its own address, past the balancer."""
    secret_file: Secret
    """The master key, or the key of a proxy admin."""
    token_file: Secret
    """The agent's own key: what is blocked, and what the look tries."""
    keys: Annotated[list[KeyHash], Field(max_length=100, default_factory=list)]
    """Further keys, each by its SHA-256 as LiteLLM shows it."""
    team: Id | None = None
    """A team that is blocked as a whole. Only a person unblocks it."""
    user: Id | None = None
    """A user of LiteLLM's all of whose keys are blocked, those too that were made meanwhile."""
    probe: Annotated[str, Field(pattern=r"^/[^\s]*$", max_length=500)] = "/v1/models"
    """What the look asks for: something that takes a key, and costs nothing."""
    alone: bool = False
    """Whether this is the only process of it: one replica, with one worker."""
    ca_file: str | None = None
    """Who vouches for its certificate, where it is none of the system's."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.replicas)) < len(self.replicas):
            raise ValueError("'replicas' names one of them twice")
        if self.alone and len(self.replicas) > 1:
            raise ValueError("'alone' is for one replica with one worker, and there are several")
        return self


class LiteLLM(Hand):
    """Blocks keys at every replica of one LiteLLM proxy."""

    Settings = LiteLLMSettings
    settings: LiteLLMSettings

    def __init__(self, settings: LiteLLMSettings, context: Context) -> None:
        """Hold what was said."""
        super().__init__(settings, context)
        self._token = context.secrets.get("token_file", "")
        self._admin = context.secrets.get("secret_file", "")
        headers = {"authorization": f"Bearer {self._admin}"}
        patience = max(0.1, settings.deadline / 1e6 * 0.8)
        self._lines = [
            Line(url, headers=headers, timeout_s=patience, ca_file=settings.ca_file)
            for url in settings.replicas
        ]
        turned = Turned(self)
        self._bearers = [
            Bearer(
                Endpoint(
                    url.rstrip("/") + settings.probe, timeout_s=patience, ca_file=settings.ca_file
                ),
                self._token,
                turned,
                _BLOCKED,
            )
            for url in settings.replicas
        ]
        self._late = [
            Line(url, headers=headers, timeout_s=patience, ca_file=settings.ca_file)
            for url in settings.replicas
        ]
        """For the keys that `user` has got meanwhile, beside the known ones."""
        own = [_hash_of(self._token)] if self._token.startswith(_PREFIX) else []
        self._named = tuple(dict.fromkeys([*own, *settings.keys]))
        self._known = self._named
        """The named ones and those of `user`, as they were when this was proven."""
        self._aliases: dict[str, str] = {}

    # --- proofs ---------------------------------------------------------------------

    def arm(self) -> Readiness:
        """Prove that every replica would block, or that every one takes the agent's key now."""
        if self.context.role is Role.LOOK:
            proven = worst(at_once([bearer.arm for bearer in self._bearers]))
        else:
            first = self._lines[0]
            checks: list[Callable[[], Readiness]] = [
                partial(self._would_block, line) for line in self._lines
            ]
            proven = worst([*at_once(checks), *self._there(first)])
        if not self._token.startswith(_PREFIX):
            why = f"{self.settings.token_file} holds no key of LiteLLM's, which begins with sk-"
            return Readiness(Ready.UNPROVEN, why)
        return worst([proven, *self._unseen()])

    def _would_block(self, line: Line) -> Readiness:
        """Have a key blocked that was never there; only who may block finds that out."""
        made_up = _hash_of(_PREFIX + new_nonce())
        answer = line.ask("POST", "/key/block", {"key": made_up})
        if answer.ok or (answer.status in _GONE and made_up.encode() in answer.body):
            return Readiness(Ready.READY, f"{line.place} would block")
        return Readiness(Ready.UNPROVEN, f"{line.place} would not block: {self._words(answer)}")

    def _there(self, line: Line) -> list[Readiness | Trouble]:
        """See that there is something to block, and remember it."""
        try:
            known = [self._info(line, key) for key in self._named]
            if self.settings.team is not None:
                known.append(self._team(line, self.settings.team))
            self._known = tuple(dict.fromkeys([*self._named, *self._of_user(line)]))
        except Trouble as trouble:
            return [trouble]
        return list(known)

    def _info(self, line: Line, key: str) -> Readiness:
        answer = line.ask("GET", f"/key/info?key={key}")
        if not answer.ok:
            why = f"key {key[:_SHORT]} is not known at {line.place}: {self._words(answer)}"
            return Readiness(Ready.UNPROVEN, why)
        info = _table(_table(answer.json()).get("info"))
        self._aliases[key] = printable(info.get("key_alias") or info.get("key_name") or "", 60)
        if info.get("blocked") is True:
            return Readiness(Ready.DEGRADED, f"key {key[:_SHORT]} is blocked already")
        return Readiness(Ready.READY, f"key {key[:_SHORT]} is known")

    def _team(self, line: Line, team: str) -> Readiness:
        answer = line.ask("GET", f"/team/info?team_id={quote(team, safe='')}")
        if answer.ok:
            return Readiness(Ready.READY, f"team {team} is known")
        why = f"team {team} is not known at {line.place}: {self._words(answer)}"
        return Readiness(Ready.UNPROVEN, why)

    def _of_user(self, line: Line) -> list[str]:
        """List the keys of `user`, by their hashes."""
        if self.settings.user is None:
            return []
        found: list[str] = []
        who = quote(self.settings.user, safe="")
        for page in range(1, _MOST_PAGES + 1):
            answer = line.ask("GET", f"/key/list?user_id={who}&page={page}&size={_PAGE}")
            if not answer.ok:
                raise Trouble(f"{line.place} lists no keys: {self._words(answer)}")
            told = _table(answer.json())
            keys = told.get("keys")
            some = keys if isinstance(keys, list) else []
            found += [key for key in some if isinstance(key, str) and _HASH.fullmatch(key)]
            pages = told.get("total_pages")
            if not isinstance(pages, int) or page >= pages:
                return found
        raise Trouble(f"user {who} has more than {_PAGE * _MOST_PAGES} keys")

    def _unseen(self) -> list[Readiness]:
        if len(self.settings.replicas) > 1 or self.settings.alone:
            return []
        why = (
            "one replica is known, and another one, or another worker, goes by a cache of its own: "
            "name all of them in 'replicas', or say alone = true"
        )
        return [Readiness(Ready.DEGRADED, why)]

    # --- the stop -------------------------------------------------------------------

    def trip(self, level: str) -> Acted:
        """Block what is known at every replica, and beside that what `user` has got meanwhile."""
        del level
        known, team = self._known, self.settings.team
        if not known and team is None:
            raise Trouble("there is no key to block", "write the agent's key to its token_file")
        calls: list[Callable[[], tuple[str, ...]]] = [
            partial(self._block, line, known, team) for line in self._lines
        ]
        if self.settings.user is not None:
            calls.append(partial(self._block_new, known))
        came = at_once(calls)
        wrong = troubles(came)
        if wrong:
            raise Trouble(wrong, "what answered has blocked it; see the others")
        if self.settings.user is not None and isinstance(came[-1], tuple):
            self._known = tuple(dict.fromkeys([*known, *came[-1]]))
        more = len(self._known) - 1
        return Acted(
            f"blocked at {len(self._lines)} replica{'s' * (len(self._lines) > 1)}"
            + (f", with {more} more of its keys" if more > 0 else ""),
            happened=("what LiteLLM had begun to answer goes on: a block acts on new requests",),
            reissue=self._reissue(),
        )

    def _block(self, line: Line, keys: tuple[str, ...], team: str | None) -> tuple[str, ...]:
        """Block a team and keys at one replica; one that it refuses keeps none from the others."""
        wrong = []
        if team is not None:
            answer = line.ask("POST", "/team/block", {"team_id": team})
            wrong += [] if answer.ok else [self._words(answer)]
        for key in keys:
            answer = line.ask("POST", "/key/block", {"key": key})
            gone = answer.status in _GONE and key.encode() in answer.body
            wrong += [] if answer.ok or gone else [self._words(answer)]
        if wrong:
            raise Trouble(f"{line.place} has not blocked it: {wrong[0]}")
        return keys

    def _block_new(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """Block what was made after it was proven: an agent may make keys of its own."""
        for line in self._late:
            try:
                new = tuple(key for key in self._of_user(line) if key not in known)
            except Trouble as trouble:
                last = trouble
                continue
            came = at_once([partial(self._block, each, new, None) for each in self._late])
            if new and (wrong := troubles(came)):
                raise Trouble(wrong)
            return new
        raise last

    def look(self) -> Sight:
        """Use the agent's key at every replica."""
        return everywhere(at_once([bearer.look for bearer in self._bearers]))

    # --- afterwards -----------------------------------------------------------------

    def release(self) -> Acted:
        """Delete what is blocked, so that nobody can unblock it; nothing is given back."""
        line = self._lines[0]
        blocked = []
        for key in dict.fromkeys([*self._named, *self._of_user(line)]):
            answer = line.ask("GET", f"/key/info?key={key}")
            if answer.status == _NOT_FOUND:
                continue
            if not answer.ok:
                raise Trouble(f"{line.place} does not say what is blocked: {self._words(answer)}")
            if _table(_table(answer.json()).get("info")).get("blocked") is True:
                blocked.append(key)
        if not blocked:
            return Acted("nothing is blocked, and nothing given back", reissue=self._reissue())
        answer = line.ask("POST", "/key/delete", {"keys": blocked})
        if not answer.ok:
            raise Trouble(f"{line.place} has not deleted it: {self._words(answer)}")
        return Acted(f"deleted {len(blocked)}, so that none is unblocked", reissue=self._reissue())

    def _reissue(self) -> tuple[str, ...]:
        name = self._aliases.get(self._known[0], "") if self._known else ""
        of = f" (it was {name})" if name else ""
        key = f"a LiteLLM key for {self.settings.target}{of}, written to {self.settings.token_file}"
        team = self.settings.team
        if team is None:
            return (key,)
        return (key, f"team {team} is blocked: POST /team/unblock once none of its keys is old")

    def holds(self) -> tuple[str, ...]:
        """List the keys that the target has here."""
        named = (f"LiteLLM key {key[:_SHORT]}… {self._aliases.get(key, '')}" for key in self._known)
        return tuple(text.rstrip() for text in named)

    def route(self) -> Route:
        """Say what it rests on."""
        ca_file = self.settings.ca_file
        looks = self.context.role is Role.LOOK
        return Route(
            self._lines[0].transport,
            ", ".join(line.place for line in self._lines),
            self.settings.token_file if looks else self.settings.secret_file,
            "LiteLLM",
            (ca_file,) if ca_file else (),
        )

    def close(self) -> None:
        """Hang up."""
        for line in (*self._lines, *self._late):
            line.close()
        for bearer in self._bearers:
            bearer.close()

    def _words(self, answer: Answer) -> str:
        return f"{answer.status} {unsaid(answer.text, [self._admin, self._token], 120)}"


def _hash_of(key: str) -> str:
    """Give the name by which LiteLLM keeps a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _table(value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a server sends
    return value if isinstance(value, dict) else {}

"""Tool calls that wait for a person: what the gateway asks at the desk, and who answers (DEC-3).

    ask-leave   the gateway: may this be called? ─► the request's name
    leaves      the gateway: what has become of these? A granted one is used by being told
    withdraw    the gateway: nobody waits for it any more
    approve     a person lets it be called         deny    a person does not

Silence, a restart of watch, a request that nobody remembers: all of them are a no. Nobody lets a
call go on who runs, or ran, as a target; nor whoever asks. To deny takes nobody in particular.
Everything that becomes of a request is recorded; its arguments are sealed, since they may be
anybody's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from offswitch.clock import Clock, new_nonce
from offswitch.control.peer import Peer
from offswitch.decide.approvals import Leave, Request, deny, grant, request, stands, used
from offswitch.decide.who import Who
from offswitch.errors import Busy, Usage
from offswitch.model.entry import EntryKind
from offswitch.printable import printable
from offswitch.watch.desk.visitors import Visitors
from offswitch.watch.scribe import Scribe

__all__ = ["Leaves"]

_MOST = 200
_LONGEST_TEXT = 2000
_LONGEST_NAME = 300
_LONGEST_US = 3_600_000_000
_MOST_PEOPLE = 4
_KEPT_US = 60_000_000
"""How long what is over is remembered, so that the gateway hears of it."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, and what is shown of it."""

    request: Request
    target: str
    tool: str
    arguments: str
    asked_us: int
    """UTC, microseconds."""
    due_us: int
    """When silence has answered: UTC, microseconds."""
    told: bool = False
    """Whether how it ended is recorded."""


class Leaves:
    """The requests that are open."""

    def __init__(self, clock: Clock, visitors: Visitors, scribe: Scribe) -> None:
        """Hear whom `visitors` let speak; record with `scribe`."""
        self._clock = clock
        self._visitors = visitors
        self._scribe = scribe
        self._asked: dict[str, _Asked] = {}

    # --- the gateway --------------------------------------------------------------

    def ask(self, peer: Peer, message: Message) -> Message:
        """Open a request; gives its name."""
        self.turn()
        if len(self._asked) >= _MOST:
            raise Busy("too many calls wait for leave", "answer some: offswitch decision list")
        within_us, people = message.get("within_us"), message.get("people", 1)
        if type(within_us) is not int or not 0 < within_us <= _LONGEST_US:
            raise Usage("within_us: for how long it waits, an hour at most")
        if type(people) is not int or not 0 < people <= _MOST_PEOPLE:
            raise Usage(f"people: 1 to {_MOST_PEOPLE}")
        target, tool = (
            _text(message, "target", _LONGEST_NAME),
            _text(message, "tool", _LONGEST_NAME),
        )
        arguments = _text(message, "arguments", _LONGEST_TEXT, may_lack=True)
        now_us = self._clock.mono_us()
        what = f"{tool} of {target} with {arguments}"
        opened = request(
            what, self._by(peer, target), nonce=new_nonce(), mono_us=now_us,
            within_us=within_us, people=people,
        )  # fmt: skip
        wall_us = self._clock.wall_us()
        one = _Asked(opened, target, tool, arguments, wall_us, wall_us + within_us)
        self._asked[opened.digest] = one
        self._tell(one, "nobody was asked", "waits for leave", "gateway", "it is declared to wait")
        return {"decision": opened.digest, "left_ms": within_us // 1000}

    def told(self, _peer: Peer, message: Message) -> Message:
        """Say what has become of requests; what was granted is used by this."""
        self.turn()
        named = message.get("decisions")
        if not isinstance(named, list) or len(named) > _MOST:
            raise Usage("decisions: a list of names is wanted")
        digests = dict.fromkeys(str(digest)[:64] for digest in named)
        return {"leaves": {digest: self._taken(digest).value for digest in digests}}

    def _taken(self, digest: str) -> Leave:
        one = self._asked.get(digest)
        if one is None:
            return Leave.DENIED
        now_us = self._clock.mono_us()
        state = stands(one.request, now_us)
        if state is Leave.GRANTED:
            self._asked[digest] = replace(one, request=used(one.request, now_us), told=True)
            self._tell(one, "granted", "used: it is called", "gateway", "leave was given in time")
        return state

    def withdraw(self, _peer: Peer, message: Message) -> Message:
        """Forget a request: whoever waited has gone, or the target was stopped."""
        one = self._asked.pop(_text(message, "decision", 64), None)
        if one is not None and not one.told:
            self._tell(one, "waits for leave", "withdrawn", "gateway", "nobody waits for it now")
        return {"withdrawn": one is not None}

    def _by(self, peer: Peer, target: str) -> Who:
        """Say who asks: as whom the target runs; else whoever asks for it.

        Where that is the owner of all of it, there would be nobody left to answer: it is then
        somebody who is nobody else, and `doctor` calls such an installation forgeable.
        """
        uid = self._visitors.runs_as.get(target, peer.uid)
        return Who(-1 if self._visitors.is_owner(uid) else uid)

    # --- people -------------------------------------------------------------------

    def rows(self) -> list[Message]:
        """Tell of those that wait, the most urgent first."""
        self.turn()
        now_us = self._clock.mono_us()
        waiting = [
            one for one in self._asked.values() if stands(one.request, now_us) is Leave.WAITS
        ]
        return sorted((self._row(one, now_us) for one in waiting), key=lambda row: row["left_ms"])

    def _row(self, one: _Asked, now_us: int) -> Message:
        left_us = one.request.due_us - now_us
        return {
            "decision": one.request.digest,
            "scope": one.target,
            "target": one.target,
            "tool": printable(one.tool, _LONGEST_NAME),
            "arguments": printable(one.arguments, _LONGEST_TEXT),
            "asked_us": one.asked_us,
            "left_ms": left_us // 1000,
            "due_us": one.due_us,
            "silence": "it is not called",
            "people": one.request.people,
            "granted_by": [who.text for who in one.request.granted],
        }

    def meant(self, wanted: str) -> str:
        """Give the whole name of the one that is meant by its beginning; empty: not one."""
        found = [digest for digest, one in self._asked.items()
                 if digest.startswith(wanted) and not one.request.closed]  # fmt: skip
        return found[0] if len(found) == 1 else ""

    def answer(self, peer: Peer, message: Message, digest: str, who: Who) -> Message:
        """Take an answer in: `approve` lets it be called, `deny` does not."""
        one = self._asked[digest]
        now_us = self._clock.mono_us()
        if message["op"] == "deny":
            now = deny(one.request, digest, now_us)
            choice, state = "denied", "denied"
        else:
            self._visitors.lets_go_on(peer, who)
            now = grant(one.request, digest, who, now_us)
            enough = len(now.granted) >= now.people
            choice = "granted" if enough else "waits"
            state = "granted" if enough else f"granted by {len(now.granted)} of {now.people}"
        self._asked[digest] = replace(one, request=now, told=one.told or choice == "denied")
        reason = message.get("reason")
        why = reason if isinstance(reason, str) and reason else "no reason given"
        self._tell(one, "waits for leave", state, who.text, why[:_LONGEST_NAME])
        return {
            "decision": digest,
            "target": one.target,
            "tool": one.tool,
            "choice": choice,
            "by": who.text,
            "open": choice == "waits",
            "why": f"{printable(one.tool, 100)} of {printable(one.target, 100)}: {state}",
        }

    def turn(self) -> None:
        """Record what silence has answered, and forget what is long over."""
        now_us = self._clock.mono_us()
        for digest, one in list(self._asked.items()):
            if now_us < one.request.due_us:
                continue
            if not one.told:
                why = "nobody answered in time" if not one.request.granted else "it was not used"
                self._tell(one, "waits for leave", "denied by silence", "watch", why)
                self._asked[digest] = replace(one, told=True)
            if now_us >= one.request.due_us + _KEPT_US:
                del self._asked[digest]

    def _tell(self, one: _Asked, prior: str, state: str, by: str, why: str) -> None:
        public = {
            "what": f"leave to call {printable(one.tool, 100)}",
            "why": why,
            "prior": prior,
            "state": state,
            "channel": "desk",
            "scope": one.target,
            "decision": one.request.digest,
        }
        self._scribe.add(EntryKind.NOTE, public, {"by": by, "arguments": one.arguments})


def _text(message: Mapping[str, Any], key: str, longest: int, *, may_lack: bool = False) -> str:
    value = message.get(key, "" if may_lack else None)
    if not isinstance(value, str) or len(value) > longest or not (value or may_lack):
        raise Usage(f"{key}: a text of at most {longest} characters is wanted")
    return value.encode("utf-8", "replace").decode()

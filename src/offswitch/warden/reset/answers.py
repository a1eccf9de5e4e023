"""What the station asks of the warden about people: who is known, what waits, who proved what.

The people's files are the warden's own, for its eyes only, and codes are burnt there; so the
station asks. What it is told holds no secret: fingerprints of keys, ids of passkeys, and
whether somebody has one-time codes. `prove` says who stands behind proofs over any digest of
ours (a bypass, a decision), so that nobody else needs those files either.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from offswitch.decide.authority import Authority, Ruling, prove
from offswitch.decide.people import Person
from offswitch.decide.roles import Role
from offswitch.decide.sshsig import PublicKey
from offswitch.errors import OffswitchError, Storage, Usage
from offswitch.model.scope import EVERYTHING
from offswitch.warden.core import Core
from offswitch.warden.door.server import Connection
from offswitch.warden.errands import tried
from offswitch.warden.reset.judged import look, taken_up
from offswitch.warden.reset.resetting import Resetter

__all__ = ["Answers", "about_person"]

_MOST_PEOPLE = 9
_DISK = "see the disk of OFFSWITCH_HOME: offswitch doctor"


class Answers:
    """Answers for one warden."""

    def __init__(self, core: Core, resetter: Resetter) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._resetter = resetter

    def people(self, connection: Connection) -> None:
        """Say who is known, as their files are now."""
        core = self._core
        home, owner = core.place.home, core.rights.uid

        def found(known: Any) -> None:  # noqa: ANN401 - Known, or an OSError
            if isinstance(known, OSError):
                connection.error(Storage(f"the people cannot be read: {known.strerror}", _DISK))
                return
            self._resetter.know(known)
            authority = core.authority
            connection.reply(
                {
                    "mode": authority.mode.value,
                    "people": [about_person(one) for one in authority.people.persons],
                    "problems": _problems(authority),
                    "secret_set": known.secret_set,
                    "rules": core.reset_rules.wire(),
                }
            )

        core.errands.send(lambda: look(home, owner, lambda: core.authority, None), found)

    def resets(self, connection: Connection, message: dict[str, Any]) -> None:
        """Say which resets wait for people; and, to our own, what became of somebody's stops."""
        core = self._core
        rows = []
        for waiting, case, ruling in self._resetter.waiting():
            order = waiting.order
            rows.append(
                {
                    "digest": order.digest,
                    "scope": order.scope.text,
                    "clears": list(order.clears),
                    "reason": order.reason,
                    "safe": waiting.grounds.safe,
                    "changed": waiting.grounds.changed,
                    "write_off": waiting.grounds.write_off,
                    "by": order.by,
                    "channel": order.channel,
                    "opened_us": order.time_us,
                    "expires_us": waiting.expires_us,
                    "level": case.level.label,
                    "people": case.wanted,
                    "proven": list(ruling.people),
                    "needs": list(ruling.needs),
                    "placed_by": list(case.placed_by),
                }
            )
        answer: dict[str, Any] = {"mode": core.authority.mode.value, "resets": rows}
        asked = message.get("for")
        if isinstance(asked, str) and core.rights.speaks_for_people(connection.peer):
            names = core.news.names(asked, core.authority.people)
            answer["told"] = core.news.of(names, EVERYTHING, core.clock.wall_us())
        connection.reply(answer)

    def prove(self, connection: Connection, message: dict[str, Any]) -> None:
        """Say who proved themselves over a digest of ours that is no reset's."""
        core, asked = self._core, _Asked(message)
        home, owner, book = core.place.home, core.rights.uid, self._resetter.book
        now = core.clock.wall_us()

        def work() -> Ruling:
            known = look(home, owner, lambda: core.authority, None).authority
            authority = taken_up(core.authority, known)
            return prove(
                authority, asked.about, asked.digest, asked.people, asked.role, asked.proofs,
                book, now,
            )  # fmt: skip

        def found(ruling: Ruling | OffswitchError | OSError) -> None:
            if isinstance(ruling, OSError):
                why = f"the proofs cannot be weighed: {ruling.strerror}"
                connection.error(Storage(why, _DISK))
            elif isinstance(ruling, OffswitchError):
                connection.error(ruling)
            else:
                self._note(connection, asked, ruling)
                connection.reply(
                    {
                        "allowed": ruling.allowed,
                        "people": list(ruling.people),
                        "needs": list(ruling.needs),
                        "refused": list(ruling.refused),
                    }
                )

        core.errands.send(tried(work), found, patience_s=3.0)

    def _note(self, connection: Connection, asked: _Asked, ruling: Ruling) -> None:
        """Enter proofs that count for nobody; what was confirmed is for whoever asked to enter."""
        if ruling.refused:
            self._core.recording.note(
                "refused",
                {"by": f"uid:{connection.peer.uid}", "proofs": list(ruling.refused)},
                what="proof",
                digest=asked.digest,
                channel="socket",
                why=f"a proof that does not count for this {asked.about}",
                prior="unchanged",
                state="unchanged",
            )


class _Asked:
    """One question of `prove`, checked."""

    __slots__ = ("about", "digest", "people", "proofs", "role")

    def __init__(self, message: dict[str, Any]) -> None:
        self.about, self.digest = str(message.get("about", "")), str(message.get("digest", ""))
        people, proofs = message.get("people", 1), message.get("proofs")
        if type(people) is not int or not 0 < people <= _MOST_PEOPLE:
            raise Usage(f"it takes between 1 and {_MOST_PEOPLE} people")
        if not isinstance(proofs, list) or not all(isinstance(one, str) for one in proofs):
            raise Usage("proofs are a list of texts")
        if message.get("role", Role.SAFETY) not in list(Role):
            raise Usage(f"a role is one of {', '.join(Role)}")
        self.people, self.proofs = people, proofs
        self.role = Role(message.get("role", Role.SAFETY))


def about_person(person: Person) -> dict[str, Any]:
    """Give what may be shown of a person: nothing that proves anything."""
    return {
        "name": person.name,
        "roles": sorted(role.value for role in person.roles),
        "uid": person.uid,
        "totp": person.totp is not None,
        "keys": [_fingerprint(key) for key in person.keys],
        "passkeys": [
            {"id": base64.urlsafe_b64encode(one.id).rstrip(b"=").decode(), "rp": one.rp}
            for one in person.passkeys
        ],
    }


def _fingerprint(key: PublicKey) -> str:
    """Give it as `ssh-keygen -l` shows it."""
    parts = [key.kind.encode(), key.point, *([key.application] if key.application else [])]
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()


def _problems(authority: Authority) -> list[str]:
    return [*([authority.problem] if authority.problem else []), *authority.people.problems]

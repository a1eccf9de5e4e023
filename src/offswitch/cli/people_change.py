"""A change of who may confirm: what has to hold before it, and the entry that it leaves.

    warden there ─► what is latched, who is known ─► may it be changed so? ─► recorder there
                 ─► files ─► the warden looks anew ─► entry

One person alone, an administrator included, does not change the guard of what is latched:
somebody who could confirm its reset is added only with the proof of a safety person who is known
already, over the digest of this very change. And two who can confirm stay, unless root lets the
last ones go while nothing is latched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from offswitch.cli.begin import ensure_warden
from offswitch.clock import SystemClock, boot_id
from offswitch.control.client import Conversation, call
from offswitch.control.place import Place
from offswitch.decide.authority import Authority, Mode, able, read_authority
from offswitch.decide.people import Person
from offswitch.decide.roles import Role, rank
from offswitch.errors import Latched, OffswitchError, Refused, Storage
from offswitch.model.entry import VERSION, EntryKind
from offswitch.model.wire import digest

__all__ = ["Before", "Change", "before", "carry_out", "standing"]

_PATIENCE_S = 5.0
_POLL_S = 0.02
_WANTED = 2


@dataclass(frozen=True, slots=True)
class Before:
    """How things stand before a change."""

    place: Place
    authority: Authority
    latched: int
    """How many stops are live."""
    installation: str

    @property
    def mode(self) -> Mode:
        """How resets are authorised."""
        return self.authority.mode

    def said(self) -> str:
        """Say it for the ledger."""
        people = len(self.authority.people.persons)
        return f"{self.mode.value}, {people} known, {len(self.able())} may reset a kill"

    def able(self) -> set[str]:
        """Name those who can confirm the reset of a kill."""
        return able(self.authority.people)


@dataclass(frozen=True, slots=True)
class Change:
    """One person who comes or goes."""

    what: str
    """`added` or `removed`."""
    name: str
    said: dict[str, Any]
    """What may be shown of the person."""
    proofs: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """What a safety person signs for it; a one-time secret is not part of it."""
        texts = {key: str(value) for key, value in self.said.items()}
        return digest("people", {"what": self.what, **texts})

    def may_add(self, now: Before, person: Person) -> None:
        """Raise unless somebody may be added as things stand."""
        if not now.latched or now.mode is Mode.LOCAL or not rank(person.roles):
            return
        asked = {"op": "prove", "about": "people", "digest": self.digest, "people": 1}
        said = call(now.place, {**asked, "role": Role.SAFETY, "proofs": self.proofs}, _PATIENCE_S)
        if not said["allowed"]:
            why = said["refused"][0] if said["refused"] else "something is latched"
            sign = f"printf %s {self.digest} | ssh-keygen -Y sign -n offswitch-people -f KEY"
            hint = f"reset first, or have somebody of role safety agree: {sign}; then --proof FILE"
            raise Latched(f"nobody is added who could confirm a reset: {why}", hint)

    def may_remove(self, now: Before, *, last: bool) -> None:
        """Raise unless somebody may be removed as things stand."""
        left = now.able() - {self.name}
        if now.mode is Mode.LOCAL or self.name not in now.able() or len(left) >= _WANTED:
            return
        if now.latched:
            raise Latched(f"{len(left)} would be left who can reset what is latched", "reset first")
        if not last:
            hint = "add another first, or say --last: then nobody can reset a kill until you do"
            raise Refused(f"{len(left)} would be left who can confirm, and it takes two", hint)


def before(place: Place) -> Before:
    """See how things stand; a warden is started if none is there, since it records the change."""
    ensure_warden(place)
    installation = str(call(place, {"op": "ping"}, _PATIENCE_S)["installation"])
    latched = int(call(place, {"op": "health"}, _PATIENCE_S)["live_stops"])
    return Before(place, read_authority(place.home, os.geteuid()), latched, installation)


def standing(place: Place) -> Authority:
    """Give the authority as it is now."""
    return read_authority(place.home, os.geteuid())


def carry_out(place: Place, now: Before, change: Change, act: Callable[[], object]) -> None:
    """Do it, have the warden look anew, and enter it. Nothing is done that cannot be entered."""
    _recorder(place).close()
    act()
    call(place, {"op": "people"}, _PATIENCE_S)
    after = Before(place, standing(place), now.latched, now.installation)
    clock = SystemClock()
    public = {
        "v": VERSION,
        "kind": EntryKind.PEOPLE.value,
        "time_us": clock.wall_us(),
        "mono_us": clock.mono_us(),
        "boot": boot_id(),
        "installation": now.installation,
        "channel": "cli",
        "what": change.what,
        "roles": list(change.said.get("roles", [])),
        "latched": now.latched,
        "prior": now.said(),
        "state": after.said(),
    }
    told = {key: str(value) for key, value in change.said.items() if key != "roles"}
    entry = {"public": public, "sealed": {"by": f"uid:{os.getuid()}", **told}}
    try:
        with _recorder(place) as recorder:
            recorder.ask({"op": "record", "entries": [entry]})
    except OffswitchError as error:
        why = f"{change.name} is {change.what}, and that could not be recorded: {error.message}"
        raise Storage(why, "see why the recorder cannot write: offswitch doctor") from None


def _recorder(place: Place) -> Conversation:
    """Speak to the recorder; one that is only coming up is waited for."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return Conversation(place.recorder_socket, _PATIENCE_S)
        except OffswitchError as error:
            if time.monotonic() > end:
                raise Storage(
                    f"the recorder does not answer: {error.message}", "offswitch doctor"
                ) from None
        time.sleep(_POLL_S)

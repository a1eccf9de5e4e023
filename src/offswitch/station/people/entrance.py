"""All ways in but a session: links, tokens, phones, passkeys, and somebody else's sign-in."""

from __future__ import annotations

from dataclasses import dataclass, field

from offswitch.station.people.grants import Grants
from offswitch.station.people.invitations import Invitations
from offswitch.station.people.offers import Offers
from offswitch.station.people.passkeys import Passkeys
from offswitch.station.people.pauses import Pauses
from offswitch.station.people.sso import Provider
from offswitch.station.people.store import Store
from offswitch.station.people.subjects import Subjects

__all__ = ["Enrolment", "Entrance"]

_ENROL_US = 10 * 60_000_000


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A phone that is about to be enrolled."""

    person: str
    name: str
    scope: str


@dataclass(slots=True)
class Entrance:
    """The station's entrance."""

    grants: Grants
    invitations: Invitations
    passkeys: Passkeys
    subjects: Subjects
    provider: Provider | None = None
    pauses: Pauses = field(default_factory=Pauses)
    enrolments: Offers[Enrolment] = field(default_factory=lambda: Offers(_ENROL_US))

    @classmethod
    def of(cls, store: Store, provider: Provider | None = None) -> Entrance:
        """Make that of a station whose people are in `store`."""
        return cls(Grants(store), Invitations(store), Passkeys(store), Subjects(store), provider)

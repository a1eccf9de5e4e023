"""What every hand promises: it is proven beforehand, acts at once, and is believed by nobody.

    prepare  with all rights, before they are given away: open what nobody else may open
    open     with the hand's own user: connect
    arm      prove over the real route, with the real credential, that it could act now
    trip     act; once more does no harm
    look     in another process, by another connection: has it happened?
    release  after a reset: undo what may be undone; a credential never is (RST-8)

Two instances serve one declared actuator in the acting process. While one of them proves itself,
in a thread, the other one stands ready, and after that they change places: so a proof that hangs
holds up no stop, and what acts was proven last. A third one looks, in a process and with a user
of its own, by the credential meant for looking where one is given. No instance is ever used by two
threads at once.

What a trip says confirms nothing: only `look` does, and only through the observer. Raise `Trouble`
for whatever the other side refuses or does not answer: it becomes *unproven*, *not done* or *not
seen*, which is the truth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from offswitch.actuators.contract import Readiness
from offswitch.config.section import ActuatorSection
from offswitch.errors import Unreachable

__all__ = ["Acted", "CellFacts", "Context", "Hand", "Role", "Route", "Sight", "Trouble"]


class Trouble(Unreachable):
    """The other side refused, hung up or was silent; the message says which, never a secret."""


class Role(StrEnum):
    """What an instance is for."""

    ACT = "act"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Context:
    """What an instance is told besides its settings."""

    role: Role
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Key of `Settings.SECRETS` → what was read there while there were rights to read it."""
    started_us: int = 0
    """When this process was started (wall clock): a stop of an earlier one may hold already."""
    remembered: str = ""
    """The `Hand.memory` of an earlier process that looked, while the same stop holds."""


@dataclass(frozen=True, slots=True)
class CellFacts:
    """The cell of a hand's target, in the warden's words."""

    path: str | None
    """Its folder in the v2 tree; None: it is no cgroup."""
    cgroup_id: int | None
    """The kernel's number of it."""
    own_net: bool = False
    """Whether it has a network to itself."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What a trip or a release came to, in the hand's own words."""

    detail: str
    """For people: what the other side answered."""
    happened: tuple[str, ...] = ()
    """What was in flight or queued, one line each, and how far it had come (ACT-9)."""
    reissue: tuple[str, ...] = ()
    """What a person has to make anew before the target can work again, never with a secret."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw."""

    stands: bool | None
    """True: it is cut, and that was seen; False: it could still act; None: it cannot be known."""
    detail: str


@dataclass(frozen=True, slots=True)
class Route:
    """What a layer rests on, for the list of what one loss would disarm (MON-6, ACT-3)."""

    transport: str
    """How the command travels: "tcp", "tls", "unix", "netlink", "file"."""
    host: str
    """Where it ends: "127.0.0.1:5432", "iam.amazonaws.com:443"; "here" for this kernel."""
    credential: str
    """By what it is allowed: a path, "user offswitch at …", "CAP_NET_ADMIN"; never the secret."""
    component: str
    """What does it in the end: "PostgreSQL", "podman", "nf_tables"."""
    needs: tuple[str, ...] = ()
    """Files and programs without which it cannot work."""


class Hand(ABC):
    """One declared actuator, in one role.

    A subclass has `Settings`, a subclass of `config.section.ActuatorSection`, and is registered
    under the entry point group `offswitch.actuators`; `offswitch.testing` has the suite that it
    must pass.
    """

    Settings: ClassVar[type[ActuatorSection]]
    IMPORTS: ClassVar[frozenset[str]] = frozenset()
    """Modules that it imports late: they are loaded before rights are given away."""

    cell: CellFacts | None = None
    """Of its target, or the last that it had; set from outside, at any time."""
    memory: str = ""
    """What it has to know to go on looking, and could not see again: set by `look`, handed to a
    process that comes in its place, emptied at the reset. No secret; at most four KiB."""

    def __init__(self, settings: Any, context: Context) -> None:  # noqa: ANN401 - its own Settings
        """Hold what was said; connect nowhere yet."""
        self.settings = settings
        self.context = context
        self.memory = context.remembered

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Open what only root may open, before rights are given away. May raise `Trouble`."""

    def open(self) -> None:  # noqa: B027 - most need nothing
        """Connect, or connect anew after a `Trouble`; what is open already is kept."""

    @abstractmethod
    def arm(self) -> Readiness:
        """Prove that a trip would work now, changing nothing that lasts.

        A challenge over the real route with the real credential, answered by what would act; or a
        canary that is really cut. Takes at most two seconds. In the role *look* it proves that a
        look would see: what is not cut is seen as not cut.
        """

    @abstractmethod
    def trip(self, level: str) -> Acted:
        """Cut now, by one round trip where it can be done by one. Done again it does no harm.

        Fails by `Trouble`; whatever part worked stays. The longest it may take is the settings'
        `deadline`: then its process is killed, another one started, and told the same again.
        """

    @abstractmethod
    def look(self) -> Sight:
        """See for itself whether it is cut, in some milliseconds, trusting no word of `trip`."""

    def release(self) -> Acted:
        """Undo what may be undone, after a reset; say what a person must make anew."""
        return Acted("nothing is given back")

    def holds(self) -> tuple[str, ...]:
        """List what the target has here that can act: tokens, sessions, queued jobs (MON-3)."""
        return ()

    @abstractmethod
    def route(self) -> Route:
        """Say what it rests on."""

    def leave(self) -> None:  # noqa: B027 - most leave nothing behind
        """Its process ends in good order: take away what was only put there beforehand.

        What cuts stays: the one that comes after finds it.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of connections and descriptors."""

"""Warrants that are presented to the warden: what they stop, and what the record says (SR-19).

On the local road what a warrant names was stopped already, as the press of whoever presented
it; the signature is looked at afterwards, in the disk's thread, and says only whose word it
was. A press that came from far away (`"remote": true`) is nothing but its warrant: it is
looked at first, and refused unless it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from offswitch.clock import new_nonce
from offswitch.decide.people import read_people
from offswitch.decide.warrant import Warrant, parse_warrant, signer
from offswitch.errors import OffswitchError, Refused, Storage
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.warden.core import Core
from offswitch.warden.errands import tried

__all__ = ["Warrants"]


class Warrants:
    """Looks at them, in one warden."""

    def __init__(self, core: Core) -> None:
        """Work on the parts of this warden."""
        self._core = core

    def presented(self, text: object, uid: int, stops: list[Stop], order: str) -> None:
        """Enter whose word a press was that was obeyed already."""

        def looked(name: str | OffswitchError | OSError) -> None:
            holds = isinstance(name, str)
            self._core.recording.note(
                "note",
                {"by": f"uid:{uid}", "signed_by": name if holds else None},
                what="warrant",
                order=order,
                state="holds" if holds else "does not hold",
                why=None if holds else _why(name),
            )

        def look() -> str:
            warrant = parse_warrant(str(text))
            if not warrant.names([stop.scope.text for stop in stops]):
                raise Refused("the warrant names other scopes than were pressed")
            return self._signer(warrant)

        self._core.errands.send(tried(look), looked)

    def remote(
        self,
        text: object,
        uid: int,
        press: Callable[[list[Stop]], None],
        fail: Callable[[OffswitchError], None],
    ) -> None:
        """Press what a warrant from far away names, if it holds; one of the two is called."""
        core = self._core

        def look() -> tuple[Warrant, str]:
            warrant = parse_warrant(str(text))
            return warrant, self._signer(warrant)

        def looked(found: tuple[Warrant, str] | OffswitchError | OSError) -> None:
            if not isinstance(found, tuple):
                why = _why(found)
                core.recording.note(
                    "refused",
                    {"by": f"uid:{uid}"},
                    what="warrant",
                    channel="remote",
                    why=why,
                    prior="unchanged",
                    state="unchanged",
                )
                fail(found if isinstance(found, OffswitchError) else Storage(why))
                return
            warrant, name = found
            now, nonce, by = core.clock.wall_us(), new_nonce(), f"person:{name}"
            press(
                [
                    Stop(
                        core.installation,
                        Scope(scope),
                        warrant.level,
                        by,
                        "warrant",
                        nonce,
                        now,
                        warrant.reason,
                    )
                    for scope in dict.fromkeys(warrant.scopes)
                ]
            )

        core.errands.send(tried(look), looked)

    def _signer(self, warrant: Warrant) -> str:
        core = self._core
        people = read_people(core.place.home, core.rights.uid)
        return signer(warrant, people, core.installation, core.clock.wall_us())


def _why(error: object) -> str:
    if isinstance(error, OffswitchError):
        return error.message
    return f"it cannot be looked at: {error.strerror}" if isinstance(error, OSError) else ""

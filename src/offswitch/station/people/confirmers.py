"""Whom the warden knows: who may confirm a reset, with which kinds of proof.

Asked of the warden now and then, and kept as it said it last; it is shown, and decides nothing
but which names have the role safety here. What confirms a reset the warden weighs itself.
"""

from __future__ import annotations

from typing import Any

from offswitch.control.place import Place
from offswitch.decide.roles import Role
from offswitch.errors import OffswitchError
from offswitch.station.wire import ask

__all__ = ["Confirmers"]

_PATIENCE_S = 2.0


class Confirmers:
    """What the warden last said of its people."""

    def __init__(self, place: Place) -> None:
        """Nobody is known yet."""
        self._place = place
        self.mode = "local"
        """`people`: two confirm; `local`: a machine of one person."""
        self.people: list[dict[str, Any]] = []
        self.problems: list[str] = []

    async def look(self) -> None:
        """Ask; what cannot be asked stays as it was."""
        try:
            said = await ask(self._place.warden_socket, {"op": "people"}, _PATIENCE_S)
        except OffswitchError:
            return
        self.mode = str(said.get("mode", self.mode))
        self.people = [one for one in said.get("people", []) if isinstance(one, dict)]
        self.problems = [str(one) for one in said.get("problems", [])]

    def is_safety(self, name: str) -> bool:
        """Tell whether the warden knows `name` with the role safety."""
        found = self.of(name)
        return found is not None and Role.SAFETY in found.get("roles", [])

    def of(self, name: str) -> dict[str, Any] | None:
        """Give what is known of a person."""
        return next((one for one in self.people if one.get("name") == name), None)

"""What gateways have to say beside what is seen: what was cut, what died along, what is behind.

None of it confirms anything. It stands in the layer's *detail* and in the ledger, bounded in
length and in number: whoever writes it sits next to what clients and servers send.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from offswitch.errors import Usage
from offswitch.printable import printable
from offswitch.warden.core import Core
from offswitch.warden.gates.attached import Attached

__all__ = ["Notes"]

_LONGEST = 200
_MOST_FIELDS = 12
_A_SECOND = 50
_KINDS = frozenset(
    {"collateral", "killed", "restarted", "reload", "upstream", "bypass", "gone", "calls"}
)
_UNKNOWN = "buffered bytes unknown: sockets cannot be destroyed here"
_COUNTS = ("streams", "pid", "calls", "unknown")
"""What stands in the open: numbers alone."""


@dataclass(slots=True)
class _Of:
    """What is known of one target since its word was last `run`."""

    base: int = 0
    """Flows of it that stops before had ended."""
    upstream: str = ""
    busy: bool = False
    """Whether the server behind says that it works on, though everything towards it is cut."""
    destroyed: int = 0
    """Sockets that were destroyed for it, since a worker did not cut in time."""
    refused: bool = False
    """Whether the kernel destroyed none of those that were found."""
    seen: str = ""
    """What the observer said last."""


class Notes:
    """Takes gateways' notes in."""

    def __init__(self, core: Core) -> None:
        """Write into this warden's journal."""
        self._core = core
        self._of: dict[str, _Of] = {}
        self._second = 0
        self._count = 0

    def take(self, gate: Attached, message: dict[str, Any]) -> str | None:
        """Take one in; give the target that it says something new of, if it does."""
        what = message.get("what")
        if not isinstance(what, str) or what not in _KINDS:
            raise Usage(
                "a gate notes what it has a word for", f"one of: {', '.join(sorted(_KINDS))}"
            )
        said = {
            str(key)[:40]: _bounded(value)
            for key, value in list(message.items())[:_MOST_FIELDS]
            if key not in {"op", "what", "target", "by"}
        }
        name = message.get("target")
        target = name if isinstance(name, str) and name in gate.said.targets else None
        if what == "upstream" and target is not None:
            known = self._known(target)
            known.upstream = str(said.get("text") or "")
            known.busy = said.get("found") == "busy"
        if self._within_share():
            about: dict[str, Any] = {} if target is None else {"target": target}
            about |= {key: said[key] for key in _COUNTS if isinstance(said.get(key), int)}
            self._core.recording.note(
                "note",
                {"detail": {key: str(value) for key, value in said.items()}},
                what=f"gateway: {what}",
                gateway=gate.said.gateway,
                worker=gate.said.worker,
                **about,
            )
        return target if what == "upstream" else None

    def _within_share(self) -> bool:
        now = int(time.monotonic())
        if now != self._second:
            self._second, self._count = now, 0
        self._count += 1
        return self._count <= _A_SECOND

    def _known(self, name: str) -> _Of:
        return self._of.setdefault(name, _Of())

    def begin(self, name: str) -> None:
        """Its word is `run`: what was said of the stop before is over."""
        if name in self._of:
            known = self._of[name]
            known.upstream, known.busy, known.destroyed = "", False, 0
            known.refused = False

    def busy(self, name: str) -> bool:
        """Tell whether the server behind works on: then the stop has not reached the model (VER-6).

        That it does not, or does not say, confirms nothing.
        """
        return name in self._of and self._of[name].busy

    def destroyed(self, name: str, sockets: int, *, refused: bool = False) -> None:
        """Count what was cut from outside; `refused`: nothing could be, though there was some."""
        if sockets or refused:
            known = self._known(name)
            known.destroyed += sockets
            known.refused = refused

    def base(self, name: str) -> int:
        """How many of its flows stops before had ended."""
        return self._of[name].base if name in self._of else 0

    def rebase(self, name: str, cut: int) -> None:
        """Count what is cut from here on."""
        self._known(name).base = cut

    def beside(self, name: str, streams: str, detail: str, behind: str | None = None) -> str:
        """Give the layer's detail with all that is known: `12 streams cut; …; upstream idle`.

        `behind` is said of the server behind, where nobody asks it.
        """
        known = self._known(name)
        known.seen = detail or known.seen
        destroyed = f"{known.destroyed} sockets destroyed" if known.destroyed else ""
        unknown = _UNKNOWN if known.refused else ""
        if behind is None:
            behind = f"egress cut, upstream {known.upstream or 'not confirmed'}"
        return "; ".join(filter(None, [streams, destroyed, unknown, known.seen, behind]))


def _bounded(value: object) -> object:
    if isinstance(value, bool | int) and abs(value) < 1 << 53:
        return value
    return printable(str(value))[:_LONGEST]

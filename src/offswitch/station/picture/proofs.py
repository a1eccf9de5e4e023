"""When each layer was last seen to act: from the drills in the record, as they are entered.

What has changed since is not what was seen: its proof is void (`drills.voids`, DRL-4).

Only what the warden itself wrote counts (`via` is the journal), and of it only a layer of which
the driller saw the last act, the observer confirmed it, and nothing came after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offswitch.drills.voids import void_of
from offswitch.ledger.reader import ShownEntry
from offswitch.station.picture.hub import Hub
from offswitch.station.picture.readiness import Proof

__all__ = ["Proofs"]

_JOURNAL = "journal"
_CLEAN = ("passed", "seen", "confirmed")


class Proofs:
    """Listens to the record (`archive.tail`), and dates the hub's picture."""

    def __init__(self, hub: Hub) -> None:
        """Tell `hub`."""
        self._hub = hub

    def hear(self, entry: ShownEntry) -> None:
        """Take in one entry; most are none of ours."""
        public: Mapping[str, Any] = entry.public
        void = void_of(public)
        if void is not None:
            self._hub.unprove(void.layer)
            return
        if public.get("kind") != "drill" or public.get("what") != "layer":
            return
        if public.get("via") != _JOURNAL or _yes(public.get("dry")):
            return
        time_us = public.get("time_us")
        if type(time_us) is int and all(_yes(public.get(key)) for key in _CLEAN):
            self._hub.prove(str(public.get("layer")), Proof(time_us, str(public.get("drill"))))


def _yes(said: object) -> bool:
    """Read a truth as the ledger spells it."""
    return said is True or said == "yes"

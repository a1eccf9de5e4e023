"""The mode of an installation: it acts, or it only observes (SR-15)."""

from __future__ import annotations

from offswitch.control.peer import Peer
from offswitch.errors import Usage
from offswitch.warden.core import Core

__all__ = ["set_mode"]


def set_mode(core: Core, mode: str, peer: Peer) -> None:
    """Act, or only observe, from now on. What is latched stays as it is."""
    if mode not in {"act", "observe"}:
        raise Usage(f"unknown mode {mode[:20]!r}", "mode is act or observe")
    prior = "observe" if core.page.observing else "act"
    if mode == prior:
        return
    core.page.observing = mode == "observe"
    core.page.renew()
    core.recording.note(
        "config",
        {"by": f"uid:{peer.uid}"},
        what="mode",
        channel="socket",
        why="declared by the configuration",
        prior=prior,
        state=mode,
    )

    def kept(outcome: OSError | None) -> None:
        if isinstance(outcome, OSError):
            why = outcome.strerror
            core.notes["mode"] = f"the next warden may go on in mode {prior}: {why}"
        else:
            core.notes.pop("mode", None)

    core.errands.send(lambda: core.table.save_mode(mode), kept)

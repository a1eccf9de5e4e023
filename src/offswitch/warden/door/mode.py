"""What holds for the whole installation: its mode (SR-15), and what a reset takes (SR-5)."""

from __future__ import annotations

import os
from contextlib import suppress

from offswitch.control.peer import Peer
from offswitch.errors import Usage
from offswitch.warden.core import Core
from offswitch.warden.reset.marks import STAGED, WRITTEN_OFF, Marks
from offswitch.warden.reset.rules import ResetRules, keep_rules, kept_rules
from offswitch.warden.whole_file import write_whole

__all__ = ["recall", "set_mode", "set_rules"]

_LATER = "resets take what they took while something is latched: declare it again once all is reset"


def recall(core: Core) -> None:
    """Go by what was declared to the warden before, until it is declared anew."""
    core.page.observing = _observes(core.place.home)
    core.reset_rules, damaged = kept_rules(core.place.home)
    core.marks = {what: Marks.kept(what, core.place.home) for what in (WRITTEN_OFF, STAGED)}
    troubles = {what: marks.trouble for what, marks in core.marks.items()}
    for what, why in {"reset rules": damaged, **troubles}.items():
        if why:
            core.notes[what] = why
            core.recording.note("gap", what=what, why=why)


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

    core.errands.send(lambda: _keep_mode(core.place.home, mode), kept)


def _keep_mode(home: str, mode: str) -> None:
    """Keep the mode: it holds until another one is declared (SR-15).

    To act needs no file, so a full disk keeps nobody observing.
    """
    if mode == "observe":
        write_whole(f"{home}/mode", f"{mode}\n".encode(), 0o600)
    else:
        with suppress(FileNotFoundError):
            os.unlink(f"{home}/mode")


def _observes(home: str) -> bool:
    """Tell whether the mode that was declared last is `observe`; what cannot be read acts."""
    try:
        with open(f"{home}/mode", encoding="ascii") as file:
            return file.read(16).strip() == "observe"
    except (OSError, ValueError):
        return False


def set_rules(core: Core, declared: ResetRules, peer: Peer) -> None:
    """Ask of resets what is declared, from now on. While latched nothing is let go of."""
    prior = core.reset_rules
    rules = declared.at_least(prior) if len(core.latch) else declared
    core.notes.pop("reset rules", None)
    if not declared.covers(rules):
        core.notes["reset rules"] = _LATER
    if rules.wire() == prior.wire() and declared.covers(rules):
        return
    core.reset_rules = rules
    core.recording.note(
        "config",
        {"by": f"uid:{peer.uid}"},
        what="reset rules",
        channel="socket",
        why="declared by the configuration" if declared.covers(rules) else _LATER,
        prior=prior.wire(),
        state=rules.wire(),
    )

    def kept(outcome: OSError | None) -> None:
        if isinstance(outcome, OSError):
            why = f"what resets take is not kept for the next warden: {outcome.strerror}"
            core.notes["reset-rules-kept"] = why
        else:
            core.notes.pop("reset-rules-kept", None)

    core.errands.send(lambda: keep_rules(core.place.home, rules), kept)

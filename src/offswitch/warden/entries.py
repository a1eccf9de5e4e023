"""The entries that the warden writes as it comes up."""

from __future__ import annotations

import os
import time

from offswitch import __version__
from offswitch.control.page import OBSERVED_NS
from offswitch.decide.authority import Start
from offswitch.model.order import Stop
from offswitch.warden.core import Core
from offswitch.warden.recording import Recording

__all__ = ["authority", "left_by_a_keeper", "started", "would_have"]


def started(core: Core, before: str | None) -> None:
    """Enter that a warden serves; `before` is the version of its own code before, if any."""
    why = "the warden before it has ended"
    if core.page.epoch == 1:
        why = "the first of this boot"
    elif before is not None:
        why = f"renewed in place, from version {before}"
    core.recording.note(
        "restart",
        {"by": f"uid:{os.geteuid()}"},
        process="warden",
        channel="process",
        why=why,
        prior="no warden" if before is None else "its code before",
        state="serves",
        version=__version__,
        epoch=core.page.epoch,
    )


def would_have(core: Core) -> None:
    """Enter what a keeper that only observes would have done for the loss of the last warden."""
    page = core.page
    gone_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - (page.lease_found - OBSERVED_NS)
    held = [row.target.name for row in core.table if row.alive and core.level(row) is None]
    if not page.observing or gone_ns > OBSERVED_NS // 2 or not held:
        return
    core.recording.note(
        "note",
        what="would have frozen these, and killed them after its limit: it only observes",
        process="keeper",
        targets=held,
        no_lease_for_ms=max(0, gone_ns // 1_000_000),
    )


def left_by_a_keeper(core: Core, stop: Stop) -> None:
    """Enter an order of a keeper's own, which this warden has joined to the latch."""
    core.recording.note(
        "order",
        {"by": stop.by, "reason": stop.reason},
        order="stop",
        digest=stop.digest,
        scope=stop.scope.text,
        level=stop.level.label,
        channel=stop.channel,
        given_us=stop.time_us,
        prior="unknown",
        state="latched",
    )


def authority(recording: Recording, start: Start) -> None:
    """Enter that somebody changed, while no warden ran, how many people a reset takes."""
    if start.note:
        recording.note(
            "config",
            {"by": f"uid:{os.geteuid()}"},
            what="authority",
            why=start.note,
            channel="file",
            prior=start.before or "local",
            state=start.authority.mode.value,
        )

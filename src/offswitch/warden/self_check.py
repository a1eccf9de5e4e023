"""At its start a warden compares its own files with what was released (SEC-7).

A few at a time, by errand, while it serves already: nothing waits for it. What differs is
said in every status and recorded, and no layer counts as ready any more but as *unproven*.
A stop is obeyed all the same, and confirmed by what is observed, as ever.
"""

from __future__ import annotations

from collections.abc import Iterator

from offswitch.warden.core import Core
from offswitch.warden.release import looking

__all__ = ["prove", "unproven"]

_KEY = "release"
_MOST_NAMED = 3


def prove(core: Core) -> None:
    """Begin; what is found turns up in `core.notes`."""
    core.notes.pop(_KEY, None)  # what was handed over was said of the code before
    _go_on(core, looking(), [])


def unproven(core: Core) -> bool:
    """Tell whether something of ours is not what was released."""
    return _KEY in core.notes


def _go_on(core: Core, files: Iterator[list[str]], found: list[str]) -> None:
    def heard(wrong: list[str] | OSError | None) -> None:
        if isinstance(wrong, list):
            found.extend(wrong)
            _go_on(core, files, found)
            return
        if isinstance(wrong, OSError):
            found.append(f"our own files cannot be looked at: {wrong.strerror}")
        if found:
            _say(core, found)

    core.errands.send(lambda: next(files, None), heard)


def _say(core: Core, found: list[str]) -> None:
    more = f" (and {len(found) - _MOST_NAMED} more)" if len(found) > _MOST_NAMED else ""
    why = "; ".join(found[:_MOST_NAMED]) + more
    core.doubted_us = core.doubted_us or core.clock.wall_us()
    core.notes[_KEY] = f"UNPROVEN: {why}. Stopping works; install Offswitch anew"
    core.recording.note("note", what="unproven", why=why)

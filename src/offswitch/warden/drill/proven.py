"""What each layer was last seen to act on: the code, the kernel, the rung (DRL-4).

    a clean drill   writes down, layer by layer, what it ran on: `$OFFSWITCH_HOME/proven.json`
    a warden starts ─► reads its own code, by errand ─► compares ─► what was proven on something
                       else is *unproven* at once, recorded, and stays so until the next clean drill

The code is that of the stop path: the name, size and date of each of its files, which takes a
millisecond where reading them takes fifty. So a version installed anew is another one, even if it
is the same; that a byte was flipped and the date put back is `self_check`'s to find. A layer that
no drill has seen act has no evidence that could be void: it is what it always was. A file that is
not there counts as none; of one that cannot be read it is not known what it said, and then every
layer that a drill tries is in doubt.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from offswitch import __version__
from offswitch.warden.core import Core
from offswitch.warden.drill.drilled import CHANGE, LAYERS, Doubt
from offswitch.warden.release import home
from offswitch.warden.whole_file import write_whole

__all__ = ["Proven", "code_digest"]

_FILE = "proven.json"
_ROOMS = ("model", "control", "warden", "actuators", "decide", "guard")
_MOST = 1 << 16
_SHORT = 12


def code_digest(library: str = "") -> str:
    """Give one name for the code of the stop path, as it lies on the disk. For a thread."""
    whole = hashlib.sha256(f"{sys.version}\0{__version__}".encode())
    root = os.path.join(library or home(), "offswitch")
    for room in _ROOMS:
        for line in sorted(_files(root, room)):
            whole.update(line.encode())
    return whole.hexdigest()


def _files(root: str, folder: str) -> Iterator[str]:
    with os.scandir(os.path.join(root, folder)) as found:
        for one in found:
            path = f"{folder}/{one.name}"
            if one.is_dir(follow_symlinks=False):
                yield from _files(root, path)
            elif one.name.endswith(".py"):
                about = one.stat()
                yield f"{path}\0{about.st_size}\0{about.st_mtime_ns}\n"


def _ground(core: Core) -> dict[str, str]:
    """Give what a drill runs on, but for the code."""
    about = os.uname()
    return {"kernel": f"{about.release} {about.version}", "rung": core.rung.value}


class Proven:
    """What drills have run on, of one warden."""

    __slots__ = ("_core", "_kept", "_now")

    def __init__(self, core: Core) -> None:
        """Begin with what an earlier warden kept."""
        self._core = core
        self._now: dict[str, str] = _ground(core)
        self._kept: dict[str, dict[str, str]] = {}

    def begin(self, changed: Callable[[], None]) -> None:
        """Read the code and compare, by errand; `changed` hears of a layer that is in doubt."""

        def read() -> tuple[str, dict[str, dict[str, str]] | None]:
            return code_digest(), _load(self._core.place.home)

        def heard(found: tuple[str, dict[str, dict[str, str]] | None] | OSError | None) -> None:
            if not isinstance(found, tuple):
                return  # our code cannot be read: `self_check` says so
            self._now["code"], kept = found
            if self._compare(kept):
                changed()

        self._core.errands.send(read, heard)

    def _compare(self, kept: dict[str, dict[str, str]] | None) -> bool:
        doubted = False
        for layer in LAYERS:
            if layer in self._kept:
                continue  # a drill of this very warden was faster
            if kept is None:
                self._doubt(layer, "what it was proven on cannot be read", "code")
                doubted = True
                continue
            before = kept.get(layer)
            if before is None:
                continue
            self._kept[layer] = before
            other = [what for what, now in self._now.items() if before.get(what) != now]
            if other and layer not in self._core.drilled.doubts:
                self._doubt(layer, self._words(before, other), other[0])
                doubted = True
        return doubted

    def _words(self, before: Mapping[str, str], other: list[str]) -> str:
        said = [
            f"the {what} was {before.get(what, 'not known')[:_SHORT]} and is {now[:_SHORT]}"
            if what == "code"
            else f"the {what} was {before.get(what, 'not known')} and is {now}"
            for what, now in self._now.items()
            if what in other
        ]
        return f"{' and '.join(said)} since it was last seen to act"

    def _doubt(self, layer: str, why: str, cause: str) -> None:
        core = self._core
        core.drilled.lower(layer, Doubt(CHANGE, why, core.clock.wall_us()))
        core.recording.note(
            "note",
            {"why": why},
            what="readiness",
            layer=layer,
            prior="proven",
            state="unproven",
            cause=cause,
        )

    def passed(self, layer: str, drill: str, time_us: int) -> None:
        """A clean drill has seen a layer act, on what is here now."""
        if "code" in self._now:
            self._kept[layer] = {**self._now, "drill": drill, "time_us": str(time_us)}

    def writer(self) -> Callable[[], None]:
        """Give what keeps it as it is now. For the disk's thread."""
        body = json.dumps(self._kept).encode()
        path = f"{self._core.place.home}/{_FILE}"
        return lambda: write_whole(path, body, durable=True)


def _load(folder: str) -> dict[str, dict[str, str]] | None:
    """Read what was kept; None: there is something, and it cannot be read."""
    try:
        with open(f"{folder}/{_FILE}", "rb") as file:
            kept: Any = json.loads(file.read(_MOST))
        return {
            str(layer): {str(key): str(value) for key, value in one.items()}
            for layer, one in kept.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError):
        return None

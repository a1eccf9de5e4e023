"""`python -I -m offswitch.watch`: read the configuration, then watch until told to end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence

from offswitch.clock import SystemClock
from offswitch.config.load import installed_kinds, load
from offswitch.control.place import Place, chosen
from offswitch.errors import OffswitchError
from offswitch.watch.loop import Watch

__all__ = ["main"]

_NICE = -10
"""Ahead of what it watches: a target that spins must not be seen later for it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Watch for one installation: `--home H --run R`, or the one that the environment names."""
    given = list(sys.argv[1:] if argv is None else argv)
    place = chosen()
    if len(given) == 4 and given[0] == "--home" and given[2] == "--run":  # noqa: PLR2004
        place = Place(given[1], given[3])
    elif given:
        sys.stderr.write("usage: python -I -m offswitch.watch [--home FOLDER --run FOLDER]\n")
        return 2
    try:
        named = bool(os.environ.get("OFFSWITCH_CONFIG"))
        loaded = load(place.config, installed_kinds(), named=named)
    except OffswitchError as error:
        sys.stderr.write(f"offswitch watch: {error}\n")
        return error.exit_code
    for reason in loaded.degraded:
        sys.stderr.write(f"offswitch watch: degraded: {reason}\n")
    watch = Watch(place, loaded, SystemClock())

    def end(_number: int, _frame: object) -> None:
        watch.running = False

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        # The eyes inherit it, before they lose the right to ask for it.
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except OSError:
        sys.stderr.write("offswitch watch: degraded: at the same priority as its targets\n")
    gc.freeze()
    watch.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -I -m offswitch.watch`: read the configuration, then watch until told to end.

As root it reads and imports everything first, has the nursery forked that bears the eyes, and
becomes a user of its own that may do nothing but speak with the warden and the recorder.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence

from offswitch.clock import SystemClock
from offswitch.config.load import installed_kinds, load
from offswitch.control.place import Place, chosen
from offswitch.control.shed import complain
from offswitch.errors import OffswitchError
from offswitch.watch.desk.door import Desk, listen
from offswitch.watch.desk.visitors import station_of
from offswitch.watch.loop import Watch
from offswitch.watch.nursery import Nursery
from offswitch.watch.onlookers import Onlooker
from offswitch.watch.prepared import prepare
from offswitch.watch.readings.folder import folder_for
from offswitch.watch.readings.link import ReadingsLink
from offswitch.watch.readings.store import whole
from offswitch.watch.sensors.contract import Need
from offswitch.watch.settled import settle
from offswitch.watch.touched import Touched

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
    complain("watch", loaded.degraded)
    try:
        # The eyes inherit it, before they lose the right to ask for it.
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except OSError:
        complain("watch", ["at the same priority as its targets"])
    prepared = prepare(loaded)
    complain("watch", [f"{name}: {one.problem}" for name, one in prepared.items() if one.problem])
    # The eyes, too, are told which installation they belong to.
    os.environ.update(OFFSWITCH_HOME=place.home, OFFSWITCH_RUN=place.run)
    folder = folder_for(place.home)
    whole()
    gc.freeze()
    kinds = loaded.kinds.sensors.values()
    nursery = Nursery.start(frozenset[Need]().union(*(one.cls.NEEDS for one in kinds)))
    clock = SystemClock()
    desk = _desk(place, clock)
    survey = _survey()
    place, refused = settle(place)
    complain("watch", refused)
    kept = loaded.config.readings
    onlookers: list[Onlooker] = [Touched(), survey]
    if folder:
        onlookers.append(ReadingsLink(folder, kept.size, kept.keep, clock, nursery.bear))
    watch = Watch(place, loaded, clock, nursery.bear, prepared, onlookers, desk)

    def end(_number: int, _frame: object) -> None:
        watch.running = False

    def child(_number: int, _frame: object) -> None:
        watch.running = watch.running and not nursery.lost()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGCHLD, child)
    watch.run()
    return 0


def _survey() -> Onlooker:
    """Load the survey while its code may be read, and after the nursery, which needs none of it."""
    # One thread is enough for what it does, and others would outlive the rights given away here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from offswitch.watch.survey.survey import Survey  # noqa: PLC0415

    return Survey()


def _desk(place: Place, clock: SystemClock) -> Desk:
    """Open the desk while there is the right to; without one nobody is answered, and it is told."""
    try:
        sock, gid = listen(place.control)
    except OSError as error:
        complain("watch", [f"nobody can ask it anything: {place.control}: {error.strerror}"])
        return Desk(None, clock, os.geteuid())
    return Desk(sock, clock, os.geteuid(), gid, station_of(os.geteuid()))


if __name__ == "__main__":
    sys.exit(main())

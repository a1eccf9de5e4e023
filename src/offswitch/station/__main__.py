"""`python -I -m offswitch.station`: listen, give all rights away, serve until told to end.

As root it reads the configuration and its secrets, opens its port, imports everything, has the
archive's clerks forked, and becomes a user of its own (`settle`).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from offswitch.clock import SystemClock
from offswitch.config.load import installed_kinds, load
from offswitch.control.place import Place, chosen
from offswitch.control.shed import complain
from offswitch.errors import OffswitchError
from offswitch.station.app import create
from offswitch.station.archive.link import Archive
from offswitch.station.console.faces import Faces
from offswitch.station.door import Door, listen
from offswitch.station.http.inmates import Inmates
from offswitch.station.http.lines import Lines
from offswitch.station.http.listening import listening, url_of
from offswitch.station.http.serving import serve
from offswitch.station.http.tls import context_of
from offswitch.station.making import make, tell_people
from offswitch.station.notify.prepare import prepare
from offswitch.station.parts import Parts
from offswitch.station.people.sso import provider_of
from offswitch.station.prepared import import_ours
from offswitch.station.settle import folder_of, settle

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one installation: `--home H --run R`, or the one that the environment names."""
    given = list(sys.argv[1:] if argv is None else argv)
    place = chosen()
    if len(given) == 4 and given[0] == "--home" and given[2] == "--run":  # noqa: PLR2004
        place = Place(given[1], given[3])
    elif given:
        sys.stderr.write("usage: python -I -m offswitch.station [--home FOLDER --run FOLDER]\n")
        return 2
    try:
        _serve(place)
    except OffswitchError as error:
        sys.stderr.write(f"offswitch station: {error}\n")
        return error.exit_code
    return 0


def _serve(place: Place) -> None:
    named = bool(os.environ.get("OFFSWITCH_CONFIG"))
    loaded = load(place.config, installed_kinds(), named=named)
    complain("station", loaded.degraded)
    section, owner = loaded.config.station, os.geteuid()
    context = context_of(section, place.home)
    provider, why = provider_of(section.sso, place.home, SystemClock())
    complain("station", [why] if why else [])
    sock = listening(section)
    door = listen(place.control)
    import_ours()
    faces = Faces.read()
    prepared = prepare(loaded.config, SystemClock())
    complain("station", prepared.problems)
    gc.freeze()
    clerks = (Archive.fork(place.home), Archive.fork(place.home), Archive.fork(place.home))
    settled, refused = settle(place)
    complain("station", refused)
    parts = make(settled, loaded, provider, faces, clerks)
    url = url_of(section, sock)
    tell_people(parts, prepared, url)
    if door is not None:
        parts.door = Door(*door, owner, parts).run
    _say_where(settled.home, url)
    lines = Lines(partial(_odd, parts), Inmates().is_one)
    serve(create(parts), lines, context, sock)


def _say_where(home: str, url: str) -> None:
    """Leave our address where `up` finds it."""
    with suppress(OSError), open(f"{folder_of(home)}/address", "w", encoding="ascii") as file:
        file.write(f"{url}\n")


def _odd(parts: Parts, address: str, why: str) -> None:
    """Have recorded what was no request that anybody may send."""
    parts.refused(f"from:{address}", "a request", "http", why)


if __name__ == "__main__":
    sys.exit(main())

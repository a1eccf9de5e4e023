"""`python -I -m offswitch.warden.may_start HOME RUN TARGET`: whether an adopted unit may start.

systemd asks it before each start (`ExecCondition=`, SR-16). It looks at the page, as a guard
does: exit 0 only if the lease is fresh and the target's word says *run*. A warden that is
still coming up is waited for; one that has not come after half a minute is a no, as is all
that cannot be read. No socket is asked, so nothing hangs at it.
"""

from __future__ import annotations

import json
import sys
import time

from offswitch.control.page import RUN, PageReader
from offswitch.control.place import Place

__all__ = ["main"]

_PATIENCE_S = 30.0
_POLL_S = 0.05


def main(argv: list[str]) -> int:
    """Answer for `argv`: HOME, RUN and TARGET."""
    home, run, target = argv
    place, end = Place(home, run), time.monotonic() + _PATIENCE_S
    why = "no warden has come up"
    while time.monotonic() < end:
        try:
            said = _word(place, target)
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"{run} cannot be read: {error}"
            said = None
        if said is not None:
            if said == RUN:
                return 0
            sys.stderr.write(f"offswitch: {target} is stopped, so it does not start\n")
            return 1
        time.sleep(_POLL_S)
    sys.stderr.write(f"offswitch: {why}, so {target} does not start: offswitch doctor\n")
    return 1


def _word(place: Place, target: str) -> int | None:
    """Read the target's word; None while no lease is fresh."""
    page = PageReader(place.page)
    try:
        if page.lease_left_ns() <= 0:
            return None
        with open(f"{place.memory}/cells.json", "rb") as file:
            slot = json.load(file)["slots"][target]
        return page.word(int(slot))
    finally:
        page.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -I -m offswitch.warden --home H --run R [--private]`: one warden.

Two more options are between the warden's code and its next one: `--check FD`, the pre-flight,
and `--handed-over FD`, the state that is taken over (see `handover`).
"""

from __future__ import annotations

import sys
from itertools import pairwise

from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.warden.daemon import Warden
from offswitch.warden.handover.passed import inherited
from offswitch.warden.handover.preflight import check


def main(argv: list[str]) -> int:
    """Serve; what keeps it from serving is one line on stderr and the exit code of its kind."""
    options = dict(pairwise(argv))
    private, record = "--private" in argv, "--no-recorder" not in argv
    try:
        place = Place(options["--home"], options["--run"])
        if "--check" in options:
            return check(place, int(options["--check"]), record=record)
        passed = inherited(int(options["--handed-over"])) if "--handed-over" in options else None
        Warden(place, private=private, record=record, passed=passed).serve()
    except OffswitchError as error:
        sys.stderr.write(f"offswitch warden: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -I -m offswitch.warden --home H --run R [--private]`: one warden."""

from __future__ import annotations

import sys
from itertools import pairwise

from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.warden.daemon import Warden


def main(argv: list[str]) -> int:
    """Serve; what keeps it from serving is one line on stderr and the exit code of its kind."""
    options = dict(pairwise(argv))
    try:
        place = Place(options["--home"], options["--run"])
        Warden(place, private="--private" in argv, record="--no-recorder" not in argv).serve()
    except OffswitchError as error:
        sys.stderr.write(f"offswitch warden: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -I -m offswitch.warden.keeper`: one keeper, the child of a warden."""

from __future__ import annotations

import sys

from offswitch.warden.keeper.keeper import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -I -m offswitch.warden.finder`: the finder of one warden."""

from __future__ import annotations

import sys

from offswitch.warden.finder.finder import main

if __name__ == "__main__":
    sys.exit(main())

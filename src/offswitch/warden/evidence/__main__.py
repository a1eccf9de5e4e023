"""`python -I -m offswitch.warden.evidence`: the process that keeps evidence."""

from __future__ import annotations

import sys

from offswitch.warden.evidence.gatherer import main

if __name__ == "__main__":
    sys.exit(main())

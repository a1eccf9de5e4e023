"""`python -I -m offswitch.actuators.hands --link FD [--sight FD]`: one hand's process.

With `--sight` it looks, for whoever holds the other end of that; without it acts.
"""

from __future__ import annotations

import sys

from offswitch.actuators.hands.host import main

if __name__ == "__main__":
    sys.exit(main())

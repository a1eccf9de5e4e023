"""`python -I -m offswitch.warden.observer`: one observer, the child of a warden."""

from __future__ import annotations

import sys

from offswitch.warden.observer.observer import main

if __name__ == "__main__":
    sys.exit(main())

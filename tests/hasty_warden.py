"""A private warden with other patience: `HOME RUN END_S LEASE_S`. All else is the real one."""

from __future__ import annotations

import sys

from offswitch.control.place import Place
from offswitch.warden import daemon

if __name__ == "__main__":
    home, run, end_s, lease_s = sys.argv[1:5]
    daemon._PRIVATE_END_S = float(end_s)
    daemon.LEASE_NS = int(float(lease_s) * 1e9)
    daemon.Warden(Place(home, run), private=True).serve()

"""How fast the layers cut, each by itself and all together, seen by the other end.

    benchmarks/layers.py [--quick] [--json] [--data DIR]

postgres-last-write   order → the last write that four busy PostgreSQL sessions commit, by the
                      server's own clock (`layers_postgres.py`).
last-packet           order → the last packet of a cell, as a packet socket saw it; and
slow-reader           order → a slow reader's last byte (`layers_network.py`).
observer              order → the observer's verdict on processes and sockets
                      (`layers_observer.py`).
all-over-slowest      five layers at once against the slowest of them alone
                      (`layers_together.py`).

Each part is a file of its own, `layers_NAME.py`, with `KEYS`, what it measures, and
`measure(figures, seconds)`; with --quick `seconds` is how long it may take, else None. A part that
fails is named, the others are measured all the same, and the benchmark ends with 1.
"""

from __future__ import annotations

import sys
import traceback
from types import ModuleType

import layers_network
import layers_observer
import layers_postgres
import layers_together
from figures import Figures

PARTS: tuple[tuple[ModuleType, float], ...] = (
    (layers_postgres, 12.0),
    (layers_observer, 8.0),
    (layers_together, 10.0),
    (layers_network, 8.0),
)
"""Each part, and how many of the forty seconds of --quick are its own."""


def main() -> int:
    """Measure and print."""
    figures = Figures("layers", "How fast the layers cut.")
    failed = 0
    for part, seconds in PARTS:
        try:
            part.measure(figures, seconds if figures.quick else None)
        except Exception:  # noqa: BLE001 - the edge: one part's failure costs no other's figures
            traceback.print_exc()
            failed += 1
            for key in part.KEYS:
                figures.absent(key, "its measurement failed, see above")
    figures.show()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

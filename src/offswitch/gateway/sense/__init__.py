"""Sensing: what passes is counted by byte operations, as it passes, and nothing ever waits for it.

    supervisor, as root   prepared(place, front) ─► one file a worker, on tmpfs; canaries
    worker                sense = Sense(fd, canaries)
      each request        tap = sense.tap(target, asked, started_ns, body)
                          tap.head(status); tap.data(chunk) …; tap.end(how)
      each refusal        sense.refused(target, why)
      each 20 ms or so    sense.tick()
    watch                 the sensor `gateway` reads the files

What costs more than a microsecond is done for many chunks at once, or once an answer, and what
many answers that end at the same instant leave behind is done by `tick`, a little at a time: a
stop that ends a thousand streams waits for none of it.
"""

from __future__ import annotations

from offswitch.gateway.sense.prepared import Prepared, prepared
from offswitch.gateway.sense.sense import Sense

__all__ = ["Prepared", "Sense", "prepared"]

"""What the warden writes down: one line into the ring, and soon one byte to wake the recorder.

Writing never waits and never fails a stop (REC-3): the ring lies on tmpfs and is
preallocated; when it is full the loss is counted and the next entry that fits says so.
The recorder is a child that turns the ring into the ledger. If it dies it is started
again, later each time, and the ring holds meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from offswitch.clock import Clock, boot_id
from offswitch.control.journal import Ring
from offswitch.control.place import Place
from offswitch.warden.children import Children, launch
from offswitch.warden.loop import Loop
from offswitch.warden.respawn import Respawn
from offswitch.warden.tally import Tally

__all__ = ["Recording"]

_RING_SIZE = 8 << 20
_REASON = 2000
_WAKE_S = 0.02
"""How long the recorder is left asleep. The ring outlives every crash of ours, so nothing is lost
meanwhile; and what is being killed has the processors to itself: on two cores a commit at once
made a cell of ten processes empty half as late again (benchmarks/stop.py, empty-10)."""


class Recording:
    """The warden's side of the ledger."""

    def __init__(
        self, place: Place, installation: str, clock: Clock, loop: Loop, children: Children
    ) -> None:
        """Open the ring; `start` brings up the recorder."""
        self._place = place
        self._installation = installation
        self._clock = clock
        self._loop = loop
        self._children = children
        self._boot = boot_id()
        self._ring = Ring.take(place.ring, _RING_SIZE)
        self._wake: int | None = None
        self._waking = False
        self._again = Respawn(loop, self._start)
        self._tally = Tally(loop, self._enter)
        self._stopping = False
        self.pid: int | None = None
        self.last_seq = 0
        self.on_start: Callable[[], None] = lambda: None
        if self._ring.damage:
            self.note("gap", what="journal", why=self._ring.damage)

    def start(self) -> None:
        """Start the recorder; when it ends it is started again."""
        self._again.begin()

    def _start(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            place = self._place
            args = ["--home", place.home, "--run", place.run, "--ring", place.ring]
            args += ["--wake", str(reader)]
            self.pid = launch("offswitch.ledger.recorder", args, [reader], self._children.log)
        except OSError:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        self._wake = writer
        self._children.expect(self.pid, self._ended)

    def _ended(self, status: int) -> None:
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        self.pid = None
        if self._stopping:
            return
        self.lost("recorder", status)
        self._again.lost()

    def finish(self) -> None:
        """Hang up on the recorder; it drains the ring and ends by itself."""
        self._stopping = True
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None

    def note(self, kind: str, sealed: Mapping[str, Any] | None = None, **public: Any) -> int:  # noqa: ANN401
        """Write one entry into the ring; return its number there.

        `public` stands in the tree for ever; `sealed` (who, reason, argv, log text) outside
        of it, so that it can be erased. What is None is left out. Refusals are cheap to provoke:
        of very many by one user the most are counted (`often`).
        """
        if kind == "refused":
            by = (sealed or {}).get("by")
            return self.often(
                (kind, public.get("what"), str(by).split(" ")[0]), kind, sealed, **public
            )
        return self._enter(kind, sealed, public)

    def often(
        self,
        key: Hashable,
        kind: str,
        sealed: Mapping[str, Any] | None = None,
        **public: Any,  # noqa: ANN401
    ) -> int:
        """Write an entry of something that may come a thousand times a second; `key`: by whom."""
        self._tally.note(key, kind, sealed, public)
        return self.last_seq

    def sum_up(self) -> None:
        """Write what is only counted so far: nobody of this code will."""
        self._tally.sum_up()

    def _enter(self, kind: str, sealed: Mapping[str, Any] | None, public: Mapping[str, Any]) -> int:
        entry = {
            "v": 1,
            "kind": kind,
            "time_us": self._clock.wall_us(),
            "mono_us": self._clock.mono_us(),
            "boot": self._boot,
            "installation": self._installation,
        }
        entry.update((key, _plain(value)) for key, value in public.items() if value is not None)
        secret = {key: value for key, value in (sealed or {}).items() if value is not None}
        body = json.dumps({"public": entry, "sealed": secret}, ensure_ascii=True)
        self.last_seq = self._ring.append(body.encode())
        if not self._waking:
            self._waking = True
            self._loop.later(_WAKE_S, self._wake_up)
        return self.last_seq

    def lost(self, process: str, status: int) -> None:
        """Enter that a process of ours ended without being told to; another will be started."""
        code = os.waitstatus_to_exitcode(status)
        self.note(
            "restart",
            {"by": "warden"},
            process=process,
            channel="process",
            why=f"it ended by signal {-code}" if code < 0 else f"it ended with {code}",
            prior="running",
            state="to be started again",
            status=str(status),
        )

    def _wake_up(self) -> None:
        self._waking = False
        if self._wake is not None:
            try:
                os.write(self._wake, b"!")
            except OSError:
                pass  # full: it is awake; gone: the reaper hears of it

    def durable(self, seq: int) -> bool:
        """Tell whether the ledger has everything up to `seq`."""
        return self._ring.durable(seq)

    def facts(self) -> dict[str, Any]:
        """What doctor wants to know of the journal."""
        ring = self._ring
        return {"lost": ring.lost, "behind": max(0, self.last_seq - ring.durable_seq)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - it makes canonical values of what callers have
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return f"{value:.9g}"
    return value if isinstance(value, int) else str(value)[:_REASON]

"""A ledger's entries for a test, as warden, watch and station write them, on a clock of its own."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from offswitch.ledger.reader import ShownEntry

INSTALLATION = "0123456789abcdef0123456789abcdef"
S = 1_000_000
BEGIN_US = 1_795_859_000_000_000
OFFSET_US = BEGIN_US - 5_000_000


def digest(number: int) -> str:
    return sha256(f"stop {number}".encode()).hexdigest()


class Chronicle:
    """What was recorded so far; `now` is UTC in microseconds, and the test moves it."""

    def __init__(self) -> None:
        self.entries: list[ShownEntry] = []
        self.now = BEGIN_US
        self.boot = "b" * 32
        self._stops = 0

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * S)

    def add(self, kind: str, sealed: dict[str, Any] | None = None, **public: Any) -> int:  # noqa: ANN401
        """Enter something; gives its number."""
        body = {
            "v": 1,
            "kind": kind,
            "time_us": self.now,
            "mono_us": self.now - OFFSET_US,
            "boot": self.boot,
            "installation": INSTALLATION,
            **public,
        }
        index = len(self.entries)
        self.entries.append(ShownEntry(index, body, sealed or {}, intact=True))
        return index

    # --- watch ----------------------------------------------------------------------

    def finding(
        self,
        target: str = "shop/agent",
        what: str = "51 in 1s, limit 50",
        state: str = "trip",
        found_us: int | None = None,
        series: str = "orders-db.rows_changed",
        evidence: dict[str, str] | None = None,
        **public: Any,  # noqa: ANN401
    ) -> int:
        return self.add(
            "finding",
            {"by": "watch", "evidence": evidence or {"value": "51"}},
            channel="sensor:orders-db",
            target=target,
            detector="rate(above=50.0)",
            series=series,
            what=what,
            state=state,
            prior="ok",
            score="1.02",
            found_us=self.now if found_us is None else found_us,
            **public,
        )

    def decision(
        self,
        choice: str,
        scope: str = "shop/agent",
        by: str = "rule:mass-write",
        why: str = "wrong prices",
        decided_us: int | None = None,
        **public: Any,  # noqa: ANN401
    ) -> int:
        more = {"findings": ["51 in 1s, limit 50"], "known": [], "level": "kill", **public}
        return self.add(
            "decision",
            {"by": by},
            channel="rule",
            scope=scope,
            choice=choice,
            why=why,
            decided_us=self.now if decided_us is None else decided_us,
            prior="running",
            state="running",
            **more,
        )

    # --- the warden -----------------------------------------------------------------

    def order(
        self,
        scope: str = "shop/agent",
        targets: tuple[str, ...] = ("shop/agent",),
        level: str = "kill",
        by: str = "uid:1000",
        channel: str = "cli",
        reason: str = "it writes nonsense",
        name: str | None = None,
        given_us: int | None = None,
        **public: Any,  # noqa: ANN401
    ) -> str:
        """Accept a stop now, given a millisecond before; gives its digest."""
        self._stops += 1
        name = name or digest(self._stops)
        accepted = self.now - OFFSET_US
        self.wait(0.002)
        self.add(
            "order",
            {"by": by, "reason": reason},
            order="stop",
            digest=name,
            scope=scope,
            level=level,
            channel=channel,
            given_us=self.now - 3000 if given_us is None else given_us,
            accepted_mono_us=accepted,
            prior=dict.fromkeys(targets, "running"),
            state=dict.fromkeys(targets, "stopping"),
            **public,
        )
        return name

    def receipts(
        self,
        order: str,
        target: str = "shop/agent",
        unseen: tuple[str, ...] = (),
        detail: str = "the cell is empty",
        level: str = "kill",
        after_ms: int = 10,
    ) -> None:
        """Say what guard, network and process did, `after_ms` after the order."""
        accepted = next(
            one.public["accepted_mono_us"]
            for one in self.entries[::-1]
            if one.public.get("digest") == order
        )
        self.wait(after_ms / 1000)
        for number, layer in enumerate(("guard", "network", "process")):
            seen = layer not in {"guard", *unseen}
            times = {"effect_ns": (3 + number) * 1_000_500} if seen else {}
            self.add(
                "receipt",
                {"by": "uid:1000", "reason": "", "detail": detail},
                channel="cli",
                target=target,
                order=order,
                layer=layer,
                level=level,
                why="the stop",
                accepted_mono_us=accepted,
                commanded_ns=(1 + number) * 100_250,
                confirmed="yes" if seen else "no",
                prior="stopping",
                state="stopped",
                **times,
            )
            self.now += 30

    def stop(self, scope: str = "shop/agent", **more: Any) -> str:  # noqa: ANN401
        """Stop one target, proven."""
        name = self.order(scope, more.pop("targets", (scope,)), **more)
        self.receipts(name, scope)
        return name

    def reset(self, *clears: str, scope: str = "shop/agent", state: str = "done") -> int:
        return self.add(
            "reset",
            {"by": "uid:1000", "reason": "it was the feed", "placed_by": ["uid:1000"]},
            digest=digest(-len(self.entries)),
            scope=scope,
            clears=list(clears),
            channel="cli",
            prior={},
            state=state,
        )

    # --- people ---------------------------------------------------------------------

    def incident(
        self,
        name: str,
        what: str,
        sealed: dict[str, Any] | None = None,
        **public: Any,  # noqa: ANN401
    ) -> int:
        return self.add(
            "incident",
            {"by": "uid:1000", **(sealed or {})},
            channel="cli",
            incident=name,
            what=what,
            prior="open",
            state="open",
            **public,
        )

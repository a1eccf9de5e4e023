"""The order of events, told while they happen.

    1  a fleet starts          2  a rule stops what goes wrong    3  a person stops the rest
    4  nothing comes back by accident     5  reset, then start     6  the record

Each act does what a person would do, by the same commands, looks whether it happened, and
raises `Unfolded` if it did not: a demonstration that goes on after a stop that was not
confirmed would be acting.
"""

from __future__ import annotations

import time
from typing import Any

from offswitch.demo.fleet import ASSISTANT, CHILDREN, IMPORTS, PRICING, PRODUCTS, SLIP, Fleet
from offswitch.demo.stage import Answer, Stage
from offswitch.demo.telling import Telling
from offswitch.demo.timeline import Moment, Order, moments_of, proven
from offswitch.errors import OffswitchError

__all__ = ["Story", "Unfolded"]

_NOTICE_S = 15.0
_WATCH_S = 15.0
_REASON = "the supplier sent euros for cents; feed and prices are corrected"
_LATCHED = 3


class Unfolded(OffswitchError):
    """Something did not happen as it should have; the demonstration ends there."""


class Story:
    """One demonstration on one stage."""

    def __init__(self, stage: Stage, telling: Telling, *, fast: bool) -> None:
        """`fast`: without the pauses that let a person follow."""
        self._stage = stage
        self._tell = telling
        self._fleet = Fleet(stage)
        self._pause_s = 0.0 if fast else 1.2
        self._sane_s = 1.0 if fast else 4.0
        self._moments: list[Moment] = []
        self._spoilt_rows = 0

    def tell(self) -> None:
        """Tell all of it; `Unfolded` says what went wrong."""
        self._begin()
        self._goes_wrong()
        self._a_person_stops()
        self._no_way_back()
        self._back_to_work()
        self._record()

    # --- acts ---------------------------------------------------------------------

    def _begin(self) -> None:
        stage, tell = self._stage, self._tell
        tell.act("A fleet starts, in an installation of its own")
        self._fleet.set_up()
        stage.spawn_ours("up", "--no-station")
        stage.await_that("offswitch up", lambda: "To stop everything" in stage.said("up"))
        self._keep_key()
        self._fleet.run()
        rows = stage.rows()
        rung = str(rows[PRICING]["rung"])
        tell.fact(PRICING, f"an agent that reprices {PRODUCTS:,} products in SQLite")
        tell.fact(IMPORTS, f"ignores SIGTERM; {CHILDREN} children left for sessions of their own")
        tell.fact(ASSISTANT, "streams tokens over HTTP, 200 a second, to a customer")
        whose = "the user of whoever runs this" if rows[PRICING]["sharing"] else "a user of its own"
        tell.remark(f"Each runs in a cell, under {whose} (rung {rung}).")
        if rung != "root-cgroup":
            tell.remark("Degraded: without root some escapes succeed; see `offswitch doctor`.")
        stage.await_that("watch sees the shop's data", self._watched, _WATCH_S)
        time.sleep(self._sane_s)
        changed = self._fleet.changes()
        tell.remark(f"It works sensibly: {changed} prices moved by at most 2 %. No rule minds.")
        self._expect(self._row(PRICING)["state"] == "running", "the agent was stopped too early")
        self._pause()

    def _watched(self) -> bool:
        signals = self._row(PRICING).get("signals") or {}
        return "data" in signals and not signals["data"]["stale"]

    def _goes_wrong(self) -> None:
        stage, tell = self._stage, self._tell
        tell.act("The supplier sends euros for cents, and the agent believes it")
        self._fleet.write_feed(SLIP)
        tell.remark("Nobody presses anything. The rule allows 50 changed prices a second.")
        stage.await_that("the rule stops the agent", self._stopped(PRICING), _NOTICE_S)
        relay = self._fleet.relays[PRICING]
        code = relay.wait(_NOTICE_S)
        spoilt = self._fleet.spoilt()
        self._spoilt_rows = spoilt.rows
        entries, order = self._recorded("rule", PRICING)
        self._moments = [
            Moment(spoilt.first_ns, "the first nonsense price is written", "shop.db", key=True),
            Moment(spoilt.last_ns, "the agent's last act", "shop.db", key=True),
            *moments_of(entries, order, PRICING),
        ]
        reaction = (spoilt.last_ns - spoilt.first_ns) / 1e6
        tell.good(f"Stopped by rule mass-write, confirmed: {self._seen_layers(PRICING)}.")
        tell.remark(f"From the first nonsense price to the agent's last act: {reaction:.1f} ms.")
        tell.remark(f"Spoilt before the cut: {spoilt.rows:,} of {PRODUCTS:,} prices.")
        tell.remark(f"Its `offswitch run` ended with {code}, and named the order.")
        self._pause()

    def _a_person_stops(self) -> None:
        stage, tell = self._stage, self._tell
        tell.act("A person stops the rest")
        answer = self._command("stop", "--all", "--json", shown="offswitch stop --all")
        told = answer.json()
        self._expect(answer.code == 0 and told.get("confirmed") is True, _why(answer))
        _entries, order = self._recorded("cli", IMPORTS)
        beats = self._fleet.last_heartbeats()
        customer = self._fleet.customer_said()
        tell.good(f"Confirmed in {answer.wall_ms:.0f} ms, the whole command counted.")
        last = max(beats) - order.accepted_ns
        tell.remark(f"Last act of the {len(beats)} worker processes: {_after(last)} acceptance.")
        token = customer["last_ns"] - order.accepted_ns
        tell.remark(
            f"Last of {customer['tokens']:,} tokens at the customer: {_after(token)} acceptance."
        )
        self._expect(all(not row["pids"] for row in stage.rows().values()), "something still runs")
        self._pause()

    def _no_way_back(self) -> None:
        tell = self._tell
        tell.act("It does not come back by accident")
        answer = self._command("start", PRICING)
        self._expect(answer.code == _LATCHED, _why(answer))
        refused = answer.err.strip().splitlines()[0].removeprefix("offswitch: ")
        tell.good(f"Refused (exit {answer.code}): {refused}")
        self._pause()

    def _back_to_work(self) -> None:
        stage, tell = self._stage, self._tell
        tell.act("Repaired, reset, and only then started")
        self._fleet.write_feed(1)
        self._fleet.repair()
        self._expect(self._fleet.spoilt().rows == 0, "prices are spoilt still")
        tell.remark("The feed is right again, and every price is restored.")
        answer = self._command(
            "reset", "/", "--reason", _REASON, "--json", shown="offswitch reset /"
        )
        told = answer.json()
        self._expect(answer.code == 0 and told.get("state") == "done", _why(answer))
        alive = [name for name, row in stage.rows().items() if row["pids"]]
        self._expect(not alive, f"the reset started {alive}")
        tell.good(f"{len(told['cleared'])} stops cleared. Nothing runs: a reset starts nothing.")
        answer = self._command("start", PRICING)
        self._expect(answer.code == 0, _why(answer))
        before = self._fleet.changes()
        stage.await_that("the agent works again", lambda: self._fleet.changes() > before)
        tell.good(f"{PRICING} runs again, and reprices sensibly.")
        self._expect(self._row(PRICING)["state"] == "running", "the agent is not running")
        self._pause()

    def _record(self) -> None:
        tell = self._tell
        tell.act("The record")
        head = self._stage.offswitch("ledger", "head")
        self._expect(head.code == 0, _why(head))
        with open(f"{self._stage.folder}/kept-head", "w", encoding="utf-8") as file:
            file.write(head.out)
        words = [
            "--key",
            f"{self._stage.folder}/kept-key",
            "--head",
            f"{self._stage.folder}/kept-head",
        ]
        answer = self._command("ledger", "verify", *words, shown="offswitch ledger verify")
        self._expect(answer.code == 0, _why(answer))
        tell.good(answer.out.strip())
        tell.timeline(self._moments, PRICING)
        tell.end(self._spoilt_rows, PRODUCTS)

    # --- looking ------------------------------------------------------------------

    def _keep_key(self) -> None:
        """Keep the ledger's key as a careful person would: on the first day, and elsewhere."""
        key = f"{self._stage.place.home}/pin/ledger.vkey"

        def there() -> bool:
            try:
                with open(key, "rb") as file, open(f"{self._stage.folder}/kept-key", "wb") as kept:
                    kept.write(file.read())
            except FileNotFoundError:
                return False
            return True

        self._stage.await_that("the ledger's key", there)

    def _row(self, target: str) -> dict[str, Any]:
        return self._stage.rows().get(target, {})

    def _stopped(self, target: str) -> Any:  # noqa: ANN401 - a question without arguments
        def stopped() -> bool:
            row = self._row(target)
            return row.get("state") == "stopped" and bool(row.get("confirmed"))

        return stopped

    def _seen_layers(self, target: str) -> str:
        """Name the layers whose effect the observer saw."""
        answer = self._stage.offswitch("target", "show", target, "--json").json()
        seen = [layer["layer"] for layer in answer.get("layers", []) if layer["confirmed"]]
        return ", ".join(seen)

    def _recorded(self, channel: str, target: str) -> tuple[list[dict[str, Any]], Order]:
        """Read the ledger, once it has a stop over `channel` and its receipts about `target`."""
        entries: list[dict[str, Any]] = []
        found: list[Order] = []

        def complete() -> bool:
            said = self._stage.offswitch("ledger", "show", "--all", "--json").json()
            entries[:] = said.get("entries", [])
            order = proven(entries, channel, target)
            found[:] = [order] if order is not None else []
            return bool(found)

        self._stage.await_that("the receipts are in the ledger", complete)
        return entries, found[0]

    def _command(self, *words: str, shown: str = "") -> Answer:
        self._tell.typed(shown or " ".join(["offswitch", *words]))
        return self._stage.offswitch(*words)

    def _expect(self, true: bool, why: str) -> None:  # noqa: FBT001 - it reads as a sentence
        if not true:
            raise Unfolded(why, "run it again; if it stays so: offswitch doctor")

    def _pause(self) -> None:
        time.sleep(self._pause_s)


def _after(ns: int) -> str:
    return f"{abs(ns) / 1e6:.1f} ms {'after' if ns >= 0 else 'before'}"


def _why(answer: Answer) -> str:
    told = (answer.err or answer.out).strip().splitlines()
    return f"exit {answer.code}: {told[0] if told else 'nothing was said'}"

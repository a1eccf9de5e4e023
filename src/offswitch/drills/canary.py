"""The canary drill: a target is made, made to resist, and stopped on the real path (DRL-1).

    make       the warden bears a target below `.drill/`, as any other is born
    listen     until everything acts that is to be stopped: what does not act proves nothing
    press      over the warden's socket, as anybody does; channel `drill`, by `drill:canary-…`
    measure    commanded, the last act that we saw ourselves, confirmed by the observer
    end        the warden compares both, writes them down, and clears its own target away (SR-20)

A layer has passed only if the drill itself saw its last act and the observer confirmed it. A real
stop in the middle goes first: then the drill counts for nothing, and clears nothing. A dry run
does everything but press, and earns nothing (DRL-3).

Which way it fails: whatever goes wrong is no proof. The process that drills may be any that the
warden obeys (root, the owner, the station's user); it needs no root and opens no file of ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.client import Conversation
from offswitch.control.place import Place
from offswitch.drills.senses import Senses
from offswitch.errors import Busy, OffswitchError, Unconfirmed

__all__ = ["LayerOutcome", "Outcome", "run_canary"]

_ALIVE_S = 10.0
_FRESH_NS = 50_000_000
"""So lately everything must have acted before the press."""
_CONFIRM_S = 4.0
"""The observer has two seconds, and a kill may be chased for longer than that."""
_QUIET_S = 0.05
"""How long nothing more may come after the final answer."""
_REST_S = 0.5
_END_S = 25.0
"""A reset waits for the ledger, the observer and the disk."""


@dataclass(frozen=True, slots=True)
class LayerOutcome:
    """What the drill showed of one layer. Times are nanoseconds since the order was accepted."""

    layer: str
    passed: bool
    seen: bool
    """Whether the drill itself saw the last act."""
    confirmed: bool
    """Whether the observer confirmed it."""
    commanded_ns: int | None
    last_act_ns: int | None
    """No later than this the last act was; below zero where there was none after the order."""
    confirmed_ns: int | None
    why: str
    """What was not seen; empty where all was."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One drill that has ended."""

    drill: str
    target: str
    state: str
    """`passed`, `not-confirmed`, `failed`, `overtaken` (by a real stop) or `dry`."""
    layers: tuple[LayerOutcome, ...]
    reset: str | None
    """The digest of the reset that cleared its own stop; None: there was nothing to clear."""
    trouble: str
    """Why its target could not be cleared away; empty: it was."""

    @property
    def exit_code(self) -> int:
        """0 passed, 4 not confirmed, 1 failed."""
        if self.state == "not-confirmed":
            return 4
        return 0 if self.state in {"passed", "dry"} and not self.trouble else 1

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` shows."""
        return {
            "drill": self.drill,
            "target": self.target,
            "state": self.state,
            "layers": [
                {
                    "layer": one.layer,
                    "passed": one.passed,
                    "seen": one.seen,
                    "confirmed": one.confirmed,
                    "commanded_ns": one.commanded_ns,
                    "last_act_ns": one.last_act_ns,
                    "confirmed_ns": one.confirmed_ns,
                    "why": one.why,
                }
                for one in self.layers
            ],
            "reset": self.reset,
            "trouble": self.trouble,
        }


def run_canary(
    place: Place, *, channel: str = "cli", by: str | None = None, dry: bool = False
) -> Outcome:
    """Drill once, which takes about half a second; raises what kept it from taking place.

    `channel` and `by` say who had it run, as far as the warden lets the caller say so.
    """
    with Senses() as senses, Conversation(place.warden_socket, _END_S) as held:
        message = {"op": "drill", "do": "make", "port": senses.port, "channel": channel, "by": by}
        born = held.ask(message, senses.fds)
        senses.hand_over()
        accepted_ns = None
        if _all_act(senses, born):
            accepted_ns = None if dry else _press(place, senses, born)
        elif not dry:
            raise Busy("its target did not act in time, so nothing was tried", "try again")
        end = {"op": "drill", "do": "end", "drill": born["drill"], "dry": dry, "channel": channel}
        seen = {} if accepted_ns is None else _seen(senses, born, accepted_ns)
        return _outcome(held.ask({**end, "by": by, "layers": seen}))


def _all_act(senses: Senses, born: dict[str, Any]) -> bool:
    """Wait until everything that is to be stopped acts, and has done so just now."""
    end = time.monotonic() + _ALIVE_S
    while time.monotonic() < end:
        senses.listen(0.01)
        fresh_ns = time.monotonic_ns() - _FRESH_NS
        if not senses.missing(witness=born["witness"] is True, since_ns=fresh_ns):
            return True
    return False


def _press(place: Place, senses: Senses, born: dict[str, Any]) -> int | None:
    """Press, and listen until it is confirmed or is not; give when it was accepted."""
    order = {
        "op": "stop",
        "scopes": [born["target"]],
        "level": "kill",
        "nonce": new_nonce(),
        "time_us": time.time_ns() // 1000,
        "channel": "drill",
        "by": born["by"],
        "reason": "a drill",
    }
    accepted_ns: int | None = None
    with Conversation(place.warden_socket, _CONFIRM_S) as pressed:
        pressed.send(order)
        end = time.monotonic() + _CONFIRM_S
        while (left := end - time.monotonic()) > 0:
            if not senses.listen(left, pressed.sock.fileno()):
                break
            answer = pressed.receive()
            if answer is None:
                break
            if answer.get("accepted") is True:
                accepted_ns = int(answer["accepted_ns"])
            elif "targets" in answer:
                break
    if accepted_ns is None:
        raise Unconfirmed("the warden accepted no stop, so nothing was tried", "offswitch doctor")
    _settle(senses)
    return accepted_ns


def _settle(senses: Senses) -> None:
    """Listen on until everything has ended, and a moment more; or for as long as that may take."""
    end = time.monotonic() + _REST_S
    while time.monotonic() < end:
        senses.listen(_QUIET_S)
        rests = senses.beats.ended and senses.outside.ended
        if rests and (senses.no_road or senses.cut):
            return


def _seen(senses: Senses, born: dict[str, Any], accepted_ns: int) -> dict[str, dict[str, Any]]:
    """Say of each layer whether we saw its last act, and when that was."""
    quiet_ns = time.monotonic_ns() - int(_QUIET_S * 1e9)
    found: dict[str, dict[str, Any]] = {}
    for layer in born["layers"]:
        match layer:
            case "process":
                heard, over = senses.beats, senses.beats.ended
                why = senses.still_beats(heard, accepted_ns) or "somebody"
                why = f"{why} in the cell acted on, and can act still"
            case "sweep":
                heard, over = senses.outside, senses.outside.ended
                why = "a process of its user outside of the cell acted on"
            case "network":
                heard = senses.road
                over = senses.cut and (heard.last_ns or 0) < quiet_ns
                why = "a connection that it gave away goes on"
                if senses.no_road:
                    over, why = False, "it had no connection to us, so nothing was seen of it"
            case _:
                continue
        last = None if heard.last_ns is None else heard.last_ns - accepted_ns
        found[layer] = {"seen": over, "last_act_ns": last, "why": "" if over else why}
    return found


def _outcome(answer: dict[str, Any]) -> Outcome:
    layers = []
    for one in answer.get("layers", []):
        times = [one.get(key) for key in ("commanded_ns", "last_act_ns", "confirmed_ns")]
        ns = [value if isinstance(value, int) else None for value in times]
        layers.append(
            LayerOutcome(
                str(one.get("layer")),
                passed=one.get("passed") is True,
                seen=one.get("seen") is True,
                confirmed=one.get("confirmed") is True,
                commanded_ns=ns[0],
                last_act_ns=ns[1],
                confirmed_ns=ns[2],
                why=str(one.get("why") or ""),
            )
        )
    if answer.get("ok") is not True:
        raise OffswitchError("the warden did not say how the drill ended", "offswitch doctor")
    reset = answer.get("reset")
    return Outcome(
        str(answer.get("drill")),
        str(answer.get("target")),
        str(answer.get("state")),
        tuple(layers),
        str(reset) if isinstance(reset, str) else None,
        str(answer.get("trouble") or ""),
    )

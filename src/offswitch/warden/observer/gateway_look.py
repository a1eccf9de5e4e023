"""What the observer looks at of a gateway, and what it counts as *seen* (VER-2).

    sockets   by the kernel's own list none of those lives that a table names for the target; at
              a freeze its clients' stand still instead
    tables    no flow of it is left, and each living worker has swept since the words changed
    listener  asked as a client asks it, it refuses (`prober`)

All three, or it is not seen. A worker that is dead can sweep no more: of it only the sockets
count, which the kernel may still serve. The tables are the gateway's word: a row that is missing
from them hides a flow, and so the third question is asked of the listener itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.control.flows import Flow, FlowReader
from offswitch.errors import OffswitchError
from offswitch.warden.observer.looks import Look, Picture, Seen
from offswitch.warden.observer.prober import LATCHED, NOBODY, Answer, Ask

__all__ = ["GatewayLook", "Tables"]

_STILL_NS = 50_000_000
"""How long the connections of paused streams must not move until they are said to stand."""
_AGAIN_S = 0.005
_KEPT = 64
_TRIES = 3
_CARRY_NOTHING = frozenset({6, 7})
"""TCP states in which nothing passes any more: time-wait, closed."""
_WATCHED = Seen(False, "being watched")
_ASKED = Seen(False, "its gateway was asked, and has not answered yet")


class Tables:
    """The flow tables that the warden has shown, by number; some that it let go of as well."""

    def __init__(self) -> None:
        """None yet."""
        self._shown: dict[int, FlowReader] = {}
        self._gone: dict[int, FlowReader] = {}

    def show(self, number: int, fd: int) -> None:
        """Take one in; `Corrupt` if it is none."""
        self._shown[number] = FlowReader(fd)

    def hide(self, number: int) -> None:
        """Show it no longer; who looks at it may finish."""
        known = self._shown.pop(number, None)
        if known is not None:
            self._gone[number] = known
        while len(self._gone) > _KEPT:
            self._gone.pop(next(iter(self._gone))).close()

    def get(self, number: int) -> FlowReader | None:
        """Give one, or None."""
        return self._shown.get(number) or self._gone.get(number)


class GatewayLook(Look):
    """The gateways of one target."""

    def __init__(
        self,
        facts: Mapping[str, Any],
        level: str,
        tables: Tables,
        ask: Ask,
        again_s: float = _AGAIN_S,
    ) -> None:
        """Look at what `facts` name; the listener is asked every `again_s` seconds at most."""
        self._target = str(facts["target"])
        self._slot = int(facts["slot"])
        self._expected = facts["expected"] is True
        self._tables = tables
        self._workers = [(int(n), int(turn), int(pid)) for n, turn, pid in facts["tables"]]
        self._listen = [str(each) for each in facts["listen"]]
        self._frozen_is_enough = level == "freeze"
        self._ask = ask
        self._again_s = again_s
        self._asked: dict[str, Answer] = {}
        self._ask_at = 0.0
        self._unanswered = 0
        self._before: dict[bytes, int] = {}
        self._since_ns = 0
        self.pending = False
        """Whether what was said last only means that it is not known yet."""

    def once(self, _picture: Picture | None = None) -> Seen:
        """Look at sockets and tables, then at what the listener said."""
        if self._expected or not self._workers:
            return Seen(None, "its gateway has not come back: what it has in flight is unknown")
        self.pending = False
        probed = self._probed()
        try:
            seen = self._in_flight()
        except (OSError, OffswitchError, ValueError) as error:
            return Seen(None, f"its gateway's flows cannot be looked at: {error}")
        if seen is not None:
            self.pending = seen is _WATCHED
            return seen
        self.pending = probed is _ASKED
        return probed

    # --- sockets and tables -------------------------------------------------------

    def _in_flight(self) -> Seen | None:
        """Say what is in flight; None: nothing that counts."""
        alive: list[Sock] = []
        flows: list[Flow] = []
        behind = 0
        with Diag() as diag:
            for number, turn, pid in self._workers:
                table = self._tables.get(number)
                if table is None:
                    return Seen(None, "a worker's table of flows was not shown")
                dead = _dead(pid)
                if not dead and table.swept < turn:
                    behind += 1  # it is at it, and to list what it has would keep it from that
                    continue
                found = table.flows({self._slot})
                flows += [] if dead else found
                named = diag.present(self._named(found))
                alive += [each for each in named if each.state not in _CARRY_NOTHING]
        if self._frozen_is_enough:
            return self._stands_still(alive, behind)
        if alive:
            where = alive[0].where()
            return Seen(False, f"{len(alive)} sockets of it are open at a gateway, such as {where}")
        if behind:
            return Seen(False, f"{behind} workers have not swept")
        if flows:
            return Seen(False, f"workers' tables show {len(flows)} flows of it")
        return None

    def _named(self, found: list[Flow]) -> list[Sock]:
        """Name the sockets that count: at a freeze its clients' alone.

        A server that is not read any more may go on sending into the kernel's buffer.
        """
        if not self._frozen_is_enough:
            return [Sock.named(ends.family, ends.ident) for flow in found for ends in flow.ends]
        clients = [flow.client for flow in found if flow.client is not None]
        return [Sock.named(ends.family, ends.ident) for ends in clients]

    def _stands_still(self, alive: list[Sock], behind: int) -> Seen | None:
        if behind:
            return Seen(False, f"{behind} workers have not swept")
        now, state = time.monotonic_ns(), {each.ident: each.moved for each in alive}
        if not self._since_ns or state != self._before:
            moved = bool(self._since_ns)
            self._before, self._since_ns = state, now
            return Seen(False, "bytes still pass to its clients") if moved else _WATCHED
        if now - self._since_ns < _STILL_NS:
            return _WATCHED
        return None

    # --- the listener -------------------------------------------------------------

    def _probed(self) -> Seen:
        """Ask where it is time, and say what is known of the last answers."""
        if not self._listen:
            return Seen(None, "its gateway does not say where it listens")
        now = time.monotonic()
        under_way = any(each.status is None for each in self._asked.values())
        if not under_way and now >= self._ask_at:
            said = dict(self._asked)
            self._asked = {at: self._ask(at, self._target) for at in self._listen}
            self._ask_at = now + self._again_s
            return self._said(said)
        return _ASKED if under_way else self._said(self._asked)

    def _said(self, said: Mapping[str, Answer]) -> Seen:
        if not said:
            return _ASKED
        self._unanswered += 1
        for at, answer in said.items():
            if not answer.status and self._unanswered < _TRIES:
                self._ask_at = 0.0  # a worker that ended may have taken the question along
                return _ASKED
            if answer.status not in {LATCHED, NOBODY}:
                passes = answer.status == 200  # noqa: PLR2004 - as HTTP says it
                text = "still takes requests for it" if passes else "answers no probe as it should"
                return Seen(False, f"{at} {text} ({answer.why or answer.status})")
        self._unanswered = 0
        frozen = "its streams stand still" if self._frozen_is_enough else "nothing of it in flight"
        return Seen(True, f"{frozen}, and the listener refuses")


def _dead(pid: int) -> bool:
    """Tell whether a worker has ended; a zombie has no sockets any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] in {b"Z", b"X"}
    except FileNotFoundError:
        return True
    except OSError:
        return False

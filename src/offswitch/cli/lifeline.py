"""Asking a warden for a target, and relaying what was born.

The connection on which a target was asked for is its lifeline: it stays open for as long
as somebody relays the target.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from offswitch.cli.begin import ensure_warden
from offswitch.cli.relay import Relay
from offswitch.cli.streams import Streams
from offswitch.control import frames
from offswitch.control.client import connect
from offswitch.control.place import Place
from offswitch.errors import OffswitchError, Timeout, Unreachable, from_kind

__all__ = ["SHELL_CODES", "Birth", "ask_for_birth", "relay"]

SHELL_CODES = (126, 127)
"""Found and not to be run, not found: exit codes that are the program's and not ours."""
_BIRTH_S = 30.0
_TRIES = 3


@dataclass(slots=True)
class Birth:
    """A target that was born: the connection that is its lifeline, the answer, the log."""

    sock: socket.socket
    answer: dict[str, Any]
    log: int | None
    early: list[dict[str, Any]]
    """Events that came before the answer: a stop may be faster than a birth."""


def ask_for_birth(place: Place, message: dict[str, Any], given: list[int]) -> Birth:
    """Ask the warden of `place` for a target; raises its error, `exit_code` set as it said.

    A private warden may end in the very moment in which we reach it: then another is started.
    """
    for _attempt in range(_TRIES):
        ensure_warden(place)
        try:
            sock = connect(place.warden_socket, _BIRTH_S)
        except Unreachable:
            continue
        birth = None
        try:
            frames.send(sock, message, tuple(given))
            birth = _await_birth(sock)
        except TimeoutError:
            raise Timeout("the warden did not answer", "offswitch doctor") from None
        except (OSError, Unreachable):
            continue
        finally:
            if birth is None:
                sock.close()
        if birth is not None:
            return birth
    raise Unreachable("the warden ended before it answered", f"see {place.home}/warden.log")


def _await_birth(sock: socket.socket) -> Birth | None:
    """Read until the birth is told; None at the end of the stream; raises what stood in the way."""
    early: list[dict[str, Any]] = []
    while (got := frames.receive(sock)) is not None:
        answer, fds = got
        if isinstance(answer.get("error"), dict):
            raise _error(answer)
        if answer.get("event") == "born":
            return Birth(sock, answer, fds[0] if fds else None, early)
        early.append(answer)
    return None


def _error(answer: dict[str, Any]) -> OffswitchError:
    told = answer["error"]
    error = from_kind(
        str(told.get("kind")), str(told.get("message", "")), str(told.get("hint", ""))
    )
    if answer.get("exit") in SHELL_CODES:
        error.exit_code = answer["exit"]
    return error


def relay(place: Place, birth: Birth, streams: Streams) -> int:
    """Relay a target that was born to its end; return the exit code."""
    streams.handed_over()
    relaying = Relay(place, birth.sock, birth.answer)
    if birth.log is not None:
        relaying.keep_log(birth.log)
    for source, sink in streams.pumped:
        relaying.pump(source, sink)
    if streams.terminal is not None:
        relaying.use(streams.terminal)
    for event in birth.early:
        relaying.hear(event)
    return relaying.run()

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


def ask_for_birth(place: Place, message: dict[str, Any], given: list[int]) -> Birth:
    """Ask the warden of `place` for a target; raises its error, `exit_code` set as it said.

    A private warden may end in the very moment in which we reach it: then another is started.
    """
    for attempt in range(_TRIES):
        ensure_warden(place)
        sock = connect(place.warden_socket, _BIRTH_S)
        try:
            frames.send(sock, message, tuple(given))
            got = frames.receive(sock)
        except TimeoutError:
            sock.close()
            raise Timeout("the warden did not answer", "offswitch doctor") from None
        except OSError as error:
            got = None
            if attempt == _TRIES - 1:
                raise Unreachable(f"the warden is gone: {error.strerror}", "try again") from None
        if got is not None:
            answer, fds = got
            if isinstance(answer.get("error"), dict):
                sock.close()
                raise _error(answer)
            return Birth(sock, answer, fds[0] if fds else None)
        sock.close()
    raise Unreachable("the warden ended before it answered", f"see {place.home}/warden.log")


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
    return relaying.run()

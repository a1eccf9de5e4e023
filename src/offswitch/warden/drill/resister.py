"""What a drill stops: a small program that does not want to go. Standard library, nothing of ours.

    python -I -S resister.py ROLE PORT

It ignores every signal that can be ignored, has a child in a session of its own that ignores
them, too, and acts every two milliseconds, so that whoever drills sees with own senses when the
last act came. Of the roles each is something that one layer alone can end:

    canary     the target itself: beats on stdout, and sends bytes over a connection that it also
               gives away to whoever holds the other end of stdin. A connection that lives
               elsewhere is ended by the network layer alone
    witness    in the cell, under a user that no sweep touches: ended by the kill of the cell alone
    stray      under the canary's user, outside of the cell: ended by the sweep alone

Nothing of it outlives its drill for long: each ends by itself when nobody reads it any more, or
after a minute.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import sys
import time

__all__ = ["main"]

_BEAT_S = 0.002
_LIFE_S = 60.0
_BEATS = {"canary": b"m", "child": b"c", "witness": b"w", "stray": b"s"}


def main(role: str, port: int) -> int:
    """Be one of the roles until nobody listens, or for a minute."""
    for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGTSTP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if role != "canary":
        _beat(role, None)
        return 0
    road = _connected(port)
    with socket.socket(fileno=0) as link:
        _give(link, road)
        if os.fork() == 0:
            os.setsid()
            link.close()
            if road is not None:
                road.close()
            _beat("child", None)
            return 0
        link.setblocking(False)
        _beat("canary", road, link)
    return 0


def _connected(port: int) -> socket.socket | None:
    """Connect to whoever drills; None where there is no such road."""
    if not port:
        return None
    try:
        road = socket.create_connection(("127.0.0.1", port), timeout=2)
    except OSError:
        return None
    road.setblocking(False)
    return road


def _give(link: socket.socket, road: socket.socket | None) -> None:
    if road is None:
        link.send(b"-")
        return
    given = array.array("i", [road.fileno()])
    link.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])


def _beat(role: str, road: socket.socket | None, link: socket.socket | None = None) -> None:
    """Act, again and again; returns when the other end of stdout or of `link` is closed."""
    end = time.monotonic() + _LIFE_S
    while time.monotonic() < end:
        try:
            os.write(1, _BEATS[role])
            if link is not None and _closed(link):
                return
        except BrokenPipeError:
            return
        if road is not None:
            try:
                road.send(b".")
            except OSError:
                pass  # denied, reset, or full: that is the network layer's affair
        time.sleep(_BEAT_S)


def _closed(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))

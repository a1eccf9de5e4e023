"""The station's end of a link to an archive clerk: one question at a time, never for long.

Two clerks are forked: one follows the record as it grows, the other answers people, whose
questions (verify everything) may take a while. One that dies is not borne again, since the
station has given away what that takes; it ends, and whoever keeps it alive starts all anew.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from offswitch.control import frames
from offswitch.errors import Timeout, Unreachable
from offswitch.station.archive import clerk
from offswitch.station.wire import raised

__all__ = ["Archive"]

_PATIENCE_S = 20.0
_HEAD = 4

Message = dict[str, Any]


class Archive:
    """One clerk."""

    def __init__(self, link: socket.socket, pid: int) -> None:
        """Hold the link, and the clerk's pid."""
        link.setblocking(False)
        self._link = link
        self.pid = pid
        self.gone = False
        """Whether nobody will ever answer here again."""
        self._turn: asyncio.Lock | None = None

    @classmethod
    def fork(cls, home: str) -> Archive:
        """Bear a clerk for the ledger in `home`; called while there are rights and no threads."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(ours, pid)
        ours.close()
        try:
            clerk.serve(theirs, home)
        finally:
            os._exit(0)

    async def ask(self, message: Message, patience_s: float = _PATIENCE_S) -> Message:
        """Ask; its errors are raised here. The lock keeps answers with their questions."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            try:
                answer = await asyncio.wait_for(self._exchange(message), patience_s)
            except TimeoutError:
                self.close()
                raise Timeout("the record is not read in time", "offswitch ledger show") from None
            except OSError as error:
                self.close()
                raise Unreachable(
                    f"nobody reads the record: {error}", "the station is started anew by `up`"
                ) from None
        return raised(answer)

    async def _exchange(self, message: Message) -> Message:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._link, frames.encode(message))
        decoder = frames.Decoder(frames.MAX_ANSWER)
        while True:
            data = await loop.sock_recv(self._link, 1 << 18)
            if not data:
                raise ConnectionResetError("the clerk has ended")
            for answer in decoder.feed(data):
                return answer

    def close(self) -> None:
        """Hang up; the clerk ends. A question that was not answered makes the next one wrong."""
        self.gone = True
        self._link.close()

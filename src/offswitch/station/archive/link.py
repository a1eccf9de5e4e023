"""The station's end of a link to an archive clerk: one question at a time, never for long.

Three clerks are forked: one follows the record as it grows, one answers people, and one does what
takes a while (verify everything). One that dies is not borne again, since the station has given
away what that takes. Whoever asks has patience of their own; a question that was given up is
answered some time all the same, and that answer is dropped before the next one is taken.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from typing import Any

from offswitch.control import frames
from offswitch.errors import Timeout, Unreachable
from offswitch.station.archive import clerk
from offswitch.station.wire import raised

__all__ = ["Archive"]

_PATIENCE_S = 20.0
_MOST_OWED = 16
"""So many answers may be outstanding; nothing is asked before there are fewer."""

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
        self._decoder = frames.Decoder(frames.MAX_ANSWER)
        self._come: deque[Message] = deque()
        """Answers that nobody has taken yet."""
        self._owed = 0
        """How many questions were sent and not answered; the clerk answers in their order."""

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
        try:
            async with asyncio.timeout(patience_s), self._turn:
                answer = await self._exchange(message)
        except TimeoutError:
            raise Timeout("the record is not read in time", "offswitch ledger show") from None
        except OSError as error:
            self.close()
            raise Unreachable(
                f"nobody reads the record: {error}", "the station must be started anew"
            ) from None
        return raised(answer)

    async def _exchange(self, message: Message) -> Message:
        while self._owed >= _MOST_OWED:
            await self._next()
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._link, frames.encode(message))
        except asyncio.CancelledError:
            self.close()  # how much of it was sent nobody knows
            raise
        self._owed += 1
        while self._owed > 1:
            await self._next()
        return await self._next()

    async def _next(self) -> Message:
        """Take the next answer."""
        loop = asyncio.get_running_loop()
        while not self._come:
            data = await loop.sock_recv(self._link, 1 << 18)
            if not data:
                raise ConnectionResetError("the clerk has ended")
            self._come.extend(self._decoder.feed(data))
        self._owed -= 1
        return self._come.popleft()

    def close(self) -> None:
        """Hang up; the clerk ends."""
        self.gone = True
        self._link.close()

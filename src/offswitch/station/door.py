"""The station's own socket, for people at this machine: `control/station`.

    {"op": "tickets"}                        {"op": "ticket", "ticket": …}
    {"op": "ticket-file", "order": text}     {"op": "ticket-accept" | "ticket-decline", "ticket", "reason"}

Root, the owner and the group that may stop are heard; who they are the kernel says. Which person a
user is the warden knows (`offswitch people add --uid`), and root is root. To accept, which is to
stop, takes a person with the power to answer; to decline at this door only root or the owner, since
being a person's user is no proof that no target sends it (SR-2): others decline on the console.
Made before rights are given away, and renamed into place: a new station takes the name over.
"""  # noqa: E501 - a line of the protocol

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from offswitch.control import frames
from offswitch.control.peer import Peer, peer_of
from offswitch.decide.roles import Power, Role, powers
from offswitch.errors import Internal, OffswitchError, Refused, Usage
from offswitch.station.parts import Parts

__all__ = ["Door", "listen"]

_NAME = "station"
_BACKLOG = 64
_MOST = 32
_PATIENCE_S = 20.0
_CHUNK = 1 << 16

Message = dict[str, Any]


def listen(control: str) -> tuple[socket.socket, int] | None:
    """Listen in the folder `control`; None where that cannot be: then only the console serves.

    Gives the socket, and the group that may speak to it: the one that may stop.
    """
    path = f"{control}/{_NAME}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        gid = os.stat(control).st_gid
        with suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        sock.bind(f"{path}.new")
        os.chown(f"{path}.new", -1, gid)
        os.chmod(f"{path}.new", 0o660)
        sock.listen(_BACKLOG)
        os.rename(f"{path}.new", path)
    except OSError:
        sock.close()
        return None
    return sock, gid


class Door:
    """Hears people at this machine."""

    def __init__(self, sock: socket.socket, gid: int, owner: int, parts: Parts) -> None:
        """Hear them at `sock`; `owner` started us, `gid` is the group that may stop."""
        self._sock = sock
        self._gid = gid
        self._owner = owner
        self._parts = parts
        self._open = 0
        self._ops: Mapping[str, Callable[[Peer, Message], Awaitable[Message]]] = {
            "tickets": self._tickets,
            "ticket": self._ticket,
            "ticket-file": self._file,
            "ticket-accept": self._accept,
            "ticket-decline": self._decline,
        }

    async def run(self) -> None:
        """Hear them, until cancelled."""
        self._sock.setblocking(False)
        server = await asyncio.start_unix_server(self._heard, sock=self._sock, limit=_CHUNK)
        async with server:
            await server.serve_forever()

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST:
                peer = peer_of(writer.get_extra_info("socket"))
                await asyncio.wait_for(self._converse(peer, reader, writer), _PATIENCE_S)
        except (OSError, OffswitchError, TimeoutError):
            pass  # it hung up, was slow, or spoke something else
        finally:
            self._open -= 1
            writer.close()

    async def _converse(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        decoder = frames.Decoder(_CHUNK)
        while data := await reader.read(_CHUNK):
            for message in decoder.feed(data):
                writer.write(frames.encode(await self._answer(peer, message), frames.MAX_ANSWER))
                await writer.drain()

    async def _answer(self, peer: Peer, message: Message) -> Message:
        try:
            return await self._work(peer, message)(peer, message)
        except Refused as error:
            what = f"{str(message.get('op'))[:40]} at the station's door"
            self._parts.refused(f"uid:{peer.uid}", what, "cli", error.message)
            return {"error": error.as_dict()}
        except OffswitchError as error:
            return {"error": error.as_dict()}
        except Exception as error:  # noqa: BLE001 - a request: the next one is answered all the same
            return {"error": Internal(f"a defect of ours: {type(error).__name__}").as_dict()}

    def _work(self, peer: Peer, message: Message) -> Callable[[Peer, Message], Awaitable[Message]]:
        """Find who does what is asked, if it may be asked."""
        work = self._ops.get(str(message.get("op")))
        if work is None:
            raise Usage("the station is not asked that here", f"it knows: {', '.join(self._ops)}")
        if not (self._owns(peer) or self._gid in {peer.gid, *peer.groups}):
            raise Refused(
                f"user {peer.uid} is not of the group that may stop",
                "ask an administrator to add you to it",
            )
        return work

    def _owns(self, peer: Peer) -> bool:
        return peer.uid in {0, self._owner}

    def _who(self, peer: Peer) -> str:
        """Name the person whose user this is, if they may answer; raises `Refused` otherwise."""
        rows = self._parts.confirmers.people
        name = next((str(row["name"]) for row in rows if row.get("uid") == peer.uid), "")
        if not name and self._owns(peer):
            return "person:root" if peer.uid == 0 else f"person:uid-{peer.uid}"
        if not name:
            raise Refused(
                f"nobody knows which person user {peer.uid} is",
                "do it on the console; or root says it: offswitch people add NAME --uid",
            )
        account = self._parts.accounts.get(name)
        roles = set() if account is None else set(account.roles)
        roles |= {Role.SAFETY} if self._parts.confirmers.is_safety(name) else set()
        if Power.ANSWER not in powers(roles) and not self._owns(peer):
            raise Refused(f"{name} may not answer: that takes another role", "ask an operator")
        return f"person:{name}"

    # --- tickets --------------------------------------------------------------------

    async def _tickets(self, _peer: Peer, _message: Message) -> Message:
        return {"tickets": [one.as_dict() for one in self._parts.tickets.all()]}

    async def _ticket(self, _peer: Peer, message: Message) -> Message:
        return self._parts.tickets.get(_text(message, "ticket")).as_dict()

    async def _file(self, peer: Peer, message: Message) -> Message:
        order = _text(message, "order", _CHUNK)
        return (await self._parts.tickets.file(order, "cli", f"uid:{peer.uid}")).as_dict()

    async def _accept(self, peer: Peer, message: Message) -> Message:
        name, reason = _text(message, "ticket"), _text(message, "reason")
        done = await self._parts.tickets.accept(name, self._who(peer), reason, "cli")
        return done.as_dict()

    async def _decline(self, peer: Peer, message: Message) -> Message:
        if not self._owns(peer):
            raise Refused(
                "at this door only root or the owner declines", "others do it on the console"
            )
        name, reason = _text(message, "ticket"), _text(message, "reason")
        done = await self._parts.tickets.decline(name, self._who(peer), reason, "cli")
        return done.as_dict()


def _text(message: Message, key: str, longest: int = 2000) -> str:
    value = message.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise Usage(f"{key}: a text of at most {longest} characters is wanted")
    return value

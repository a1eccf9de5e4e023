"""`python -I -m offswitch.gateway.prober`: asks a gateway's listener what a client would be told.

A helper of the observer's, with its user and no rights, since the observer itself can make no
socket to anybody. Whatever comes back is cut down to one number. Each question ends in half a
second; what is behind a certificate is asked without looking at that: it is our own listener, by
its address.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl
import sys
from contextlib import suppress
from typing import Any

from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.seccomp import forbid
from offswitch.control.shed import complain, shed
from offswitch.errors import OffswitchError

__all__ = ["NOBODY", "main", "probe_at"]

NOBODY = 1
"""Instead of a status: nobody listens there."""
_TIMEOUT_S = 0.5
_AT_ONCE = 64
_HEAD = 64
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound to: whom it means


def main(argv: list[str] | None = None) -> int:
    """Answer on `--link` until whoever asks has gone."""
    parser = argparse.ArgumentParser(prog="offswitch.gateway.prober")
    parser.add_argument("--link", type=int, required=True)
    link = socket.socket(fileno=parser.parse_args(argv).link)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with asyncio.Runner() as runner:
        runner.get_loop()
        user = user_of("observer")
        refused = shed(user, dies_with_parent=True)
        if user is not None:
            refused.append(confine_files())
        refused.append(forbid("any"))
        complain("prober", [each for each in refused if each])
        with suppress(OffswitchError, OSError):  # whoever asks is gone, or talks garbage
            runner.run(_listen(link, context))
    return 0


async def _listen(link: socket.socket, context: ssl.SSLContext) -> None:
    loop, decoder = asyncio.get_running_loop(), frames.Decoder()
    link.setblocking(False)
    room = asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        while data := await loop.sock_recv(link, 1 << 16):
            for message in decoder.feed(data):
                tasks.create_task(_one(link, context, room, message))


async def _one(
    link: socket.socket, context: ssl.SSLContext, room: asyncio.Semaphore, message: dict[str, Any]
) -> None:
    async with room:
        status, why = await probe_at(str(message["at"]), str(message["target"]), context)
    data = frames.encode({"id": message["id"], "status": status, "why": why})
    with suppress(OSError):
        await asyncio.get_running_loop().sock_sendall(link, data)


async def probe_at(at: str, target: str, context: ssl.SSLContext) -> tuple[int, str]:
    """Ask one listener about one target: a status, and why there is none."""
    tls = at.startswith("https://")
    host, _, port = at.removeprefix("https://").removeprefix("http://").rpartition(":")
    host = host.strip("[]")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                _ANY.get(host, host), int(port), ssl=context if tls else None
            )
            try:
                writer.write(
                    b"GET /.offswitch/probe HTTP/1.1\r\nhost: offswitch\r\nconnection: close\r\n"
                    b"x-offswitch-target: %s\r\n\r\n" % target.encode()
                )
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except ConnectionRefusedError:
        return NOBODY, "nobody listens there"
    except TimeoutError:
        return 0, "no answer in time"
    except (OSError, ValueError) as error:
        return 0, f"{type(error).__name__}"[:_HEAD]
    return _status(line)


def _status(line: bytes) -> tuple[int, str]:
    words = line[:_HEAD].split(b" ")
    if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit():
        return int(words[1]), ""
    return 0, "no HTTP"


if __name__ == "__main__":
    sys.exit(main())

"""Asking a warden something: connect, one request, its answers.

`call` is for questions; `Conversation` for those that go on (`run`). An `error` in an
answer is raised here as the error that it was there.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Self

from offswitch.control import frames
from offswitch.control.place import Place
from offswitch.control.way_in import way_in
from offswitch.errors import Timeout, Unreachable, from_kind

__all__ = ["Conversation", "call", "connect"]

Message = dict[str, Any]


def connect(path: str, timeout_s: float) -> socket.socket:
    """Connect to the socket at `path`; `Unreachable` says why it could not be."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(timeout_s)
    try:
        sock.connect(path)
    except PermissionError:
        sock.close()
        closed = os.path.dirname(path)
        raise Unreachable(f"you may not speak to the warden at {path}", way_in(closed)) from None
    except OSError as error:
        sock.close()
        hint = "start one: offswitch up"
        raise Unreachable(f"no warden answers at {path}: {error.strerror}", hint) from None
    return sock


def _checked(answer: Message) -> Message:
    error = answer.get("error")
    if isinstance(error, dict):
        raise from_kind(
            str(error.get("kind")), str(error.get("message", "")), str(error.get("hint", ""))
        )
    return answer


class Conversation:
    """One connection to a warden (or recorder), request after request."""

    __slots__ = ("sock",)

    def __init__(self, path: str, timeout_s: float = 10.0) -> None:
        """Connect to the socket at `path`; each answer may take `timeout_s` seconds."""
        self.sock = connect(path, timeout_s)

    def __enter__(self) -> Self:
        """Use it in a `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send one message; `Unreachable` if the other side is gone."""
        try:
            frames.send(self.sock, message, fds)
        except TimeoutError:
            raise Timeout("the warden took no message in time", "offswitch doctor") from None
        except OSError as error:
            raise Unreachable(f"the warden is gone: {error.strerror}", "offswitch status") from None

    def receive(self) -> Message | None:
        """Give the next answer, or None when the other side has ended; raises its errors."""
        try:
            got = frames.receive(self.sock)
        except TimeoutError:
            raise Timeout("the warden did not answer in time", "offswitch doctor") from None
        except OSError as error:
            raise Unreachable(f"the warden is gone: {error.strerror}", "offswitch status") from None
        return None if got is None else _checked(got[0])

    def ask(self, message: Message, fds: tuple[int, ...] = ()) -> Message:
        """Send `message` and give the answer to it; an end without one is `Unreachable`."""
        self.send(message, fds)
        answer = self.receive()
        if answer is None:
            raise Unreachable("the warden ended without an answer", "offswitch status")
        return answer

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def call(place: Place, message: Message, timeout_s: float = 10.0) -> Message:
    """Ask the warden of `place` one thing."""
    with Conversation(place.warden_socket, timeout_s) as conversation:
        return conversation.ask(message)

"""The agent: it acts some thousand times a second, and every act is a datagram to the witness.

    python3 -I -S agent.py WITNESS KEY [--ignore-signals] [--child] [--setsid] [--double-fork]
                           [--serve PORT] [--use TOKEN PORT PATH] [--remove PATH…]

An act bears the run's key, the actor's name and the actor's own clock (CLOCK_MONOTONIC, ns). Each
option adds what real agents do to outlive a stop. It is a plain program of the standard library, so
that every system can run it unchanged, in a cell, a container, or under a supervisor.

It ends by itself when nobody witnesses it any more, and after two minutes at most: whatever a
system that is measured leaves alive, nothing is left over on the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import time

PAUSE_S = 0.0002
USE_PAUSE_S = 0.001
LONGEST_S = 120.0
CONNECTIONS = 4
"""Of each user of a token: over so many, both workers behind an address get some."""


class Stage:
    """Where acts are seen, and under which key."""

    def __init__(self, witness: str, key: str) -> None:
        self.witness, self.key = witness, key
        self.end = time.monotonic() + LONGEST_S

    def act(self, who: str) -> None:
        """Act for as long as somebody sees it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(self.witness)
            try:
                while time.monotonic() < self.end:
                    sock.send(f"{self.key} {who} {time.monotonic_ns()}".encode())
                    time.sleep(PAUSE_S)
            except OSError:
                os._exit(0)
        os._exit(0)

    def serve(self, port: int) -> None:
        """Stream to whoever asks, as a model server does: an event every quarter millisecond."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
            listener.settimeout(LONGEST_S)
            while time.monotonic() < self.end:
                with contextlib.suppress(OSError):
                    client, _peer = listener.accept()
                    with client:
                        self._stream(client)
        os._exit(0)

    def _stream(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = b""
        while b"\r\n\r\n" not in asked:
            data = client.recv(65536)
            if not data:
                return
            asked += data
        client.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        count = 0
        while time.monotonic() < self.end:
            count += 1
            event = b'data: {"choices":[{"index":0,"delta":{"content":" to~%d"}}]}\n\n' % count
            client.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(PAUSE_S)

    def use(self, token: str, port: int, path: str) -> None:
        """Use a token again and again; the worker that accepts it tells the witness."""
        request = (
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n"
        ).encode()
        open_: list[socket.socket] = []
        while time.monotonic() < self.end and os.path.exists(self.witness):
            while len(open_) < CONNECTIONS:
                with contextlib.suppress(OSError):
                    open_.append(socket.create_connection(("127.0.0.1", port), 2))
                    continue
                time.sleep(0.005)
                break
            for sock in list(open_):
                if not _asked(sock, request):
                    open_.remove(sock)
                    sock.close()
                time.sleep(USE_PAUSE_S)
        os._exit(0)


def _asked(sock: socket.socket, request: bytes) -> bool:
    """Make one request; say whether the connection may be used again."""
    try:
        sock.sendall(request)
        answer = sock.recv(65536)
    except OSError:
        return False
    if not answer.startswith(b"HTTP/1.1 200"):
        time.sleep(0.002)
        return False
    return True


def remove(paths: list[str]) -> None:
    """Do away with what a stop would need: delete it, move it, empty it, forbid it."""
    for path in paths:
        for attempt in (
            lambda: os.unlink(path),  # noqa: B023 - called at once
            lambda: shutil.rmtree(path),  # noqa: B023
            lambda: os.rename(path, path + ".gone"),  # noqa: B023
            lambda: os.truncate(path, 0),  # noqa: B023
            lambda: os.chmod(path, 0),  # noqa: B023
        ):
            with contextlib.suppress(OSError):
                attempt()
    print(
        "removed", ",".join(path for path in paths if not os.path.exists(path)) or "-", flush=True
    )


def born(*, new_session: bool) -> bool:
    """Fork; true in the child."""
    if os.fork():
        return False
    if new_session:
        os.setsid()
    return True


def main(words: list[str]) -> None:
    """Do what the options say, then act."""
    stage = Stage(words[0], words[1])
    given: dict[str, list[str]] = {}
    for word in words[2:]:
        if word.startswith("--"):
            given[word] = []
        else:
            given[list(given)[-1]].append(word)
    if "--remove" in given:
        remove(given["--remove"])
    if "--ignore-signals" in given:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
    if "--child" in given and born(new_session=False):
        stage.act("child")
    if "--setsid" in given and born(new_session=True):
        stage.act("setsid")
    if "--double-fork" in given:
        pid = os.fork()
        if pid == 0:
            if born(new_session=True):
                stage.act("daemon")
            os._exit(0)
        os.waitpid(pid, 0)
    if "--serve" in given:
        stage.serve(int(given["--serve"][0]))
    elif "--use" in given:
        token, port, path = given["--use"]
        stage.use(token, int(port), path)
    else:
        stage.act("agent")


if __name__ == "__main__":
    main(sys.argv[1:])

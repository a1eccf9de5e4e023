"""Hostile and broken peers on the control socket: the warden goes on, and obeys nothing of it."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from installation import Installation, until
from offswitch import errors
from offswitch.control.frames import MAX_FRAME
from offswitch.errors import OffswitchError
from offswitch.warden.door.ops import Operations
from raw import Raw, cpu_s, frame, open_fds

GARBAGE = {
    "an oversized frame": struct.pack(">I", MAX_FRAME + 1) + b"x" * 4096,
    "the largest length": b"\xff\xff\xff\xff",
    "another protocol": b"POST /stop HTTP/1.1\r\n\r\n",
    "an empty frame": frame(b""),
    "no JSON": frame(b"stop everything"),
    "no UTF-8": frame(b'{"op":"\xff"}'),
    "no object": frame(b"[1,2]"),
    "half an object": frame(b'{"op":"stop","scopes":["/"]'),
    "an abyss": frame(b"[" * 200_000),
    "an endless number": frame(b'{"op":' + b"9" * 5000 + b"}"),
}
KINDS = {cls.kind for cls in OffswitchError.__subclasses__() if cls.__module__ == errors.__name__}


@pytest.fixture(scope="module")
def warden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One warden for all of it: what one peer does to it, the next must not feel."""
    one = Installation(tmp_path_factory.mktemp("messages"), gid=4200)
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture(autouse=True)
def _serves_on(warden: Installation) -> Iterator[None]:
    """After each test the same warden answers, nothing is latched, and it met no defect."""
    before = warden.ask({"op": "ping"})["pid"]
    yield
    assert warden.ask({"op": "ping"})["pid"] == before
    assert warden.status()["latched"] == []
    assert "Traceback" not in warden.said()


def refused_messages(warden: Installation) -> list[str]:
    return [
        str(entry["why"])
        for entry in warden.entries()
        if entry["kind"] == "refused" and entry["what"] == "message"
    ]


def test_garbage_ends_its_connection_and_is_recorded(warden: Installation) -> None:
    for garbage in GARBAGE.values():
        with Raw(warden) as peer:
            peer.send(garbage)
            answer = peer.answer()
            assert answer is not None
            assert answer["error"]["kind"] == "usage"
            assert peer.answer() is None, "hung up on"
    until(lambda: len(refused_messages(warden)) >= len(GARBAGE), "each is an entry")


def test_a_message_that_breaks_off_is_not_obeyed_and_recorded(warden: Installation) -> None:
    before = len(refused_messages(warden))
    data = frame(warden.stop_message("/"))
    cuts = [1, 3, 4, 5, len(data) // 2, len(data) - 1]
    for cut in cuts:
        with Raw(warden) as peer:
            assert peer.send(data[:cut]).end().answer() is None
    until(lambda: len(refused_messages(warden)) >= before + len(cuts), "each is an entry")


def test_a_stop_before_garbage_is_obeyed_and_the_garbage_is_not(warden: Installation) -> None:
    for garbage in GARBAGE.values():
        with Raw(warden) as peer:
            peer.send(frame(warden.stop_message("nobody")) + garbage)
            answer = peer.answer()
            assert answer is not None
            assert answer["accepted"] is True
    assert [live["scope"] for live in warden.status()["latched"]] == ["nobody"]
    assert warden.reset("nobody")["state"] == "done"


def test_a_stop_that_drips_in_byte_by_byte_is_obeyed(warden: Installation) -> None:
    with Raw(warden) as peer:
        for byte in frame(warden.stop_message("nobody")):
            peer.send(bytes([byte]))
        answer = peer.answer()
        assert answer is not None
        assert answer["accepted"] is True
    warden.reset("nobody")


HOSTILE = [
    None, True, 0, -1, 1, 2**70, 1.5, "", "x", "\ud800", "/", "../x", "a" * 300, "\x1b[2J", [],
    [[]], [None], ["\ud800"], [{}], {}, {"a": None}, {"": []}, ["a"] * 300, [1, "a"],
]  # fmt: skip
FIELDS = (
    "target", "argv", "cwd", "env", "user", "tty", "raw", "detached", "scope", "reason", "nonce",
    "time_us", "secret", "proofs", "digest", "signals", "auto", "untracked", "targets", "signal",
    "name", "wait", "level", "channel", "by",
)  # fmt: skip


def operations() -> list[str]:
    names = [name.removeprefix("_op_") for name in dir(Operations) if name.startswith("_op_")]
    assert len(names) >= 10
    return sorted(name.replace("_", "-") for name in names)


@pytest.mark.parametrize("operation", [*operations(), "nonsense", "__init__", "", None, 7])
def test_no_message_meets_a_defect(
    warden: Installation, rng: random.Random, operation: object
) -> None:
    """Whatever stands in its fields, a message is obeyed or refused in words, never `internal`."""
    scopes = {"scopes": ["nobody/here"]} if operation == "stop" else {}
    with contextlib.ExitStack() as stack:
        for number in range(2 if operation == "handover" else 40):  # each one renews the warden
            fields = {name: rng.choice(HOSTILE) for name in FIELDS if rng.random() < 0.7}
            if operation == "reset" and number % 2:
                fields.update(scope="nobody/here", reason=rng.choice(["why", "\ud800"]))
            if operation == "declare" and number % 2:
                item = {"name": "a", **{name: rng.choice(HOSTILE) for name in ("labels", "kind",
                        "stop", "limits_s", "limits", "env", "cwd", "user")}}  # fmt: skip
                fields["targets"] = [item]
            peer = stack.enter_context(Raw(warden))
            fds = [0] * rng.choice([0, 0, 1, 3, 8])
            answer = peer.say({**fields, "op": operation, **scopes}, fds).answer()
            assert answer is not None
            if "error" in answer:
                assert answer["error"]["kind"] in KINDS - {"internal"}, (fields, answer)
    status = warden.status()
    assert all(row["state"] for row in status["targets"])
    if status["latched"]:
        warden.reset("nobody/here")
    warden.ask({"op": "report", "signals": {}, "auto": [], "untracked": []})


def test_a_stop_is_obeyed_whatever_surrounds_its_scopes(
    warden: Installation, rng: random.Random
) -> None:
    names = ("reason", "nonce", "time_us", "channel", "by", "wait", "x")
    for _ in range(60):
        fields = {name: rng.choice(HOSTILE) for name in names}
        with Raw(warden) as peer:
            answer = peer.say({**fields, "op": "stop", "scopes": ["nobody"]}).answer()
            assert answer is not None
            assert answer.get("accepted") is True, (fields, answer)
    warden.reset("nobody")


def test_a_plan_that_is_none_delays_no_stop(warden: Installation, rng: random.Random) -> None:
    """A garbled declaration of one target must not save another from the same stop."""
    for _ in range(8):
        junk = {name: rng.choice(HOSTILE) for name in ("stop", "limits_s", "limits", "on_blind")}
        junk["limits_s"] = rng.choice([{"freeze": "x"}, {"freeze": -1}, {"drain": None}, 7])
        with Raw(warden) as peer:
            peer.say({"op": "declare", "targets": [{"name": "shop/a", **junk}]})
            assert peer.answer() == {"ok": True, "targets": 1}
        runs = [warden.run("sleep", "1000", target=f"shop/{name}") for name in "ab"]
        for level in ("drain", "freeze", "kill"):
            answer = warden.stop("shop", level=level)
        states = {row["target"]: row["state"] for row in answer["targets"]}
        assert states["shop/a"] == states["shop/b"] == "stopped"
        for running in runs:
            running.close()
        assert warden.reset("shop")["state"] == "done"
    warden.ask({"op": "declare", "targets": [{"name": "shop/a"}]})


# --- what hangs others up ---------------------------------------------------------------


@pytest.fixture
def lingering() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give a TCP connection whose last `close` waits for a minute, and its peer, that is deaf."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        peer, _address = server.accept()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)
    yield sock, peer
    peer.close()


@pytest.mark.parametrize("how", ["asked", "garbled", "unfinished", "too many", "with a run"])
def test_a_descriptor_whose_close_waits_holds_nobody_up(
    warden: Installation, lingering: tuple[socket.socket, socket.socket], how: str
) -> None:
    """Seen: a lingering socket handed in with a ping kept the warden from its loop for a minute."""
    run = {"op": "run", "argv": ["/no/such/program"], "cwd": "/", "env": {}}
    data = {
        "asked": frame({"op": "ping"}),
        "garbled": frame(b"xyz"),
        "unfinished": frame({"op": "ping"}),
        "too many": frame({"op": "ping"}),
        "with a run": frame(run),
    }[how]
    count = {"too many": 200, "with a run": 3}.get(how, 1)
    with Raw(warden) as peer:
        peer.send(data[:-1], [lingering[0].fileno()] * count)
        # Now the warden's copy is the last one; or was, then it is our own close that waits.
        closer = threading.Thread(target=lingering[0].close)
        closer.start()
        closer.join(0.2)
        if how in {"asked", "garbled", "with a run"}:
            assert peer.send(data[-1:]).answer()
    began = time.monotonic()
    for _ in range(20):
        assert warden.ask({"op": "ping"})["pong"]
    assert time.monotonic() - began < 10, "it waited for a stranger's connection"


def test_descriptors_that_nobody_wants_do_not_pile_up(warden: Installation) -> None:
    pid = warden.ask({"op": "ping"})["pid"]
    before = open_fds(pid)
    with Raw(warden) as peer:
        for _ in range(50):
            assert peer.say({"op": "ping"}, [0] * 8).answer()
        until(lambda: open_fds(pid) <= before + 2, "they are closed while the peer stays")
    for count in (9, 100, 253):
        with Raw(warden) as peer:
            assert peer.say({"op": "ping"}, [0] * count).answer() is None
    until(lambda: open_fds(pid) <= before, "all are closed")


def test_a_peer_that_asks_for_much_at_once_and_never_listens_holds_nobody_up(
    warden: Installation,
) -> None:
    """Thousands of questions in one packet: the lease is renewed and others are served."""
    flood = frame({"op": "status"}) * 3000
    peers = [Raw(warden) for _ in range(4)]
    for peer in peers:
        peer.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            peer.sock.send(flood)
    for _ in range(10):
        answer = warden.stop("nobody")
        assert answer["exit"] == 4
    for peer in peers:
        peer.close()
    assert not any("keeper acted" in str(e.get("what")) for e in warden.entries()), (
        "the lease ran out meanwhile"
    )
    warden.reset("nobody")


def test_an_answer_of_megabytes_arrives(warden: Installation) -> None:
    """A fleet's status is longer than any question may be."""
    names = [f"fleet/host-{number:04}/{'x' * 100}" for number in range(3000)]
    for at in range(0, len(names), 1000):
        declared = [{"name": name} for name in names[at : at + 1000]]
        warden.ask({"op": "declare", "targets": declared})
    status = warden.status("fleet")
    assert len(json.dumps(status)) > MAX_FRAME
    assert len(status["targets"]) == len(names)


FLOOD = r"""
import os, socket, sys
path, uid, gid, wanted = sys.argv[1], *map(int, sys.argv[2:5])
os.setgroups([gid]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
held = []
for _ in range(wanted):
    s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(path); held.append(s)
alive = 0
for s in held:
    try:
        s.sendall(b"\0\0\0\x0d" + b'{"op":"ping"}')
        alive += bool(s.recv(1))
    except OSError:
        pass
print(alive, flush=True)
sys.stdin.read()
"""


def test_one_user_holds_so_many_connections_and_no_more(warden: Installation) -> None:
    argv = [sys.executable, "-I", "-c", FLOOD, warden.place.warden_socket, "4242", "4200", "600"]
    flood = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert flood.stdout is not None
        alive = int(flood.stdout.readline())
        assert 8 <= alive <= 256
        answer = warden.stop("nobody")
        assert answer["exit"] == 4
        warden.reset("nobody")
    finally:
        flood.communicate()


def test_without_descriptors_the_warden_turns_callers_away_and_does_not_spin(
    warden: Installation,
) -> None:
    """EMFILE leaves a caller in the queue: a loop that is woken by it for ever stops nobody."""
    pid = warden.ask({"op": "ping"})["pid"]
    running = warden.run("sleep", "1000", target="a")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_fds(pid) + 8, before[1]))
    peers = []
    try:
        peers.extend(Raw(warden) for _ in range(40))
        turned_away = 0
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.say({"op": "ping"})
            turned_away += peer.answer() is None
        assert 20 <= turned_away < 40
        used = cpu_s(pid)
        time.sleep(0.4)
        assert cpu_s(pid) - used < 0.2, "it spins"
        stop = frame(warden.stop_message("a"))
        answer = next(peer for peer in peers[:5]).send(stop).answer()
        assert answer is not None
        assert answer["accepted"] is True
        assert running.event("exited")["signal"] == 9
    finally:
        for peer in peers:
            peer.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    until(lambda: warden.target("a")["confirmed"], "seen to stand still")
    assert warden.reset("a")["state"] == "done"


def test_nothing_of_all_this_stays_open(warden: Installation) -> None:
    pid = warden.ask({"op": "ping"})["pid"]
    until(lambda: open_fds(pid) < 60, "few are open")

"""Fuzzing the sockets of warden, keeper and recorder: they serve on, and obey nothing of it.

One warden, one latched target and one that runs. Who speaks is a member of the group that may
stop, so that rights would be seen to widen.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import JSON, JUNK, broken, budget
from installation import Installation
from offswitch import errors
from offswitch.errors import OffswitchError
from offswitch.warden.door.ops import Operations
from raw import Raw, frame

OPERATIONS = sorted(name[4:] for name in dir(Operations) if name.startswith("_op_"))
FIELDS = {
    "stop": ("scopes", "level", "reason", "nonce", "time_us", "channel", "wait", "by"),
    "reset": ("scope", "reason", "nonce", "time_us", "secret", "proofs", "digest"),
    "run": ("target", "argv", "cwd", "env", "user", "tty", "raw", "detached"),
    "report": ("signals", "part", "of", "auto", "blind", "alarms", "notes", "untracked"),
}
KINDS = {cls.kind for cls in OffswitchError.__subclasses__() if cls.__module__ == errors.__name__}
STOP = frame({"op": "stop", "scopes": ["fuzz/none"], "level": "restrict"})
HARMLESS_SCOPES = st.lists(st.sampled_from(["fuzz/none", "fuzz/a"]) | st.text(max_size=5))


@pytest.fixture(scope="module")
def warden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One warden for all examples, with something latched that nothing may clear."""
    one = Installation(tmp_path_factory.mktemp("fuzz"), gid=4200)
    try:
        one.start()
        one.stop("kept/latched")
        yield one
    finally:
        one.close()


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Give a message of any operation, with fields that it knows and values that it does not."""
    operation = draw(st.sampled_from(OPERATIONS) | st.text(max_size=10))
    known = FIELDS.get(operation, ("name", "scope", "targets", "signal"))
    fields = draw(st.dictionaries(st.sampled_from(known) | st.text(max_size=5), JSON, max_size=6))
    if operation == "stop" and draw(st.booleans()):
        fields["scopes"] = draw(HARMLESS_SCOPES)
    if operation == "run" and draw(st.booleans()):
        fields |= {"argv": ["/nonexistent"], "cwd": "/", "env": {}}
    return {**fields, "op": operation}


def survives(warden: Installation, answer: dict[str, Any] | None) -> None:
    """Check that the same warden serves, and that nothing was cleared, started or broken."""
    if answer is not None and "error" in answer:
        assert answer["error"]["kind"] in KINDS, answer
        assert "defect" not in answer["error"]["message"], answer
    assert warden.warden is not None
    assert warden.ask({"op": "ping"})["pid"] == warden.warden.pid
    standing = warden.status()
    assert "kept/latched" in {stop["scope"] for stop in standing["latched"]}
    assert not [row for row in standing["targets"] if row["state"] == "running"]


def as_member(warden: Installation, path: str, data: bytes, fds: int) -> dict[str, Any] | None:
    """Speak as a member of the group, in a process of its own; give the first answer."""
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([4200])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            null = [os.open(os.devnull, os.O_RDWR) for _ in range(fds)]
            answer = None
            with contextlib.suppress(PermissionError):  # the kernel refuses descriptors there
                answer = Raw(warden, path, timeout_s=30).send(data, null).end().answer()
            theirs.send(b"none" if answer is None else frame(answer)[:60000])
        os._exit(0)
    theirs.close()
    with mine:
        told = mine.recv(1 << 16)
    os.waitpid(pid, 0)
    assert told, "the peer was hung up on or answered, and did not wait for ever"
    with contextlib.suppress(ValueError):
        return dict(json.loads(told[4:]))
    return None


@budget(1200)
@given(JUNK | broken(STOP), st.integers(0, 10))
@example(b"\xff\xff\xff\xff", 8)
@example(frame(b"[" * 100_000), 0)
@example(struct.pack(">I", 3) + b"{}", 253)
def test_SR_11_bytes_on_the_control_socket(warden: Installation, data: bytes, fds: int) -> None:
    survives(warden, as_member(warden, warden.place.warden_socket, data, fds))


@budget(1600)
@given(messages(), st.integers(0, 8))
@example({"op": "run", "argv": ["x"], "cwd": "/", "env": {}, "user": "root"}, 3)
@example({"op": "stop", "scopes": ["a"], "time_us": 10**400}, 0)
@example({"op": "signal", "signal": True}, 0)
def test_SEC_3_messages_of_every_operation_and_no_shape(
    warden: Installation, message: dict[str, Any], fds: int
) -> None:
    answer = as_member(warden, warden.place.warden_socket, frame(message), fds)
    if message["op"] in {"declare", "report", "handover"}:
        assert answer is not None
        assert "error" in answer, "the group does not rule"
    if message["op"] == "reset":
        assert answer is None or not answer.get("cleared"), answer
    survives(warden, answer)


@budget(800)
@given(JUNK | broken(STOP) | messages().map(frame), st.integers(0, 8))
@example(STOP, 253)
def test_SR_22_bytes_on_the_keepers_socket(warden: Installation, data: bytes, fds: int) -> None:
    before = warden.pids()["keeper"]
    survives(warden, as_member(warden, warden.place.keeper_socket, data, fds))
    assert warden.pids()["keeper"] == before


@budget(600)
@given(JUNK | st.fixed_dictionaries({"op": st.just("record"), "entries": JSON}).map(frame))
@example(frame({"op": "record", "entries": [{"public": {"kind": "reset"}, "sealed": 1}]}))
def test_REC_1_bytes_on_the_recorders_socket(warden: Installation, data: bytes) -> None:
    before = warden.pids()["recorder"]
    with Raw(warden, warden.place.recorder_socket, timeout_s=30) as peer:
        answer = peer.send(data).end().answer()
    survives(warden, answer)
    assert warden.pids()["recorder"] == before

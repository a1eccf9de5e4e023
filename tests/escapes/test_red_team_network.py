"""The red team's hour, on the network: sockets that hide, that are many, that are another's."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import threading

import pytest

from hostile import hostile
from installation import Installation, until
from offswitch.actuators.sock_diag import MANY, Diag, Sock
from offswitch.warden.observer.looks import NetworkLook
from readers import drained
from scale import LONG
from stage import Actor, Stage

MPTCP = 262
FLOOD = 150_000 if LONG else 18_000


def slow_listener() -> socket.socket:
    """Listen for TCP, and for MPTCP where the kernel has it."""
    try:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
    except OSError:
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_SR_8_a_trip_destroys_so_many_sockets_and_then_lets_others_have_their_turn(
    stage: Stage,
) -> None:
    """It won: the warden's loop stood still until all were destroyed, 2.3 s for 90,000."""
    actor = stage.play("socket_flood", str(FLOOD))
    until(lambda: len(sockets_of(actor)) >= FLOOD, "its sockets are open", 60)
    assert stage.sockets.left(actor.cell) is True
    assert len(sockets_of(actor)) > FLOOD // 2, "one trip is bounded"
    with Diag() as diag:  # and who only looks whether there is any reads no list of thousands
        assert len(diag.sockets_of(actor.cell.cgroup_id or 0, most=3)) == 3
        assert len(diag.sockets_of(actor.cell.cgroup_id or 0, most=3)) == 3, "ask again at once"
    actor.cell.kill()
    until(lambda: stage.sockets.left(actor.cell) is False, "trip after trip, none is left", 60)
    assert stage.stop(actor) == {"process": True, "network": True, "sweep": True}


def sockets_of(actor: Actor) -> list[Sock]:
    with Diag() as diag:
        return diag.sockets_of(actor.cell.cgroup_id or 0)


def test_SR_8_a_frozen_cell_with_too_many_sockets_is_not_called_still(stage: Stage) -> None:
    """What is not looked at is not seen: the list is cut, and that is no standstill."""
    actor = stage.play("socket_flood", str(MANY + 100))
    until(lambda: len(sockets_of(actor)) >= MANY + 100, "its sockets are open", 60)
    for step in stage.freeze_steps:
        step.trip(actor.cell)
    look = NetworkLook(actor.cell.facts(), "freeze")
    seen = [look.once() for _ in range(3)]
    assert [each.stands for each in seen] == [False] * 3
    assert "too many" in seen[-1].detail


def test_SR_11_a_cell_full_of_sockets_holds_up_nobody_elses_stop(
    installation: Installation,
) -> None:
    with hostile(installation, "socket_flood", str(FLOOD)) as flood:
        with hostile(installation, "idle") as other:
            installation.press("hostile")
            seen = f"{other.name} is seen to stand still, whatever the other one has open"
            until(lambda: installation.target(other.name)["state"] == "stopped", seen)
            other.assert_dead()
        until(lambda: installation.target(flood.name)["state"] == "stopped", "it is over", 60)
        flood.assert_dead()
        installation.reset("hostile")
    assert not [entry for entry in installation.entries() if entry["kind"] == "gap"]


def test_SR_8_sockets_in_flight_in_a_queue_that_nobody_reads_are_destroyed(
    installation: Installation,
) -> None:
    """Held by no process: sent to one outside that never takes them. TCP, and MPTCP if any."""
    server = slow_listener()
    outside = socket.socket(socket.AF_UNIX)
    path = f"{installation.run_folder}-outside"
    outside.bind(path)
    os.chmod(path, 0o666)
    outside.listen()
    port = str(server.getsockname()[1])
    with hostile(installation, "in_flight", port, path) as target:
        holder, _address = outside.accept()
        readers = [server.accept()[0]]
        server.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            readers.append(server.accept()[0])
        target.stop()
        for number, reader in enumerate(readers):
            received, how = drained(reader)
            assert received < 1 << 18, "what lay in the reader's own buffer, and no more"
            # An MPTCP reader waits for another path to its peer, which never comes.
            assert how == "reset" if number == 0 else how in {"reset", "silence"}
            reader.close()
        target.assert_dead()
        holder.close()
    server.close()
    outside.close()
    os.unlink(path)


def test_SR_8_what_was_written_to_anothers_socket_is_beyond_this_stop(
    installation: Installation,
) -> None:
    """Residual: a socket is counted as its maker's. A lender's bytes go out until it is stopped.

    Here the lender is this test, outside of every cell; in a cell it would be a target of its
    own, whose stop destroys it.
    """
    server = slow_listener()
    path = f"{installation.run_folder}-lender"
    lender = socket.socket(socket.AF_UNIX)
    lender.bind(path)
    os.chmod(path, 0o666)
    lender.listen()
    lent = socket.socket()
    lent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    lent.connect(server.getsockname())
    reader, _address = server.accept()
    lending = threading.Thread(target=lend, args=(lender, lent))
    lending.start()
    with hostile(installation, "borrower", path) as target:
        lending.join()
        before = target.acts
        until(lambda: target.acts > before + 20, "its buffers are full")
        target.stop()
        lent.close()
        received, how = drained(reader)
        assert received > 1 << 18, "it won: what it had queued arrives"
        assert how == "end"
        target.assert_dead()
    for each in (server, lender, reader):
        each.close()
    os.unlink(path)


def lend(lender: socket.socket, lent: socket.socket) -> None:
    borrower, _address = lender.accept()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lent.fileno()]))
    borrower.sendmsg([b"x"], [rights])
    borrower.close()


def test_SR_8_two_targets_that_conspire_fall_with_the_lender(installation: Installation) -> None:
    """A cell lends the socket, another one fills it: stopping the lender ends its bytes."""
    server = slow_listener()
    path = f"{installation.run_folder}-two"
    port = str(server.getsockname()[1])
    with hostile(installation, "lender", port, path) as maker:
        reader, _address = server.accept()
        with hostile(installation, "borrower", path) as target:
            before = target.acts
            until(lambda: target.acts > before + 20, "its buffers are full")
            maker.stop()
            received, how = drained(reader)
            assert received < 1 << 18
            assert how == "reset"
            target.stop()
            target.assert_dead()
        maker.assert_dead()
    server.close()
    reader.close()
    os.unlink(path)


def test_SR_8_what_was_given_away_says_nothing_more(installation: Installation) -> None:
    """A datagram socket, and a listener with a connection waiting, in the hands of an outsider."""
    path = f"{installation.run_folder}-given"
    outside = socket.socket(socket.AF_UNIX)
    outside.bind(path)
    os.chmod(path, 0o666)
    outside.listen()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(0.2)
    with hostile(installation, "giver", path) as target:
        holder, _address = outside.accept()
        _data, ancillary, _flags, _from = holder.recvmsg(1, 64)
        datagrams, listener = (
            socket.socket(fileno=fd) for fd in array.array("i", ancillary[0][2][:8])
        )
        client = socket.create_connection(listener.getsockname())
        datagrams.sendto(b"before", receiver.getsockname())
        assert receiver.recv(16) == b"before"
        target.stop()
        with contextlib.suppress(OSError):
            datagrams.sendto(b"after", receiver.getsockname())
        with contextlib.suppress(OSError):
            listener.settimeout(0.2)
            accepted, _peer = listener.accept()
            accepted.send(b"after")
        client.settimeout(0.2)
        with contextlib.suppress(OSError):
            assert client.recv(16) == b""
        with pytest.raises(TimeoutError):
            receiver.recv(16)
        target.assert_dead()
    for each in (outside, receiver, holder, datagrams, listener, client):
        each.close()
    os.unlink(path)

"""The feed: who follows hears of what changed, soon, and costs a stop nothing."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from following import Following
from installation import PYTHON, Installation, until
from offswitch.control import frames
from offswitch.control.client import Conversation, connect
from offswitch.control.ids import STATION, WATCH
from offswitch.errors import Busy
from offswitch.warden.door.shown import Shown

root = pytest.mark.usefixtures("as_root")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path).start()
    yield installation
    installation.close()


def declared(one: Installation, count: int) -> list[str]:
    names = [f"shop/t{number:04}" for number in range(count)]
    one.ask({"op": "declare", "targets": [{"name": name} for name in names]})
    return names


def test_who_follows_gets_everything_and_then_what_has_changed(one: Installation) -> None:
    names = declared(one, 250)
    with Following(one.place) as feed:
        feed.whole()
        assert sorted(feed.targets) == names
        assert [frame["event"] for frame in feed.frames].count("picture") == 1, "the first begins"
        assert all(len(json.dumps(frame)) < frames.MAX_FRAME for frame in feed.frames)
        warden = feed.said["warden"]
        assert warden["run"] == one.run_folder
        assert warden["mode"] == "act"
        assert feed.said["alarms"] == []
        assert feed.said["processes"] == {"keeper": True, "observer": True, "recorder": True} | (
            {"sweeper": True} if "sweeper" in feed.said["processes"] else {}
        )
        assert not feed.stops
        del feed.frames[:]
        order = one.press("shop/t0007")["order"]
        feed.until(lambda it: it.targets["shop/t0007"]["stops"] == [order])
        changed = {row["target"] for frame in feed.frames for row in frame.get("targets", ())}
        assert changed == {"shop/t0007"}, "what has not changed is not told again"
        feed.until(lambda it: it.stops.get(order, {}).get("durable") is True)
        one.reset("shop/t0007")
        feed.until(lambda it: not it.stops and it.targets["shop/t0007"]["level"] is None)


def test_a_row_says_what_status_says(one: Installation) -> None:
    with closing(one.run(PYTHON, "-c", "import time; time.sleep(60)", target="shop/a")):
        one.ask(
            {
                "op": "report",
                "part": 0,
                "of": 1,
                "signals": {"shop/a": {"logs": {"age_ms": 5, "stale": True}}},
                "alarms": [{"rule": "r", "scope": "shop", "act": "advise", "harm": "h"}],
                "untracked": [{"pid": 1, "name": "x", "since": 0}],
            }
        )
        with Following(one.place) as feed:
            feed.until(lambda it: it.whole().targets["shop/a"]["stale"] == ["logs"])
            row, said = feed.targets["shop/a"], one.target("shop/a")
            same = row.keys() & said.keys() - {"signals"}
            assert {key: row[key] for key in same} == {key: said[key] for key in same}
            assert row["signals"] == ["logs"]
            assert feed.said["alarms"] == one.status()["alarms"]
            assert feed.said["untracked"] == one.status()["untracked"]
            one.stop("shop")
            feed.until(lambda it: it.targets["shop/a"]["state"] == "stopped")
            row, said = feed.targets["shop/a"], one.target("shop/a")
            assert {key: row[key] for key in same} == {key: said[key] for key in same}
            assert row["confirmed"] is True
            assert all(row["layers"].values())


def test_a_change_is_told_within_milliseconds_and_silence_beats(one: Installation) -> None:
    declared(one, 3)
    with Following(one.place) as feed:
        feed.whole()
        began = time.monotonic()
        feed.until(lambda it: it.frames[-1]["event"] == "beat")
        assert time.monotonic() - began < 1.0
        took = []
        for _ in range(5):
            began = time.monotonic()
            order = one.press("shop/t0001")["order"]
            feed.until(lambda it, order=order: order in it.stops)
            took.append(time.monotonic() - began)
            one.reset("shop/t0001")
            feed.until(lambda it: not it.stops)
        assert min(took) < 0.05


def test_what_is_blind_or_stale_is_told(one: Installation) -> None:
    declared(one, 2)
    signals = {"shop/t0000": {"logs": {"age_ms": 1, "stale": False}}}
    report = {"op": "report", "part": 0, "of": 1, "signals": signals}
    with Following(one.place) as feed:
        feed.whole()
        one.ask(report)
        feed.until(lambda it: it.targets["shop/t0000"]["signals"] == ["logs"])
        assert feed.targets["shop/t0000"]["stale"] == []
        one.ask({**report, "blind": ["shop/t0001"]})
        feed.until(lambda it: it.targets["shop/t0001"]["blind"])
        signals["shop/t0000"]["logs"]["stale"] = True
        one.ask(report)
        feed.until(lambda it: it.targets["shop/t0000"]["stale"] == ["logs"])


@root
def test_SR_4_the_station_follows_and_no_other_of_ours(one: Installation) -> None:
    os.chmod(one.run_folder, 0o755)
    os.chmod(one.place.control, 0o777)
    os.chmod(one.place.warden_socket, 0o666)
    for uid, allowed in ((STATION, True), (WATCH, False), (4242, False)):
        sock = _connected_as(uid, one.place.warden_socket)
        with Following(one.place, sock) as feed:
            first = feed.next()
            assert (first.get("event") == "picture") is allowed
            assert allowed or first["error"]["kind"] == "refused"


def _connected_as(uid: int, path: str) -> socket.socket:
    """Have a process of another user connect: the kernel says who connected."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.setresgid(uid, uid, uid)
        os.setgroups([])
        os.setresuid(uid, uid, uid)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        socket.send_fds(theirs, [b"x"], [sock.fileno()])
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    _data, fds, _flags, _address = socket.recv_fds(ours, 1, 1)
    return _Held(fds[0], ours, pid)


class _Held(socket.socket):
    """A socket whose peer stays alive as long as it does: the warden looks at who it is."""

    def __init__(self, fd: int, keeps: socket.socket, pid: int) -> None:
        super().__init__(fileno=fd)
        self.settimeout(10)
        self._keeps, self._pid = keeps, pid

    def close(self) -> None:
        if self.fileno() >= 0:
            super().close()
            self._keeps.close()
            os.waitpid(self._pid, 0)


def test_SR_6_a_cell_may_not_follow(one: Installation) -> None:
    program = (
        "import socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "try:\n sock.connect(sys.argv[1])\n"
        "except OSError as error:\n sys.exit(print('refused', error, flush=True))\n"
        'body = b\'{"op":"follow"}\'\n'
        "sock.sendall(len(body).to_bytes(4, 'big') + body)\n"
        "print(sock.recv(65536).decode(errors='replace'), flush=True)\n"
    )
    running = one.run(PYTHON, "-c", program, one.place.warden_socket, target="a", user="root")
    assert "refused" in running.line()


def test_SEC_4_who_does_not_read_is_hung_up_on_and_slows_nobody(one: Installation) -> None:
    names = declared(one, 1500)
    with closing(connect(one.place.warden_socket, 10.0)) as deaf, Following(one.place) as feed:
        frames.send(deaf, {"op": "follow"})
        feed.whole()
        assert sorted(feed.targets) == names
        began = time.monotonic()
        one.press("shop")
        assert time.monotonic() - began < 1.0
        feed.until(lambda it: all(row["level"] for row in it.targets.values()))
        until(lambda: _ended(deaf), "the one that does not read is hung up on", 10)
        assert one.ask({"op": "ping"})["pong"]
        feed.until(lambda it: it.frames[-1]["event"] == "beat")


def _ended(sock: socket.socket) -> bool:
    """Read no byte, and tell whether the other side has hung up."""
    import select  # noqa: PLC0415 - one look

    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def test_SEC_4_only_so_many_follow(one: Installation) -> None:
    declared(one, 1)
    with Conversation(one.place.warden_socket) as conversation:
        conversation.send({"op": "follow"})
        others = [Following(one.place) for _ in range(31)]
        for each in others:
            each.whole()
        with pytest.raises(Busy):
            one.ask({"op": "follow"})
        for each in others:
            each.sock.close()
        until(lambda: _there_is_room(one), "there is room again")


def _there_is_room(one: Installation) -> bool:
    with Following(one.place) as feed:
        return feed.next().get("event") == "picture"


@root
def test_SR_23_who_follows_goes_on_after_a_hand_over(one: Installation) -> None:
    declared(one, 3)
    with Following(one.place) as feed:
        epoch = feed.whole().said["warden"]["epoch"]
        one.ask({"op": "handover"})
        feed.until(lambda it: it.said["warden"]["epoch"] != epoch, 20)
        order = one.press("shop/t0002")["order"]
        feed.until(lambda it: order in it.stops)


def test_a_frame_holds_what_changed_since_a_cursor_and_nothing_twice() -> None:
    shown = Shown()
    for number in range(250):
        shown.put("target", f"t{number}", {"target": f"t{number}", "state": "running"})
    cursor, seen, frames_ = 0, [], []
    while cursor < shown.version:
        frame, cursor, anew = shown.frame(cursor, full=True)
        message = json.loads(frame[4:])
        frames_.append((message["event"], message["more"], anew))
        seen += [row["target"] for row in message["targets"]]
    assert seen == [f"t{number}" for number in range(250)]
    assert frames_ == [
        ("picture", True, True),
        ("changes", True, False),
        ("changes", False, False),
    ]
    assert not shown.put("target", "t1", {"target": "t1", "state": "running"}), "it is the same"
    shown.put("target", "t1", {"target": "t1", "state": "stopped"})
    shown.put("target", "t1", {"target": "t1", "state": "idle"})
    shown.drop("target", "t2")
    message = json.loads(shown.frame(cursor, full=True)[0][4:])
    assert [row["state"] for row in message["targets"]] == ["idle"]
    assert message["gone"] == ["t2"]


def test_who_is_too_far_behind_to_hear_what_has_gone_begins_anew() -> None:
    shown = Shown()
    shown.put("target", "old", {"target": "old"})
    cursor = shown.version
    shown.drop("target", "old")
    for number in range(6000):
        shown.put("note", "", number)
    frame, _cursor, anew = shown.frame(cursor, full=True)
    assert anew
    assert json.loads(frame[4:])["event"] == "picture"
    assert "gone" not in json.loads(frame[4:])


def test_a_lone_surrogate_spoils_no_frame() -> None:
    shown = Shown()
    shown.put("notes", "", ["\ud800"])
    assert json.loads(shown.frame(0, full=True)[0][4:])["notes"] == ["?"]

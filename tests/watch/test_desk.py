"""Watch's desk: who is heard there, and that nobody keeps anyone from being heard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import PYTHON, until
from offswitch.clock import SimulatedClock
from offswitch.config.load import Loaded, installed_kinds, parse
from offswitch.control import frames
from offswitch.control.place import Place
from offswitch.model.finding import Finding
from offswitch.watch.desk.door import Desk, listen
from offswitch.watch.loop import Watch
from offswitch.watch.recent import Recent

GROUP, ANN, BEN, RUNS, RAN, STATION = 60_177, 60_201, 60_202, 60_242, 60_243, 60_290
S = 1_000_000
TABLES = """
[[rule]]
name = "asks"
target = "shop/agent"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "advise"
people = 2
detectors = [{ kind = "threshold", series = "processes.count", above = 10 }]
[[rule]]
name = "acts"
target = "shop/agent"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
detectors = [{ kind = "threshold", series = "processes.threads", above = 10 }]
"""
SPEAK = """
import json, socket, struct, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
body = sys.argv[2].encode()
sock.sendall(struct.pack(">I", len(body)) + body)
data = b""
while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
    part = sock.recv(65536)
    if not part:
        break
    data += part
print(data[4:].decode())
"""
LOWER = {"rule": "acts", "owner": "ann", "reason": "r", "measure": "m", "for_us": 3600 * S}


class Front:
    """A watch whose loop is turned by the test, and who speaks at its desk."""

    def __init__(self, folder: Path) -> None:
        kinds = installed_kinds()
        loaded = Loaded(parse(TABLES.encode(), "x", kinds), kinds, "x", "before")
        self.clock = SimulatedClock(1_000_000_000)
        self.clock.jump(1_800_000_000_000_000)
        control = folder / "control"
        control.mkdir()
        control.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(control, 0, GROUP)
        sock, gid = listen(str(control))
        self.path = str(control / "watch")
        desk = Desk(sock, self.clock, os.geteuid(), gid, STATION)
        place = Place(str(folder), str(folder))
        self.watch = Watch(place, loaded, self.clock, desk=desk)
        self.ran: list[int] | None = [RAN]
        self.asked: list[dict[str, Any]] = []
        self.proven: dict[str, Any] | None = None
        self.watch.reception.clerk._office.proposals._ask = self._ask
        self.cells()

    def _ask(self, message: dict[str, Any], then: Callable[[dict[str, Any]], None]) -> bool:
        """Be the warden: what `proven` says, or nothing."""
        self.asked.append(message)
        if self.proven is not None:
            then(self.proven)
        return True

    def know(self, mode: str = "local", **users: int | None) -> None:
        people = [{"name": name, "uid": uid} for name, uid in users.items()]
        self.watch.reception._visitors.hear_people({"mode": mode, "people": people})

    def cells(self, **more: object) -> None:
        row = {"target": "shop/agent", "state": "running", "uid": RUNS, "level": None}
        row |= {"path": "/sys/fs/cgroup/x/c1", "pids": [], **more}
        self.watch._take_cells({"cells": [row], "ran_as": self.ran})

    def see(self, what: str, value: float) -> None:
        eye = self.watch.wired.eyes["cells"]
        said = {"sensor": "processes", "target": "shop/agent", "problem": "",
                "samples": [[what, value, {}, {}]]}  # fmt: skip
        self.watch._hear_from(eye, said)

    def say(
        self, uid: int, op: str, group: int = GROUP, *, inside: bool = False, **more: object
    ) -> dict[str, Any]:
        """Speak as somebody, `inside` a cell or not; the loop turns meanwhile."""
        message = json.dumps({"op": op, **more})
        process = subprocess.Popen(
            [PYTHON, "-I", "-c", SPEAK, self.path, message],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            user=uid, group=group, extra_groups=[],
        )  # fmt: skip
        self.cells(**({"path": None, "pids": [process.pid]} if inside else {}))
        while process.poll() is None:
            self.watch.reception.turn()
            time.sleep(0.001)
        out, err = process.communicate()
        assert out or b"PermissionError" in err, err
        answer: dict[str, Any] = json.loads(out or b'{"error": {"kind": "kernel"}}')
        return answer

    def kind(self, uid: int, op: str, **more: Any) -> str:  # noqa: ANN401
        return str(self.say(uid, op, **more).get("error", {}).get("kind", "done"))

    def question(self) -> str:
        [bench, _other] = self.watch.wired.benches
        assert bench.question is not None
        return bench.question.digest

    def entries(self, kind: str) -> list[dict[str, Any]]:
        waiting = self.watch._scribe._waiting
        told = [{**one["sealed"], **one["public"]} for one in waiting]
        return [one for one in told if one["kind"] == kind]


@pytest.fixture
def front() -> Iterator[Front]:
    folder = Path(tempfile.mkdtemp(prefix="offswitch-desk-"))
    folder.chmod(0o711)
    one = Front(folder)
    try:
        yield one
    finally:
        one.watch.close()
        shutil.rmtree(folder)


def test_DEC_3_nobody_lets_his_own_target_go_on_and_two_others_must(
    front: Front, as_root: None
) -> None:
    front.see("count", 99)
    digest = front.question()
    deny = {"decision": digest, "reason": "because"}
    assert front.kind(RUNS, "deny", **deny) == "refused", "it runs under that user"
    assert front.kind(RAN, "deny", **deny) == "refused", "it ran under that user"
    assert front.kind(ANN, "deny", **deny, group=ANN) == "kernel", "not of the group"
    assert front.kind(ANN, "deny", decision=digest) == "usage", "a reason is wanted"
    assert front.say(ANN, "deny", **deny)["open"] is True
    assert front.kind(ANN, "deny", **deny) == "refused", "once is once"
    said = front.say(BEN, "deny", **deny)
    assert (said["open"], said["choice"]) == (False, "nothing")
    assert front.kind(BEN, "deny", **deny) == "not-found", "replayed"
    assert front.kind(ANN, "approve", decision=digest) == "not-found", "it is over"
    by = [one["by"] for one in front.entries("decision") if one["by"].startswith("uid")]
    assert by == []  # recorded after the next turn, since orders go first
    front.watch._pump()
    by = [one["by"] for one in front.entries("decision") if one["by"].startswith("uid")]
    assert by == [f"uid:{ANN}", f"uid:{BEN}"]
    refused = front.entries("refused")
    assert {one["by"] for one in refused} == {f"uid:{uid}" for uid in (RUNS, RAN, ANN)}


def test_DEC_3_where_the_warden_does_not_say_who_ran_targets_only_the_owner_denies(
    front: Front, as_root: None
) -> None:
    front.see("count", 99)
    front.ran = None
    deny = {"decision": front.question(), "reason": "because"}
    assert front.kind(ANN, "deny", **deny) == "refused"
    assert front.kind(0, "deny", **deny) == "done"
    assert front.kind(RUNS, "approve", decision=front.question()) == "done", "a stop is for all"


def test_SR_6_what_runs_in_a_cell_is_told_nothing(front: Front, as_root: None) -> None:
    for op in ("rules", "alarms", "decisions", "approve", "ack"):
        assert front.kind(0, op, inside=True) == "refused"
    assert front.kind(0, "rules") == "done"


def test_SR_3_and_HMI_6_the_group_looks_and_the_owner_lowers(front: Front, as_root: None) -> None:
    for op in ("sensors", "rules", "alarms", "decisions"):
        assert front.kind(ANN, op) == "done"
    for op in ("bypass", "shelve"):
        assert front.kind(ANN, op, **LOWER) == "refused"
    for op in ("restore", "unshelve"):
        assert front.kind(ANN, op, rule="acts") in {"refused", "not-found"}
    assert front.kind(ANN, "apply", text="", path="x") == "refused"
    assert front.say(0, "bypass", **LOWER)["pending"] is False
    assert front.kind(ANN, "restore", rule="acts") == "refused"
    front.see("threads", 99)
    assert front.watch.wired.benches[1].question is not None, "it asks"
    assert front.kind(0, "restore", rule="acts") == "done"
    assert front.say(0, "bypass", **LOWER)["pending"] is True, "the second time"
    assert front.kind(RUNS, "bypass", **LOWER) == "refused", "no target's user confirms it"
    confirmed = front.say(ANN, "bypass", **LOWER)
    assert (confirmed["pending"], confirmed["by"]) == (False, "uid:0")
    assert confirmed["second"] == f"uid:{ANN}"
    assert front.watch.reception.notes()[0].startswith("BYPASS: rule acts: it asks")
    front.clock.advance(3600 * S)
    front.watch.reception.turn()
    assert not front.watch.wired.benches[1].asks_instead, "it has returned"
    states = [one["state"] for one in front.entries("bypass")]
    assert states == [
        "bypass for 1h", "restored", "waits for a second person", "bypass for 1h",
        "returned by itself",
    ]  # fmt: skip


def test_HMI_6_a_shelved_alarm_is_out_of_sight_and_one_that_asks_never_is(
    front: Front, as_root: None
) -> None:
    front.see("threads", 99)
    front.see("count", 99)
    assert front.kind(0, "shelve", **LOWER) == "done"
    assert front.kind(0, "shelve", **{**LOWER, "rule": "asks"}) == "done"
    assert front.watch.reception.shelved() == {"acts"}
    rows = {row["rule"]: row for row in front.say(ANN, "alarms")["alarms"]}
    assert (rows["acts"]["shelved"], rows["asks"]["shelved"]) == (True, False)
    assert front.say(ANN, "ack", rule="acts")["acked_by"] == f"uid:{ANN}"
    rows = {row["rule"]: row for row in front.say(ANN, "alarms")["alarms"]}
    assert rows["acts"]["acked_by"] == f"uid:{ANN}"
    assert front.watch.wired.benches[1].tripped, "it goes on standing"


def test_REL_3_how_often_each_rule_stopped_asked_and_was_in_vain_is_counted(
    front: Front, as_root: None
) -> None:
    front.see("threads", 99)
    for _ in range(3):
        front.see("count", 99)
        digest = front.question()
        for uid in (ANN, BEN):
            front.say(uid, "deny", decision=digest, reason="in vain", for_us=S)
        front.clock.advance(2 * S)
        front.see("count", 99)
    front.clock.advance(301 * S)
    front.see("count", 99)
    rows = {row["rule"]: row for row in front.say(ANN, "rules")["rules"]}
    asks, acts = rows["asks"]["tally"], rows["acts"]["tally"]
    assert (asks["asked"], asks["denied"], asks["stops"], asks["unanswered"]) == (4, 3, 1, 1)
    assert acts["stops"] >= 1
    assert rows["asks"]["false_stop_cost"] == "c"


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * 64,
        struct.pack(">I", 1 << 30),
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 5) + b"{{{{{",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_garbage_at_the_desk_is_hung_up_on(front: Front, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(front.path)
        sock.sendall(said)
        until(lambda: _hung_up(front, sock), "it is hung up on")


def _hung_up(front: Front, sock: socket.socket) -> bool:
    front.watch.reception.turn()
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"op": 7},
        {"op": "deny"},
        {"op": "deny", "decision": ["x"]},
        {"op": "approve", "decision": "x" * 600},
        {"op": "ack", "rule": {}},
        {"op": "bypass", "rule": "acts", "for_us": "x"},
        {"op": "bypass", "rule": "acts", "series": "x.y"},
        {"op": "apply"},
        {"op": "apply", "text": "[[", "path": "x"},
        {"op": "apply", "text": "\ud800", "path": "x", "prepared": [7]},
        {"op": "deny", "decision": "00000000", "reason": "r", "for_us": 1 << 70},
    ],
)
def test_whatever_is_asked_ends_in_an_answer_and_changes_nothing(
    front: Front, message: dict[str, Any]
) -> None:
    before = front.watch.wired.benches
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(front.path)
        body = json.dumps(message).encode()
        sock.sendall(struct.pack(">I", len(body)) + body)
        front.watch.reception.turn()
        front.watch.reception.turn()
        sock.settimeout(5)
        answer = frames.receive(sock)
    assert answer is not None
    assert answer[0]["error"]["kind"] in {"usage", "not-found", "config", "refused"}
    assert front.watch.wired.benches is before


def test_nobody_who_hangs_keeps_others_from_being_heard(front: Front) -> None:
    idle = []
    for _ in range(100):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(front.path)
        except BlockingIOError:
            pass
        idle.append(sock)
        front.watch.reception.turn()
    idle[0].send(struct.pack(">I", 9) + b"{")
    begin = time.process_time()
    for _ in range(200):
        front.watch.reception.turn()
    assert time.process_time() - begin < 2, "and costs next to nothing"
    front.clock.advance(11 * S)
    front.watch.reception.turn()
    front.watch.reception.turn()
    for sock in idle:
        sock.close()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(front.path)
        frames.send(sock, {"op": "rules"})
        for _ in range(4):
            front.watch.reception.turn()
        sock.settimeout(5)
        answer = frames.receive(sock)
    assert answer is not None
    assert [row["rule"] for row in answer[0]["rules"]] == ["asks", "acts"]


def test_SR_23_the_next_watch_takes_the_name_and_the_callers(front: Front) -> None:
    clock = SimulatedClock()
    sock, _gid = listen(str(Path(front.path).parent))
    after = Desk(sock, clock, os.geteuid())
    heard: list[object] = []
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(front.path)
        frames.send(caller, {"op": "x"})
        front.watch.reception.turn()
        until(lambda: after.turn(lambda _peer, said: heard.append(said) or {}) or heard, "heard")
    front.watch.close()
    assert os.path.exists(front.path), "the old one's end takes nothing away from the new one"
    after.close()


def test_SR_4_the_station_speaks_for_persons_and_may_no_more_than_that(
    front: Front, as_root: None
) -> None:
    front.see("count", 99)
    front.see("threads", 99)
    for op in ("sensors", "rules", "alarms", "decisions"):
        assert front.kind(STATION, op) == "done"
    digest = front.question()
    deny = {"decision": digest, "reason": "because"}
    assert front.kind(STATION, "deny", **deny) == "usage", "in nobody's name"
    assert front.kind(STATION, "deny", **deny, by="ada") == "usage"
    assert front.kind(STATION, "apply", text="", path="x", by="person:ada") == "refused"
    assert front.kind(ANN, "deny", **deny, by="person:ada") == "refused"
    assert front.kind(ANN, "approve", decision=digest, by="person:ada") == "refused"
    assert front.say(STATION, "ack", rule="acts", by="person:ada")["acked_by"] == "person:ada"
    [row] = [one for one in front.say(ANN, "alarms")["alarms"] if one["rule"] == "acts"]
    assert row["acked_us"] == front.clock.wall_us()
    told = {one["by"] for one in front.entries("refused")}
    assert f"uid:{ANN}, as person:ada" in told


def test_DEC_3_one_person_over_two_ways_is_one_and_whose_target_it_is_denies_nowhere(
    front: Front, as_root: None
) -> None:
    front.know(ada=ANN, ben=None, eve=RUNS)
    front.see("count", 99)
    deny = {"decision": front.question(), "reason": "because"}
    assert front.kind(STATION, "deny", **deny, by="person:eve") == "refused", "hers runs there"
    assert front.say(STATION, "deny", **deny, by="person:ada")["open"] is True
    assert front.kind(ANN, "deny", **deny) == "refused", "that is ada"
    assert front.kind(BEN, "deny", **deny) == "done", "and that is another: whose, is known of ada"
    front.watch._pump()
    by = [one["by"] for one in front.entries("decision")]
    assert by[-2:] == ["person:ada", f"uid:{BEN}"]
    front.clock.advance(400 * S)
    front.see("count", 99)
    deny["decision"] = front.question()
    assert front.say(STATION, "deny", **deny, by="person:ben")["open"] is True
    assert front.kind(BEN, "deny", **deny) == "refused", "nobody knows whether that is ben's user"
    said = front.say(STATION, "deny", **deny, by="person:ada")
    assert (said["open"], said["by"]) == (False, "person:ada")


def test_DEC_3_the_row_of_a_question_says_what_silence_has_done_and_will_do(
    front: Front, as_root: None
) -> None:
    front.know(ada=None)
    front.see("count", 99)
    [row] = front.say(ANN, "decisions")["decisions"]
    asked = row["asked_us"]
    times = [row[key] - asked for key in ("backup_us", "act_us", "due_us")]
    assert times == [100 * S, 200 * S, 300 * S]
    assert (row["stage"], row["backup"], row["unanswered"]) == ("asked", False, "restrict")
    front.say(STATION, "deny", decision=row["decision"], reason="r", by="person:ada")
    front.clock.advance(100 * S)
    front.see("count", 99)
    [row] = front.say(ANN, "decisions")["decisions"]
    assert (row["stage"], row["backup"], row["denied_by"]) == ("backup", True, ["person:ada"])
    front.clock.advance(100 * S)
    front.see("count", 99)
    [row] = front.say(ANN, "decisions")["decisions"]
    assert [event["what"] for event in row["events"]] == ["asked", "denied", "backup", "acted"]
    [alarm] = front.say(ANN, "alarms")["alarms"]
    assert (alarm["state"], alarm["findings"][0]["series"]) == ("acted", "processes.count")
    front.watch._pump()
    told = [(one["choice"], one["level"]) for one in front.entries("decision")]
    assert told == [("ask", "kill"), ("nothing", ""), ("nothing", ""), ("stop", "restrict")]
    done = front.say(STATION, "approve", decision=row["decision"], by="person:ada")
    assert done["choice"] == "stop"
    [alarm] = front.say(ANN, "alarms")["alarms"]
    assert (alarm["state"], alarm["decision"]) == ("ordered", None)


def test_DEC_3_a_reset_of_what_was_restricted_answers_no_question(
    front: Front, as_root: None
) -> None:
    front.see("count", 99)
    front.clock.advance(200 * S)
    front.see("count", 99)
    digest = front.question()
    front.cells(level="restrict")
    front.cells()  # one person has reset it
    assert front.question() == digest, "it asks on"
    front.clock.advance(100 * S)
    front.see("count", 5)
    [bench, _other] = front.watch.wired.benches
    assert bench.question is None
    assert bench.tally.unanswered == 1, "and its end stops"
    assert bench.tally.late == 1


SHELVE = {**LOWER, "by": "person:ada", "reason": "it flaps"}


def test_HMI_6_from_the_station_a_proof_of_a_safety_person_shelves(
    front: Front, as_root: None
) -> None:
    front.know(ada=None)
    opened = front.say(STATION, "shelve", **SHELVE)
    assert (opened["pending"], opened["people"], opened["proven"]) == (True, 1, [])
    assert front.watch.reception.shelved() == set(), "the station's word alone shelves nothing"
    front.see("threads", 99)
    proof = {"digest": opened["digest"], "by": "person:ada"}
    assert front.kind(STATION, "shelve", **proof) == "usage", "without a proof"
    front.proven = {"people": [], "needs": [], "refused": ["ben: his role is operator"]}
    refused = front.say(STATION, "shelve", **proof, proofs=["sig"])["error"]
    assert "ben: his role is operator" in refused["message"]
    assert front.asked[-1] == {
        "op": "prove", "about": "shelve", "digest": opened["digest"], "people": 1,
        "role": "safety", "proofs": ["sig"],
    }  # fmt: skip
    front.proven = {"people": ["ada"], "needs": [], "refused": []}
    done = front.say(STATION, "shelve", **proof, proofs=["sig"])
    assert (done["pending"], done["by"], done["second"]) == (False, "person:ada", "")
    assert done["banner"].startswith("BYPASS: rule acts: its alarm is shelved until")
    assert front.watch.reception.shelved() == {"acts"}
    assert front.kind(STATION, "shelve", **proof, proofs=["sig"]) == "not-found", "replayed"
    assert front.kind(STATION, "unshelve", rule="acts", by="person:ben") == "done", "the safe side"
    again = front.say(STATION, "shelve", **SHELVE)
    assert again["people"] == 2, "the second time within a day"
    proof["digest"] = again["digest"]
    said = front.say(STATION, "shelve", **proof, proofs=["sig"])
    assert (said["pending"], said["proven"]) == (True, ["ada"])
    assert front.kind(STATION, "shelve", **proof, proofs=["sig"]) == "refused", "ada twice is one"
    front.proven = {"people": ["ben"], "needs": [], "refused": []}
    done = front.say(STATION, "shelve", **proof, proofs=["other"])
    assert (done["by"], done["second"]) == ("person:ada", "person:ben")
    front.clock.advance(3600 * S)
    front.watch.reception.turn()
    assert front.watch.reception.shelved() == set(), "it has returned by itself"
    states = [(one["by"].split(",")[0], one["state"]) for one in front.entries("bypass")]
    assert states == [
        ("person:ada", "waits for 1 proofs"), ("person:ada", "shelve for 1h"),
        ("person:ben", "restored"), ("person:ada", "waits for 2 proofs"),
        ("person:ada", "proved by ada, waits for more"), ("person:ada", "shelve for 1h"),
        ("person:ada", "returned by itself"),
    ]  # fmt: skip


def test_SEC_5_in_the_mode_people_a_bypass_takes_two_proofs_and_none_of_the_targets_user(
    front: Front, as_root: None
) -> None:
    bypass = {**SHELVE, "measure": "ben looks"}
    assert front.say(STATION, "bypass", **bypass)["people"] == 2, "while the mode is unknown, too"
    front.know("people", ada=ANN, ben=BEN, eve=RUNS)
    opened = front.say(STATION, "bypass", **bypass)
    assert opened["people"] == 2
    assert len(front.say(ANN, "rules")["proposals"]) == 1, "of the same thing the last one counts"
    proof = {"digest": opened["digest"], "by": "person:ada", "proofs": ["x"]}
    front.proven = {"people": ["eve"], "needs": [], "refused": []}
    assert front.kind(STATION, "bypass", **proof) == "refused"
    front.proven = {"people": ["ada", "ben"], "needs": [], "refused": []}
    assert front.say(STATION, "bypass", **proof)["second"] == "person:ben"
    assert front.watch.wired.benches[1].asks_instead
    assert front.kind(STATION, "restore", rule="acts", by="person:ada") == "done"
    assert front.say(0, "bypass", **LOWER)["pending"] is True, "root alone does not lower it either"


def test_a_proof_that_the_warden_never_answers_keeps_nobody_waiting(
    front: Front, as_root: None
) -> None:
    front.know(ada=None)
    opened = front.say(STATION, "shelve", **SHELVE)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(front.path)
        asked = {"op": "shelve", "digest": opened["digest"], "by": "person:ada", "proofs": ["x"]}
        frames.send(sock, asked)
        frames.send(sock, {"op": "rules"})
        front.watch.reception.turn()
        assert front.kind(ANN, "rules") == "done", "others are heard meanwhile"
        assert list(front.watch.reception.waits()), "and the loop does not spin on it"
        front.clock.advance(6 * S)
        for _ in range(3):
            front.watch.reception.turn()
        sock.settimeout(5)
        first, second = frames.receive(sock), frames.receive(sock)
    assert first is not None
    assert second is not None
    assert first[0]["error"]["kind"] == "unreachable"
    assert [row["rule"] for row in second[0]["rules"]] == ["asks", "acts"], "in their order"


def test_HMI_7_the_desk_tells_newer_findings_only_with_their_delays(
    front: Front, as_root: None
) -> None:
    front.see("count", 99)
    front.see("threads", 99)
    front.watch._pump()
    said = front.say(ANN, "alarms", after=0)
    assert [one["series"] for one in said["findings"]] == ["processes.count", "processes.threads"]
    [_first, second] = said["findings"]
    assert (second["target"], second["index"], said["next"]) == ("shop/agent", 1, 2)
    every_us = front.watch.wired.sources["processes", "shop/agent"].section.every
    assert (second["lag_us"], second["wait_us"]) == (every_us, 0)
    later = front.say(ANN, "alarms", after=said["next"])
    assert (later["findings"], later["missed"]) == ([], 0)
    assert "findings" not in front.say(ANN, "alarms")


def test_HMI_7_what_is_forgotten_of_a_flood_is_counted() -> None:
    recent = Recent()
    for number in range(700):
        recent.add(Finding("d", "t", f"s{number}", "w", number, 1.0))
    assert [index for index, _ in recent.after(690)] == list(range(690, 700))
    assert len(recent.after(0)) == 500
    assert (recent.missed(0), recent.missed(650), recent.missed(10_000)) == (200, 0, 200)
    assert len(recent.after(10_000)) == 500, "a number of another life begins anew"

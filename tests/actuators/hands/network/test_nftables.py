"""nftables as a hand: a cell is really cut off, a wrong table is noticed, others' rules stay."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation
from needs import needs_program, needs_root
from offswitch.actuators.contract import Ready
from offswitch.actuators.hands.contract import CellFacts, Context, Role, Trouble
from offswitch.actuators.hands.network.nftables.canary import Canary, depth_of
from offswitch.actuators.hands.network.nftables.hand import Nftables, NftablesSettings
from offswitch.actuators.hands.network.nftables.table import Table
from offswitch.actuators.sock_diag import Diag
from stage import PYTHON, Actor, Stage, until

_NEW_NETWORK = 0x40000000
_LISTENING = 10
TALKER = """
import socket, sys
peer = (sys.argv[1], int(sys.argv[2]))
family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
tcp = socket.create_connection(peer)
udp = socket.socket(family, socket.SOCK_DGRAM)
ways = {
    "udp": lambda: udp.sendto(b"x", peer),
    "connect": lambda: socket.create_connection(peer, 0.1).close(),
    "tcp": lambda: tcp.send(b"x"),
}
print("READY", flush=True)
for line in sys.stdin:
    for name, way in ways.items():
        try:
            way()
            print(name, "ok", flush=True)
        except OSError as error:
            print(name, error.errno, flush=True)
    print("END", flush=True)
"""


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


class Talker:
    """A program in a cell that tries to talk to us whenever it is asked."""

    def __init__(self, stage: Stage, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.server = socket.create_server((host, 0), family=family)
        out, self.into = os.pipe2(os.O_CLOEXEC)
        where = (host, str(self.server.getsockname()[1]))
        self.actor: Actor = stage.bear([PYTHON, "-I", "-c", TALKER, *where], stdin=out)
        os.close(out)
        self.peer, _address = self.server.accept()
        until(lambda: "READY" in self.actor.said(), "it is ready")

    def talk(self) -> dict[str, str]:
        before = self.actor.said().count("END")
        os.write(self.into, b"go\n")
        until(lambda: self.actor.said().count("END") > before, "it has tried")
        while select.select([self.server], [], [], 0)[0]:
            self.server.accept()[0].close()
        return dict(line.split() for line in self.actor.said().splitlines()[-4:-1])  # type: ignore[arg-type]

    @property
    def facts(self) -> CellFacts:
        return CellFacts(self.actor.cell.path, self.actor.cell.cgroup_id)

    def close(self) -> None:
        self.server.close()
        self.peer.close()
        os.close(self.into)


def made(role: Role, cell: CellFacts | None = None) -> Nftables:
    settings = NftablesSettings(name="cut", target="shop", kind="nftables")
    hand = Nftables(settings, Context(role))
    hand.cell = cell
    hand.prepare()
    hand.open()
    return hand


@pytest.fixture(autouse=True)
def network_of_its_own() -> Iterator[None]:
    """This process, and what it bears, in a network where rules hurt nobody."""
    needs_root()
    needs_program("nft")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(_NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        assert libc.setns(before, _NEW_NETWORK) == 0
        os.close(before)


@pytest.fixture
def hands() -> Iterator[list[Nftables]]:
    """A hand and its look."""
    pair = [made(Role.ACT), made(Role.LOOK)]
    yield pair
    for each in pair:
        each.release()
        each.leave()
        each.close()
    assert "table inet offswitch\n" not in nft("list", "tables")


def know(hands: list[Nftables], talker: Talker) -> None:
    for each in hands:
        each.cell = talker.facts


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.long)])
def test_VER_2_nftables_refuses_what_a_killed_cell_says_and_let_it_talk_before(
    stage: Stage, hands: list[Nftables], host: str
) -> None:
    hand, look = hands
    talker, other = Talker(stage, host), Talker(stage, host)
    know(hands, talker)
    assert hand.arm().state is look.arm().state is Ready.READY
    assert set(talker.talk().values()) == {"ok"}
    assert look.look().stands is False

    hand.trip("kill")
    told = talker.talk()
    assert told == {
        "udp": str(errno.EPERM),
        "connect": str(errno.ECONNREFUSED),
        "tcp": told["tcp"],
    }
    assert look.look().stands
    assert set(other.talk().values()) == {"ok"}, "the cell beside it goes on"
    hand.trip("kill")
    hand.release()
    assert look.look().stands is False
    assert talker.talk()["connect"] == "ok"
    talker.close()
    other.close()


def test_SR_8_nftables_lets_a_dead_cells_reset_out_so_that_its_peer_learns_of_it(
    stage: Stage, hands: list[Nftables]
) -> None:
    talker = Talker(stage)
    know(hands, talker)
    hands[0].trip("kill")
    stage.stop(talker.actor)
    talker.peer.settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        assert talker.peer.recv(1) == b"", "a reset comes through, nothing else"
    talker.close()


def test_ACT_1_nftables_only_holds_what_is_frozen_so_that_its_connection_goes_on(
    stage: Stage, hands: list[Nftables]
) -> None:
    hand, look = hands
    talker = Talker(stage)
    know(hands, talker)
    hand.trip("freeze")
    assert talker.talk()["udp"] == str(errno.EPERM)
    assert look.look().stands
    assert not select.select([talker.peer], [], [], 0.05)[0], "it was let out"
    hand.release()
    talker.peer.settimeout(5)
    assert talker.peer.recv(1) == b"x", "what was held goes on"
    talker.close()


def test_DRL_4_a_wrong_level_matches_nothing_and_is_noticed(
    stage: Stage, hands: list[Nftables]
) -> None:
    hand, look = hands
    talker = Talker(stage)
    know(hands, talker)
    assert hand.arm().state is Ready.READY
    rules = nft("-a", "list", "chain", "inet", "offswitch", "output")
    marks = [line.rsplit("handle ", 1)[1] for line in rules.splitlines() if "goto" in line]
    for mark in marks:  # other rules in their place, which look alike
        nft("delete", "rule", "inet", "offswitch", "output", "handle", mark)
    nft("add rule inet offswitch output socket cgroupv2 level 1 @cut goto cutting")
    nft("add rule inet offswitch output socket cgroupv2 level 1 @held goto holding")
    nft("flush chain inet offswitch input")
    assert look.arm().state is Ready.UNPROVEN
    said = hand.arm()
    assert said.state is Ready.DEGRADED
    assert "put back" in said.detail
    assert look.arm().state is hand.arm().state is Ready.READY
    talker.close()


def test_DRL_4_no_return_code_is_believed_but_a_canary_that_is_cut(
    hands: list[Nftables], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is as it should be, and a kernel that heeds it at another depth."""
    hand, look = hands
    monkeypatch.setattr(Canary, "connects", lambda _self: True)
    for each in (hand, look):
        said = each.arm()
        assert said.state is Ready.UNPROVEN
        assert "goes on talking" in said.detail


@pytest.mark.parametrize(
    "harm",
    [
        ["flush", "ruleset"],
        pytest.param(
            ["add", "table", "inet", "offswitch", "{ flags dormant; }"], marks=pytest.mark.long
        ),
    ],
)
def test_DRL_4_a_rule_set_that_others_flush_is_noticed_and_put_back(
    stage: Stage, hands: list[Nftables], harm: list[str]
) -> None:
    hand, look = hands
    talker = Talker(stage)
    know(hands, talker)
    nft("add", "table", "inet", "theirs")
    try:
        nft(*harm)
        assert look.arm().state is Ready.UNPROVEN
        said = hand.arm()
        assert said.state is Ready.DEGRADED, said
        assert look.arm().state is hand.arm().state is Ready.READY
        hand.trip("kill")
        nft(*harm)
        assert look.look().stands is False, "what was cut talks again, and that is seen"
        with contextlib.suppress(Trouble):  # as its process does: connected anew, and once more
            hand.trip("kill")
        hand.close()
        hand.open()
        hand.trip("kill")
        assert look.look().stands
        assert talker.talk()["connect"] == str(errno.ECONNREFUSED)
    finally:
        if harm[-1] == "ruleset":
            nft("add", "table", "inet", "theirs")
        nft("delete", "table", "inet", "theirs")
    talker.close()


@pytest.mark.long
def test_nftables_leaves_others_tables_alone_and_its_own_as_long_as_anybody_needs_it(
    stage: Stage, hands: list[Nftables]
) -> None:
    hand, _look = hands
    talker = Talker(stage)
    know(hands, talker)
    nft("add table inet theirs; add chain inet theirs c; add rule inet theirs c counter")
    before = nft("list", "table", "inet", "theirs")
    hand.arm()
    hand.trip("kill")
    table = Table()
    table.leave()
    assert "table inet offswitch\n" in nft("list", "tables"), "something is cut"
    hand.release()
    child = subprocess.Popen([PYTHON, "-c", "input()"], stdin=subprocess.PIPE)
    nft("add", "element", "inet", "offswitch", "users", f"{{ {child.pid} }}")
    table.leave()
    assert "table inet offswitch\n" in nft("list", "tables"), "others use it"
    child.communicate(b"\n")
    table.leave()
    table.close()
    assert "table inet offswitch\n" not in nft("list", "tables")
    assert nft("list", "table", "inet", "theirs") == before
    nft("delete", "table", "inet", "theirs")
    talker.close()


def test_nftables_has_nothing_to_cut_off_where_there_is_no_cell(hands: list[Nftables]) -> None:
    hand, look = hands
    assert hand.arm().state is Ready.READY
    assert "no cell" in hand.trip("kill").detail
    assert look.look().stands
    assert hand.holds() == ()
    assert hand.route().credential == "CAP_NET_ADMIN"


def test_VER_2_nftables_calls_nothing_cut_that_has_no_cgroup_to_know_it_by(
    hands: list[Nftables],
) -> None:
    hand, look = hands
    for each in hands:
        each.cell = CellFacts(None, None)
    assert hand.arm().state is Ready.UNPROVEN
    with pytest.raises(Trouble, match="no cgroup"):
        hand.trip("kill")
    assert look.look().stands is None


def test_VER_5_nftables_cannot_see_into_a_network_of_the_cells_own(
    stage: Stage, hands: list[Nftables]
) -> None:
    hand, look = hands
    talker = Talker(stage)
    facts = talker.facts
    for each in hands:
        each.cell = CellFacts(facts.path, facts.cgroup_id, own_net=True)
    assert hand.arm().state is Ready.UNPROVEN
    hand.trip("kill")
    assert look.look().stands is None
    talker.close()


@pytest.mark.long
def test_nftables_takes_microseconds_where_the_command_takes_milliseconds(
    stage: Stage, hands: list[Nftables]
) -> None:
    talker = Talker(stage)
    know(hands, talker)
    hands[0].trip("kill")
    took = []
    for _ in range(50):
        began = time.perf_counter()
        hands[0].trip("kill")
        took.append(time.perf_counter() - began)
    assert sorted(took)[25] < 0.005
    talker.close()


def test_a_canary_has_an_ancestor_at_every_depth_and_leaves_no_cgroup() -> None:
    canary = Canary(name := f"offswitch-canary-test-{os.getpid()}")
    assert sorted(canary.ids) == list(range(1, 13))
    assert canary.connects()
    assert canary.connects(), "again, by the same socket"
    assert canary.sends()
    canary.close()
    assert depth_of("/nowhere/a") == 0
    found = subprocess.run(
        ["find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", name],
        capture_output=True,
        check=False,
    )
    assert not found.stdout


# --- through a real warden ------------------------------------------------------------------


@pytest.fixture
def installation(network_of_its_own: None, tmp_path: Path) -> Iterator[Installation]:
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


def declare(home: Installation, prove_ms: int = 500) -> None:
    settings = {"name": "cut", "target": "shop/eu", "kind": "nftables"}
    common = {**settings, "layer": "network", "deadline_us": 1_000_000, "prove_us": prove_ms * 1000}
    actuator = {**common, "settings": {**settings, "prove": f"{prove_ms}ms"}, "files": []}
    home.ask({"op": "declare", "targets": [{"name": "shop/eu"}], "actuators": [actuator]})


def standing(home: Installation) -> dict[str, Any]:
    [hand] = home.ask({"op": "target", "name": "shop/eu"})["hands"]
    return dict(hand)


def test_ACT_3_a_cell_is_cut_off_by_bpf_and_by_nftables_and_both_are_seen(
    installation: Installation,
) -> None:
    declare(installation)
    running = installation.run(PYTHON, "-c", "import time; time.sleep(60)", target="shop/eu")
    until(lambda: standing(installation)["state"] == "ready", "it is proven")
    assert "depth 2" in standing(installation)["detail"]
    nft("delete", "table", "inet", "offswitch")
    until(lambda: standing(installation)["state"] != "ready", "that is noticed", 10)
    until(lambda: standing(installation)["state"] == "ready", "and put right", 10)
    answer = installation.stop("shop/eu")
    [network] = [one for one in answer["targets"][0]["layers"] if one["layer"] == "network"]
    assert answer["confirmed"] is network["confirmed"] is True, answer
    assert "canary" in network["detail"]
    assert standing(installation)["route"]["component"].startswith("nf_tables")
    running.close()


@pytest.mark.long  # by itself: a machine has one table, which other tests put right
def test_VER_1_a_network_that_nftables_has_not_cut_is_not_confirmed_whatever_bpf_says(
    installation: Installation,
) -> None:
    declare(installation, prove_ms=60_000)  # it does not put right what follows
    installation.run(PYTHON, "-c", "import time; time.sleep(60)", target="shop/eu").close()
    until(lambda: standing(installation)["state"] == "ready", "it is proven")
    nft("delete", "table", "inet", "offswitch")
    with subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, text=True) as owner:
        assert owner.stdin is not None
        owner.stdin.write("add table inet offswitch { flags owner; }\n")
        owner.stdin.flush()
        until(lambda: "offswitch" in nft("list", "tables"), "a table that nobody else may touch")
        answer = installation.stop("shop/eu")
        owner.stdin.close()
    [network] = [one for one in answer["targets"][0]["layers"] if one["layer"] == "network"]
    assert answer["confirmed"] is network["confirmed"] is False
    until(lambda: installation.stop("shop/eu")["confirmed"], "it is cut once it can be")


@pytest.mark.long
def test_SR_6_no_hand_and_no_canary_listens_where_a_cell_could_reach_it(
    installation: Installation,
) -> None:
    declare(installation)
    until(lambda: standing(installation)["state"] == "ready", "it is proven")
    seen = []
    with Diag() as diag:
        for _ in range(60):
            seen += [sock.where() for sock in diag.tcp() if sock.state == _LISTENING]
            time.sleep(0.005)
    assert len(seen) < 10, "a canary's is there for a moment, when it connects"

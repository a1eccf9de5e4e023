"""Somebody who may stop tries to use us up: others, and root, go on (SEC-4)."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import PYTHON, Installation, until
from needs import needs, needs_root
from offswitch.control import page
from offswitch.errors import Busy
from offswitch.warden.cells.cgroups import find_trees
from offswitch.warden.table import Table
from people import Person
from raw import Raw, frame

SHARE = 8
"""Targets that a user may have alive where a process may have 1,024 descriptors."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Installation]:
    """Give an installation whose warden has few descriptors, and a group that may stop."""
    needs_root()
    one = Installation(tmp_path, gid=4200)
    one.program = ["prlimit", "--nofile=1024:1024", *one.program]
    try:
        yield one.start()
    finally:
        one.close()


def _run(person: Person, name: str, *argv: str) -> dict[str, Any]:
    return person.ask({"op": "run", "target": name, "argv": list(argv)}, fds=True)


def _refused(one: Installation) -> list[dict[str, Any]]:
    return [each for each in one.entries() if each["kind"] == "refused"]


def test_SEC_4_one_user_has_so_many_targets_alive_and_no_more(small: Installation) -> None:
    member, other = Person(small), Person(small, uid=4343)
    for number in range(SHARE):
        assert "error" not in _run(member, f"many/{number}", "/bin/sleep", "1000")
    refused = _run(member, "many/more", "/bin/sleep", "1000")
    assert refused["error"]["kind"] == "busy"
    assert "user 4242 has 8 targets alive" in refused["error"]["message"]
    assert "error" not in _run(other, "other/one", "/bin/sleep", "1000")
    small.run("sleep", "1000", target="root/one")
    assert small.stop("many")["confirmed"] is True
    assert "error" not in member.ask({"op": "stop", "scopes": ["root"]}), "and stops all it may"
    assert any(e["by"] == "uid:4242" for e in _refused(small)), "who was refused is named"


def test_SEC_4_a_page_that_is_nearly_used_up_is_left_to_the_owner(small: Installation) -> None:
    member = Person(small)
    running = small.run("sleep", "1000", target="root/one")
    with open(small.place.page, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        left = page.SLOTS - page.SLOTS // 4
        struct.pack_into("=Q", mapped, page.HANDED_OUT * 8, left)
    refused = _run(member, "many/one", "/bin/sleep", "1000")
    assert "slots" in refused["error"]["message"]
    small.run("sleep", "1000", target="root/two")
    assert member.ask({"op": "stop", "scopes": ["root"]})["confirmed"] is True
    assert running.event("exited")["signal"] == 9
    with open(small.place.page, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        struct.pack_into("=Q", mapped, page.HANDED_OUT * 8, page.SLOTS)
    with pytest.raises(Busy, match="slots were all handed out"):
        small.run("sleep", "1000", target="late/one")


def test_SEC_4_of_many_that_have_ended_the_latest_are_kept(small: Installation) -> None:
    """Names, files and logs do not pile up, and no declared or stopped one is among those gone."""
    member = Person(small)
    script = (
        "import json,socket,struct,sys,array,os\n"
        "os.setgroups([4200]); os.setresgid(4242,4242,4242); os.setresuid(4242,4242,4242)\n"
        "null=os.open('/dev/null',os.O_RDWR)\n"
        "for n in range(int(sys.argv[2])):\n"
        "  s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "  m=json.dumps({'op':'run','target':f'many/{n}','argv':['/bin/true'],'cwd':'/','env':{},"
        "'raw':False}).encode()\n"
        "  r=[(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array('i',[null]*3))]\n"
        "  s.sendmsg([struct.pack('>I',len(m))+m],r)\n"
        "  b=b''\n"
        "  while b'exited' not in b and b'error' not in b: b+=s.recv(65536)\n"
    )
    kept = SHARE * 4
    argv = [sys.executable, "-c", script, small.place.warden_socket, str(kept + 6)]
    subprocess.run(argv, check=True, timeout=60, cwd="/")
    until(lambda: small.ask({"op": "health"})["targets"] == kept, "the oldest are forgotten")
    until(lambda: len(os.listdir(small.place.specs)) == kept, "with what starts them")
    assert len(os.listdir(small.place.logs)) == kept
    assert member.ask({"op": "status"})["targets"][0]["state"] == "exited"


def test_SEC_4_a_flood_of_refusals_pushes_out_nobodys_entry(small: Installation) -> None:
    small.stop("shop")
    with Raw(small) as peer:
        question = frame({"op": "reset", "scope": "nobody", "reason": "x" * 2000, "nonce": "n"})
        for _ in range(40):
            peer.send(question * 50)
            for _ in range(50):
                assert peer.answer() is not None
    until(lambda: sum(int(e.get("times", 1)) for e in _refused(small)) >= 2000, "all are counted")
    assert len(_refused(small)) < 400
    assert small.ask({"op": "health"})["journal"]["lost"] == 0
    assert next(e for e in small.entries() if e["kind"] == "order")["scope"] == "shop"


def test_SEC_4_a_member_asks_for_so_many_resets_and_root_for_any(small: Installation) -> None:
    member = Person(small)
    small.stop("shop")
    script = (
        "import json,socket,struct,sys,os\n"
        "os.setgroups([4200]); os.setresgid(4242,4242,4242); os.setresuid(4242,4242,4242)\n"
        "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "f=s.makefile('rb')\n"
        "for n in range(70):\n"
        "  m=json.dumps({'op':'reset','scope':'nobody','reason':'r','nonce':str(n)}).encode()\n"
        "  s.sendall(struct.pack('>I',len(m))+m)\n"
        "  k=struct.unpack('>I',f.read(4))[0]; print(json.loads(f.read(k))['error']['kind'])\n"
    )
    argv = [sys.executable, "-c", script, small.place.warden_socket]
    told = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout.split()
    assert told[:60].count("busy") == 0
    assert told[60:] == ["busy"] * 10
    assert small.reset("shop")["state"] == "done"
    assert member.ask({"op": "stop", "scopes": ["shop"]})["orders"], "a stop has no share"


def test_SEC_4_stops_that_wait_are_obeyed_and_beyond_a_share_answered_at_once(
    small: Installation,
) -> None:
    small.run("sleep", "1000", target="shop/one")
    peers = [Raw(small) for _ in range(70)]
    for peer in peers:
        peer.say(small.stop_message("shop", level="drain", wait=True))
    answered = 0
    for peer in peers:
        first = peer.answer()
        assert first is not None
        assert first["accepted"] is True
    time.sleep(0.2)
    for peer in peers:
        peer.sock.settimeout(0.01)
        try:
            answered += peer.answer() is not None
        except TimeoutError:
            continue
    assert answered == 6
    assert small.stop("shop")["confirmed"] is True
    for peer in peers:
        peer.sock.close()


def test_SEC_4_a_root_target_makes_so_many_cgroups_in_its_cell_and_no_more(
    small: Installation,
) -> None:
    needs(find_trees().v2 is not None, "cgroup v2")
    script = (
        "import os,sys\n"
        "own=[l.split('::')[1].strip() for l in open('/proc/self/cgroup') if l[:3]=='0::'][0]\n"
        "made=0\n"
        "try:\n"
        "  for n in range(5000): os.mkdir(f'{sys.argv[1]}{own}/x{n}'); made+=1\n"
        "except OSError: pass\n"
        "print(made,flush=True)\n"
        "import time; time.sleep(1000)\n"
    )
    running = small.run(PYTHON, "-c", script, str(find_trees().v2), target="root/one", user="root")
    made = int(running.line())
    assert 0 < made <= 512
    assert small.stop("root/one")["confirmed"] is True


def test_SEC_4_a_log_that_is_written_beyond_its_cap_is_emptied(small: Installation) -> None:
    """Whoever runs a target has its log's descriptor, and need not keep to the cap."""
    log, kept = Path(small.place.logs, "big.log"), Path(small.place.logs, "small.log")
    log.write_bytes(bytes(17 << 20))
    kept.write_bytes(b"kept")
    Table(small.place, 0).trim([str(log), str(kept), "/nowhere"])
    assert log.stat().st_size == 0
    assert kept.read_bytes() == b"kept"

"""The spool full of what is no stop, with a stop among it: that one is found and obeyed."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from installation import Installation, until
from offswitch.control.page import PageReader
from scale import LONG, runs

MANY = 1_000_000 if LONG else 20_000
KINDS = ("a FIFO", "a link", "a link to nowhere", "a socket", "a folder")
SLEEP = ("sleep", "100000")


@contextmanager
def hanging(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def litter(spool: Path, count: int) -> None:
    """Put so many names there that are no scope: links of one file, which cost next to nothing."""
    first = spool.parent / "litter"
    first.touch()
    for _ in range(count):
        os.link(first, spool / f"no scope {os.urandom(8).hex()}")
    first.unlink()


def dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_SR_11_a_stop_among_a_million_names_is_obeyed_and_nobody_is_held_up(
    installation: Installation,
) -> None:
    one, spool = installation, Path(installation.place.spool)
    a, b = (one.run(*SLEEP, target=name).born["pid"] for name in ("a", "b"))
    page = PageReader(one.place.page)
    pids = one.pids()
    with hanging(pids["warden"], pids["keeper"]):
        litter(spool, MANY // 2)
        (spool / "a").touch()
        litter(spool, MANY // 2)
    left = []
    while not dead(a):
        assert one.status()["targets"]
        left.append(page.lease_left_ns())
    assert min(left, default=1 << 40) > 1_000_000_000
    assert one.stop("b")["confirmed"] is True
    assert dead(b)
    page.close()
    until(lambda: not os.listdir(spool), "all of it is taken away", 600)


def test_SR_11_the_keeper_finds_it_too_while_the_warden_hangs(installation: Installation) -> None:
    one, spool = installation, Path(installation.place.spool)
    a = one.run(*SLEEP, target="a").born["pid"]
    b = one.run(*SLEEP, target="b").born["pid"]
    pids = one.pids()
    with hanging(pids["warden"]):
        with hanging(pids["keeper"]):
            litter(spool, runs(100_000) // 2)
            (spool / "a").touch()
            litter(spool, runs(100_000) // 2)
        until(lambda: dead(a), "obeyed by the keeper")
        assert not dead(b)


def test_SR_11_folders_that_nobody_can_remove_hide_no_stop(installation: Installation) -> None:
    one, spool = installation, Path(installation.place.spool)
    a = one.run(*SLEEP, target="a").born["pid"]
    with hanging(one.pids()["warden"]):
        for number in range(20_000 if LONG else 1000):
            (spool / f"no scope {number}" / "in").mkdir(parents=True)
    until(lambda: not [n for n in os.listdir(spool) if n.startswith("no")], "noticed", 300)
    (spool / "a").touch()
    until(lambda: dead(a), "obeyed")
    until(lambda: one.target("a")["latched"], "latched")


def test_SR_11_whatever_bears_the_name_is_a_stop_and_is_never_opened(
    installation: Installation, tmp_path: Path
) -> None:
    one, spool = installation, Path(installation.place.spool)
    one.run(*SLEEP, target="b")
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    for kind in KINDS:
        one.run(*SLEEP, target="shop/a")
        lay(spool.parent / "shop%2Fa", kind, outside).rename(spool / "shop%2Fa")
        until(lambda: one.target("shop/a")["confirmed"], f"{kind} is a stop")
        until(lambda: "shop%2Fa" not in os.listdir(spool), "taken away, or renamed")
        assert one.target("b")["state"] == "running"
        assert outside.read_text() == "as it was"
        assert one.reset("shop/a")["state"] == "done"
        one.run(*SLEEP, target="shop/a").close()
        assert one.status()["latched"] == [], "it is obeyed once"
        until(lambda: one.target("shop/a")["state"] == "exited", "hung up, and buried")


def lay(at: Path, kind: str, outside: Path) -> Path:
    """Make something of a kind at a path."""
    match kind:
        case "a FIFO":
            os.mkfifo(at)
        case "a link":
            at.symlink_to(outside)
        case "a link to nowhere":
            at.symlink_to("/dev/shm/nowhere")
        case "a socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(at))
        case "a folder":
            (at / "in it").mkdir(parents=True)
    return at

"""The warden renewed in place: nothing is frozen, nothing is lost, and a stop goes on (SR-23)."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from disk import freezable, frozen
from installation import Installation, until
from needs import needs_root
from offswitch.control.client import Conversation
from offswitch.control.page import PageReader
from offswitch.errors import Internal, OffswitchError, Storage, Unsupported
from renewing import Renewal
from scale import runs

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "offswitch"


def renew(installation: Installation) -> dict[str, object]:
    """Have the warden renewed; give the answer of its next code."""
    return installation.ask({"op": "handover"})


@contextlib.contextmanager
def held_in_the_gap(installation: Installation) -> Iterator[None]:
    """Stop the warden between its exec and its first answer; then let it go on to the end."""
    renewal = Renewal(installation)
    renewal.await_exec()
    os.kill(renewal.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(renewal.pid, signal.SIGCONT)
    renewal.done()


def test_SR_23_a_renewed_warden_is_the_same_process_with_the_same_children_and_peers(
    installation: Installation,
) -> None:
    before = installation.ask({"op": "ping"})
    keeper = installation.pids()["keeper"]
    asleep = installation.run("sh", "-c", "read word; echo $word; sleep 600", target="asleep")
    ends = installation.run("sh", "-c", "sleep 1; exit 7", target="ends")
    answer = renew(installation)
    assert (answer["ok"], answer["pid"]) == (True, before["pid"])
    assert answer["epoch"] == before["epoch"] + 1
    until(lambda: installation.pids()["keeper"] not in {None, keeper}, "a keeper of the new code")
    until(lambda: not Path(f"/proc/{keeper}/cmdline").exists(), "the keeper before has left")
    assert ends.event("exited")["code"] == 7, "its exit code is told over the same connection"
    asleep.conversation.send({"op": "signal", "signal": int(signal.SIGTERM)})
    assert asleep.event("exited")["signal"] == signal.SIGTERM
    until(lambda: installation.target("asleep")["state"] == "exited", "its end is seen")
    assert installation.run("sleep", "600", target="next").born["event"] == "born"


def test_SR_23_the_end_of_a_run_hangs_its_target_up_after_a_hand_over_too(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "600", target="hung-up")
    renew(installation)
    assert installation.target("hung-up")["state"] == "running"
    running.close()
    until(lambda: installation.target("hung-up")["state"] == "exited", "it is hung up")


def test_SR_23_RST_1_what_is_latched_and_proven_is_so_after_a_hand_over(
    installation: Installation,
) -> None:
    declared = {"name": "frozen", "limits_s": {"freeze": 4.0}}
    installation.ask({"op": "declare", "targets": [declared]})
    installation.run("sleep", "600", target="stopped")
    installation.run("sleep", "600", target="frozen")
    assert installation.stop("stopped")["confirmed"] is True
    assert installation.stop("frozen", level="freeze", reason="a look")["confirmed"] is True
    installation.press("nothing/yet")
    known = {row["target"]: (row["state"], row["confirmed"]) for row in _rows(installation)}
    latched = _latched(installation)
    renew(installation)
    after = {row["target"]: (row["state"], row["confirmed"]) for row in _rows(installation)}
    assert (after, _latched(installation)) == (known, latched)
    with pytest.raises(OffswitchError, match="latched by a stop"):
        installation.run("true", target="nothing/yet/born")
    until(lambda: installation.target("frozen")["level"] == "kill", "the freeze ends in its time")


def test_SR_23_a_stop_in_the_gap_is_done_by_the_keeper_and_proven_by_the_next_code(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "600", target="victim")
    installation.run("sleep", "600", target="bystander")
    message = installation.stop_message("victim")
    with (
        held_in_the_gap(installation),
        Conversation(installation.place.keeper_socket, 30) as keeper,
    ):
        waiting = Conversation(installation.place.warden_socket, 30)
        waiting.send(message)
        assert keeper.ask(message)["by"] == "keeper"
        until(lambda: not _alive(running.born["pid"]), "it is dead while nobody serves")
    accepted, final = waiting.receive(), waiting.receive()
    waiting.close()
    assert (accepted or {}).get("accepted") is True
    assert (final or {}).get("confirmed") is True, final
    assert [live["scope"] for live in installation.status()["latched"]] == ["victim"]
    assert installation.target("bystander")["state"] == "running"


def test_SR_23_a_name_in_the_spool_in_the_gap_is_obeyed(installation: Installation) -> None:
    running = installation.run("sleep", "600", target="victim")
    with held_in_the_gap(installation):
        Path(installation.place.spool, "victim").touch()
        until(lambda: not _alive(running.born["pid"]), "the keeper sees it")
    until(lambda: installation.target("victim")["confirmed"], "and the next code proves it")


def test_SR_23_a_stop_that_is_being_proven_is_answered_by_the_next_code(
    installation: Installation,
) -> None:
    installation.run("sleep", "600", target="victim")
    os.kill(installation.pids()["observer"], signal.SIGSTOP)  # so nobody proves it for a while
    with Conversation(installation.place.warden_socket, 30) as waiting:
        assert waiting.ask(installation.stop_message("victim"))["accepted"] is True
        assert renew(installation)["ok"] is True
        final = waiting.receive()
    assert (final or {}).get("confirmed") is True, final


def test_SR_23_the_lease_is_whole_through_a_gap_and_a_warden_lost_in_it_is_a_loss(
    installation: Installation,
) -> None:
    installation.run("sleep", "600", target="held")
    page = PageReader(installation.place.page)
    with held_in_the_gap(installation):
        assert page.lease_left_ns() > 1.5e9
        assert _frozen(installation, "held") == "frozen 0"
    with contextlib.suppress(OffswitchError):
        renewal = Renewal(installation)
        renewal.await_exec()
        assert installation.warden is not None
        installation.warden.kill()
        until(lambda: _frozen(installation, "held") == "frozen 1", "the keeper freezes it")
        installation.warden.wait()
    renewal._thread.join()
    page.close()
    installation.restart()
    until(lambda: _frozen(installation, "held") == "frozen 0", "and lets go of it")


def test_SR_23_hand_overs_under_load_freeze_nothing_and_lose_nothing(
    installation: Installation,
) -> None:
    for number in range(4):
        installation.run("sh", "-c", "while :; do sleep 0.01; done", target=f"standing/{number}")
    ending, lost, count = threading.Event(), [], [0]
    lock = threading.Lock()

    def press() -> None:
        while not ending.wait(random.uniform(0, 1)):
            with lock:
                count[0] += 1
                scope = f"pressed/{count[0]}"
            try:
                installation.press(scope)
            except (OffswitchError, OSError):
                lost.append(scope)

    pressers = [threading.Thread(target=press) for _ in range(40)]
    for presser in pressers:
        presser.start()
    try:
        for number in range(runs(100)):
            assert renew(installation)["ok"] is True
            installation.run("true", target=f"born/{number}").event("exited")
    finally:
        ending.set()
        for presser in pressers:
            presser.join()
    latched = {live["scope"] for live in installation.status()["latched"]}
    assert [scope for scope in lost if scope not in latched] == []
    assert not [one for one in installation.entries() if "froze" in str(one.get("detail"))]
    states = {row["state"] for row in _rows(installation) if "standing" in row["target"]}
    assert states == {"running"}


def test_SR_23_new_code_that_cannot_take_over_changes_nothing_and_says_why(
    tmp_path: Path,
) -> None:
    needs_root()
    installation = Installation(tmp_path)
    code = _copied(tmp_path)
    installation.program = [str(code.parents[3] / "bin" / "python"), "-I", "-m", "offswitch.warden"]
    try:
        installation.start("--no-recorder")
        pid, epoch = (installation.ask({"op": "ping"})[key] for key in ("pid", "epoch"))
        installation.run("sleep", "600", target="held")
        broken = code / "warden" / "sweeper.py"
        good = broken.read_text()
        _written(broken, "import no_such_module\n")
        with pytest.raises(Internal, match="no_such_module"):
            renew(installation)
        _written(broken, good)
        state = code / "warden" / "handover" / "passed.py"
        good = state.read_text()
        _written(state, good.replace("VERSION = 2\n", "VERSION = 3\n"))
        with pytest.raises(Unsupported, match="version 2, and this code knows 3"):
            renew(installation)
        _written(state, good)
        os.chmod(code, 0o777)
        with pytest.raises(OffswitchError, match="others could write the new code"):
            renew(installation)
        os.chmod(code, 0o755)
        note = next(n for n in installation.status()["notes"] if "not renewed" in n)
        assert "others could write" in note
        assert installation.ask({"op": "ping"})["epoch"] == epoch
        assert installation.stop("held")["confirmed"] is True
        init = code / "__init__.py"
        _written(init, init.read_text().replace('__version__ = "', '__version__ = "9.'))
        answer = renew(installation)
        assert (answer["pid"], str(answer["version"])[:2]) == (pid, "9.")
        assert not [n for n in installation.status()["notes"] if "not renewed" in n]
    finally:
        installation.close()


def test_SR_23_a_disk_that_hangs_keeps_the_old_code_and_nothing_else(tmp_path: Path) -> None:
    needs_root()
    with freezable(tmp_path / "disk", tmp_path / "image") as disk:
        installation = Installation(disk)
        try:
            installation.start()
            installation.run("sleep", "600", target="held")
            with frozen(disk):
                installation.press("elsewhere")
                with pytest.raises((Storage, OffswitchError), match="does not answer"):
                    renew(installation)
                assert installation.press("held")["accepted"] is True
                until(lambda: installation.target("held")["confirmed"], "a stop works on", 30)
            until(lambda: all(x["durable"] for x in _lives(installation)), "all is durable again")
            renewal = Renewal(installation)
            renewal.await_exec()
            os.kill(renewal.pid, signal.SIGSTOP)
            with frozen(disk):
                os.kill(renewal.pid, signal.SIGCONT)
                assert renewal.done()["ok"] is True, "it comes up where the disk hangs in the gap"
                assert installation.press("elsewhere/too")["accepted"] is True
        finally:
            installation.close()


def test_SR_23_only_the_owner_renews_and_a_hangup_signal_does_too(people: Installation) -> None:
    epoch = people.ask({"op": "ping"})["epoch"]
    assert people.warden is not None
    people.warden.send_signal(signal.SIGHUP)
    until(lambda: people.ask({"op": "ping"})["epoch"] == epoch + 1, "renewed by SIGHUP")
    people._note_helpers()
    done = people.cli("up", "--renew")
    assert done.returncode == 0, done.stderr
    assert people.ask({"op": "ping"})["epoch"] == epoch + 2


def _copied(folder: Path) -> Path:
    """Copy our code into an environment of its own, whose interpreter is the one that runs us."""
    home = folder / "environment"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    base = os.path.dirname(os.path.realpath(sys.executable))
    (home / "pyvenv.cfg").write_text(f"home = {base}\n")
    shutil.copytree(PACKAGE, packages / "offswitch", ignore=shutil.ignore_patterns("__pycache__"))
    return packages / "offswitch"


def _frozen(installation: Installation, name: str) -> str:
    """Read what the kernel says of a cell; whoever serves is not asked."""
    for folder in installation.cgroups():
        for cell in Path(folder).iterdir():
            if (cell / "cgroup.procs").exists() and cell.name.startswith("c"):
                return (cell / "cgroup.events").read_text().splitlines()[1]
    raise AssertionError(name)


def _written(path: Path, text: str) -> None:
    """Write a module as an upgrade does: later than what is compiled of the one before."""
    later = path.stat().st_mtime + 2
    path.write_text(text)
    os.utime(path, (later, later))


def _rows(installation: Installation) -> list[dict[str, object]]:
    return list(installation.status()["targets"])


def _lives(installation: Installation) -> list[dict[str, object]]:
    return list(installation.status()["latched"])


def _latched(installation: Installation) -> set[object]:
    return {live["digest"] for live in _lives(installation)}


def _alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False

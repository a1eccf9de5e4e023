"""A target that something else starts is a name: found again, held, and killed while latched."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from adopted_ground import Ground, tree
from disk import freezable, frozen
from installation import PYTHON, Installation, until
from offswitch.control.client import Conversation
from offswitch.errors import Latched, OffswitchError, Refused, Unsupported, Usage
from offswitch.model.named import Named
from offswitch.warden.finder.tree import Tree
from reboot import wipe


def adopt(installation: Installation, name: str, **said: object) -> dict[str, object]:
    return installation.ask({"op": "adopt", "target": name, "as": said})


def release(installation: Installation, name: str) -> dict[str, object]:
    return installation.ask({"op": "release", "target": name})


def test_SR_24_what_runs_already_is_adopted_stopped_and_confirmed(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    below = ground.born("llm", "sleep", "1000")
    ground.make("llm/worker")
    worker = ground.born("llm/worker", "sleep", "1000")
    until(lambda: len(ground.members("llm")) == 1, "it runs")
    row = adopt(installation, "first/llm", cgroup=path)
    assert (row["state"], row["adopted"]) == ("running", f"cgroup {path}")
    assert installation.target("first/llm")["readiness"]["sweep"] == "absent"
    answer = installation.stop("first")
    assert answer["confirmed"] is True
    assert {below.wait(), worker.wait()} == {-signal.SIGKILL}
    assert installation.target("first/llm")["state"] == "stopped"


def test_ACT_8_each_time_it_is_made_again_it_is_killed_and_after_the_reset_it_lives(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    adopt(installation, "shop/again", cgroup=path)
    assert installation.target("shop/again")["state"] in {"idle", "exited"}
    installation.stop("shop/again")
    ground.remove("llm")
    marker = Path(installation.folder, "acted")
    for _ in range(5):
        ground.make("llm")
        child = ground.born("llm", PYTHON, "-c", f"open({str(marker)!r}, 'a'); input()")
        assert child.wait(30) == -signal.SIGKILL
        ground.remove("llm")
    ground.make("llm")
    until(lambda: installation.target("shop/again")["confirmed"], "seen to stand still")
    assert installation.reset("shop/again")["state"] == "done"
    child = ground.born("llm", "sleep", "1000")
    until(lambda: installation.target("shop/again")["state"] == "running", "it may live")
    assert child.poll() is None
    assert installation.stop("shop/again")["confirmed"] is True, "the new one, not the old inode"
    assert child.wait() == -signal.SIGKILL


def test_SR_24_a_cgroup_that_is_gone_is_found_again_under_its_name_and_not_by_its_inode(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("deep/er/llm")
    adopt(installation, "shop/inode", cgroup=path)
    first = installation.ask({"op": "target", "name": "shop/inode"})["cell"]["cgroup_id"]
    for folder in ("deep/er/llm", "deep/er", "deep"):
        ground.remove(folder)
    until(lambda: installation.target("shop/inode")["state"] == "exited", "it is gone")
    ground.make("deep/er/llm")
    child = ground.born("deep/er/llm", "sleep", "1000")
    until(lambda: installation.target("shop/inode")["state"] == "running", "it is back")
    cell = installation.ask({"op": "target", "name": "shop/inode"})["cell"]
    assert cell["cgroup_id"] != first
    assert installation.stop("shop/inode")["confirmed"] is True
    assert child.wait() == -signal.SIGKILL


def test_SR_24_a_stop_that_is_latched_before_covers_what_is_adopted_later(
    installation: Installation, ground: Ground
) -> None:
    installation.stop("later")
    path = ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    adopt(installation, "later/llm", cgroup=path)
    assert child.wait(30) == -signal.SIGKILL
    with pytest.raises(Latched):
        release(installation, "later/llm")


def test_SR_24_a_freeze_freezes_it_and_a_reset_lets_it_go_on(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    script = "import time\nwhile True: print('.', end='', flush=True); time.sleep(0.01)"
    out, into = os.pipe()
    ground.born("llm", PYTHON, "-c", script, stdout=into)
    adopt(installation, "shop/frozen", cgroup=path)
    os.read(out, 1)
    assert installation.stop("shop/frozen", level="freeze")["confirmed"] is True
    assert installation.target("shop/frozen")["state"] == "frozen"
    installation.reset("shop/frozen")
    os.set_blocking(out, False)
    while True:
        try:
            os.read(out, 65536)
        except BlockingIOError:
            break
    os.set_blocking(out, True)
    assert os.read(out, 1) == b"."
    os.close(out)
    os.close(into)


def test_SR_24_a_process_is_adopted_by_what_its_cgroup_goes_by(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    until(lambda: ground.members("llm"), "it runs")
    row = adopt(installation, "shop/pid", pid=child.pid)
    assert row["adopted"] == f"cgroup {path}"
    other = ground.make("shared")
    one, two = (ground.born("shared", "sleep", "1000") for _ in range(2))
    until(lambda: len(ground.members("shared")) == 2, "both run")
    until(lambda: Path(f"/proc/{two.pid}/comm").read_text() == "sleep\n", "it is a sleep")
    with pytest.raises(Refused, match=rf"{other}, also holds sleep \({two.pid}\)"):
        adopt(installation, "shop/shared", pid=one.pid)
    with pytest.raises(Refused, match="there is no process"):
        adopt(installation, "shop/nobody", pid=2**22 - 1)


def test_SR_24_many_that_are_adopted_at_once_are_all_kept(tmp_path: Path, ground: Ground) -> None:
    """As the targets of one configuration are, on a slow disk: the next warden knows each."""
    names = [f"many/{number}" for number in range(4)]
    with freezable(tmp_path / "home", tmp_path / "disk") as home, contextlib.ExitStack() as stack:
        one = Installation(tmp_path)
        stack.callback(one.close)
        one.start()
        asked = []
        with frozen(home):
            for name in names:
                peer = stack.enter_context(Conversation(one.place.warden_socket, 30.0))
                path = ground.make(name.replace("/", "-"))
                peer.send({"op": "adopt", "target": name, "as": {"cgroup": path}})
                asked.append(peer)
            time.sleep(1)  # all are decided, and none is written
        for peer in asked:
            assert "error" not in (peer.receive() or {"error": "nothing"})
        kept = json.loads(Path(home, "adopted.json").read_text())
        assert sorted(item["target"] for item in kept) == names


def test_SR_24_a_program_is_found_wherever_it_has_a_cgroup_to_itself(
    installation: Installation, ground: Ground, tmp_path: Path
) -> None:
    program = f"llm-{os.getpid()}"
    Path(tmp_path, program).symlink_to("/bin/sleep")
    adopt(installation, "shop/program", program=program)
    installation.stop("shop/program")
    for number in range(2):
        ground.make(f"run-{number}")
        child = ground.born(f"run-{number}", f"{tmp_path}/{program}", "1000")
        assert child.wait(30) == -signal.SIGKILL
    ground.make("mixed")
    neighbour = ground.born("mixed", "sleep", "1000")
    until(lambda: ground.members("mixed"), "the neighbour runs")
    spared = ground.born("mixed", f"{tmp_path}/{program}", "1000")
    until(lambda: any("also holds sleep" in n for n in installation.status()["notes"]), "is said")
    assert (neighbour.poll(), spared.poll()) == (None, None), "a neighbour is not killed"


def test_SR_24_the_root_pid_1s_and_ours_are_never_adopted(
    installation: Installation, ground: Ground
) -> None:
    with pytest.raises(Usage):
        adopt(installation, "bad/root", cgroup="/")
    with pytest.raises(Refused, match="cells of ours"):
        adopt(installation, "bad/ours", cgroup=f"/{installation.place.cgroup}")
    ground.make("ours/warden")
    warden = installation.pids()["keeper"]
    before = Path(f"/proc/{warden}/cgroup").read_text().rstrip().rpartition("0::")[2]
    Path(ground.folder, "ours/warden/cgroup.procs").write_text(str(warden))
    try:
        for path in ("ours", "ours/warden"):
            with pytest.raises(Refused, match=rf"keeper \({warden}\)"):
                adopt(installation, "bad/keeper", cgroup=f"{ground.path}/{path}")
    finally:
        Path(f"{tree()}{before}/cgroup.procs").write_text(str(warden))


def test_SR_24_the_callers_own_session_is_never_adopted(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("session")
    child = ground.born(
        "session",
        f"{os.path.dirname(sys.executable)}/offswitch",
        *("target", "adopt", "bad/session", "--cgroup", path),
        env=installation.env,
        stderr=-1,
    )
    _out, errors = child.communicate()
    assert child.returncode == 5
    assert b"the cgroup of the caller" in errors


def test_SR_24_a_threaded_cgroup_is_not_adopted(installation: Installation, ground: Ground) -> None:
    ground.make("domain/threads")
    Path(ground.folder, "domain/threads/cgroup.type").write_text("threaded")
    with pytest.raises(Refused, match="threaded"):
        adopt(installation, "bad/threads", cgroup=f"{ground.path}/domain/threads")


def test_SR_3_only_root_may_adopt_and_release(tmp_path: Path, ground: Ground) -> None:
    made = Installation(tmp_path, gid=4200)
    path = ground.make("llm")
    try:
        made.start()
        for message in (
            {"op": "adopt", "target": "a", "as": {"cgroup": path}},
            {"op": "release", "target": "a"},
        ):
            pid = os.fork()
            if pid == 0:
                os.setgroups([4200])
                os.setresgid(4201, 4201, 4201)
                os.setresuid(4201, 4201, 4201)
                try:
                    made.ask(message)
                except Refused:
                    os._exit(5)
                except BaseException:  # noqa: BLE001 - a child of the test's, which must not go on
                    os._exit(9)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    finally:
        made.close()


def test_SEC_3_what_lives_in_an_adopted_cgroup_may_ask_for_nothing(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    adopt(installation, "shop/asks", cgroup=path)
    said = f"""
from offswitch.control.client import call
from offswitch.control.place import Place
from offswitch.errors import Refused
for op in ("status", "stop", "reset", "release"):
    try:
        call(Place({installation.home!r}, {installation.run_folder!r}), {{"op": op}})
    except Refused as error:
        print(error.message)
"""
    child = ground.born("llm", sys.executable, "-c", said, stdout=-1)
    out, _errors = child.communicate()
    assert out.decode().splitlines() == ["this comes from inside a cell"] * 4


def test_SR_24_start_and_run_say_who_starts_it(installation: Installation, ground: Ground) -> None:
    adopt(installation, "shop/theirs", unit="vllm")
    for verb in ("start", "run"):
        with pytest.raises(Unsupported) as told:
            installation.run("true", target="shop/theirs", op=verb)
        assert told.value.hint == "type: systemctl start vllm.service"
    installation.stop("shop/theirs")
    for verb in ("start", "run"):
        with pytest.raises(Latched):
            installation.run("true", target="shop/theirs", op=verb)
    assert installation.target("shop/theirs")["confirmed"] is True


def test_SR_24_what_is_released_is_held_no_longer(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    adopt(installation, "shop/free", cgroup=path)
    release(installation, "shop/free")
    installation.stop("shop/free")
    assert child.poll() is None
    with pytest.raises(OffswitchError, match="not adopted"):
        release(installation, "shop/free")


def test_SR_24_after_a_reboot_it_is_found_again_by_its_name_and_killed(
    fresh: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    adopt(fresh, "shop/llm", cgroup=path)
    fresh.stop("shop/llm")
    until(lambda: fresh.status()["latched"][0]["durable"], "durable")
    fresh.kill_everything()
    wipe(fresh)
    ground.remove("llm")
    ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    until(lambda: ground.members("llm"), "it runs before us")
    fresh.restart()
    assert child.wait(30) == -signal.SIGKILL
    until(lambda: fresh.target("shop/llm")["confirmed"], "seen to stand still")


def test_SR_24_the_loss_of_the_warden_freezes_it_and_the_next_one_lets_it_go_on(
    fresh: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    until(lambda: ground.members("llm"), "it runs")
    adopt(fresh, "shop/llm", cgroup=path)
    events = Path(ground.folder, "llm/cgroup.events")
    fresh.kill_warden()
    until(lambda: "frozen 1" in events.read_text(), "the keeper holds it")
    fresh.restart()
    until(lambda: "frozen 0" in events.read_text(), "it goes on")
    until(lambda: fresh.target("shop/llm")["state"] == "running", "and is known")
    os.kill(fresh.pids()["finder"], signal.SIGKILL)
    ground.make("llm/below")
    until(lambda: fresh.target("shop/llm")["state"] == "running", "the next finder has looked")
    assert fresh.stop("shop/llm")["confirmed"] is True
    assert child.wait() == -signal.SIGKILL


def test_SR_24_while_nobody_looks_for_it_it_is_unknown_and_no_stop_is_confirmed(
    fresh: Installation, ground: Ground
) -> None:
    adopt(fresh, "shop/llm", cgroup=ground.make("llm"))
    ground.remove("llm")
    until(lambda: fresh.target("shop/llm")["state"] == "exited", "it is gone")

    def lost() -> bool:
        """Kill each finder, which is replaced later each time, until none is there."""
        pid = fresh.pids().get("finder")
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pid and fresh.target("shop/llm")["state"] == "unknown"

    for _ in range(3):
        until(lost, "nobody looks")
        until(lambda: fresh.pids().get("finder"), "another looks")
    until(lost, "nobody looks, for a while")
    answer = fresh.stop("shop/llm")
    assert answer["confirmed"] is False
    assert "nobody has looked yet" in str(answer["targets"][0]["layers"])
    until(lambda: fresh.target("shop/llm")["confirmed"], "the next finder has looked")


def test_SR_24_what_is_adopted_and_cannot_be_read_is_said(
    fresh: Installation, ground: Ground
) -> None:
    adopt(fresh, "shop/llm", cgroup=ground.make("llm"))
    fresh.kill_warden()
    Path(fresh.home, "adopted.json").write_text('[{"target": "shop/llm"')
    fresh.restart()
    assert any("adopt it again" in note for note in fresh.status()["notes"])


def test_SR_24_the_kernel_tells_of_a_cgroup_that_is_made_and_nobody_has_to_look(
    ground: Ground,
) -> None:
    ground.make("one")
    seen = Tree(tree(), lambda path: (path + "/").startswith(ground.path + "/") or path == "/")
    try:
        seen.look()
        before = seen.inode(f"{ground.path}/one")
        ground.remove("one")
        ground.make("one/two")
        until(lambda: select.select([seen], [], [], 0)[0], "it is told")
        until(lambda: f"{ground.path}/one/two" in (seen.read() or []), "and what is in it")
        assert seen.inode(f"{ground.path}/one") not in {0, before}
    finally:
        seen.close()


@pytest.mark.parametrize(
    ("said", "path", "names", "holds"),
    [
        ({"unit": "a.service"}, "/system.slice/a.service", (), True),
        ({"unit": "a.service"}, "/a.service", (), True),
        ({"unit": "a"}, "/x.slice/x-y.slice/a.service", (), True),
        ({"unit": "a.service"}, "/user.slice/user-1.slice/user@1.service/a.service", (), False),
        ({"unit": "a.service"}, "/system.slice/b.service/a.service", (), False),
        (
            {"unit": "user@1.service/a.service"},
            "/u.slice/user@1.service/app.slice/a.service",
            (),
            True,
        ),
        (
            {"unit": "user@1.service/a.service"},
            "/u.slice/user@2.service/app.slice/a.service",
            (),
            False,
        ),
        ({"container": "c" * 64}, f"/docker/{'c' * 64}", (), True),
        ({"container": "c" * 12}, f"/system.slice/docker-{'c' * 64}.scope", (), True),
        ({"container": "c" * 11}, f"/system.slice/docker-{'c' * 64}.scope", (), False),
        ({"container": "web"}, f"/libpod_parent/libpod-{'c' * 64}", ("web",), True),
        ({"container": "web"}, f"/libpod_parent/libpod-conmon-{'c' * 64}.scope", ("web",), False),
        ({"container": "web"}, f"/libpod_parent/libpod-{'c' * 64}", ("web2",), False),
        ({"cgroup": "/a/b"}, "/a/b", (), True),
        ({"cgroup": "/a/b"}, "/a/b/c", (), False),
    ],
)
def test_SR_24_a_name_is_whose_supervisor_makes_the_path(
    said: dict[str, str], path: str, names: tuple[str, ...], *, holds: bool
) -> None:
    named = Named.of(said)
    assert named is not None
    assert named.holds(path, names) is holds

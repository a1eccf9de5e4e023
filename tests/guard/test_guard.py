"""The guard refuses at any latch and whenever nobody vouches for the program."""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guard.written_page import SLOT, WrittenPage
from offswitch.control.page import FIRST_WORD, LEASE_SECONDS, PAGE_SIZE, RUN
from offswitch.errors import Unreachable
from offswitch.guard import Guard, Kind, Stopped

LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")


def test_a_running_word_under_a_fresh_lease_may_go_on(page: WrittenPage) -> None:
    guard = page.guard()
    guard.check()
    assert guard.allowed()
    with guard.step("tool", "search"):
        pass


@pytest.mark.parametrize("level", LEVELS)
def test_any_latch_is_refused_and_named(page: WrittenPage, level: str) -> None:
    guard = page.guard()
    page.set(RUN + 1 + LEVELS.index(level))
    assert not guard.allowed()
    with pytest.raises(Stopped, match=level) as caught:
        guard.check()
    assert caught.value.level == level
    page.set(RUN)
    guard.check()


@pytest.mark.parametrize("word", [0, 7, 2**40, 2**63, 2**64 - 1])
def test_a_word_that_is_nobodys_means_stop(page: WrittenPage, word: int) -> None:
    guard = page.guard()
    page.set(word)
    assert not guard.allowed()
    with pytest.raises(Stopped, match="nobody's") as caught:
        guard.check()
    assert caught.value.level is None


def test_ACT_6_guard_stops_on_a_stale_lease(page: WrittenPage) -> None:
    guard = page.guard()
    page.renew(0.05)
    guard.check()
    deadline = time.monotonic() + 5
    while guard.allowed():
        assert time.monotonic() < deadline, "the lease never ran out"
    with pytest.raises(Stopped, match="lease ran out"):
        guard.check()
    with pytest.raises(Stopped, match="'search' refused"), guard.step("model", "search"):
        pytest.fail("a step began under a stale lease")
    page.renew(60)
    guard.check()


def test_ACT_4_guard_sees_a_stop_at_its_very_next_check(page: WrittenPage) -> None:
    """Another process writes the word; the next check refuses, without any waiting in between."""
    guard = page.guard()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        page.set(RUN + 4)
        os.write(write, b"x")
        os._exit(0)
    os.read(read, 1)
    refused = not guard.allowed()
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert refused


def test_the_stopped_cannot_unstop_itself(page: WrittenPage) -> None:
    guard = page.guard()
    view = guard._view.words  # what a hostile program in the process would take
    with pytest.raises(TypeError, match="read-only"):
        view[FIRST_WORD + SLOT] = RUN
    mapped = view.obj
    assert isinstance(mapped, mmap.mmap)
    with pytest.raises(TypeError, match="readonly"):
        mapped[0] = 0


@pytest.mark.parametrize("damage", ["missing", "short", "empty", "garbage", "folder", "fifo"])
def test_a_page_that_cannot_be_read_means_stop(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "page"
    if damage == "short":
        path.write_bytes(b"OFFSWPG1" + bytes(4096))
    elif damage == "empty":
        path.touch()
    elif damage == "garbage":
        path.write_bytes(b"x" * PAGE_SIZE)
    elif damage == "folder":
        path.mkdir()
    elif damage == "fifo":
        os.mkfifo(path)
    guard = Guard.from_page(str(path), SLOT)
    assert not guard.allowed()
    with pytest.raises(Stopped, match="page cannot be read"):
        guard.check()


@pytest.mark.parametrize("lease", [float("nan"), float("-inf"), 0.0, -1.0])
def test_a_lease_that_is_no_number_of_the_future_means_stop(
    page: WrittenPage, lease: float
) -> None:
    guard = page.guard()
    page.seconds[LEASE_SECONDS] = lease
    assert not guard.allowed()
    with pytest.raises(Stopped):
        guard.check()
    with pytest.raises(Stopped), guard.step("model"):
        pytest.fail("a step began without a lease")


def test_the_page_of_another_boot_means_stop(page: WrittenPage) -> None:
    page.words[2] ^= 1
    with pytest.raises(Stopped, match="another boot"):
        page.guard().check()


@pytest.mark.parametrize("word", ["", "-1", "x", "131064", "9" * 30, "٣", " 3"])
def test_a_word_that_is_no_number_of_a_slot_means_stop(page: WrittenPage, word: str) -> None:
    with pytest.raises(Stopped, match="no word of a page"):
        Guard.from_page(str(page.path), word).check()


def test_a_replaced_page_is_not_believed(page: WrittenPage, tmp_path: Path) -> None:
    guard = page.guard()
    page.renew(0.01)
    other = type(page)(tmp_path / "other")
    other.path.replace(page.path)
    other.renew(60)
    time.sleep(0.02)
    with pytest.raises(Stopped, match="lease ran out"):
        guard.check()


def test_a_removed_page_is_named_when_its_lease_has_run_out(page: WrittenPage) -> None:
    guard = page.guard()
    page.path.unlink()
    page.renew(-1)
    with pytest.raises(Stopped, match=r"lease ran out 1\.\d+ s ago, and .*page is gone"):
        guard.check()


def test_without_an_environment_it_is_an_error_and_no_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OFFSWITCH_PAGE", raising=False)
    monkeypatch.delenv("OFFSWITCH_WORD", raising=False)
    with pytest.raises(Unreachable, match="offswitch run"):
        Guard.from_env()
    free = Guard.from_env(unguarded="allow")
    free.check()
    assert free.allowed()
    with free.step("session"):
        pass


@pytest.mark.parametrize("half", ["OFFSWITCH_PAGE", "OFFSWITCH_WORD"])
def test_half_an_environment_means_stop_even_where_unguarded_is_allowed(
    page: WrittenPage, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    monkeypatch.setenv("OFFSWITCH_PAGE", str(page.path))
    monkeypatch.setenv("OFFSWITCH_WORD", str(SLOT))
    assert Guard.from_env().allowed()
    monkeypatch.delenv(half)
    assert not Guard.from_env(unguarded="allow").allowed()


@pytest.mark.parametrize(
    ("kind", "passes"),
    [("model", {"run", "restrict"}), ("tool", {"run"}), ("session", {"run"})],
)
def test_at_restrict_only_model_steps_begin(
    page: WrittenPage, kind: Kind, passes: set[str]
) -> None:
    guard = page.guard()
    step = guard.step(kind, "it")
    for word, level in enumerate(("run", *LEVELS), RUN):
        page.set(word)
        if level in passes:
            with step:
                pass
        else:
            with pytest.raises(Stopped, match=f"{kind} step 'it' refused: .*{level}"), step:
                pytest.fail("a step began that may not")


def test_an_unknown_kind_of_step_is_the_programs_mistake(page: WrittenPage) -> None:
    with pytest.raises(ValueError, match="model, tool, session"):
        page.guard().step("tol", "x")  # type: ignore[arg-type]


def test_a_stop_is_not_swallowed_by_a_framework_that_catches_everything(
    page: WrittenPage,
) -> None:
    guard = page.guard()
    page.set(RUN + 4)

    def framework() -> str:
        try:
            guard.check()
        except Exception:  # noqa: BLE001 - just what agent frameworks do around a tool
            return "the tool failed, let the model try again"
        return "went on"

    with pytest.raises(Stopped):
        framework()


def test_a_protected_function_runs_refuses_and_falls_back(page: WrittenPage) -> None:
    guard = page.guard()

    @guard.protect
    def price(item: str) -> str:
        """Ask the model."""
        return f"fresh {item}"

    @guard.protect(fallback=lambda item: f"cached {item}", kind="model")
    def priced(item: str) -> str:
        return f"fresh {item}"

    assert (price("tea"), priced("tea"), price.__doc__) == ("fresh tea",) * 2 + ("Ask the model.",)
    page.set(RUN + 1)
    assert priced("tea") == "fresh tea"
    with pytest.raises(Stopped):
        price("tea")
    page.set(RUN + 4)
    assert priced("tea") == "cached tea"


def test_the_async_twins_do_the_same(page: WrittenPage) -> None:
    guard = page.guard()

    @guard.protect(fallback=lambda: "cached")
    async def ask() -> str:
        return "fresh"

    async def later() -> str:
        return "cached later"

    @guard.protect(fallback=later)
    async def ask_twice() -> str:
        return "fresh"

    async def story() -> list[str]:
        said = [await ask(), await ask_twice()]
        await guard.acheck()
        async with guard.astep("tool", "mail"):
            page.set(RUN + 4)
        with pytest.raises(Stopped):
            await guard.acheck()
        with pytest.raises(Stopped):
            async with guard.step("model"):
                pytest.fail("a step began that may not")
        return [*said, await ask(), await ask_twice()]

    assert asyncio.run(story()) == ["fresh", "fresh", "cached", "cached later"]


def test_a_protected_stream_ends_with_the_stop_and_not_with_the_answer(page: WrittenPage) -> None:
    guard = page.guard()

    @guard.protect
    def tokens() -> Iterator[int]:
        yield from range(5)

    @guard.protect
    async def atokens() -> AsyncIterator[int]:
        for token in range(5):
            yield token

    async def collect(into: list[int]) -> None:
        async for token in atokens():
            into.append(token)
            if token == 2:
                page.set(RUN + 4)

    stream = tokens()
    got = [next(stream), next(stream)]
    page.set(RUN + 4)
    with pytest.raises(Stopped):
        next(stream)
    assert got == [0, 1]
    page.set(RUN)
    agot: list[int] = []
    with pytest.raises(Stopped):
        asyncio.run(collect(agot))
    assert agot == [0, 1, 2]
    with pytest.raises(TypeError, match="no fallback"):
        guard.protect(fallback=list)(tokens)


def test_a_forked_child_sees_the_stop_of_its_parent(page: WrittenPage) -> None:
    guard = page.guard()
    assert guard.allowed()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read, 1)
        os._exit(1 if guard.allowed() else 0)
    page.set(RUN + 4)
    os.write(write, b"x")
    _, status = os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert os.waitstatus_to_exitcode(status) == 0


def test_stopped_travels_between_processes() -> None:
    again = pickle.loads(pickle.dumps(Stopped("latched", "kill")))
    assert (again.reason, again.level, str(again)) == ("latched", "kill", "latched")


def test_the_guard_is_standard_library_only() -> None:
    """What a program pays for importing the guard: nothing from outside of Python."""
    probe = (
        "import sys; import offswitch.guard;"
        "print([m for m in sys.modules if m.partition('.')[0] not in"
        " {*sys.stdlib_module_names, '__main__', 'offswitch'}])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    # What the environment's own .pth files import is not the guard's doing.
    alone = subprocess.run(
        [sys.executable, "-c", probe.replace("import offswitch.guard;", "")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == alone.stdout

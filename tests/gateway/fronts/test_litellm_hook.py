"""LiteLLM's hook: one file that reads the page, and refuses whenever anything about it is wrong."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gate import HandPage
from offswitch.control.page import RUN
from offswitch.gateway.fronts import litellm_hook
from offswitch.gateway.fronts.litellm_hook import Stopped, make
from offswitch.model.level import Level


class Stage:
    """A page, the file that an adapter writes about it, and a hook that was told of it."""

    def __init__(self, folder: Path) -> None:
        self.page = HandPage()
        self.path = folder / "litellm.json"
        self.slots = {"shop/chat": 4, "shop/eu": 5}
        for slot in self.slots.values():
            self.page.set(slot, RUN)
        self.write()
        self.hook = make(str(self.path))

    def write(self, **more: Any) -> None:  # noqa: ANN401 - what a file may hold
        said = {
            "page": f"/proc/{os.getpid()}/fd/{self.page.fd}",
            "slots": self.slots,
            "models": {"m-eu": "shop/eu"},
            "usual": "shop/chat",
        }
        self.path.write_text(json.dumps(said | more))

    def hold(self, target: str, level: Level | None) -> None:
        self.page.set(self.slots[target], RUN if level is None else RUN + level)

    def call(self, model: str = "m-7") -> None:
        asyncio.run(self.hook.async_pre_call_hook(None, None, {"model": model}, "completion"))

    async def stream(self, model: str = "m-7") -> AsyncIterator[str]:
        async def chunks() -> AsyncIterator[str]:
            for text in ("one", "two", "three"):
                yield text

        given = self.hook.async_post_call_streaming_iterator_hook(None, chunks(), {"model": model})
        async for chunk in given:
            yield chunk


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path)
    yield one
    one.page.close()


def test_ACT_6_a_stopped_target_refuses_each_call_and_no_others(stage: Stage) -> None:
    stage.call()
    stage.hold("shop/chat", Level.KILL)
    with pytest.raises(Stopped) as refused:
        stage.call()
    assert refused.value.status_code == 503
    assert refused.value.headers["x-should-retry"] == "false"
    assert "shop/chat is stopped" in refused.value.message
    stage.call("m-eu")
    stage.hold("shop/chat", None)
    stage.call()


@pytest.mark.parametrize(
    ("level", "begins", "goes_on"),
    [
        (Level.RESTRICT, True, True),
        (Level.DRAIN, False, True),
        (Level.FREEZE, False, False),
        (Level.KILL, False, False),
        (Level.POWEROFF, False, False),
    ],
)
def test_a_level_holds_back_what_it_says(
    stage: Stage, level: Level, *, begins: bool, goes_on: bool
) -> None:
    async def read() -> list[str]:
        got = []
        async for chunk in stage.stream():
            got.append(chunk)
            stage.hold("shop/chat", level)
        return got

    if goes_on:
        assert asyncio.run(read()) == ["one", "two", "three"]
    else:
        with pytest.raises(Stopped):
            asyncio.run(read())
    if begins:
        stage.call()
    else:
        with pytest.raises(Stopped):
            stage.call()


def test_whatever_is_wrong_refuses(stage: Stage, tmp_path: Path) -> None:
    def refuses(path: Path, model: object = "m-7") -> None:
        hook = make(str(path))
        with pytest.raises(Stopped, match="nobody who vouches"):
            asyncio.run(hook.async_pre_call_hook(None, None, {"model": model}, "completion"))

    refuses(tmp_path / "nowhere")
    refuses(Path())
    for wrong in (
        {"page": "/dev/null"},
        {"page": None},
        {"slots": {"shop/chat": -20}},
        {"slots": {"shop/chat": 1 << 30}},
        {"slots": {}},
        {"models": []},
        {"usual": "shop/other"},
    ):
        stage.write(**wrong)
        refuses(stage.path)
    stage.path.write_text("{")
    refuses(stage.path)
    stage.write()
    stage.page.renew(-1)
    refuses(stage.path)


def test_a_lease_that_comes_back_is_believed_and_another_page_is_found(stage: Stage) -> None:
    stage.call()
    stage.page.renew(-1)
    with pytest.raises(Stopped):
        stage.call()
    stage.page.renew(60)
    stage.call()


def test_it_is_one_file_that_imports_the_standard_library_and_nothing_else() -> None:
    tree = ast.parse(Path(litellm_hook.__file__).read_text())
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names <= set(sys.stdlib_module_names)

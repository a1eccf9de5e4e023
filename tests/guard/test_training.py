"""Two lines in a training loop: it asks before each step, and tells how far it is."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from guard.test_report import Pipe, guard, pipe
from guard.written_page import WrittenPage
from offswitch.control.page import RUN
from offswitch.guard import Guard, Stopped
from offswitch.guard.training import Watched

__all__ = ["guard", "pipe"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(guard: Guard, clock: Clock) -> Watched:
    return Watched(guard, clock=clock)


def told(pipe: Pipe) -> list[dict[str, str]]:
    return [line["args"] for line in pipe.said() if line.get("train") == "step"]


class Tensor:
    """As much of a tensor of PyTorch's as a loss or a gradient needs."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value

    def detach(self) -> Tensor:
        return self

    def norm(self) -> Tensor:
        return Tensor(abs(self.value))

    def __pow__(self, power: int) -> Tensor:
        return Tensor(self.value**power)

    def __add__(self, other: Tensor) -> Tensor:
        return Tensor(self.value + other.value)


def test_a_loop_of_ones_own_reports_now_and_then_and_asks_each_time(
    watched: Watched, clock: Clock, page: WrittenPage, pipe: Pipe
) -> None:
    for number in range(1, 101):
        clock.now += 0.01
        watched.step(number, loss=Tensor(1 / number), grad_norm=2.0)
    said = told(pipe)
    assert len(said) == 2
    assert said[0] == {"step": "1", "loss": "1.0", "grad_norm": "2.0"}
    assert float(said[1]["rate"]) == pytest.approx(100.0)
    page.set(RUN + 4)
    with pytest.raises(Stopped):
        watched.step(101)
    with pytest.raises(Stopped):
        watched.check()


def hugging_face(watched: Any, state: Any, logs: dict[str, float]) -> None:  # noqa: ANN401
    """Call what its callback handler calls in one step, by name, as it does."""
    control = SimpleNamespace(should_training_stop=False)
    for event in ("on_step_begin", "on_pre_optimizer_step", "on_substep_end", "on_step_end"):
        assert getattr(watched, event)(None, state, control, model=None, optimizer=None) is None
    state.global_step += 1
    assert watched.on_log(None, state, control, logs=logs, model=None) is None
    assert watched.on_hook_of_a_later_version(None, state, control) is None


def test_hugging_faces_trainer_needs_no_more_than_the_hooks_by_name(
    watched: Watched, clock: Clock, page: WrittenPage, pipe: Pipe
) -> None:
    state = SimpleNamespace(global_step=4, is_world_process_zero=True)
    hugging_face(watched, state, {"loss": 0.5, "grad_norm": 1.25, "learning_rate": 0.1})
    hugging_face(watched, state, {"loss": math.nan})
    hugging_face(watched, state, {"eval_loss": 3.0})
    losses = [one["loss"] for one in told(pipe) if "loss" in one]
    assert losses == ["0.5", "nan"], "a loss that is logged is told at once"
    state.is_world_process_zero = False
    clock.now = 100.0
    hugging_face(watched, state, {"loss": 0.5})
    assert told(pipe) == [], "one process tells for all"
    page.set(RUN + 4)
    with pytest.raises(Stopped):
        hugging_face(watched, state, {})


def lightning(watched: Any, trainer: Any, module: Any, loss: object) -> None:  # noqa: ANN401
    """Call what Lightning's loop calls in one batch."""
    watched.on_train_batch_start(trainer, module, "batch", trainer.global_step)
    watched.on_before_optimizer_step(trainer, module, None)
    trainer.global_step += 1
    watched.on_train_batch_end(trainer, module, loss, "batch", trainer.global_step)


def test_lightning_gets_loss_and_the_norm_of_all_gradients(
    watched: Watched, clock: Clock, page: WrittenPage, pipe: Pipe
) -> None:
    parameters = [SimpleNamespace(grad=Tensor(value)) for value in (3.0, 4.0)]
    module = SimpleNamespace(parameters=lambda: [*parameters, SimpleNamespace(grad=None)])
    trainer = SimpleNamespace(global_step=0, is_global_zero=True)
    lightning(watched, trainer, module, {"loss": Tensor(0.5)})
    lightning(watched, trainer, module, Tensor(0.25))
    clock.now = 1.0
    lightning(watched, trainer, None, Tensor(0.25))
    assert [(one["step"], one["loss"], one.get("grad_norm")) for one in told(pipe)] == [
        ("1", "0.5", "5.0"),
        ("3", "0.25", None),
    ]
    page.set(RUN + 4)
    with pytest.raises(Stopped):
        lightning(watched, trainer, module, None)


def test_it_is_lightnings_callback_where_lightning_is_loaded_and_only_then(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Callback:
        """Lightning's loop takes nothing else."""

        def state_dict(self) -> dict[str, object]:
            return {}

    assert type(Watched(guard)) is Watched
    theirs = ModuleType("lightning.pytorch")
    theirs.Callback = Callback  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning.pytorch", theirs)
    both: Any = Watched(guard)
    assert isinstance(both, Callback)
    assert isinstance(both, Watched)
    assert both.state_dict() == {}
    both.step(1, loss=0.5)


def test_what_cannot_be_told_fails_no_step(watched: Watched, clock: Clock, pipe: Pipe) -> None:
    for loss in ("none", object(), None, [1]):
        clock.now += 1
        watched.step(1, loss=loss)
    assert [max(one) for one in told(pipe)] == ["step"] * 4
    with pytest.raises(AttributeError):
        watched.something_else  # noqa: B018


def test_a_pipe_that_is_full_costs_no_step(watched: Watched, clock: Clock, pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe.writer, b"x" * 4096):
            pass
    clock.now = 10.0
    watched.step(1, loss=0.5)
    os.read(pipe.reader, 1 << 20)
    clock.now = 20.0
    watched.step(2, loss=0.5)
    [line] = pipe.said()
    assert line["dropped"] == 1


def test_it_imports_nothing_but_the_standard_library() -> None:
    code = "import sys, offswitch.guard.training as t; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"torch", "lightning", "transformers", "numpy", "pydantic"} & set(out.stdout.split())


def test_ACT_1_at_drain_a_trainer_ends_by_its_own_flag_and_one_that_does_not_heed_it_is_stopped(
    watched: Watched, page: WrittenPage
) -> None:
    page.set(RUN + 2)
    state = SimpleNamespace(global_step=4, is_world_process_zero=True)
    control = SimpleNamespace(should_training_stop=False)
    watched.on_step_end(None, state, control)
    assert control.should_training_stop
    trainer = SimpleNamespace(should_stop=False, global_step=1)
    watched.on_train_batch_start(trainer)
    assert trainer.should_stop
    watched.on_train_batch_end(trainer, None)
    with pytest.raises(Stopped, match="drain"):
        watched.on_train_batch_start(trainer)
    with pytest.raises(Stopped, match="drain"):
        watched.step(1)


def test_hugging_face_may_call_what_lightning_has_by_the_same_name(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Callback:
        def on_train_end(self, trainer: object, module: object) -> None:
            """Take no more than Lightning gives."""

    theirs = ModuleType("lightning.pytorch")
    theirs.Callback = Callback  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning.pytorch", theirs)
    both: Any = Watched(guard)
    both.on_train_end(None, None, None, model=None)
    both.on_train_end(None, None)

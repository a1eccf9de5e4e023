"""A training loop under the switch, by two lines.

    from offswitch.guard.training import Watched
    trainer = Trainer(..., callbacks=[Watched()])      # Lightning's, or Hugging Face's

Before and after each step the guard is asked, and `Stopped` ends the training between two steps.
At level *drain*, where what has begun may end, the trainer is told to stop by its own flag, and
ends as after its last step; its program is refused at whatever it asks for next.
Twice a second, and at once where a loss is no finite number, it is reported how far the training
is: step, loss, norm of the gradient, steps a second. The report goes the way of every guard's: it
never waits, what finds no room is dropped and counted, and nothing is read back (SR-6). A loop of
one's own calls `watched.step(number, loss=…, grad_norm=…)`.

Neither library is ever imported. Hugging Face calls its hooks by name and needs no more. Lightning
takes only what derives from its `Callback`: where a program has loaded Lightning already, as every
program that trains with it has, what `Watched()` gives derives from that as well. A loss is turned
into a number only when it is reported, since for one on a GPU that waits for the GPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from offswitch.guard.guard import Guard
from offswitch.guard.kin import kindred
from offswitch.guard.stopped import Stopped

__all__ = ["Watched"]

_EVERY_S = 0.5
_LIGHTNING = ("lightning.pytorch", "pytorch_lightning")
_HOOK = "on_"


class Watched:
    """The callback; one for each process that trains."""

    def __new__(cls, *_: object, **__: object) -> Self:
        """Derive from Lightning's `Callback` too, where Lightning is loaded."""
        kin = kindred(cls, *((name, "Callback") for name in _LIGHTNING))
        for hook in dir(kin):
            # Where both libraries are loaded, Hugging Face calls hooks that Lightning has by the
            # same name, with arguments of its own.
            if hook.startswith(_HOOK) and not hasattr(cls, hook):
                setattr(kin, hook, staticmethod(_nothing))
        made: Self = object.__new__(kin)
        return made

    def __init__(
        self,
        guard: Guard | None = None,
        *,
        every_s: float = _EVERY_S,
        grad_norm: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `guard` (unless given: this cell's) and report every `every_s` seconds at most.

        `grad_norm`: with Lightning, the norm of all gradients is worked out for a report.
        """
        self._guard = guard if guard is not None else Guard.from_env()
        self._every_s = every_s
        self._norms = grad_norm
        self._clock = clock
        self._told_s: float | None = None
        self._told_step = 0
        self._norm: object = None

    def check(self) -> None:
        """Raise `Stopped` if the training may not go on."""
        self._guard.check()

    def step(self, number: int, *, loss: object = None, grad_norm: object = None) -> None:
        """Say that step `number` is done, and ask whether the next may begin."""
        if self._due():
            self._tell(number, _number(loss), _number(grad_norm))
        self._guard.check()

    def _ask(self, whom: object, flag: str, *, begins: bool = False) -> None:
        """Raise `Stopped`; at *drain* set the trainer's own flag instead, where it has one.

        A trainer that begins a step with its flag set does not heed it (Lightning, as long as
        `min_epochs` are not over), and is stopped.
        """
        try:
            self._guard.check()
        except Stopped as stop:
            heeded = not (begins and getattr(whom, flag, False))
            if stop.level != "drain" or not hasattr(whom, flag) or not heeded:
                raise
            setattr(whom, flag, True)

    def _due(self) -> bool:
        return self._told_s is None or self._clock() - self._told_s >= self._every_s

    def _tell(self, number: int, loss: float | None, grad_norm: float | None) -> None:
        now_s = self._clock()
        said: dict[str, object] = {"step": number}
        if loss is not None:
            said["loss"] = repr(loss)
        if grad_norm is not None:
            said["grad_norm"] = repr(grad_norm)
        if self._told_s is not None and now_s > self._told_s:
            said["rate"] = repr((number - self._told_step) / (now_s - self._told_s))
        self._told_s, self._told_step = now_s, number
        self._guard.report("train", "step", said)

    # --- Hugging Face's Trainer: (args, state, control, **more) ----------------------

    def on_step_begin(
        self, _args: object, _state: object, control: object = None, **__: object
    ) -> None:
        """Ask before a step."""
        self._ask(control, "should_training_stop", begins=True)

    def on_step_end(
        self,
        _args: object,
        state: Any,  # noqa: ANN401 - theirs
        control: object = None,
        **__: object,
    ) -> None:
        """Report a step, and ask."""
        if getattr(state, "is_world_process_zero", True) and self._due():
            self._tell(int(state.global_step), None, None)
        self._ask(control, "should_training_stop")

    def on_log(
        self,
        _args: object,
        state: Any,  # noqa: ANN401 - theirs
        _control: object = None,
        logs: Mapping[str, object] | None = None,
        **__: object,
    ) -> None:
        """Report what is logged: loss and norm come only here."""
        if not logs or "loss" not in logs or not getattr(state, "is_world_process_zero", True):
            return
        norm = _number(logs.get("grad_norm"))
        self._tell(int(state.global_step), _number(logs["loss"]), norm)

    # --- Lightning: (trainer, module, …) ---------------------------------------------

    def on_train_batch_start(self, trainer: object = None, *_: object, **__: object) -> None:
        """Ask before a batch."""
        self._ask(trainer, "should_stop", begins=True)

    def on_before_optimizer_step(self, _trainer: object, module: Any, *_: object) -> None:  # noqa: ANN401 - theirs
        """Work out the gradients' norm where a report is due."""
        if self._norms and self._due():
            self._norm = _norm_of(module)

    def on_train_batch_end(
        self,
        trainer: Any,  # noqa: ANN401 - theirs
        _module: object,
        outputs: Any = None,  # noqa: ANN401 - theirs
        *_: object,
        **__: object,
    ) -> None:
        """Report a batch, and ask."""
        if getattr(trainer, "is_global_zero", True) and self._due():
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            self._tell(int(trainer.global_step), _number(loss), _number(self._norm))
        self._norm = None
        self._ask(trainer, "should_stop")

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Do nothing in every other hook, whatever later versions call."""
        if name.startswith(_HOOK):
            return _nothing
        raise AttributeError(name)


def _nothing(*_: object, **__: object) -> None:
    """Be a hook that has nothing to do."""


def _number(value: Any) -> float | None:  # noqa: ANN401 - a tensor, a number, anything
    """Make a number of a loss; None for what is none."""
    if value is None:
        return None
    try:
        return float(value)
    except Exception:  # noqa: BLE001 - a program's own object: its step must not fail of being told
        return None


def _norm_of(module: Any) -> float | None:  # noqa: ANN401 - a module of PyTorch's
    """Give the norm of all gradients of a module."""
    try:
        total = None
        for parameter in module.parameters():
            if parameter.grad is not None:
                squared = parameter.grad.detach().norm() ** 2
                total = squared if total is None else total + squared
        return None if total is None else math.sqrt(float(total))
    except Exception:  # noqa: BLE001 - likewise
        return None

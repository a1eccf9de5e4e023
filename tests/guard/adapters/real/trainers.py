"""The real Hugging Face Trainer and Lightning on a tiny model: told, killed, drained."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from guard.adapters.ground import Ground, stopped
from offswitch.guard.adapters.training import Watched

STEPS = 20


class Rows(Dataset[Any]):
    def __len__(self) -> int:
        return STEPS * 2

    def __getitem__(self, index: int) -> Any:
        return {"x": torch.ones(4) * index, "labels": torch.ones(1)}


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(4, 1)

    def forward(self, x: Any = None, labels: Any = None) -> Any:
        return {"loss": ((self.line(x) * 1e-3 - labels) ** 2).mean()}


class At(TrainerCallback):
    """Latch at a step, as somebody outside would."""

    def __init__(self, ground: Ground, level: str | None, step: int = 5) -> None:
        self.ground, self.level, self.step = ground, level, step

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            self.ground.latch(self.level)


def hugging_face(ground: Ground, folder: Path) -> None:
    def trainer(level: str | None, *, ours_first: bool = False) -> Any:
        args = TrainingArguments(
            output_dir=str(folder / "hf"),
            per_device_train_batch_size=2,
            num_train_epochs=1,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        both: list[Any] = [At(ground, level), Watched(every_s=0)]
        if ours_first:
            both.reverse()
        return Trainer(model=Line(), args=args, train_dataset=Rows(), callbacks=both)

    whole = trainer(None)
    whole.train()
    assert whole.state.global_step == STEPS
    told = [line["args"] for line in ground.lines() if line.get("train")]
    assert {"loss", "step", "rate", "grad_norm"} <= {key for one in told for key in one}
    for ours_first, end in ((False, 5), (True, 6)):
        one = trainer("kill", ours_first=ours_first)
        assert stopped(one.train) == "kill"
        assert one.state.global_step == end
        ground.latch(None)
        one = trainer("drain", ours_first=ours_first)
        one.train()
        assert one.state.global_step == 6, one.state.global_step
        ground.latch(None)
    ground.latch("kill")
    assert stopped(trainer("kill").train) == "kill"
    ground.latch(None)


class Plain(pl.LightningModule):
    def __init__(self, ground: Ground, level: str | None) -> None:
        super().__init__()
        self.line = Line()
        self.ground, self.level = ground, level
        self.ended = 0

    def training_step(self, batch: Any, number: int) -> Any:
        if number == 5:
            self.ground.latch(self.level)
        return self.line(**batch)["loss"]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-4)

    def on_train_end(self) -> None:
        self.ended += 1


def lightning(ground: Ground, folder: Path) -> None:
    def trainer(**more: Any) -> Any:
        return pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(folder),
            callbacks=[Watched(every_s=0)],
            **more,
        )

    rows = DataLoader(Rows(), batch_size=2)
    whole = trainer()
    whole.fit(Plain(ground, None), rows)
    assert whole.global_step == 2 * STEPS
    told = [line["args"] for line in ground.lines() if line.get("train")]
    assert {"loss", "step", "rate", "grad_norm"} <= {key for one in told for key in one}
    one = trainer()
    assert stopped(lambda: one.fit(Plain(ground, "kill"), rows)) == "kill"
    assert one.global_step == 6
    ground.latch(None)
    one, module = trainer(), Plain(ground, "drain")
    one.fit(module, rows)
    assert (one.global_step, module.ended) == (6, 1), (one.global_step, module.ended)
    ground.latch(None)
    one, module = trainer(min_epochs=2), Plain(ground, "drain")
    assert stopped(lambda: one.fit(module, rows)) == "drain", "it does not heed its own flag"
    assert one.global_step == 6
    ground.latch(None)
    ground.latch("kill")
    assert stopped(lambda: trainer().fit(Plain(ground, "kill"), rows)) == "kill"
    ground.latch(None)


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder))
        hugging_face(ground, Path(folder))
        lightning(ground, Path(folder))
    for name in ("torch", "transformers", "accelerate", "lightning"):
        print(f"{name} {importlib.metadata.version(name)}")


if __name__ == "__main__":
    sys.exit(main())

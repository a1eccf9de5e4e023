"""A day of LLM traffic made from 58 minutes of it, and faults that may be planted in it.

The trace (azure-llm-requests-2023: arrival, context tokens, generated tokens of code and of
conversation requests) is cut into blocks of 60 s; seeded draws of whole blocks, with replacement,
are laid end to end for 24 hours, each kind for itself (moving-block bootstrap, Kunsch 1989); and a
daily curve, 1 at its height and 0.4 at night, thins the requests at random. So what hangs together
within a minute does so here, and what spans minutes does not: **it is a made day, not a real one**.

Series, a reading a second: for each kind the requests, context tokens and generated tokens of that
second, and both kinds together.
"""

from __future__ import annotations

import csv
import io
import math
import tarfile
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["DAY_S", "FAULTS", "SERIES", "day", "minutes", "plant"]

Floats = npt.NDArray[np.float64]
Minutes = list[npt.NDArray[np.int64]]

ARCHIVE = "azure-llm-requests-2023"
KINDS = ("code", "conv")
BLOCK_S = 60
DAY_S = 24 * 3600
NIGHT = 0.4
WHAT = ("requests", "context_tokens", "generated_tokens")
SERIES = tuple(f'engine.{what}{{kind="{kind}"}}' for kind in (*KINDS, "all") for what in WHAT)

FAULTS = {
    "loop: conversation requests five times as often": ("conv", (5.0, 5.0, 5.0)),
    "token burn: conversation answers three times as long": ("conv", (1.0, 1.0, 3.0)),
    "growing context: conversation contexts four times as long": ("conv", (1.0, 4.0, 1.0)),
    "nobody is served: no conversation any more": ("conv", (0.0, 0.0, 0.0)),
    "cut short: conversation answers a tenth as long": ("conv", (1.0, 1.0, 0.1)),
    "loop: code requests five times as often": ("code", (5.0, 5.0, 5.0)),
    "token burn: code answers ten times as long": ("code", (1.0, 1.0, 10.0)),
}
"""What each does to the requests, context and generated tokens of a second, as factors."""


def _read(data: Path, kind: str) -> str | None:
    name = f"AzureLLMInferenceTrace_{kind}.csv"
    folder, packed = data / ARCHIVE / "data" / name, data / f"{ARCHIVE}.tar.gz"
    if folder.exists():
        return folder.read_text()
    if not packed.exists():
        return None
    with tarfile.open(packed) as archive:
        for member in archive:
            if member.name.endswith(f"/{name}"):
                stream = archive.extractfile(member)
                return stream.read().decode() if stream else None
    return None


def minutes(data: Path) -> dict[str, Minutes] | None:
    """Give for each kind its minutes: [request, (second, context, generated)]; None: no trace."""
    cut: dict[str, Minutes] = {}
    for kind in KINDS:
        text = _read(data, kind)
        if text is None:
            return None
        rows = list(csv.DictReader(io.StringIO(text)))
        when = np.array([datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in rows])
        tokens = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows]
        second = (when - when[0]).astype(np.int64)
        every = np.column_stack([second % BLOCK_S, np.array(tokens)])
        cut[kind] = [every[second // BLOCK_S == n] for n in range(int(second[-1]) // BLOCK_S)]
    return cut


def day(cut: dict[str, Minutes], seed: int, seconds: int = DAY_S) -> Floats:
    """Make a day: [second, series]."""
    rng = np.random.default_rng(seed)
    made = np.zeros((seconds, len(KINDS) + 1, len(WHAT)))
    for number, kind in enumerate(KINDS):
        for block in range(seconds // BLOCK_S):
            minute = cut[kind][rng.integers(len(cut[kind]))]
            wave = math.cos(2 * math.pi * (block * BLOCK_S / DAY_S - 0.6))
            kept = minute[rng.random(len(minute)) < NIGHT + (1 - NIGHT) * (wave + 1) / 2]
            seconds_ = block * BLOCK_S + kept[:, 0]
            np.add.at(made[:, number, 0], seconds_, 1)
            np.add.at(made[:, number, 1], seconds_, kept[:, 1])
            np.add.at(made[:, number, 2], seconds_, kept[:, 2])
    return summed(made)


def summed(made: Floats) -> Floats:
    """Lay the kinds' series beside each other, and their sum beside them."""
    made[:, len(KINDS)] = made[:, : len(KINDS)].sum(axis=1)
    return made.reshape(len(made), -1)


def plant(clean: Floats, fault: str, begin: int, end: int) -> Floats:
    """Give a day in which a fault lasts from one second to another."""
    kind, factors = FAULTS[fault]
    made = clean.reshape(len(clean), len(KINDS) + 1, len(WHAT)).copy()
    made[begin:end, KINDS.index(kind)] *= factors
    return summed(made)

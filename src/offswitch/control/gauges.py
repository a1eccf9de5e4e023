"""What a model server says of its load: metrics in Prometheus' text format, and SGLang's JSON.

`vllm:num_requests_running` is summed over all labels, `busy{model="m-7"}` where these stand. A page
that cannot be read to its end says nothing: what was passed over might be what is in work. The
gateway reads it to see whether a cut reached the server, and so do the hands that pause one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["in_work", "load_of", "sum_of"]

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?[\d.]+)?")
_LABEL = re.compile(r'(?<![a-zA-Z0-9_])([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_MOST_LINES = 50_000
_BEHIND_NAME = ("{", " ", "\t")


def in_work(page: bytes, gauges: Sequence[str]) -> int | None:
    """Add gauges up; None: one of them does not tell, and the others tell of no work."""
    counts = [sum_of(page, each) for each in gauges]
    total = sum(count for count in counts if count is not None)
    return math.ceil(total) if total or None not in counts else None


def sum_of(page: bytes, series: str) -> float | None:
    """Sum a series; None: it is not there, or one line of it cannot be read."""
    name, _, wanted = series.partition("{")
    labels = set(_LABEL.findall(wanted))
    total: float | None = None
    lines = page.decode("utf-8", "replace").split("\n", _MOST_LINES)
    if len(lines) > _MOST_LINES:
        return None
    for each in lines:
        line = each.strip()
        if not line.startswith(name) or not line.startswith(_BEHIND_NAME, len(name)):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        if labels and not labels <= set(_LABEL.findall(found[2] or "")):
            continue
        try:
            value = float(found[3])
        except ValueError:
            return None
        if not 0 <= value < float("inf"):
            return None
        total = value + (total or 0.0)
    return total


def load_of(said: Any, names: Sequence[str]) -> int | None:  # noqa: ANN401 - what a server sends
    """Sum up over SGLang's ranks what each has by these names; None: one of them does not tell."""
    ranks = said.get("loads") if isinstance(said, dict) else said
    if not isinstance(ranks, list) or not ranks:
        return None
    if isinstance(said, dict) and said.get("dp_rank_count", len(ranks)) != len(ranks):
        return None  # a rank that did not answer may be the one that works
    total = 0
    for rank in ranks:
        for name in names:
            count = rank.get(name) if isinstance(rank, dict) else None
            if not isinstance(count, int) or count < 0:
                return None
            total += count
    return total

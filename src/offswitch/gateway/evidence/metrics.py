"""A page of metrics in Prometheus' text format, read for the sum of one series.

`vllm:num_requests_running` is summed over all labels, `busy{model="m-7"}` where these stand.
"""

from __future__ import annotations

import re

__all__ = ["sum_of"]

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_MOST_LINES = 50_000


def sum_of(page: bytes, series: str) -> float | None:
    """Sum a series; None: it is not there, or no number."""
    name, _, wanted = series.partition("{")
    labels = set(_LABEL.findall(wanted))
    total: float | None = None
    for line in page.decode("utf-8", "replace").split("\n", _MOST_LINES)[:_MOST_LINES]:
        if not line.startswith(name):
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[1] != name or not labels <= set(_LABEL.findall(found[2] or "")):
            continue
        try:
            value = float(found[3])
        except ValueError:
            return None
        if not 0 <= value < float("inf"):
            return None
        total = value + (total or 0.0)
    return total

"""Reading the name of a series: `sensor.what{label="value"}`, as `model.reading.series` spells it.

The order of labels does not matter to people, so a name is taken apart and spelt again;
two names of one series are then equal texts. What comes after the sensor's name may be what
Prometheus and OpenTelemetry call a metric, `vllm:num_requests_running` or `gen_ai.client.cost`;
a sensor's own name has no dot, so the first one parts the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from offswitch.model.reading import series

__all__ = ["SeriesName", "parse_series"]

_NAME = re.compile(r"([a-z0-9][a-z0-9_-]*)\.([A-Za-z_][A-Za-z0-9_:.]*)(?:\{(.*)\})?", re.DOTALL)
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_.]*)="((?:[^"\\\n]|\\["\\n])*)"')
_ESCAPED = re.compile(r'\\(["\\n])')


@dataclass(frozen=True, slots=True)
class SeriesName:
    """A series' name, taken apart."""

    sensor: str
    what: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The one canonical spelling."""
        return series(self.sensor, self.what, self.labels)


def parse_series(text: str) -> SeriesName:
    """Read a series' name; raises ValueError with an example."""
    match = _NAME.fullmatch(text)
    labels: dict[str, str] = {}
    rest = (match[3] or "") if match else ""
    while match and rest:
        label = _LABEL.match(rest)
        if label is None or label[1] in labels:
            match = None
            break
        labels[label[1]] = _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], label[2])
        rest = rest[label.end() :]
        if rest.startswith(",") and len(rest) > 1:
            rest = rest[1:]
        elif rest:
            match = None
    if match is None:
        example = """'orders-db.rows_changed{table="prices"}'"""
        raise ValueError(f"{text[:80]!r} is no series; write sensor.what, such as {example}")
    return SeriesName(match[1], match[2], labels)

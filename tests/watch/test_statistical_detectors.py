"""The e-detector: by the public suite, and by the law of the urn that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from offswitch.testing import DetectorSuite


class TestEDetector(DetectorSuite):
    kind = "e_detector"
    keys: ClassVar[Mapping[str, Any]] = {"series": "processes.count", "run_length": 500}
    calm = 5.0
    loud = 1000.0
    learning = 400


class TestCusum(DetectorSuite):
    kind = "cusum"
    keys: ClassVar[Mapping[str, Any]] = {
        "series": "processes.count",
        "run_length": 100,
        "window": 128,
    }
    calm = 5.0
    loud = 1000.0


class TestVariance(DetectorSuite):
    kind = "variance"
    keys: ClassVar[Mapping[str, Any]] = {"series": "processes.count", "ratio": 2.0}
    calm = 5.0
    loud = 1000.0

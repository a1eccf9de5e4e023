"""Runs kept in a file, a line each, so that a run of an hour that is broken off is not lost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stopbench.measure import Outcome
from stopbench.results import Conditions

__all__ = ["Kept"]


class Kept:
    """A file of JSON lines: the conditions first, then one line a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, conditions: Conditions) -> None:
        """Begin anew."""
        self.path.write_text(json.dumps(asdict(conditions)) + "\n")

    def add(self, system: str, scenario: str, outcome: Outcome, *, cold: bool) -> None:
        """Add a run."""
        line = {"system": system, "scenario": scenario, "cold": cold, **asdict(outcome)}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def read(self) -> tuple[Conditions, dict[tuple[str, str, bool], list[Outcome]]]:
        """Give what was kept."""
        first, *lines = self.path.read_text().splitlines()
        outcomes: dict[tuple[str, str, bool], list[Outcome]] = {}
        for line in lines:
            told: dict[str, Any] = json.loads(line)
            key = (told.pop("system"), told.pop("scenario"), told.pop("cold"))
            told["survivors"] = tuple(told["survivors"])
            outcomes.setdefault(key, []).append(Outcome(**told))
        return Conditions(**json.loads(first)), outcomes

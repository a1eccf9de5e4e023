"""`offswitch detector list|score`: what detectors there are, and what one would have said.

`score` takes a recorded series as CSV, time and value in its first two columns, and gives
time, score and alarm as CSV, each row as soon as it was read: the score of a row cannot
depend on what comes after it. A first line that is no reading is a header and left out.
Times are ISO 8601, or seconds, milliseconds, microseconds or nanoseconds since 1970. Where
they go back, as at the end of summer time, the row counts as of the time before it, and at
the end that is said. A value that is empty or `nan` is a gap: it has no score.
A score is in units of the alarm's limit; `alarm` is 1 in the row where an alarm begins.
"""

from __future__ import annotations

import inspect
import io
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, TextIO

import typer
from pydantic import ValidationError

from offswitch.cli.config import Json
from offswitch.cli.detector_bench import bench
from offswitch.cli.show import emit
from offswitch.errors import BadConfig, NotFound, Storage, Usage
from offswitch.plugins import DETECTORS, installed
from offswitch.printable import printable
from offswitch.watch.detectors.contract import Detector

__all__ = ["app"]

app = typer.Typer(help="What judges a series: list, score, bench.", no_args_is_help=True)
app.command("bench")(bench)

_LONGEST_LINE = 4096
_SERIES = "file.value"
_UNITS = ((1e17, 1e-3), (1e14, 1.0), (1e11, 1e3))
"""From which size on a number is nanoseconds, microseconds, milliseconds; in microseconds each."""
_LATEST = 1e19


@app.command("list")
def list_detectors(*, as_json: Json = False) -> None:
    """List the kinds of detectors that a rule can name, with one line each."""
    kinds = {
        kind: (plugin.package, _about(plugin.cls)) for kind, plugin in installed(DETECTORS).items()
    }
    if as_json:
        told = [
            {"kind": kind, "package": package, "about": about}
            for kind, (package, about) in kinds.items()
        ]
        emit({"ok": True, "detectors": told}, as_json=True, text="")
        return
    wide = max(len(kind) for kind in kinds)
    for kind, (_package, about) in kinds.items():
        sys.stdout.write(printable(f"{kind:{wide}}  {about}") + "\n")


@app.command("score")
def score(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="CSV of time and value.")],
    *,
    kind: Annotated[str, typer.Option(help="Which kind judges.")] = "novelty",
    keys: Annotated[
        list[str] | None, typer.Option("--key", help="A key of it, as in a rule: quiet=60.")
    ] = None,
) -> None:
    """Judge a recorded series, row by row, with nothing of the future."""
    detector = _detector(kind, keys or [])
    out = sys.stdout
    # Somebody may watch: a row is shown when it was judged. A file is read faster than that.
    flush = file == "-"
    with _opened(file) as lines:
        out.write("time,score,alarm\n")
        if flush:
            out.flush()
        now_us, back, raised = 0, 0, False
        for text, time_us, value in _rows(lines):
            back += time_us < now_us
            now_us = max(now_us, time_us)
            verdict = detector.update(now_us, value)
            begins = verdict.tripped and not raised
            raised = verdict.tripped
            shown = "" if math.isnan(verdict.score) else f"{verdict.score:.6g}"
            out.write(f"{text},{shown},{int(begins)}\n")
            if flush:
                out.flush()
    out.flush()
    if back:
        sys.stderr.write(
            f"{back} rows were earlier than those before, and count as of their time\n"
        )


def _about(cls: object) -> str:
    """Give the first line of a kind's story: its module's, which names it, else its own."""
    module = inspect.getmodule(cls)
    story = (module.__doc__ if module else None) or inspect.getdoc(cls) or ""
    first = story.strip().split("\n\n")[0].replace("\n", " ")
    return first.partition(": ")[2][:200] or first[:200]


def _detector(kind: str, keys: list[str]) -> Detector:
    kinds = installed(DETECTORS)
    plugin = kinds.get(kind)
    if plugin is None:
        raise NotFound(f"there is no detector {kind!r}", "offswitch detector list")
    if getattr(plugin.cls, "EVENTS", False):
        raise Usage(f"{kind} judges events, not numbers", "offswitch detector list")
    raw: dict[str, object] = {"kind": kind, "series": _SERIES}
    for item in keys:
        name, equals, text = item.partition("=")
        if not equals:
            raise Usage(f"--key {item!r} has no '='", "such as: --key quiet=60")
        raw[name] = _literal(text)
    try:
        made: Detector = plugin.cls(plugin.cls.Settings.model_validate(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or kind
        raise BadConfig(f"{where}: {first['msg']}", f"keys of {kind}: see docs/rules.md") from None
    return made


def _literal(text: str) -> object:
    """Read a number where it is one, else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace")
        yield sys.stdin
        return
    try:
        held = open(file, encoding="utf-8-sig", errors="replace", newline=None)  # noqa: SIM115
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}", "'-' reads from stdin") from None
    except OSError as error:
        raise Storage(f"{file} cannot be read: {error.strerror}") from None
    with held:
        yield held


def _rows(lines: TextIO) -> Iterator[tuple[str, int, float]]:
    """Give the time as written, the time and the value of each row."""
    number = 0
    while True:
        try:
            line = lines.readline(_LONGEST_LINE)
        except OSError as error:
            raise Storage(f"line {number + 1} cannot be read: {error.strerror}") from None
        if not line:
            return
        number += 1
        if len(line) >= _LONGEST_LINE:
            raise Usage(f"line {number} is longer than {_LONGEST_LINE} characters", _WANTED)
        if not line.strip():
            continue
        row = _row(line)
        if row is not None:
            yield row
        elif number > 1:
            raise Usage(f"line {number} is no reading: {printable(line.strip(), 80)!r}", _WANTED)


_WANTED = "each line is a time (ISO 8601, or since 1970) and a number, with a comma between"


def _row(line: str) -> tuple[str, int, float] | None:
    moment, comma, rest = line.partition(",")
    text = moment.strip().strip('"')
    time_us = _time_us(text) if comma else None
    try:
        value = float(rest.split(",")[0].strip().strip('"') or "nan")
    except ValueError:
        return None
    return None if time_us is None else (text, time_us, value)


def _time_us(text: str) -> int | None:
    """Read a time; one that names no zone is taken as UTC."""
    try:
        number = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    if not 0 <= number < _LATEST:
        return None
    unit = next((each for least, each in _UNITS if number >= least), 1e6)
    return round(number * unit)

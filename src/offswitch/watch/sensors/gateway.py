"""What passes a gateway of ours on its way to a model and back: requests, tokens, times, words.

    requests, requests{shape}        let through, since the last look; by which call of which API
    turned_away, turned_away{cause}  refused by the gateway
    ended{how}                       answers that ended: complete, stopped, client, upstream, …
    finished{reason}                 why the model ended, by its own word
    tokens{direction}                input and output: events of a stream as they come, put right
                                     at its end by the server's own count
    answers, refusals, tool_calls, sessions, bytes, events, errors, errors{type}
    open, silent_seconds             answers under way, and how long the most silent one is silent
    first_token_p50, first_token_p99, gap_p50, gap_p99, gap_most    seconds, of what is new
    repetition                       the most repetitive kibibyte of any one answer, 0 to 1
    canary{name}, prompt_canary{name}    tokens of `canaries` in what came back, and was given
    text, answer, prompt, tool       one reading each, with its words; 0 at a look without any
    dropped                          texts for which there was no room

The channel is the gateway's own: which target a request belongs to says the configuration, and
what was counted no target can take back. Its words are hostile all the same. The worker writes
the numbers into a file on tmpfs; here they are read, never mapped, and nobody there waits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import ClassVar, Literal

from offswitch.config.section import Name, SensorSection
from offswitch.control.place import chosen
from offswitch.control.sensed import (
    BUCKETS,
    CAUSES,
    ENDS,
    REASONS,
    SHAPES,
    TENTHS,
    WIDTH,
    At,
    Sensed,
    Text,
    TextKind,
    seconds_of,
)
from offswitch.errors import Corrupt
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal

__all__ = ["Gateway", "GatewaySection"]

_MOST_FILES = 64
_SILENT_NS = 2_000_000_000
"""A worker says some ten times a second that it lives."""
_MOST_TEXTS = 400
"""Of one look."""
_STRIDE = 32
_MOST = 1 << 50
"""What no counter grows by between two looks: such a number is none."""
_MOST_ARGUMENTS, _LONGEST_ARGUMENT = 13, 201
_PLAIN = {
    "sessions": At.SESSIONS,
    "bytes": At.BYTES,
    "events": At.EVENTS,
    "answers": At.ANSWERS,
    "refusals": At.REFUSALS,
    "tool_calls": At.TOOL_CALLS,
}
_LABELLED: tuple[tuple[str, str, tuple[str, ...], At], ...] = (
    ("requests", "shape", SHAPES, At.REQUESTS),
    ("turned_away", "cause", CAUSES, At.REFUSED),
    ("ended", "how", ENDS, At.ENDED),
    ("finished", "reason", REASONS, At.FINISHED),
    ("tokens", "direction", ("input", "output"), At.TOKENS_IN),
)
_SUMMED = frozenset({"requests", "turned_away"})
_EVENTS: dict[int, tuple[str, ...]] = {
    TextKind.PROMPT: ("prompt",),
    TextKind.ANSWER: ("answer",),
    TextKind.TEXT: ("text",),
    TextKind.WHOLE: ("answer", "text"),
    TextKind.TOOL: ("tool",),
}
_KINDS = ("prompt", "answer", "text", "tool")


class GatewaySection(SensorSection):
    """The keys of a sensor of a gateway."""

    kind: Literal["gateway"]
    gateway: Name | None = None
    """Only what passes this one; all of them unless given."""

    SERIES: ClassVar[frozenset[str]] = frozenset(
        {
            *_PLAIN, *_KINDS, *(name for name, _label, _names, _at in _LABELLED), "errors", "open",
            "silent_seconds", "first_token_p50", "first_token_p99", "gap_p50", "gap_p99",
            "gap_most", "repetition", "canary", "prompt_canary", "dropped",
        }
    )  # fmt: skip

    def eye(self) -> str:
        """All sensors of gateways share one: what they read has one form."""
        return "gateways"

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; some want a label of a closed set."""
        for name, label, names, _at in _LABELLED:
            if what == name and not (name in _SUMMED and not labels):
                fits = set(labels) == {label} and labels[label] in names
                return (
                    None if fits else f"sensor {self.name}: {what}{{{label}}}: {', '.join(names)}"
                )
        return super().problem(what, labels)


class _File:
    """One worker's file, and what is new in it."""

    __slots__ = ("_last", "_number", "name", "sensed")

    def __init__(self, name: str, sensed: Sensed, target: str, *, fresh: bool) -> None:
        self.name, self.sensed = name, sensed
        self._number = sensed.targets[target]
        self._last = (0,) * WIDTH if fresh else sensed.block(self._number)
        if fresh:
            sensed.from_the_begin()

    def take(self, into: _Sums, now_ns: int) -> None:
        """Add what came since the last call."""
        block = self.sensed.block(self._number)
        last, self._last = self._last, block
        for begin in range(0, WIDTH, _STRIDE):
            if block[begin : begin + _STRIDE] == last[begin : begin + _STRIDE]:
                continue
            for at in range(begin, min(begin + _STRIDE, WIDTH)):
                if last[at] < block[at] < last[at] + _MOST:
                    into.new[at] += block[at] - last[at]
        into.under_way += sum(block[At.REQUESTS : At.REQUESTS + len(SHAPES)])
        into.under_way -= sum(block[At.ENDED : At.ENDED + len(ENDS)])
        if block[At.SILENT]:
            into.silent_ns = max(into.silent_ns, now_ns - block[At.SILENT])
        into.texts += self.sensed.texts(self._number)
        into.canaries = self.sensed.canaries or into.canaries
        into.gone += self.sensed.gone
        self.sensed.gone = 0
        if now_ns - self.sensed.beat_ns > _SILENT_NS:
            into.quiet.append(self.name)


class _Sums:
    """What one look found in all files."""

    __slots__ = ("canaries", "gone", "new", "quiet", "silent_ns", "texts", "under_way")

    def __init__(self) -> None:
        self.new = [0] * WIDTH
        self.under_way = self.silent_ns = self.gone = 0
        self.texts: list[Text] = []
        self.canaries: tuple[str, ...] = ()
        self.quiet: list[str] = []


class Gateway:
    """Reads what gateways count for its target."""

    Settings: ClassVar[type[GatewaySection]] = GatewaySection
    SIGNAL: ClassVar[Signal] = Signal.MODEL
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = ""

    __slots__ = ("_begun", "_context", "_files", "_folder", "_settings", "_times")

    def __init__(
        self, settings: GatewaySection, context: SensorContext, folder: str | None = None
    ) -> None:
        """Read the files of the installation, or those in `folder`."""
        self._settings = settings
        self._context = context
        self._folder = chosen().senses if folder is None else folder
        self._files: dict[str, _File] = {}
        self._begun = False
        """Whether it has looked: a file that comes later is new from its begin."""
        self._times = {At.FIRST: (0.0, 0.0, 0.0), At.GAP: (0.0, 0.0, 0.0)}
        """The last quantiles, which stand while nothing is new."""

    def wake(self) -> Sequence[int]:
        """Nothing wakes it: whoever talks to a model could do it as often as they like."""
        return ()

    def look(self) -> Glance:
        """Read how much is new."""
        try:
            self._follow()
            sums = _Sums()
            for file in self._files.values():
                file.take(sums, self._context.clock.boot_us() * 1000)
        except OSError as error:
            return Glance(problem=f"what a gateway counts cannot be read: {error.strerror}")
        if not self._files:
            return Glance(problem=f"no gateway serves {self._settings.target}")
        if sums.quiet:
            return Glance(problem=f"a gateway's worker is silent: {', '.join(sums.quiet)}")
        return Glance([*self._numbers(sums), *_events(sums)])

    def _follow(self) -> None:
        """Have each worker's file open that is there now and knows the target."""
        try:
            found = sorted(os.listdir(self._folder))[:_MOST_FILES]
        except FileNotFoundError:
            found = []
        for name in [*self._files]:
            if name not in found or not self._files[name].sensed.same(f"{self._folder}/{name}"):
                self._files.pop(name).sensed.close()
        for name in found:
            if name not in self._files and not name.endswith(".new"):
                with suppress(Corrupt, FileNotFoundError):
                    self._open(name)
        self._begun = True

    def _open(self, name: str) -> None:
        sensed = Sensed(f"{self._folder}/{name}")
        wanted = self._settings.gateway
        if self._settings.target in sensed.targets and wanted in {None, sensed.gateway}:
            self._files[name] = _File(name, sensed, self._settings.target, fresh=self._begun)
        else:
            sensed.close()

    def _numbers(self, sums: _Sums) -> Iterator[Sample]:
        new = sums.new
        for what, label, names, at in _LABELLED:
            if what in _SUMMED:
                yield Sample(what, float(sum(new[at : at + len(names)])))
            for number, name in enumerate(names):
                yield Sample(what, float(new[at + number]), {label: name})
        for what, at in _PLAIN.items():
            yield Sample(what, float(new[at]))
        errors = {
            "4xx": new[At.ERRORS_4XX],
            "5xx": new[At.ERRORS_5XX],
            "upstream": new[At.ENDED + ENDS.index("upstream")],
            "timeout": new[At.ENDED + ENDS.index("timeout")],
        }
        yield Sample("errors", float(sum(errors.values())))
        for name, count in errors.items():
            yield Sample("errors", float(count), {"type": name})
        yield Sample("open", float(max(sums.under_way, 0)))
        yield Sample("silent_seconds", sums.silent_ns / 1e9)
        first, gap = self._quantiles(At.FIRST, new), self._quantiles(At.GAP, new)
        yield Sample("first_token_p50", first[0])
        yield Sample("first_token_p99", first[1])
        yield Sample("gap_p50", gap[0])
        yield Sample("gap_p99", gap[1])
        yield Sample("gap_most", gap[2])
        tenths = [number for number in range(TENTHS) if new[At.REPEATED + number]]
        yield Sample("repetition", max(tenths, default=0) / 10)
        for number, name in enumerate(sums.canaries):
            yield Sample("canary", float(new[At.IN_ANSWER + number]), {"name": name})
            yield Sample("prompt_canary", float(new[At.IN_PROMPT + number]), {"name": name})
        lost = {"why": "texts were written over before they were read"} if sums.gone else {}
        yield Sample("dropped", float(new[At.DROPPED] + sums.gone + _too_many(sums)), {}, lost)

    def _quantiles(self, at: At, new: Sequence[int]) -> tuple[float, float, float]:
        counts = new[at : at + BUCKETS]
        total = sum(counts)
        if total:
            median, high, most = (_quantile(counts, total * part) for part in (0.5, 0.99, 1.0))
            self._times[at] = (median, high, most)
        return self._times[at]

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.sensed.close()
        self._files.clear()


def _quantile(counts: Sequence[int], rank: float) -> float:
    """Give the upper end of the bucket in which the rank is reached."""
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= rank:
            return seconds_of(bucket)
    return seconds_of(BUCKETS - 1)


def _too_many(sums: _Sums) -> int:
    return max(len(sums.texts) - _MOST_TEXTS, 0)


def _events(sums: _Sums) -> list[Sample]:
    """Give each text as a reading; a kind that did not come is 0."""
    samples: list[Sample] = []
    came: set[str] = set()
    for one in sorted(sums.texts, key=lambda text: text.boottime_ns)[-_MOST_TEXTS:]:
        if one.kind == TextKind.TOOL:
            name, _newline, arguments = one.payload.partition(b"\n")
            detail = _call(name.decode("utf-8", "replace"), arguments)
        else:
            detail = {"text": one.payload.decode("utf-8", "replace")}
        for what in _EVENTS.get(one.kind, ()):
            came.add(what)
            samples.append(Sample(what, 1.0, {}, detail))
    return [*samples, *(Sample(what, 0.0) for what in _KINDS if what not in came)]


def _call(name: str, arguments: bytes) -> dict[str, str]:
    """Spell a call as detectors of calls read it: each argument a short text."""
    told = {"name": name}
    try:
        said = json.loads(arguments) if arguments else {}
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        return {**told, "args": arguments.decode("utf-8", "replace")[:_LONGEST_ARGUMENT]}
    for key, value in islice(said.items(), _MOST_ARGUMENTS):
        text = value if isinstance(value, str) else json.dumps(value)
        told[f"arg.{key[:40]}"] = text[:_LONGEST_ARGUMENT]
        if len(text) > _LONGEST_ARGUMENT:
            told["cut"] = "yes"
    if len(said) > _MOST_ARGUMENTS:
        told["cut"] = "yes"
    return told

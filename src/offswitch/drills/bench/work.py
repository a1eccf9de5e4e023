"""The work of a made-up agent: what it calls, says, spends and writes while all is well.

Sessions come at random, more by day than by night. In each the agent calls tools in an order of
its own habit, with arguments that differ, tries again what failed, asks some things several times
(a build that is not done yet), starts helpers, answers people, refuses a few of them, and writes
rows. A nightly load inserts thousands. It is seeded, and knows nothing of any detector: numbers
here are what such work looks like, not what a limit allows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["DAY_US", "Happening", "S", "answer", "sentence", "work"]

S = 1_000_000
DAY_US = 86_400 * S
_TICK_US = 10 * S
_NIGHTLY_US = 3 * 3600 * S
_SESSIONS_A_DAY = 260
_REFUSED = 0.08
_TOOLS = ("search", "read_file", "write_file", "run", "query", "fetch", "mail", "check_build")
_NEXT = {
    "": (8, 4, 0, 0, 3, 1, 0, 0),
    "search": (2, 6, 0, 0, 1, 2, 0, 0),
    "read_file": (1, 3, 4, 2, 1, 0, 0, 0),
    "write_file": (0, 2, 2, 5, 0, 0, 0, 1),
    "run": (0, 3, 2, 1, 1, 0, 1, 3),
    "query": (1, 1, 1, 0, 3, 0, 2, 0),
    "fetch": (2, 2, 1, 0, 0, 2, 0, 0),
    "mail": (3, 1, 0, 0, 2, 0, 0, 0),
    "check_build": (0, 2, 1, 1, 0, 0, 1, 4),
}
_PROSE = (
    "the order was found and its price is right so we can send it today if the stock holds the "
    "customer asked for a refund because one item came late please look at the second page of the "
    "report for details there are three open tickets about the new form and two of them wait for "
    "a test build which failed with a timeout in the third step of the pipeline again this week "
    "nobody changed the schema since march but an index is missing on the table of invoices"
)
_WORDS = tuple(_PROSE.split(" "))
_PEOPLE = ("ann", "bob", "cleo", "dan", "eve")
_HOSTS = ("api.acme.example", "docs.acme.example", "build.acme.example")


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens."""

    time_us: int
    what: str
    """The series, or `call`, `helper`, `line`, `answer`: what goes through a sensor's parser."""
    value: float = 1.0
    said: Mapping[str, str] = field(default_factory=dict)
    """The name and arguments of a call, the text of a line."""


def sentence(chance: random.Random, words: int) -> str:
    """Write so many words of prose."""
    begin = chance.randrange(len(_WORDS))
    text = []
    for number in range(words):
        if chance.random() < 0.25:  # noqa: PLR2004 - now and then it jumps
            begin = chance.randrange(len(_WORDS))
        text.append(_WORDS[(begin + number) % len(_WORDS)])
    return " ".join(text)


def answer(chance: random.Random, *, refused: bool) -> str:
    """Answer somebody."""
    begin = "I'm sorry, but I cannot help with that." if refused else "Here is what I found:"
    return f"{begin} {sentence(chance, chance.randrange(15, 70))}"


def work(seed: int, begin_us: int, end_us: int) -> Iterator[Happening]:
    """Give what happens from `begin_us` to `end_us` of a day, in order."""
    chance = random.Random(f"work {seed}")  # noqa: S311 - made-up work is no secret
    happenings = [*_sessions(chance, begin_us, end_us), *_gauges(chance, begin_us, end_us)]
    for night_us in range(_NIGHTLY_US, end_us, DAY_US):
        for number in range(40):
            at_us = night_us + number * S // 2
            if at_us >= begin_us:
                happenings.append(Happening(at_us, "db.rows_inserted", 100.0))
    yield from sorted(happenings, key=lambda one: one.time_us)


def _sessions(chance: random.Random, begin_us: int, end_us: int) -> Iterator[Happening]:
    now_us = float(begin_us)
    while True:
        hour = now_us / (3600 * S) % 24
        busy = 0.55 - 0.45 * math.cos(2 * math.pi * (hour - 3) / 24)
        now_us += chance.expovariate(_SESSIONS_A_DAY * 2 * busy / DAY_US)
        if now_us >= end_us:
            return
        yield from _session(chance, int(now_us), end_us)


def _session(chance: random.Random, now_us: int, end_us: int) -> Iterator[Happening]:
    name = ""
    for _ in range(chance.randrange(4, 40)):
        now_us += int(chance.lognormvariate(math.log(6 * S), 0.8))
        if now_us >= end_us:
            return
        name = chance.choices(_TOOLS, _NEXT[name])[0]
        given = _arguments(chance, name)
        again = chance.choices((1, 2, 3, 4, 6), (85, 8, 4, 2, 1))[0]
        for _ in range(again):
            yield Happening(now_us, "call", said={"name": name, **given})
            yield from _traces(chance, now_us, name)
            now_us += int(chance.uniform(1, 8) * S)
        yield Happening(now_us, "otlp.tokens", float(int(chance.lognormvariate(7.2, 0.8))))
        if chance.random() < 0.02:  # noqa: PLR2004 - helpers are rare
            yield Happening(now_us, "helper", said={"name": "helper", "depth": "1"})
    text = answer(chance, refused=chance.random() < _REFUSED)
    for _ in range(chance.randrange(1, 4)):
        yield Happening(now_us, "answer", said={"text": text})
        text = answer(chance, refused=chance.random() < _REFUSED)


def _arguments(chance: random.Random, name: str) -> dict[str, str]:
    number = chance.randrange(400)
    match name:
        case "search":
            return {"q": sentence(chance, chance.randrange(2, 6))}
        case "read_file" | "write_file":
            return {"path": f"/srv/shop/src/part{number % 40}/file{number}.py"}
        case "run":
            return {"command": f"python -m pytest tests/test_{number % 60}.py -k case_{number}"}
        case "query":
            return {"table": "invoices", "id": str(number)}
        case "fetch":
            return {"url": f"https://{chance.choice(_HOSTS)}/v1/items/{number}?page=1"}
        case "mail":
            to = f"{chance.choice(_PEOPLE)}@acme.example"
            return {"to": to, "text": sentence(chance, 12)}
        case _:
            return {"build": str(number % 7)}


def _traces(chance: random.Random, now_us: int, name: str) -> Iterator[Happening]:
    """Give what a call leaves: lines in a log, rows in a table."""
    yield Happening(now_us, "line", said={"text": f"{name} done: {sentence(chance, 9)}"})
    if name == "query" and chance.random() < 0.3:  # noqa: PLR2004 - some of them write
        yield Happening(now_us, "db.rows_updated", float(chance.randrange(1, 6)))
    if name == "query" and chance.random() < 0.03:  # noqa: PLR2004 - few delete
        yield Happening(now_us, "db.rows_deleted", float(chance.randrange(1, 4)))


def _gauges(chance: random.Random, begin_us: int, end_us: int) -> Iterator[Happening]:
    """Give what is read at an interval."""
    memory, extra = 8e8, 0
    for at_us in range(begin_us, end_us, _TICK_US):
        memory += (8e8 - memory) * 0.02 + chance.gauss(0, 1.2e7)
        extra = chance.randrange(2, 14) if chance.random() < 0.02 else max(extra - 4, 0)  # noqa: PLR2004
        yield Happening(at_us, "processes.count", float(4 + chance.randrange(3) + extra))
        yield Happening(at_us, "processes.memory_bytes", memory)
        yield Happening(at_us, "db.rows_deleted", 0.0)
        yield Happening(at_us, "db.rows_updated", 0.0)

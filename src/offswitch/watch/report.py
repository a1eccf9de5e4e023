"""What watch tells the warden twice a second, for `status`: signals, blindness, alarms, notes.

A fleet may be large and a message may not, so the signals go in parts, which the warden puts
together before it shows any. Rules are named by what they are about, as scopes, not target by
target: so a target that is born while watch is dead is known to have lost its eyes. Where
there are too many scopes to tell, everything is meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from offswitch.config.declared import ONE_PERSON_US
from offswitch.decide.rules import Act
from offswitch.watch.bench import Bench
from offswitch.watch.channels import Source, shown_signals

__all__ = ["report"]

_PART_CHARS = 60_000
"""Of signals in one message: the warden takes it in between two stops."""
_SCOPES_CHARS = 200_000
_MOST_ALARMS = 100
_MOST_NOTES = 32
_LONGEST_TEXT = 300
_SHORT = 12
"""Of a question's name: enough to type."""
_RANK = {Act.ADVISE: 0, Act.AUTO: 1, Act.SHADOW: 2}
"""Who waits for a person comes first."""

Message = dict[str, Any]


def report(
    benches: Sequence[Bench],
    sources: Sequence[Source],
    mono_us: int,
    untracked: Sequence[Message] = (),
    notes: Sequence[str] = (),
    shelved: Collection[str] = (),
) -> list[Message]:
    """Give the messages of one report, the first with all but the later signals.

    `untracked`: processes beside the targets that are under no control. `notes` come before those
    of the sensors, and alarms of the rules in `shelved` are not shown.
    """
    auto = [bench for bench in benches if bench.rule.act is Act.AUTO]
    wanted = [bench for bench in benches if bench.tripped or bench.question is not None]
    loud = [bench for bench in wanted if bench.rule.name not in shelved]
    loud.sort(key=lambda bench: (_RANK[bench.rule.act], bench.since_us))
    parts = list(_parts(shown_signals(sources, mono_us)))
    messages: list[Message] = [
        {"op": "report", "part": number, "of": len(parts), "signals": part}
        for number, part in enumerate(parts)
    ]
    messages[0] |= {
        "auto": _scopes(auto),
        "fast": _scopes(bench for bench in auto if bench.rule.time_to_harm_us < ONE_PERSON_US),
        "blind": _scopes(bench for bench in auto if bench.blind),
        "alarms": [_alarm(bench) for bench in loud[:_MOST_ALARMS]],
        "notes": [note[:_LONGEST_TEXT] for note in notes[:_MOST_NOTES]]
        + [
            f"sensor {source.section.name} of {source.section.target}: {source.note}"[
                :_LONGEST_TEXT
            ]
            for source in sources
            if source.note
        ][:_MOST_NOTES],
        "untracked": list(untracked),
    }
    return messages


def _scopes(benches: Iterable[Bench]) -> list[str]:
    """Name what rules are about: what they stop, and what they look at."""
    scopes = {text for bench in benches for text in (bench.rule.scope.text, bench.rule.target)}
    return sorted(scopes) if sum(map(len, scopes)) <= _SCOPES_CHARS else ["/"]


def _alarm(bench: Bench) -> Message:
    question = bench.question
    asked: Message = {}
    if question is not None:
        asked = {"asks": question.digest[:_SHORT], "due_us": question.due_wall_us}
    return {
        "rule": bench.rule.name,
        "scope": bench.rule.scope.text,
        "act": bench.in_force_now(0).act.value,
        "harm": bench.rule.harm[:_LONGEST_TEXT],
        "since_us": bench.since_us,
        "state": bench.alarm.value,
        "level": bench.alarm_level.label,
        **asked,
    }


def _parts(signals: Mapping[str, Mapping[str, Message]]) -> Iterable[Message]:
    part: Message = {}
    room = _PART_CHARS
    for target, kinds in signals.items():
        room -= len(target) + sum(len(kind) + 40 for kind in kinds)
        if room < 0 and part:
            yield part
            part, room = {}, _PART_CHARS
        part[target] = kinds
    yield part

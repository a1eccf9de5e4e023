"""Incidents in words, for a terminal: whatever others wrote is printable here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from offswitch.printable import printable
from offswitch.reports.after_action import clock, length
from offswitch.reports.delays import Delays
from offswitch.reports.figures import Figures, Month, Taken
from offswitch.reports.incident import Event, Incident, Sort

__all__ = ["figures_lines", "in_full", "list_lines"]

_SHOWN_LAYERS = 40


def list_lines(shown: Sequence[Incident], known: Sequence[Incident]) -> str:
    """One line for each, and what is not shown."""
    lines = [_line(one) for one in shown] or ["no incident is open"]
    left = len(known) - len(shown)
    if left:
        near = sum(one.sort is Sort.NEAR_MISS for one in known) - sum(
            one.sort is Sort.NEAR_MISS for one in shown
        )
        lines.append(f"and {left} that are closed or near misses ({near}): --all")
    return "\n".join(lines)


def _line(one: Incident) -> str:
    """Name, when, severity, state, what; sort only where it is no stop."""
    sort = "" if one.sort is Sort.STOP else f" [{one.sort.value}]"
    lead = f"  lead: {printable(one.lead, 40)}" if one.lead else ""
    left = f"  {len(one.unconfirmed)} NOT CONFIRMED" if one.unconfirmed else ""
    when = clock(one.opened_us)[:19]
    what = printable(one.title, 200)
    return f"{one.id}  {when}Z  {one.severity:<8}  {one.state:<13}  {what}{sort}{left}{lead}"


def in_full(one: Incident) -> str:
    """Everything about one."""
    return "\n".join(_all_of(one))


def _all_of(one: Incident) -> Iterator[str]:
    yield f"{one.id}  {printable(one.title)}"
    facts = [
        ("sort", one.sort.value),
        ("state", one.state.value),
        ("severity", f"{one.severity.value}: {one.severity_why}  #{one.severity_in}"),
        ("known since", f"{clock(one.aware_us)}, by {one.aware_how}  #{one.aware_in}"),
        ("opened", f"{clock(one.opened_us)}  #{one.opened_in}"),
        ("by", one.opened_by or ""),
        ("said", one.why),
        ("scopes", ", ".join(one.scopes)),
        ("targets", f"{one.target_count}: {', '.join(one.targets[:10])}" if one.targets else ""),
        ("lived again", f"{one.moved} times" if one.moved else ""),
        ("again stopped", f"{one.trips} times on probation" if one.trips else ""),
        ("reset", f"{clock(one.reset_us)}  #{one.reset_in}" if one.reset_us is not None else ""),
        ("lead", one.lead or ""),
        ("was", ", ".join(one.aliases)),
    ]
    yield from (f"  {name:<14}{printable(text, 1000)}" for name, text in facts if text)
    yield from _delays(one.delays)
    yield from _layers(one)
    yield from _lists(one)
    yield ""
    yield "timeline (UTC)"
    yield from map(_event, one.events)
    yield from (f"  … {count} more of kind {kind}" for kind, count in one.left_out.items())
    if one.closing is not None:
        yield f"closed as {one.closing.outcome.value}  #{one.closing.index}"
        yield f"  cause   {printable(one.closing.cause or '(erased)', 2000)}"
        yield from (f"  action  {printable(action, 2000)}" for action in one.closing.actions)


def _delays(delays: Delays) -> Iterator[str]:
    if not delays.segments:
        return
    yield ""
    yield "where the time went"
    for part in delays.segments:
        yield f"  {part.step.value:<14}{length(part.us):>16}"
    if delays.unknown_us:
        yield f"  {'in UNKNOWN':<14}{length(delays.unknown_us):>16}"
    whole = "" if delays.complete else "  (what is UNKNOWN at an end is not in it)"
    yield f"  {'in all':<14}{length(delays.total_us):>16}{whole}"


def _layers(one: Incident) -> Iterator[str]:
    if not one.layers and not one.silent:
        return
    yield ""
    yield "layers"
    for layer in one.layers[:_SHOWN_LAYERS]:
        seen = (
            "confirmed" if layer.confirmed else "NOT CONFIRMED" if layer.counted else "not counted"
        )
        name = printable(f"{layer.target} {layer.layer}", 80)
        yield f"  {seen:<14}{name}  {printable(layer.detail, 300)}  #{layer.index}"
    left = len(one.layers) - _SHOWN_LAYERS + one.layers_left_out
    if left > 0:
        yield f"  … {left} more: --json"
    for target in one.silent[:_SHOWN_LAYERS]:
        yield f"  NOT OBSERVED  {printable(target, 200)}"


def _lists(one: Incident) -> Iterator[str]:
    """What was in flight, and what must be made anew, as hands list it."""
    for title, of in (("in flight when it was stopped", 0), ("must be made anew", 1)):
        found = [
            (acted, index, text)
            for acted in one.acted
            for index, text in (acted.happened, acted.reissue)[of]
        ]
        if found:
            yield ""
            yield title
        for acted, index, text in found[:_SHOWN_LAYERS]:
            name = printable(f"{acted.target} {acted.actuator}", 80)
            yield f"  {name}  {printable(text, 300)}  #{index}"
        if len(found) > _SHOWN_LAYERS:
            yield f"  … {len(found) - _SHOWN_LAYERS} more: --json"


def _event(event: Event) -> str:
    by = f"  by {printable(event.by, 60)}" if event.by else ""
    words = f"  “{printable(event.words, 300)}”" if event.words else ""
    when = clock(event.time_us).removesuffix(" UTC")
    return f"  {when}  {printable(event.what, 300)}{by}{words}  #{event.index}"


def figures_lines(figures: Figures) -> str:
    """A row for each month."""
    head = (
        "month    incidents  stops  false  near misses  not confirmed  open"
        "        detect        decide       confirm"
    )
    rows = [_month(month) for month in (*figures.months, figures.total)]
    share = figures.total.false_share
    near = figures.total.near_for_each_stop
    last = [
        "" if share is None else f"false stops: {share:.1%} of all stops",
        "" if near is None else f"near misses for each stop: {near:g}",
        *_trend(figures),
        f"from {figures.size} entries; times are medians over the stops of which they are known",
    ]
    return "\n".join([head, *rows, *(line for line in last if line)])


def _month(one: Month) -> str:
    times = "".join(f"{_taken(each):>14}" for each in (one.detect, one.decide, one.confirm))
    counts = (
        f"{one.incidents:>9}  {one.stops:>5}  {one.false_stops:>5}  {one.near_misses:>11}"
        f"  {one.not_confirmed:>13}  {one.open:>4}"
    )
    return f"{one.month:<7}  {counts}{times}"


def _taken(taken: Taken) -> str:
    return "unknown" if taken.median_us is None else length(taken.median_us)


def _trend(figures: Figures) -> list[str]:
    """Say what has changed since the month before."""
    change = figures.months[-1].change if figures.months else None
    if change is None:
        return []
    words = {"stops": "stops", "false_stops": "false stops", "near_misses": "near misses"}
    told = ", ".join(f"{change[key]:+} {word}" for key, word in words.items())
    return [f"{figures.months[-1].month} against the month before: {told}"]

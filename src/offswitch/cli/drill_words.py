"""Drills in words: what one has shown, what all of them prove, and what they do not."""

from __future__ import annotations

from offswitch.drills.canary import LayerOutcome, Outcome
from offswitch.drills.figures import COMBINED, NO_SIL, Figures, LayerFigures, State
from offswitch.drills.schedule import Due
from offswitch.printable import printable

__all__ = ["age_of", "figure_cells", "figures_notes", "outcome_words", "share"]

_ENDED = {
    "passed": "PASSED: every layer was seen to act, by the drill and by the observer.",
    "not-confirmed": "NOT CONFIRMED: {failed} was not seen to act. It is UNPROVEN from now on.",
    "failed": "FAILED: the drill did not come to its press, so it proves nothing.",
    "overtaken": "OVERTAKEN by a real stop, which goes first. The drill counts for nothing.",
    "dry": "DRY: its target was made, acted, and was taken away unstopped. That earns nothing.",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def outcome_words(outcome: Outcome) -> str:
    """Tell of one drill, a line a layer."""
    failed = ", ".join(one.layer for one in outcome.layers if not one.passed)
    ended = _ENDED.get(outcome.state, outcome.state).format(failed=failed)
    lines = [f"{outcome.drill}: {ended}"]
    lines += [_layer(one) for one in outcome.layers]
    if outcome.trouble:
        lines.append(f"  still latched: {outcome.trouble}")
        lines.append(f"  next: offswitch status {outcome.target}")
    elif outcome.reset is not None:
        lines.append("  its own stop was reset, and its target is gone")
    return "\n".join(printable(line, 2000) for line in lines)


def _layer(one: LayerOutcome) -> str:
    mark = " " if one.passed else "!"
    if one.last_act_ns is not None and one.last_act_ns < 0:
        last = "none after the order"
    else:
        last = _ms(one.last_act_ns)
    times = [
        f"commanded {_ms(one.commanded_ns)}",
        f"last act {last}" if one.seen else "last act NOT SEEN",
        f"confirmed {_ms(one.confirmed_ns)}" if one.confirmed else "NOT CONFIRMED",
    ]
    why = f": {one.why}" if one.why else ""
    return f"{mark} {one.layer:<8} {', '.join(times)}{why}"


def _ms(ns: int | None) -> str:
    return "?" if ns is None else f"{ns / 1e6:.1f} ms"


def share(value: float | None) -> str:
    """Write a probability or a rate to three digits."""
    return "-" if value is None else f"{value:.2e}"


def age_of(time_us: int | None, now_us: int) -> str:
    """Say how long ago that was, in the largest unit."""
    if time_us is None:
        return "never"
    seconds = max(0, (now_us - time_us) // 1_000_000)
    size, unit = next(((n, u) for n, u in _UNITS if seconds >= n), (1, "s"))
    return f"{seconds // size} {unit} ago"


def figure_cells(row: LayerFigures, now_us: int) -> list[str]:
    """Give the cells of one row of the table of figures: as wide as 80 characters hold."""
    proven = row.state is State.PROVEN
    return [
        "all" if row.layer == COMBINED else row.layer,
        row.state.value if proven else row.state.value.upper(),
        str(row.n),
        str(row.k),
        share(row.bound),
        share(row.jeffreys),
        share(row.rate_per_h),
        share(row.pfd_average),
        share(row.pfd_now),
        age_of(row.last_us, now_us).removesuffix(" ago"),
    ]


def figures_notes(known: Figures, due: Due) -> list[str]:
    """Say what the table means, and what it leaves out."""
    others = ", ".join(f"{count} {state}" for state, count in sorted(known.not_counted.items()))
    worst = known.worst
    lines = [f"This is {NO_SIL}: what so few failures in so many drills prove, at 90 %."]
    if worst is not None:
        lines.append(
            f"Worst class that was tried: {worst.demand.value}, "
            f"at most {share(worst.bound)} failures on demand."
        )
    untried = [row.demand.value for row in known.combined if row.state is State.UNTRIED]
    if untried:
        lines.append(f"Classes that no drill has tried: {', '.join(untried)}.")
    lines.append("'all' is strict: a drill in which any layer failed counts as a failed demand.")
    if others:
        lines.append(f"Not counted: {others}.")
    for row in (row for row in known.layers if row.voided_n):
        gone = f"{row.voided_n} {row.demand.value} drills of {row.layer}, {row.voided_k} failed"
        lines.append(
            f"Void since {age_of(row.voided_us, known.now_us)}: {gone}. {row.why}".rstrip()
        )
    if due.note:
        lines.append(due.note)
    return lines

"""What `status` says to people: a sentence, what is abnormal, what is folded, the banners.

No colour carries a meaning here: the words do. Everything that others wrote is escaped.
"""

from __future__ import annotations

from offswitch.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["abnormal", "shown"]

_CALM = frozenset({"running", "idle", "exited"})
_FOLDED = 6
_DIGEST = 12


def abnormal(row: dict[str, Any]) -> bool:
    """Tell whether a target wants a person's eye."""
    return bool(
        row["state"] not in _CALM
        or row["latched"]
        or row["blind"]
        or any(signal.get("stale") for signal in row["signals"].values())
    )


def shown(seen: dict[str, Any], scope: str | None) -> list[str]:
    """Give the lines."""
    rows = seen["targets"]
    wanting = [row for row in rows if abnormal(row)]
    healthy = [row for row in rows if not abnormal(row)]
    several = len({row["installation"] for row in rows}) > 1
    lines = [_sentence(seen, rows, wanting, scope)]
    lines += [_line(row, several=several) for row in wanting]
    if len(rows) == 1 or (scope is not None and len(healthy) <= _FOLDED):
        lines += [_line(row, several=several) for row in healthy]
    elif healthy:
        lines.append(_folded(healthy))
    lines += _stops(seen.get("latched", []))
    lines += [f"! {printable(note)}" for note in seen.get("notes", [])]
    for run in seen.get("silent", []):
        lines.append(f"! {printable(run)}: the warden does not answer; a stop still works")
    lines += [
        f"? untracked: {printable(each.get('name'))} (pid {printable(each.get('pid'))})"
        for each in seen["untracked"]
    ]
    return lines


def _sentence(
    seen: dict[str, Any],
    rows: list[dict[str, Any]],
    wanting: list[dict[str, Any]],
    scope: str | None,
) -> str:
    latched = sum(1 for row in rows if row["latched"])
    unknown = sum(1 for row in rows if row["state"] == "unknown")
    open_ones = sum(1 for row in rows if row["latched"] and not row["confirmed"])
    where = f" under {printable(scope)}" if scope else ""
    if unknown or seen.get("silent"):
        return f"UNKNOWN: no answer about {unknown} of {_count(len(rows))}{where}."
    if latched:
        said = f"{latched} of {_count(len(rows))}{where} {_is(latched)} latched"
        return f"{said}, {open_ones} NOT confirmed." if open_ones else f"{said}, all confirmed."
    if seen.get("latched"):
        return f"Something is latched that covers no target yet; {_count(len(rows))}{where}."
    if wanting:
        want = f"{len(wanting)} of {_count(len(rows))}{where} want{_s(wanting)} an eye"
        return f"{want}; none is latched."
    if not rows:
        return f"Nothing is known{where}, and nothing is latched."
    return f"All is well: {_count(len(rows))}{where}, nothing is latched."


def _count(number: int) -> str:
    return "1 target" if number == 1 else f"{number} targets"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _s(rows: list[dict[str, Any]]) -> str:
    return "s" if len(rows) == 1 else ""


def _line(row: dict[str, Any], *, several: bool) -> str:
    parts = [f"  {printable(row['target'])}", printable(row["state"])]
    if several:
        parts[0] += f" ({printable(row['installation'])})"
    if row["latched"]:
        level = printable(row["level"])
        word = "confirmed" if row["confirmed"] else "NOT confirmed, it may still act"
        parts.append(f"latched at {level}, {word}")
    if row["pids"]:
        parts.append(f"{row['pids']} process{'' if row['pids'] == 1 else 'es'}")
    if row["blind"]:
        parts.append("BLIND: nobody watches it")
    stale = sorted(kind for kind, signal in row["signals"].items() if signal.get("stale"))
    if stale:
        parts.append(f"stale: {printable(', '.join(stale))}")
    weak = sorted(f"{name} {state}" for name, state in row["readiness"].items() if state != "ready")
    if weak:
        parts.append(printable(", ".join(weak)))
    if row.get("sharing"):
        parts.append(f"shares the user {printable(row.get('user'))}")
    return "  ".join(parts)


def _folded(rows: list[dict[str, Any]]) -> str:
    names = [printable(row["target"]) for row in rows]
    more = f", and {len(names) - _FOLDED} more" if len(names) > _FOLDED else ""
    return f"  {len(names)} healthy: {', '.join(names[:_FOLDED])}{more}"


def _stops(stops: list[dict[str, Any]]) -> list[str]:
    lines = []
    for stop in stops:
        said = (
            f"■ {printable(stop['scope'])}  {printable(stop['level'])} by {printable(stop['by'])}"
        )
        if stop.get("count", 1) > 1:
            said += f", {stop['count']} times"
        if stop.get("reason"):
            said += f": {printable(stop['reason'], 200)}"
        if not stop.get("durable", True):
            said += "  (latched, not yet durable)"
        lines.append(f"{said}  {printable(stop['digest'])[:_DIGEST]}")
    if lines:
        scope = printable(stops[0]["scope"])
        lines.append(f"  until: offswitch reset {scope} --reason TEXT   (starts nothing)")
    return lines

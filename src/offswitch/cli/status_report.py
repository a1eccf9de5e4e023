"""How things stand, in words for people: one sentence, then a line a target."""

from __future__ import annotations

from offswitch.cli.alarm_words import alarm_words, what_to_type
from offswitch.cli.lacking import acts, short_of
from offswitch.cli.stop_report import state_words, wrapped
from offswitch.printable import printable

__all__ = ["acts", "rank", "report", "unconfirmed"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHOWN = 8
_LISTED = 5
_WIDEST = 40
_CALM = frozenset({"running", "idle", "exited"})
_UNKNOWN = frozenset({"unknown", "unreachable"})
_UNSEEN = frozenset({"restrict", "drain"})
"""Levels that only programs obey, so that nobody can confirm them."""
_SHORT = (("absent", "without"), ("unproven", "UNPROVEN:"), ("degraded", "degraded:"))
"""How a line names the layers on which a stop cannot count."""


def rank(row: dict[str, Any]) -> tuple[int, str, str]:
    """Put the unknown and the unconfirmed first, then what is abnormal, then the rest."""
    order = 2
    if row["state"] in _UNKNOWN or unconfirmed(row):
        order = 0
    elif _abnormal(row):
        order = 1
    return order, row["target"], row["installation"]


def unconfirmed(row: dict[str, Any]) -> bool:
    """Tell whether a stop that can be seen to hold was not seen to."""
    return row["latched"] and not row["confirmed"] and row["level"] not in _UNSEEN


def _abnormal(row: dict[str, Any]) -> bool:
    stale = any(signal.get("stale") for signal in row["signals"].values())
    loud = row["state"] not in _CALM or row["latched"] or row["blind"] or stale
    return loud or "unproven" in short_of(row).values()


def report(answer: dict[str, Any], scope: str | None) -> str:
    """Give the lines."""
    rows = answer["targets"]
    lines = [_sentence(answer, scope)]
    lines += _alarms(answer["alarms"], several=len(answer["installations"]) > 1)
    loud = [row for row in rows if _abnormal(row)]
    calm = [row for row in rows if not _abnormal(row)]
    shown = loud + (calm if len(calm) <= _SHOWN else [])
    several = len(answer["installations"]) > 1
    width = min(max((len(printable(row["target"])) for row in shown), default=0), _WIDEST)
    for row in shown:
        lines.append(_line(row, width, several=several))
        if unconfirmed(row) and row["state"] not in _UNKNOWN:
            name = printable(row["target"])
            lines.append(f"    what may still act: offswitch target show {name}")
    if len(shown) < len(rows):
        lines.append(f"  {len(calm)} more: {_folded(calm)}   (each: offswitch status --json)")
    lines += _stops(answer["latched"], several=several)
    for note in dict.fromkeys(answer["notes"]):
        lines += wrapped(f"note: {printable(note, 2000)}", "  ", "    ")
    lines += _untracked(answer["untracked"])
    return "\n".join(lines) + "\n"


def _sentence(answer: dict[str, Any], scope: str | None) -> str:
    rows, stops = answer["targets"], answer["latched"]
    where = "" if scope in {None, "/"} else f" in {printable(scope)}"
    unknown = sum(1 for row in rows if row["state"] in _UNKNOWN)
    silent = [one for one in answer["installations"] if one["state"] != "answers"]
    if unknown or silent:
        runs = ", ".join(printable(one["installation"]) for one in silent)
        said = f"UNKNOWN: nobody vouches for {_count(unknown, 'target')}"
        return said + (f"; no answer from {runs}." if runs else ".")
    alive = sum(1 for row in rows if acts(row))
    latched = [row for row in rows if row["latched"]]
    if not latched and not stops:
        if not alive:
            return f"Nothing runs under the switch{where}, and nothing is latched."
        return f"{_count(alive, 'target')} running under the switch{where}, nothing latched."
    said = f"LATCHED: {_count(len(stops), 'stop')}, {_count(len(latched), 'target')} held"
    held = sum(1 for row in latched if row["pids"])
    if held:
        said += f", {held} of them with living processes"
    others = sum(1 for row in rows if acts(row) and not row["latched"])
    said += f"; {others} other{'s' if others > 1 else ''} running" if others else ""
    said += "" if alive else "; nothing lives"
    unseen = sum(1 for row in latched if unconfirmed(row))
    return said + (f"; {unseen} NOT CONFIRMED." if unseen else ".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _line(row: dict[str, Any], width: int, *, several: bool) -> str:
    words = [state_words(row)]
    if row["pids"]:
        words.append(f"{row['pids']} process" + ("" if row["pids"] == 1 else "es"))
    stale = sorted(kind for kind, one in row["signals"].items() if one.get("stale"))
    if stale:
        words.append("stale: " + printable(", ".join(stale), 60))
    for state, word in _SHORT:
        layers = [layer for layer, held in sorted(short_of(row).items()) if held == state]
        if layers:
            words.append(f"{word} " + printable(", ".join(layers), 60))
    if row.get("escapable") and row["pids"]:
        words.append("runs as root: escapable")
    elif row.get("sharing"):
        words.append("shares a user")
    where = f"  [{printable(row['installation'])}]" if several else ""
    mark = "!" if _abnormal(row) else " "
    return f"{mark} {printable(row['target']):<{width}}  {', '.join(words)}{where}"


def _folded(calm: list[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    short: dict[str, int] = {}
    for row in calm:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
        for layer, state in short_of(row).items():
            what = f"{printable(layer, 20)} {printable(state, 20)}"
            short[what] = short.get(what, 0) + 1
    said = [f"{number} {printable(state)}" for state, number in sorted(counts.items())]
    said += [f"{what} on {number}" for what, number in sorted(short.items())[:_LISTED]]
    return ", ".join(said)


def _alarms(alarms: list[dict[str, Any]], *, several: bool) -> list[str]:
    lines = []
    for alarm in alarms[:_SHOWN]:
        where = f"  [{printable(alarm['installation'])}]" if several else ""
        lines += wrapped(alarm_words(alarm) + where, "! ", "    ")
        if typed := what_to_type(alarm):
            lines.append(f"    {typed}")
    if len(alarms) > _SHOWN:
        lines.append(f"! and {len(alarms) - _SHOWN} more alarms   (each: offswitch status --json)")
    return lines


def _stops(latched: list[dict[str, Any]], *, several: bool) -> list[str]:
    lines = []
    for stop in sorted(latched, key=lambda one: (one["scope"], one["installation"])):
        scope = printable(stop["scope"])
        said = f"stop {scope} ({printable(stop['level'])}) by {printable(stop['by'])}"
        if stop["count"] > 1:
            said += f", pressed {stop['count']} times"
        if stop.get("durable") is False:
            said += ", not yet durable"
        if stop["reason"]:
            said += f": {printable(stop['reason'], 200)}"
        where = f"  [{printable(stop['installation'])}]" if several else ""
        lines += wrapped(said + where, "  ", "    ")
        lines.append(f"    reset (starts nothing): offswitch reset {scope} --reason TEXT")
    return lines


def _untracked(processes: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"  not under the switch: {printable(each.get('name'))} (pid {printable(each.get('pid'))})"
        for each in processes[:_LISTED]
    ]
    if len(processes) > _LISTED:
        lines.append(f"  and {len(processes) - _LISTED} more that are not under the switch")
    return lines

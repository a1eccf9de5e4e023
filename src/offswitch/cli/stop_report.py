"""What became of a stop, in words for a person at 3 a.m.

The first line is one sentence, and its first words are the answer. Then a line a target,
what is not confirmed first, with what may still act and what to do next.
"""

from __future__ import annotations

from offswitch.printable import printable

__all__ = ["report", "state_words", "wrapped"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LISTED = 5
_SHOWN = 12
_MS = 1e6
_WIDTH = 80
_WIDEST_NAME = 40
_UNSEEN = {
    "restrict": "programs that ask the guard refuse new work; nobody can see that they do",
    "drain": "new work is refused; what is in flight may end, then it is killed",
}
_HELD_BACK = "gateways hold back what their routes name; nobody can see that programs obey"
"""At level restrict, where a gateway was told."""


def report(answer: dict[str, Any]) -> str:
    """Give the lines: one sentence, one line a target, what to do next."""
    lines = [_sentence(answer)]
    rows = sorted(answer["targets"], key=lambda row: (row["confirmed"], row["target"]))
    width = min(max((len(printable(row["target"])) for row in rows), default=0), _WIDEST_NAME)
    several = len(answer["installations"]) > 1
    unconfirmed = sum(1 for row in rows if not row["confirmed"])
    for row in rows[: unconfirmed + _SHOWN]:
        lines += _target_lines(row, width, answer["level"], several=several)
    if len(rows) > unconfirmed + _SHOWN:
        lines.append(f"  and {len(rows) - unconfirmed - _SHOWN} more, confirmed (each: --json)")
    for note in answer["notes"]:
        lines += wrapped(printable(note, 2000), "  ", "    ")
    if answer["nearest"]:
        near = ", ".join(printable(name) for name in answer["nearest"])
        lines += wrapped(f"nearest: {near}", "  ", "    ")
    if answer["order"]:
        lines.append(f"  order {printable(answer['order'])}")
    if answer["recorded"] != "durable":
        lines.append("  latched, not yet durable: a crash of the machine now could lose it")
    lines.append("  it stays latched until its reset, which starts nothing:")
    lines += [
        f"    offswitch reset {printable(scope)} --reason TEXT"
        for scope in answer["scopes"][:_LISTED]
    ]
    return "\n".join(lines) + "\n"


def _sentence(answer: dict[str, Any]) -> str:
    what, rows, level = _spoken(answer["scopes"]), answer["targets"], answer["level"]
    count = f"{len(rows)} target" + ("" if len(rows) == 1 else "s")
    if answer["confirmed"]:
        verb = "FROZEN" if any(row["state"] == "frozen" for row in rows) else "STOPPED"
        return f"{verb} and confirmed: {what}, {count}, last effect after {_last(rows)}."
    if not rows:
        return f"NOT CONFIRMED: {what} covers nothing that is known; it is latched ({level})."
    if level in _UNSEEN:
        gated = any(layer["layer"] == "gateway" for row in rows for layer in row["layers"])
        said = _HELD_BACK if gated and level == "restrict" else _UNSEEN[level]
        return f"{level.upper()}, not confirmed: {what}, {count}: {said}."
    unseen = sum(1 for row in rows if not row["confirmed"])
    if not unseen:
        return f"NOT CONFIRMED: {what}: {count} confirmed, but not all that was named is there."
    return (
        f"NOT CONFIRMED: {what} is commanded ({level}),"
        f" but {unseen} of {count} not confirmed to stand still."
    )


def _last(rows: list[dict[str, Any]]) -> str:
    effects = [
        layer["effect_ns"]
        for row in rows
        for layer in row["layers"]
        if layer["effect_ns"] is not None
    ]
    return f"{max(effects) / _MS:.1f} ms" if effects else "a time that nobody measured"


def _target_lines(row: dict[str, Any], width: int, level: str, *, several: bool) -> list[str]:
    name = printable(row["target"])
    where = f"  [{printable(row['installation'])}]" if several else ""
    if row["confirmed"]:
        state = printable(row["state"])
        lines = [f"  {name:<{width}}  {state}, confirmed, {_last([row])}{where}"]
        for layer in row["layers"]:
            if layer["layer"] == "gateway" and "stream" in layer["detail"]:
                seen = f"gateway: {printable(layer['detail'])}"
                lines += wrapped(seen, "      ", "        ")
        return lines
    said = "commanded, NOT confirmed" if row["layers"] else "NOT commanded"
    if level in _UNSEEN:
        return [f"  {name:<{width}}  {printable(row['state'])}, not confirmed{where}"]
    lines = [f"  {name:<{width}}  {said}{where}"]
    for layer in row["layers"]:
        if layer["layer"] != "guard" and not layer["confirmed"]:
            seen = f"{printable(layer['layer'])}: {printable(layer['detail'])}"
            lines += wrapped(seen, "      ", "        ")
    lines.append(f"      it may still act; look again: offswitch status {name}")
    lines.append("      and press again, or cut its network or power by other means")
    return lines


def _spoken(scopes: list[str]) -> str:
    if scopes == ["/"]:
        return "everything"
    shown = ", ".join(printable(scope) for scope in scopes[:_LISTED])
    return shown if len(scopes) <= _LISTED else f"{shown} and {len(scopes) - _LISTED} more"


def state_words(row: dict[str, Any]) -> str:
    """Say a target's state in a few words, with what is wrong with it."""
    words = [printable(row["state"], 20)]
    if row["latched"]:
        level = printable(row["level"] or "latched", 20)
        if level not in _UNSEEN:
            level += ", confirmed" if row["confirmed"] else ", NOT CONFIRMED"
        words.append(level)
    if row["blind"]:
        words.append("BLIND")
    return ", ".join(words)


def wrapped(text: str, first: str, later: str) -> list[str]:
    """Break a line at blanks, so that it fits into 80 columns (`textwrap` imports `re`)."""
    lines, line = [], first
    for word in text.split(" "):
        if len(line) + len(word) > _WIDTH and line.strip():
            lines.append(line.rstrip(" "))
            line = later
        line += word + " "
    return [*lines, line.rstrip(" ")]

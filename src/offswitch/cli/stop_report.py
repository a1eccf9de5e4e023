"""What is known of a stop: one object out of all installations, and its text for people.

Three words are kept apart: *confirmed* was seen by an observer, *commanded* was ordered by
a warden, the keeper or our own hands, and whatever is neither is said to be so, with what
may still act and what to do next. The first line is one sentence.
"""

from __future__ import annotations

from offswitch.cli.printable import printable
from offswitch.errors import Unreachable, from_kind

__all__ = ["merged", "state_words", "text"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.cli.own_hands import Cell
    from offswitch.cli.pressing import Pressed

_UNCONFIRMED = 4
_LISTED = 5
_MS = 1e6
_ENDS = {
    "restrict": "programs that ask the guard refuse new work; nobody can see that they do",
    "drain": "new work is refused; what is in flight may end, then it is killed",
}


# --- one object -------------------------------------------------------------------


def merged(pressed: list[Pressed], scopes: list[str], level: str) -> dict[str, Any]:
    """Make one object of all installations; raises where none of them was reached."""
    reached = [each for each in pressed if each.commanded]
    if not reached:
        raise _nobody(pressed)
    answer: dict[str, Any] = {
        "order": None,
        "scopes": scopes,
        "level": level,
        "confirmed": True,
        "recorded": "durable",
        "targets": [],
        "orders": [],
        "notes": [],
        "nearest": [],
        "installations": [each.place.run for each in reached],
    }
    empty = set(scopes)
    for each in pressed:
        if each.commanded or each.error is not None or each.spooled is not None:
            empty &= _add(answer, each, scopes)
    _judge(answer, empty)
    return answer


def _add(answer: dict[str, Any], each: Pressed, scopes: list[str]) -> set[str]:
    """Add one installation; return the scopes that cover nothing there."""
    where = each.place.run
    final = each.final
    if final is not None:
        answer["targets"] += final["targets"]
        answer["orders"] += final.get("orders") or [final["order"]]
        answer["nearest"] += final.get("nearest", [])
        if final.get("recorded") != "durable":
            answer["recorded"] = "pending"
        uncovered = final.get("empty")
        return set(uncovered if isinstance(uncovered, list) else [])
    answer["confirmed"] = False
    answer["recorded"] = "pending"
    if each.error is not None:
        error = each.error["error"]
        answer["notes"].append(f"{where} refused: {error.get('message', '')}")
        return set(scopes)
    answer["notes"].append(_who_has_it(each))
    known = next((a for a in (*each.warden.answers, each.kept or {}) if a.get("order")), None)
    if known is not None:
        answer["orders"] += known.get("orders") or [known["order"]]
    answer["targets"] += [_seen_by_us(each, cell) for cell in each.cells]
    return set() if each.cells else set(scopes)


def _who_has_it(each: Pressed) -> str:
    where = each.place.run
    if each.accepted:
        return f"{where}: the warden accepted, then fell silent: nothing is confirmed"
    silent = "no warden runs" if each.warden.ended else "the warden does not answer"
    if each.kept is not None:
        return f"{where}: {silent}; the keeper has the order and acted: nothing is confirmed"
    hands = sum(1 for cell in each.cells if cell.commanded_ns is not None)
    said = f"{where}: {silent}, nor does its keeper"
    if hands:
        said += f"; this command killed {hands} of {len(each.cells)} cells by its own rights"
    if each.spooled is not None:
        said += "; the order lies in the spool, where the next warden obeys it first"
    return said


def _seen_by_us(each: Pressed, cell: Cell) -> dict[str, Any]:
    """Give a target that no warden vouches for, as this command saw it."""
    by_keeper = each.kept is not None
    commanded = cell.commanded_ns or (each.began_ns if by_keeper or each.accepted else None)
    effect = None if cell.effect_ns is None else cell.effect_ns - each.began_ns
    if effect is not None:
        detail = "this command saw its cell empty; no observer confirms it"
    else:
        detail = "its processes may still act" + (f" ({cell.trouble})" if cell.trouble else "")
    layer = {
        "layer": "process",
        "commanded_ns": 0 if commanded is None else commanded - each.began_ns,
        "effect_ns": effect,
        "confirmed": False,
        "detail": detail,
    }
    return {
        "target": cell.name,
        "installation": each.place.run,
        "state": "unknown",
        "confirmed": False,
        "layers": [] if commanded is None else [layer],
    }


def _judge(answer: dict[str, Any], empty: set[str]) -> None:
    """Say whether all is confirmed: something is covered, by each scope, and all of it seen."""
    orders = list(dict.fromkeys(answer["orders"]))
    answer["orders"] = orders
    answer["order"] = _set_digest(orders) if orders else None
    seen = bool(answer["targets"]) and all(row["confirmed"] for row in answer["targets"])
    answer["confirmed"] = answer["confirmed"] and seen and not empty
    for scope in answer["scopes"]:
        if scope in empty:
            answer["notes"].append(
                f"{_spoken([scope])} covers nothing yet; it is latched for what comes"
            )
    answer["nearest"] = list(dict.fromkeys(answer["nearest"])) if empty else []
    answer["exit"] = 0 if answer["confirmed"] else _UNCONFIRMED


def _set_digest(orders: list[str]) -> str:
    """Name several orders by one digest, as `model.order.set_digest` does."""
    if len(orders) == 1:
        return orders[0]
    from hashlib import sha256  # noqa: PLC0415 - only for several

    body = "[" + ",".join(f'"{order}"' for order in sorted(orders)) + "]"
    return sha256(b"offswitch/order-set/v1\0" + body.encode()).hexdigest()


def _nobody(pressed: list[Pressed]) -> Exception:
    """Say that nothing was commanded: refused, or nobody there."""
    for each in pressed:
        if each.error is not None:
            error = each.error["error"]
            return from_kind(
                str(error.get("kind")), str(error.get("message", "")), str(error.get("hint", ""))
            )
    runs = ", ".join(each.place.run for each in pressed)
    if all(each.warden.why == "barred" for each in pressed):
        hint = "ask an administrator to add you to the group that may stop, or do it as root"
        return Unreachable(f"nothing was stopped: you may not speak to {runs}", hint)
    silent = [each for each in pressed if not each.warden.ended]
    what = "no warden and no keeper answers" if silent else "no warden runs"
    spooled = [each.place.run for each in pressed if each.spooled is not None]
    hint = "is it another installation? set OFFSWITCH_RUN; or start a warden: offswitch up"
    said = f"nothing was stopped: {what} at {runs}"
    if spooled:
        said += f"; the order lies in the spool of {', '.join(spooled)} for the next warden"
    return Unreachable(said, hint)


# --- text for people --------------------------------------------------------------


def text(answer: dict[str, Any]) -> str:
    """Give the lines for people: one sentence, one line a target, what to do next."""
    lines = [_sentence(answer)]
    rows = sorted(answer["targets"], key=lambda row: (bool(row["confirmed"]), str(row["target"])))
    width = min(max((len(printable(row["target"])) for row in rows), default=0), 40)
    several = len(answer["installations"]) > 1
    for row in rows:
        lines += _target_lines(row, width, answer["level"], several=several)
    lines += [f"  {printable(note, 2000)}" for note in answer["notes"]]
    if answer["nearest"]:
        lines.append("  nearest: " + ", ".join(printable(name) for name in answer["nearest"]))
    if answer["order"]:
        durable = "" if answer["recorded"] == "durable" else " (latched, not yet durable)"
        lines.append(f"  order {printable(answer['order'])}{durable}")
    scope = "/" if "/" in answer["scopes"] else printable(answer["scopes"][0])
    lines.append(f"  stays so until (starts nothing): offswitch reset {scope} --reason TEXT")
    return "\n".join(lines) + "\n"


def _sentence(answer: dict[str, Any]) -> str:
    what, rows = _spoken(answer["scopes"]), answer["targets"]
    count = f"{len(rows)} target" + ("" if len(rows) == 1 else "s")
    if answer["confirmed"]:
        verb = "FROZEN" if answer["level"] == "freeze" else "STOPPED"
        return f"{verb} and confirmed: {what}, {count}, last effect after {_last(rows)}."
    level = answer["level"]
    if not rows:
        return f"NOT CONFIRMED: {what} covers nothing that is known; it is latched ({level})."
    if level in _ENDS:
        return f"{level.upper()}, not confirmed: {what}, {count}: {_ENDS[level]}."
    open_ = sum(1 for row in rows if not row["confirmed"])
    if not open_:
        return f"NOT CONFIRMED: {what}: {count} confirmed, but not all that was named is there."
    return (
        f"NOT CONFIRMED: {what} is commanded ({level}),"
        f" but {open_} of {count} not seen to stand still."
    )


def _last(rows: list[dict[str, Any]]) -> str:
    effects = [
        layer["effect_ns"]
        for row in rows
        for layer in row.get("layers", [])
        if isinstance(layer.get("effect_ns"), int)
    ]
    return _ms(max(effects)) if effects else "no time that was measured"


def _ms(ns: int) -> str:
    return f"{ns / _MS:.1f} ms"


def _target_lines(row: dict[str, Any], width: int, level: str, *, several: bool) -> list[str]:
    name = f"{printable(row['target']):<{width}}"
    where = f"  [{printable(row['installation'])}]" if several else ""
    if row["confirmed"]:
        return [f"  {name}  {printable(row['state'])}, confirmed, {_last([row])}{where}"]
    head = f"  {name}  commanded, NOT confirmed{where}"
    if not row["layers"]:
        head = f"  {name}  NOT commanded{where}"
    lines = [head]
    lines += [
        f"      {printable(layer['layer'])}: {printable(layer['detail'])}"
        for layer in row["layers"]
        if layer["layer"] != "guard" and not layer["confirmed"]
    ]
    if level not in _ENDS:
        lines.append(f"      next: offswitch status {printable(row['target'])}")
    return lines


def _spoken(scopes: list[str]) -> str:
    if scopes == ["/"]:
        return "everything"
    shown = ", ".join(printable(scope) for scope in scopes[:_LISTED])
    return shown if len(scopes) <= _LISTED else f"{shown} and {len(scopes) - _LISTED} more"


def state_words(row: dict[str, Any]) -> str:
    """Say a target's state in a few words, with what is wrong with it."""
    words = [printable(row.get("state", "unknown"), 20)]
    if row.get("latched"):
        level = printable(row.get("level") or "latched", 20)
        if level not in _ENDS:
            level += ", confirmed" if row.get("confirmed") else ", NOT CONFIRMED"
        words.append(level)
    if row.get("blind"):
        words.append("BLIND")
    return ", ".join(words)

"""What is known of a stop: one object out of all installations.

Three words are kept apart: *confirmed* was seen by an observer; *commanded* was ordered by
a warden, the keeper or our own hands; and whatever is neither is said to be so. All is
confirmed only if each scope covers something somewhere, and everything that is covered was
seen to stand still. Another user's warden may say anything: its words are taken apart here
field by field, and each target is named by the run folder that we asked.
"""

from __future__ import annotations

from offswitch.errors import Unreachable, from_kind

__all__ = ["exit_code", "merged"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.cli.own_hands import Cell
    from offswitch.cli.pressing import Pressed

_UNCONFIRMED = 4


def merged(pressed: list[Pressed], scopes: list[str], level: str) -> dict[str, Any]:
    """Make one object of all installations; raises where none of them was reached."""
    if not any(each.commanded for each in pressed):
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
        "installations": [each.place.run for each in pressed if each.commanded],
    }
    empty = set(scopes)
    for each in pressed:
        empty &= _add(answer, each, scopes)
    orders = list(dict.fromkeys(answer["orders"]))
    answer["orders"] = orders
    answer["order"] = _set_digest(orders) if orders else None
    seen = bool(answer["targets"]) and all(row["confirmed"] for row in answer["targets"])
    answer["confirmed"] = answer["confirmed"] and seen and not empty
    answer["nearest"] = list(dict.fromkeys(answer["nearest"])) if empty else []
    for scope in scopes:
        if scope in empty:
            named = "everything" if scope == "/" else scope
            answer["notes"].append(f"{named} covers nothing yet: it is latched for what comes")
    return answer


def exit_code(answer: dict[str, Any]) -> int:
    """Give the exit code: 0 only for what was confirmed."""
    return 0 if answer["confirmed"] else _UNCONFIRMED


def _add(answer: dict[str, Any], each: Pressed, scopes: list[str]) -> set[str]:
    """Add one installation; return the scopes that cover nothing there."""
    final = each.final
    if final is not None:
        answer["targets"] += _target_rows(final, each.place.run)
        answer["orders"] += _texts(final.get("orders")) or _texts([final.get("order")])
        answer["nearest"] += _texts(final.get("nearest"))
        if final.get("recorded") != "durable":
            answer["recorded"] = "pending"
        return set(_texts(final.get("empty")))
    if each.error is None and not each.commanded and each.deserted:
        if each.spooled is not None:
            answer["notes"].append(_who_has_it(each))
        return set(scopes)  # nobody is there, and nothing that could act
    answer["confirmed"] = False
    answer["recorded"] = "pending"
    if each.error is not None:
        answer["notes"].append(f"{each.place.run} refused: {each.error.get('message', '')}")
        return set(scopes)
    answer["notes"].append(_who_has_it(each))
    for said in (*each.warden.answers, each.kept or {}):
        answer["orders"] += _texts(said.get("orders")) or _texts([said.get("order")])
    answer["targets"] += [_seen_by_us(each, cell) for cell in each.cells]
    return set() if each.cells else set(scopes)


def _who_has_it(each: Pressed) -> str:
    where = each.place.run
    if each.accepted:
        return f"{where}: the warden accepted, then fell silent: nothing is confirmed"
    silent = "no warden runs" if each.warden.ended else "the warden does not answer"
    if each.kept is not None:
        unkept = each.kept.get("unkept")
        acted = f"acted, but {unkept}" if unkept else "has the order and acted"
        return f"{where}: {silent}; the keeper {acted}: nothing is confirmed"
    said = f"{where}: {silent}, nor does its keeper"
    hands = sum(1 for cell in each.cells if cell.commanded_ns is not None)
    if hands:
        said += f"; this command killed {hands} of {len(each.cells)} cells by its own rights"
    if each.spooled is not None:
        said += "; the order lies in its spool, and the next warden there obeys it"
    return said


def _seen_by_us(each: Pressed, cell: Cell) -> dict[str, Any]:
    """Give a target that no warden vouches for, as this command saw it."""
    elsewhere = each.kept is not None or each.accepted
    commanded = cell.commanded_ns or (each.began_ns if elsewhere else None)
    effect = None if cell.effect_ns is None else cell.effect_ns - each.began_ns
    if effect is not None:
        detail = "this command saw its cell empty; no observer confirms it"
    else:
        detail = cell.trouble or "its processes may still act"
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


def _target_rows(said: dict[str, Any], run: str) -> list[dict[str, Any]]:
    """Take a warden's rows apart; what is not of the promised shape is not there."""
    rows = said.get("targets")
    return [
        {
            "target": str(row.get("target", "")),
            "installation": run,
            "state": str(row.get("state", "unknown")),
            "confirmed": row.get("confirmed") is True,
            "layers": [_layer(layer) for layer in _dicts(row.get("layers"))],
        }
        for row in _dicts(rows)
    ]


def _layer(layer: dict[str, Any]) -> dict[str, Any]:
    commanded, effect = layer.get("commanded_ns"), layer.get("effect_ns")
    return {
        "layer": str(layer.get("layer", "")),
        "commanded_ns": commanded if isinstance(commanded, int) else 0,
        "effect_ns": effect if isinstance(effect, int) else None,
        "confirmed": layer.get("confirmed") is True,
        "detail": str(layer.get("detail", "")),
    }


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _set_digest(orders: list[str]) -> str:
    """Name several orders by one digest, as `model.order.set_digest` does."""
    if len(orders) == 1:
        return orders[0]
    from hashlib import sha256  # noqa: PLC0415 - only for several

    from offswitch.cli.quick_json import dumps  # noqa: PLC0415

    return sha256(b"offswitch/order-set/v1\0" + dumps(sorted(orders)).encode()).hexdigest()


def _nobody(pressed: list[Pressed]) -> Exception:
    """Say that nothing was commanded: refused, or nobody there."""
    for each in pressed:
        if each.error is not None:
            kind, message = str(each.error.get("kind")), str(each.error.get("message", ""))
            return from_kind(kind, message, str(each.error.get("hint", "")))
    said = "nothing was stopped: " + "; ".join(_silence(each) for each in pressed)
    if all(each.warden.why == "barred" for each in pressed):
        from offswitch.control.way_in import way_in  # noqa: PLC0415 - only for who is refused

        hint = way_in(pressed[0].place.control)
    else:
        hint = "if it is another installation, name it by OFFSWITCH_RUN; else: offswitch doctor"
    return Unreachable(said, hint)


def _silence(each: Pressed) -> str:
    where = each.place.run
    if each.warden.why == "barred":
        return f"you may not speak to {where}"
    what = "no warden runs at" if each.warden.ended else "neither warden nor keeper answers at"
    later = " (the order lies in its spool: the next warden there obeys it)"
    return f"{what} {where}" + (later if each.spooled is not None else "")

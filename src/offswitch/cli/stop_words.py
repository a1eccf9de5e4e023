"""What a stop says: one object for scripts, one clear line a target for people.

*Commanded*, *confirmed* and *NOT confirmed* are three different words. What is not
confirmed always says what may still act and what to do next; what covers nothing names
the nearest scopes. Everything that others wrote is escaped.
"""

from __future__ import annotations

from offswitch.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.cli.press import Press

__all__ = ["merged", "shown"]

_MS = 1e6


def merged(presses: list[Press], message: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Make one object of all installations' answers; say whether the stop is confirmed."""
    finals = [press.final for press in presses if press.final is not None]
    targets = [target for final in finals for target in final["targets"]]
    for press in presses:
        if press.final is None:
            targets += _unproven(press)
    orders = [order for press in presses if (order := _order(press))]
    covering = [final for final in finals if final["targets"]]
    confirmed = (
        len(finals) == len(presses)
        and bool(covering)
        and all(final["confirmed"] for final in covering)
    )
    durable = len(finals) == len(presses) and all(f["recorded"] == "durable" for f in finals)
    answer = {
        "order": orders[0] if len(orders) == 1 else _name_of(orders),
        "scopes": finals[0]["scopes"] if finals else message["scopes"],
        "level": message["level"],
        "confirmed": confirmed,
        "recorded": "durable" if durable else "pending",
        "targets": targets,
    }
    notes = [note for final in finals for note in final.get("notes", [])]
    nearest = [name for final in finals for name in final.get("nearest", [])]
    if notes and not confirmed:
        answer["notes"] = notes
    if nearest and not confirmed:
        answer["nearest"] = list(dict.fromkeys(nearest))
    return answer, confirmed


def _order(press: Press) -> str | None:
    for said in (press.final, press.accepted, press.kept):
        if said is not None and said.get("order"):
            return str(said["order"])
    return None


def _name_of(orders: list[str]) -> str | None:
    """Name several orders by one digest (model/order.py, `set_digest`)."""
    if not orders:
        return None
    import hashlib  # noqa: PLC0415 - several installations only

    names = ",".join(f'"{order}"' for order in sorted(orders))
    return hashlib.sha256(f"offswitch/order-set/v1\0[{names}]".encode()).hexdigest()


def _unproven(press: Press) -> list[dict[str, Any]]:
    """Give the targets of an installation whose warden did not say what was seen."""
    if press.kept is not None:
        names, who = list(press.kept.get("acted", [])), "the keeper"
    else:
        names, who = press.by_hand, "this command itself"
    layer = {
        "layer": "process",
        "commanded_ns": 0,
        "effect_ns": None,
        "confirmed": False,
        "detail": f"commanded by {who}, since the warden did not answer; nobody has looked",
    }
    state = {"target": "", "installation": press.place.run, "state": "unknown", "confirmed": False}
    return [{**state, "target": str(name), "layers": [layer]} for name in names]


def shown(answer: dict[str, Any], presses: list[Press]) -> list[str]:
    """Give the lines for people: the verdict first, then the targets, then what to do."""
    targets = answer["targets"]
    level = answer["level"]
    count = f"{len(targets)} target{'' if len(targets) == 1 else 's'}"
    if answer["confirmed"]:
        lines = [f"{_done(level)}, confirmed: {count}."]
    elif targets:
        open_ones = sum(1 for target in targets if not target["confirmed"])
        lines = [f"{level.upper()} COMMANDED, NOT CONFIRMED for {open_ones} of {count}."]
    else:
        lines = ["NOT CONFIRMED: this covers nothing yet; it is latched for what comes."]
    several = len({target["installation"] for target in targets}) > 1 or len(presses) > 1
    lines += [_target(target, several=several) for target in targets]
    lines += _of_silent(presses)
    if not answer["confirmed"]:
        lines += [printable(note) for note in answer.get("notes", []) if targets]
        near = ", ".join(printable(name) for name in answer.get("nearest", []))
        if near:
            lines.append(f"Nearest: {near}")
    if answer["recorded"] != "durable":
        lines.append("Latched, not yet durable: a power cut now could lose it; no crash can.")
    scope = printable(answer["scopes"][0])
    lines.append(f"Until: offswitch reset {scope} --reason TEXT   (starts nothing)")
    return lines


def _done(level: str) -> str:
    words = {"restrict": "Restricted", "drain": "Draining", "freeze": "Frozen"}
    return words.get(level, "Stopped")


def _of_silent(presses: list[Press]) -> list[str]:
    lines = []
    for press in presses:
        if press.final is not None:
            continue
        run = printable(press.place.run)
        if press.error is not None:
            why = printable(press.error["error"].get("message"))
            lines.append(f"{run} refused it: {why}")
        elif press.accepted is not None:
            lines.append(f"{run}: the warden accepted it and has not said what it saw.")
        elif press.kept is not None:
            lines.append(f"{run}: the warden does not answer; its keeper obeyed.")
        elif press.by_hand:
            lines.append(f"{run}: nobody answers; this command killed what its rights allow.")
        else:
            lines.append(f"{run}: NOBODY ANSWERS, and what runs there may still act.")
        if press.spooled:
            lines.append("  The stop also lies in the spool, for the next warden.")
    if lines:
        lines.append("Next: see what still acts: offswitch status; and why: offswitch doctor")
    return lines


def _target(target: dict[str, Any], *, several: bool) -> str:
    name = printable(target["target"])
    where = f" ({printable(target['installation'])})" if several else ""
    head = f"  {name}{where}  {printable(target['state'])}"
    counted = [layer for layer in target["layers"] if layer["layer"] != "guard"]
    if target["confirmed"]:
        times = ", ".join(
            f"{printable(layer['layer'])} {layer['effect_ns'] / _MS:.1f} ms"
            for layer in counted
            if layer["effect_ns"] is not None
        )
        return f"{head}  confirmed" + (f": {times}" if times else "")
    missing = [layer for layer in counted if not layer["confirmed"]]
    why = "; ".join(f"{printable(each['layer'])}: {printable(each['detail'])}" for each in missing)
    why = why or "no layer that can be observed was commanded"
    return f"{head}  NOT confirmed: {why}. It may still act; next: offswitch status {name}"

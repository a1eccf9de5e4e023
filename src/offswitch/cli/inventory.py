"""What of a target can act, seen and told: `offswitch target show` (MON-3).

The warden lists what it knows (`warden.door.inventory`). Whoever asks looks at the processes as
well: what they are called, whose children they are, and which of them hold an accelerator. What
cannot be told is a finding, and stands among the rest.
"""

from __future__ import annotations

import os
from typing import Any

from offswitch.printable import printable

__all__ = ["inventory_lines", "seen"]

_ACCELERATORS = ("/dev/nvidia", "/dev/kfd", "/dev/dri/render", "/dev/accel", "/dev/davinci")
_NO_CONTEXT = frozenset({"/dev/nvidiactl", "/dev/nvidia-modeset"})
_MOST_FDS = 4096
_NAMED = 12
_ASK = "ask as root, and look at what holds thousands of descriptors"


def seen(row: dict[str, Any]) -> dict[str, Any]:
    """Give the inventory of a target with its processes looked at."""
    told = dict(row.get("inventory") or {})
    pids = [pid for pid in told.get("processes") or [] if type(pid) is int]
    told["processes"] = [_process(pid) for pid in pids]
    unread = [one["pid"] for one in told["processes"] if one["accelerators"] is None]
    if unread:
        listed = ", ".join(map(str, unread[:_NAMED]))
        told["unknown"] = [
            *(told.get("unknown") or []),
            f"whether processes {listed} hold an accelerator: {_ASK}",
        ]
    return told


def _process(pid: int) -> dict[str, Any]:
    name, parent = "", None
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
        name = text[text.index("(") + 1 : text.rindex(")")]
        parent = int(text[text.rindex(")") + 1 :].split()[1])
    except (OSError, ValueError, IndexError):
        pass  # it has gone meanwhile, or is not for whoever asks to see
    return {"pid": pid, "name": name, "parent": parent, "accelerators": _accelerators(pid)}


def _accelerators(pid: int) -> list[str] | None:
    """Name the accelerators that a process holds open; None: it cannot be told."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        return []
    except OSError:
        return None
    found = set()
    for number in numbers[:_MOST_FDS]:
        try:
            path = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        if path.startswith(_ACCELERATORS) and path not in _NO_CONTEXT:
            found.add(path)
    if not found and len(numbers) > _MOST_FDS:
        return None  # it may hide behind the others
    return sorted(found)


def inventory_lines(told: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Say what can act: title, words, and whether it is a finding."""
    lines = []
    processes = told.get("processes") or []
    if processes:
        more = len(processes) - _NAMED + int(told.get("more_processes") or 0)
        named = [f"{one['pid']} {printable(one['name'], 40)}" for one in processes[:_NAMED]]
        lines.append(("processes", ", ".join(named) + (f" and {more} more" if more > 0 else "")))
    for one in processes:
        if one["accelerators"]:
            held = printable(", ".join(one["accelerators"]), 200)
            lines.append(("accelerator", f"{held}: held by {one['pid']} {printable(one['name'])}"))
    if told.get("in_flight"):
        lines.append(("in flight", f"{told['in_flight']} requests at its gateways"))
    if told.get("below"):
        names = [printable(one, 60) for one in told["below"]]
        tail = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(("below it", ", ".join(names[:_NAMED]) + tail))
    for one in told.get("hands") or []:
        layer = printable(one["layer"])
        lines += [(layer, printable(held, 200)) for held in one.get("holds") or []]
    found = [
        ("untracked", f"{printable(one.get('name'))} (pid {printable(one.get('pid'))})")
        for one in told.get("untracked") or []
    ]
    found += [("unknown", printable(one, 300)) for one in told.get("unknown") or []]
    return [(*line, False) for line in lines] + [(*line, True) for line in found]

"""The last road of a stop: what the caller's own rights allow, when nobody answers (SR-11).

The warden keeps `cells.json` on tmpfs: each target with its labels and its cell. Whoever
may write a cell's `cgroup.kill` (root, or the owner of a delegated tree) kills the covered
ones by it; on the lower rung the leader is killed, and its process group. Nothing is
confirmed by that: it is said as *commanded*.

A file that is neither root's nor the caller's own is not believed: it could name any
cgroup of the machine.
"""

from __future__ import annotations

import os

from offswitch.cli.lean_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

__all__ = ["covers", "known_cells", "stop_by_hand"]

_SIGKILL = 9
_SIGSTOP = 19
_LARGEST = 64 << 20


def known_cells(place: Place) -> list[dict[str, Any]]:
    """List the targets that the warden of `place` knew last; empty if that cannot be told."""
    try:
        fd = os.open(f"{place.memory}/cells.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    with open(fd, "rb") as file:
        if os.fstat(fd).st_uid not in {0, os.geteuid()}:
            return []
        try:
            kept = loads(file.read(_LARGEST).decode())
        except ValueError:
            return []
    cells = kept.get("cells") if isinstance(kept, dict) else None
    return [cell for cell in cells if _is_there(cell)] if isinstance(cells, list) else []


def _is_there(cell: object) -> bool:
    """Leave out what has no cell, or one that was removed since: nothing lives there."""
    if not isinstance(cell, dict) or not isinstance(cell.get("facts"), dict):
        return False
    path = cell.get("path")
    return path is None or (isinstance(path, str) and os.path.isdir(path))


def covers(scope: str, cell: dict[str, Any]) -> bool:
    """Tell whether a scope, as it was typed, covers a target (as model/scope.py does)."""
    name = str(cell.get("target", ""))
    if "=" in scope:
        key, _, value = scope.partition("=")
        labels = cell.get("labels")
        return isinstance(labels, dict) and labels.get(key) == value
    path = scope.strip("/")
    return path in {"", "all"} or name == path or name.startswith(path + "/")


def stop_by_hand(place: Place, scopes: list[str], level: str) -> list[str]:
    """Kill, or at level `freeze` freeze, every covered cell; name the targets that were."""
    covered = [cell for cell in known_cells(place) if any(covers(scope, cell) for scope in scopes)]
    return [str(cell["target"]) for cell in covered if _one(place, cell, level)]


def _one(place: Place, cell: dict[str, Any], level: str) -> bool:
    path = cell.get("path")
    if not isinstance(path, str):
        return _leader(cell.get("facts"), level)
    if f"/{place.cgroup}/" not in path or ".." in path:
        return False
    name = "cgroup.freeze" if level == "freeze" else "cgroup.kill"
    try:
        fd = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, b"1")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _leader(facts: object, level: str) -> bool:
    """Signal a leader of the lower rung, and its group, if that process is still the same."""
    if not isinstance(facts, dict):
        return False
    pid, start = facts.get("leader"), facts.get("leader_start")
    if not isinstance(pid, int) or pid <= 1 or not isinstance(start, int):
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[19]) != start:
                return False
        number = _SIGSTOP if level == "freeze" else _SIGKILL
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        os.kill(pid, number)
    except (OSError, IndexError, ValueError):
        return False
    return True

"""From processes to what could be a target: which belong together, and by which name to adopt it.

Processes that meet a sign, have an AI library mapped, have an accelerator open, or whose server
names models are *finds*. Those of one container or unit are one; a process whose parent is a find
of the same sign is part of that. The name is the one that adoption takes (docs/adoption.md): the
container, the unit, or the cgroup where nothing else lives in it. What has none of these cannot be
controlled as it runs, and it is said why: a stop of its cgroup would take others with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from offswitch.errors import Usage
from offswitch.host.discover.probe import Answer
from offswitch.host.discover.seen import Seen
from offswitch.host.discover.signs import SHARED_UNITS, Sign, met
from offswitch.model.named import Named, container_id

__all__ = ["Find", "find"]

_ID_SHOWN = 12
_ODD = re.compile(r"[^a-z0-9._-]+")
_LONGEST_PART = 60
_LIBRARY = "ai"


@dataclass(slots=True)
class Find:
    """One thing that acts and is under no control."""

    sign: Sign
    lead: Seen
    """The process that it is named by."""
    members: list[Seen] = field(default_factory=list)
    name: str = ""
    """Proposed as a target's."""
    named: Named | None = None
    """By what to adopt it; None: it cannot be controlled as it runs."""
    why: str = ""
    """Why not, for people."""
    answers: list[Answer] = field(default_factory=list)


def find(
    seen: Sequence[Seen],
    ours: Collection[int],
    answers: Mapping[int, Sequence[Answer]],
    own_cgroup: str,
) -> list[Find]:
    """Find what is under no control.

    `ours`: processes that are under control, or belong to us. `answers`: what servers said, by
    process. `own_cgroup`: that of who asks, which is never adopted.
    """
    by_pid = {one.pid: one for one in seen}
    signs = {one.pid: sign for one in seen if (sign := _sign(one, answers.get(one.pid, ())))}
    for pid in ours:
        signs.pop(pid, None)
    found: dict[str, Find] = {}
    for pid, sign in sorted(signs.items(), key=lambda pair: (by_pid[pair[0]].start, pair[0])):
        lead = _top(by_pid[pid], by_pid, signs)
        named, why = _adoption(by_pid[pid], seen, by_pid, signs, own_cgroup)
        key = named.text if named is not None else f"process {lead.pid}"
        one = found.setdefault(key, Find(sign, by_pid[pid], named=named, why=why))
        if one.sign.kind == _LIBRARY != sign.kind:
            one.sign, one.lead = sign, by_pid[pid]  # the particular names it, not the library
        one.members.append(by_pid[pid])
        one.answers += answers.get(pid, ())
    _name(list(found.values()))
    return list(found.values())


def _sign(one: Seen, answers: Sequence[Answer]) -> Sign | None:
    sign = met(one.argv, one.comm)
    if sign is not None:
        return sign
    if any(answer.models is not None for answer in answers):
        return Sign("model-server", "model-server")
    if one.libraries:
        return Sign(one.libraries[0].replace(".", "-"), _LIBRARY)
    if one.gpus:
        return Sign("gpu-job", _LIBRARY)
    return None


def _top(one: Seen, by_pid: Mapping[int, Seen], signs: Mapping[int, Sign]) -> Seen:
    """Go up as long as the parent is a find of the same sign."""
    for _ in range(len(by_pid)):
        parent = by_pid.get(one.parent)
        if parent is None or signs.get(parent.pid) != signs[one.pid]:
            return one
        one = parent
    return one


def _adoption(
    one: Seen,
    seen: Sequence[Seen],
    by_pid: Mapping[int, Seen],
    signs: Mapping[int, Sign],
    own_cgroup: str,
) -> tuple[Named | None, str]:
    """Give the name by which it can be adopted, or why there is none."""
    path = one.cgroup
    if not path:
        return None, "it is in no cgroup of version 2"
    shared = ""
    folders = path.split("/")[1:]
    for depth in range(len(folders), 0, -1):
        at, last = "/" + "/".join(folders[:depth]), folders[depth - 1]
        if f"{own_cgroup}/".startswith(f"{at}/"):
            return None, f"its cgroup {at} holds the session that asks"
        identity = container_id(last)
        if identity is not None:
            return Named("container", identity[:_ID_SHOWN]), ""
        if SHARED_UNITS.fullmatch(last):
            shared = shared or last
            continue
        named = _unit(at, folders[:depth])
        if named is not None:
            return named, ""
    if path != "/" and not shared and not _strangers(path, seen, by_pid, signs):
        return Named("cgroup", path), ""
    return None, f"it shares {printed(shared or path)} with other programs"


def printed(path: str) -> str:
    """Say which cgroup."""
    return "the root of the cgroup tree" if path == "/" else path


def _unit(at: str, folders: Sequence[str]) -> Named | None:
    last = folders[-1]
    if not last.endswith((".service", ".scope")):
        return None
    managers = [name for name in folders[:-1] if name.startswith("user@")]
    value = f"{managers[0]}/{last}" if managers else last
    try:
        named = Named.of({"unit": value})
    except Usage:
        return None
    return named if named is not None and named.holds(at) else None


def _strangers(
    path: str, seen: Sequence[Seen], by_pid: Mapping[int, Seen], signs: Mapping[int, Sign]
) -> bool:
    """Whether a cgroup holds what is neither a find nor born of one."""
    for other in seen:
        if other.cgroup != path and not other.cgroup.startswith(f"{path}/"):
            continue
        each: Seen | None = other
        for _ in range(len(by_pid)):
            if each is None or each.pid in signs:
                break
            each = by_pid.get(each.parent)
        if each is None:
            return True
    return False


def _name(found: Sequence[Find]) -> None:
    """Give each a name of its own, from what it is and how it is adopted."""
    taken: set[str] = set()
    for one in found:
        parts = [one.sign.name]
        if one.named is not None and one.named.kind != "cgroup":
            stem = one.named.value.rpartition("/")[2].rpartition(".")[0] or one.named.value
            if stem.lower() != one.sign.name:
                parts.append(stem)
        base = "found/" + "-".join(_ODD.sub("-", part.lower()).strip("-.") for part in parts)
        base = base[:_LONGEST_PART].rstrip("-.")
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        one.name = name

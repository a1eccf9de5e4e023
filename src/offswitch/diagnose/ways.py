"""The ways in which a target can be stopped, each with all that it rests on. Pure.

A layer may have several ways: the process layer has the warden and, if that is gone, the keeper;
of the network a declared actuator is a second way. A way is *able* as long as its layer has proven
that it could act. What it rests on is known of our own ways, since they are ours, and told by each
declared actuator of its own (`actuators.hands.contract.Route`).

Every way but two is commanded by the warden's loop, so it rests on the warden's process as well:
the keeper acts when the warden is gone, and a gateway refuses and cuts when nobody renews the
lease in the page that it maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.diagnose.effects import COOPERATIVE

__all__ = ["HERE", "NOBODY", "ROOT", "Kind", "Way", "ways_of"]

HERE = "this machine"
NOBODY = "nobody"
"""Whose the way of a layer is that a stop plan names, and that nothing here can do."""
ROOT = "root"
_ABLE = frozenset({"ready", "degraded"})
_NO_GATEWAY = "a gateway"

Kind = str
"""Of what a way rests on: process, user, credential, transport, host, route, program, file."""

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a layer acts on one target."""

    layer: str
    name: str
    """Which of several: the actuator's name, or who of ours does it."""
    state: str
    """Its readiness."""
    why: str
    processes: frozenset[str]
    users: frozenset[str]
    credential: str
    """By what it is allowed to act."""
    transport: str
    """How the command travels."""
    host: str
    """Where it ends."""
    programs: frozenset[str]
    """What does it in the end, and what it cannot work without."""
    files: frozenset[str]
    missing: tuple[str, ...] = ()
    """Of its files and programs those that were looked for and are not there."""

    @property
    def able(self) -> bool:
        """Whether it could act, as far as is known."""
        return self.state in _ABLE and not self.missing

    def rests_on(self) -> dict[Kind, frozenset[str]]:
        """Give all that it needs, by kind; without one of these it cannot act."""
        return {
            "process": self.processes,
            "user": self.users,
            "credential": frozenset({self.credential}),
            "host": frozenset({self.host}),
            "route": frozenset({f"{self.transport} to {self.host}"}),
            "program": self.programs,
            "file": self.files,
        }


def ways_of(target: Facts, ours: Facts) -> list[Way]:
    """Give every way of one target, able or not.

    `ours` is our own processes: name → {"pid", "user"}; what is not there cannot act.
    """
    hands = [_hand(_mapping(one), ours) for one in _list(target.get("hands"))]
    by_hand, found = {way.layer for way in hands}, []
    for layer, one in sorted(_mapping(target.get("layers")).items()):
        said = _mapping(one)
        mine = _our_own(layer, said, target, ours)
        if not mine and layer not in by_hand and layer != COOPERATIVE:
            why = str(said.get("detail", ""))
            mine = [_nobodys(layer, why)]
        found += mine
    return found + hands


def _our_own(layer: str, said: Facts, target: Facts, ours: Facts) -> list[Way]:
    match layer:
        case "process":
            kill = "the kernel's cgroups"
            first = "the warden's descriptor of cgroup.kill", "cgroup.kill", kill
            other = (
                "the keeper's descriptor of cgroup.kill",
                "the keeper's socket, spool and lease",
                kill,
            )
            mine = [_way(layer, said, ours, ("warden",), first)]
            kept = target.get("kept") is True
            return [*mine, _way(layer, said, ours, ("keeper",), other)] if kept else mine
        case "network":
            by = "CAP_BPF and CAP_NET_ADMIN", "bpf(2)", "the kernel's cgroup BPF"
            return [_way(layer, said, ours, ("warden",), by)]
        case "sweep":
            by = "the sweeper's user ids", "kill(2)", "the kernel's signals"
            return [_way(layer, said, ours, ("warden", "sweeper"), by)]
        case "gateway":
            gates = sorted(str(name) for name in _list(target.get("gateways"))) or [_NO_GATEWAY]
            return [_gate(name, said, target) for name in gates]
        case _:
            return []  # the guard is nobody's but the target's; all others are hands


def _way(
    layer: str, said: Facts, ours: Facts, processes: Sequence[str], by: tuple[str, str, str]
) -> Way:
    """Make a way of our own: on this machine, without a file that would have to be opened first.

    `by` is the credential, the transport, and what does it in the end.
    """
    credential, transport, program = by
    gone = tuple(f"process {one}" for one in processes if not _mapping(ours.get(one)).get("pid"))
    return Way(
        layer,
        processes[-1],
        str(said.get("state")),
        str(said.get("detail", "")),
        frozenset(processes),
        frozenset(str(_mapping(ours.get(one)).get("user", "unknown")) for one in processes),
        credential,
        transport,
        HERE,
        frozenset({program}),
        frozenset(),
        gone,
    )


def _gate(name: str, said: Facts, target: Facts) -> Way:
    page = target.get("page")
    return Way(
        "gateway",
        name,
        str(said.get("state")),
        str(said.get("detail", "")),
        frozenset({f"gateway {name}"}),
        frozenset({"gateway"}),
        "the upstream's credential",
        "the page",
        HERE,
        frozenset({f"gateway {name}"}),
        frozenset({page}) if isinstance(page, str) else frozenset(),
    )


def _nobodys(layer: str, why: str) -> Way:
    """Make the way of a layer that is wanted, and that nobody has."""
    nothing = frozenset[str]()
    return Way(
        layer, NOBODY, "absent", why, nothing, nothing, "none", "none", "nowhere", nothing, nothing
    )


def _hand(said: Facts, ours: Facts) -> Way:
    """Read what a declared actuator says of itself; what it does not say is not known."""
    name, route = str(said.get("name")), _mapping(said.get("route"))
    own = f"hand {name}"
    needs = [str(one) for one in _list(route.get("needs"))]
    files = {str(one) for one in _list(said.get("files"))} | {one for one in needs if "/" in one}
    programs = {one for one in needs if "/" not in one}
    credential = str(route.get("credential") or f"not known of {name}")
    if credential.startswith("/"):
        files.add(credential)
    if component := str(route.get("component") or ""):
        programs.add(component)
    users = {str(said.get("user") or "unknown")}
    users |= {str(_mapping(ours.get("warden")).get("user", "unknown"))}
    host = str(route.get("host") or f"not known of {name}")
    missing = [f"process {own}"] if not said.get("pid") else []
    missing += [str(one) for one in _list(said.get("missing"))]
    return Way(
        str(said.get("layer")), name, str(said.get("state")), str(said.get("detail", "")),
        frozenset({"warden", own}), frozenset(users), credential,
        str(route.get("transport") or f"not known of {name}"), HERE if host == "here" else host,
        frozenset(programs), frozenset(files), tuple(missing),
    )  # fmt: skip


def _mapping(value: object) -> Facts:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

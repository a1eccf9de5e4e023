"""Our table in nf_tables: `inet offswitch`, with one set of cgroups to cut and one to hold.

    base chain at output, base chain at input, a rule each for every depth and set:
        socket cgroupv2 level N @cut   goto cutting     a reset at once, to both ends; else dropped
        socket cgroupv2 level N @held  goto holding     dropped: a pause, for a freeze
    cutting lets a bare TCP reset of the cell's own out first: whoever it spoke with learns of it

A cgroup is named by the kernel's number of it, so no path is looked up at a stop, and a number
comes back in no other depth: one set serves all of them. A wrong level succeeds and matches
nothing, so what is here is only believed after a canary was cut (`hand.py`).

All targets of a machine share the table. It is put right where somebody has changed it, others'
tables are never touched, and the last one who leaves takes it away, unless something is cut.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Collection, Mapping
from contextlib import suppress

from offswitch.actuators.hands.network.nftables.netfilter import (
    Change,
    Netfilter,
    What,
    listed,
    nest,
    number,
    parse,
    parse_list,
    raw,
    text,
    wide,
)

__all__ = ["CUT", "HELD", "NAME", "Table"]

NAME = "offswitch"
CUT, HELD = "cut", "held"
_USERS = "users"
_CHAINS = {"output": 3, "input": 1}
"""Base chains, and at which hook (NF_INET_LOCAL_OUT, NF_INET_LOCAL_IN)."""
_PRIORITY = -150
_TO = {CUT: "cutting", HELD: "holding"}
_HAS_TIMEOUTS = 0x10
_DORMANT = 1
_DROP, _ACCEPT, _GOTO = 0, 1, -4
_VERDICT, _REGISTER, _SECOND = 0, 1, 2
_CGROUP = 3
_TCP_RESET = 1
_LENGTH, _NFPROTO, _L4PROTO = 0, 15, 16
_IPV4, _IPV6, _TCP, _RST = 2, 10, 6, 4
_BARE = ((_IPV4, 5, 40), (_IPV4, 8, 52), (_IPV6, 5, 60), (_IPV6, 8, 72))
"""Family, TCP header in words, whole packet in bytes: resets as the kernel makes them."""
_USER_DATA = 7
_ELEMENTS = 3
_CGROUPS, _MARKS = 46, 19
"""How `nft` calls keys of these kinds, when it lists ours."""
_BY_THE_HOST = b"\x00\x04\x01\x00\x00\x00"
"""For `nft`, too: keys are in the order of this machine."""
_TRIES = 5


def _expression(name: str, *attributes: bytes) -> bytes:
    return text(1, name) + nest(2, *attributes)


def _value(kind: int, data: bytes) -> bytes:
    return nest(kind, raw(1, data))


def _meta(key: int) -> bytes:
    return _expression("meta", number(2, key), number(1, _REGISTER))


def _byte(offset: int) -> bytes:
    """Load one byte of the TCP header."""
    where = number(2, 2) + number(3, offset) + number(4, 1)
    return _expression("payload", number(1, _REGISTER), where)


def _masked(mask: int) -> bytes:
    ends = number(1, _REGISTER) + number(2, _REGISTER) + number(3, 1)
    return _expression("bitwise", ends, _value(4, bytes([mask])), _value(5, b"\0"))


def _is(data: bytes, *, unequal: bool = False) -> bytes:
    return _expression("cmp", number(1, _REGISTER), number(2, int(unequal)), _value(3, data))


def _verdict(code: int, chain: str = "") -> bytes:
    to = text(2, chain) if chain else b""
    return _expression("immediate", number(1, _VERDICT), nest(2, nest(2, number(1, code) + to)))


def _belongs(level: int, to: str) -> list[bytes]:
    """Send what belongs to a cgroup of a set, so deep in the tree, to that set's chain."""
    ancestor = _expression("socket", number(1, _CGROUP), number(2, _REGISTER), number(3, level))
    known = _expression("lookup", text(1, to), number(2, _REGISTER))
    return [ancestor, known, _verdict(_GOTO, _TO[to])]


def _bare_reset(family: int, words: int, length: int) -> list[bytes]:
    return [
        _meta(_NFPROTO),
        _is(bytes([family])),
        _meta(_L4PROTO),
        _is(bytes([_TCP])),
        _byte(13),
        _masked(_RST),
        _is(b"\0", unequal=True),
        _byte(12),
        _masked(0xF0),
        _is(bytes([words << 4])),
        _meta(_LENGTH),
        _is(struct.pack("=I", length)),
        _verdict(_ACCEPT),
    ]


def _rules(levels: Collection[int]) -> dict[str, list[tuple[bytes, list[bytes]]]]:
    """Give what each chain must hold: by its mark, what each rule is made of."""
    reset = _expression("reject", number(1, _TCP_RESET))
    wanted = {
        _TO[CUT]: [
            *((b"bare reset %d %d" % each[::2], _bare_reset(*each)) for each in _BARE),
            (b"reset", [reset]),
        ],
        _TO[HELD]: [(b"drop", [_verdict(_DROP)])],
    }
    for chain in _CHAINS:
        wanted[chain] = [
            (f"{level} {to}".encode(), _belongs(level, to))
            for level in sorted(levels)
            for to in (CUT, HELD)
        ]
    return wanted


class Table:
    """Ours, as one process works with it."""

    __slots__ = ("_levels", "_talk")

    def __init__(self, levels: Collection[int] = ()) -> None:
        """Begin a conversation; OSError without CAP_NET_ADMIN, or where there is no nf_tables.

        For `levels` it was put in place before.
        """
        self._talk = Netfilter()
        self._levels: set[int] = set(levels)

    def close(self) -> None:
        """End the conversation; the table stays."""
        self._talk.close()

    # --- what is cut ----------------------------------------------------------------

    def put(self, into: str, cgroup_id: int, for_ms: int = 0) -> None:
        """Add a cgroup to a set: for good, or for so long; one round trip."""
        lasts = wide(4, for_ms) if for_ms else b""
        self._talk.change([_element(What.NEW_ELEMENT, into, _key(cgroup_id) + lasts)])

    def take(self, cgroup_id: int) -> None:
        """Take a cgroup out of both; harmless where it is in none."""
        for each in (CUT, HELD):
            with suppress(FileNotFoundError):
                self._talk.change([_element(What.DELETE_ELEMENT, each, _key(cgroup_id))])

    def has(self, cgroup_id: int) -> str:
        """Name the set that holds a cgroup, the harder one first; empty: none does."""
        return next((each for each in (CUT, HELD) if self._holds(each, cgroup_id)), "")

    def _holds(self, which: str, cgroup_id: int) -> bool:
        asked = text(1, NAME) + text(2, which) + listed(3, _key(cgroup_id))
        try:
            return any(_ELEMENTS in found for found in self._talk.ask(What.GET_ELEMENT, asked))
        except FileNotFoundError:
            return False

    # --- the table itself -------------------------------------------------------------

    def missing(self, levels: Collection[int]) -> str:
        """Say what is not as it should be; empty: everything is."""
        try:
            [table] = self._talk.ask(What.GET_TABLE, text(1, NAME))
            if int.from_bytes(table[2]) & _DORMANT:
                return "the table is dormant"
            for chain, hook in _CHAINS.items():
                asked = text(1, NAME) + text(3, chain)
                [found] = self._talk.ask(What.GET_CHAIN, asked)
                if _hook_of(found) != hook:
                    return f"chain {chain} hangs at no hook"
        except (FileNotFoundError, ValueError):
            return "the table is gone, or a chain of it"
        there = self._marks()
        wanted = _rules({*levels, *self._levels, *_levels_of(there)})
        for chain, rules in wanted.items():
            if [mark for mark, _made_of in rules] != there.get(chain):
                return f"chain {chain} holds other rules"
        return ""

    def prepare(self, levels: Collection[int]) -> str:
        """Put in place what a cut needs at these depths; say what had been there and was not."""
        said = self.missing(()) if self._levels else ""
        self._levels.update(levels)
        for _again in range(_TRIES):
            generation = self._talk.generation()
            there = self._marks()
            self._levels.update(_levels_of(there))
            if not self.missing(()):
                return said
            try:
                self._talk.change(self._anew(there), generation)
            except OSError as error:
                if error.errno not in {_RESTART, errno.EINTR}:
                    raise
                continue  # somebody has changed something meanwhile
            return said
        raise OSError(errno.EBUSY, "nf_tables: others change it all the time")

    def _anew(self, there: dict[str, list[bytes]]) -> list[Change]:
        """Give what puts all in its place, and leaves what is in the sets."""
        table = text(1, NAME)
        changes = [Change(What.NEW_TABLE, table + number(2, 0))]
        changes += [
            Change(What.NEW_SET, table + each)
            for each in (_set(CUT, 8, 1), _set(HELD, 8, 2), _set(_USERS, 4, 3))
        ]
        wanted = _rules(self._levels)
        for chain, hook in _CHAINS.items():
            at = nest(4, number(1, hook), number(2, _PRIORITY))
            changes.append(Change(What.NEW_CHAIN, table + text(3, chain) + at + text(7, "filter")))
        changes += [Change(What.NEW_CHAIN, table + text(3, chain)) for chain in _TO.values()]
        changes += [
            Change(What.DELETE_RULE, table + text(2, chain)) for chain in wanted if there.get(chain)
        ]
        for chain in (*_TO.values(), *_CHAINS):
            for mark, made_of in wanted[chain]:
                rule = table + text(2, chain) + listed(4, *made_of) + raw(_USER_DATA, mark)
                changes.append(Change(What.NEW_RULE, rule, append=True))
        return changes

    def _marks(self) -> dict[str, list[bytes]]:
        """List the marks of the rules that are there, chain by chain."""
        found: dict[str, list[bytes]] = {}
        try:
            for rule in self._talk.ask(What.GET_RULE, text(1, NAME), everything=True):
                if rule.get(1) == NAME.encode() + b"\0":
                    chain = rule[2].rstrip(b"\0").decode("ascii", "replace")
                    found.setdefault(chain, []).append(rule.get(_USER_DATA, b""))
        except FileNotFoundError:
            return {}
        return found

    # --- who uses it --------------------------------------------------------------------

    def join(self) -> None:
        """Let it be known that this process uses it."""
        mine = _pid_key(os.getpid())
        self._talk.change([_element(What.NEW_ELEMENT, _USERS, mine)])

    def leave(self) -> bool:
        """Use it no more; the last one takes it away unless something is cut. True: it is gone."""
        try:
            generation = self._talk.generation()
            others = [pid for pid in self._users() if pid != os.getpid() and _lives(pid)]
            if others or self._elements(CUT) or self._elements(HELD):
                mine = _pid_key(os.getpid())
                self._talk.change([_element(What.DELETE_ELEMENT, _USERS, mine)])
                return False
            self._talk.change([Change(What.DELETE_TABLE, text(1, NAME))], generation)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # somebody else is at it: what is left over cuts nobody off
        return True

    def _users(self) -> list[int]:
        return [int.from_bytes(each, "little") for each in self._elements(_USERS)]

    def _elements(self, which: str) -> list[bytes]:
        asked = text(1, NAME) + text(2, which)
        return [
            parse(element.get(1, b"")).get(1, b"")
            for found in self._talk.ask(What.GET_ELEMENT, asked, everything=True)
            for element in parse_list(found.get(_ELEMENTS, b""))
        ]


_RESTART = 85
"""ERESTART: the rule set is not the one that was read."""


def _key(cgroup_id: int) -> bytes:
    return _value(1, struct.pack("=Q", cgroup_id))


def _pid_key(pid: int) -> bytes:
    return _value(1, pid.to_bytes(4, "little"))


def _element(what: What, which: str, element: bytes) -> Change:
    return Change(what, text(1, NAME) + text(2, which) + listed(3, element))


def _set(name: str, length: int, place: int) -> bytes:
    kind = _MARKS if name == _USERS else _CGROUPS
    about = number(3, _HAS_TIMEOUTS) + number(4, kind) + number(5, length) + number(10, place)
    return text(2, name) + about + raw(13, _BY_THE_HOST)


def _hook_of(chain: Mapping[int, bytes]) -> int:
    return int.from_bytes(parse(chain.get(4, b"")).get(1, b"\xff"))


def _levels_of(there: dict[str, list[bytes]]) -> set[int]:
    """Give the depths that rules are there for, whoever put them there."""
    found = set()
    for mark in (mark for chain in _CHAINS for mark in there.get(chain, ())):
        level = mark.split(b" ")[0]
        if level.isdigit() and len(level) < 4:  # noqa: PLR2004
            found.add(int(level))
    return found


def _lives(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")

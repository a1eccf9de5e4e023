"""How long whoever gave wrong passwords has to wait. It is about signing in, never about STOP.

Three tries are free; then each wrong one doubles the pause, for the name from that address (up
to 5 minutes), for the address (up to 1 minute), and a little (up to 10 s) for the name from
anywhere. Who has signed in from that address before waits for their own mistakes only, at most
5 s: so nobody else's wrong passwords keep an operator out. Passkeys, devices and whoever is
signed in already do not pass here at all.

What is remembered is bounded: of 4,096 names and addresses each the latest.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from offswitch.errors import Busy

__all__ = ["Paused", "Pauses", "neighbourhood"]

_SECOND_US = 1_000_000
_FREE = 3
_PAIR_S, _ADDRESS_S, _NAME_S, _KNOWN_S = 300, 60, 10, 5
_FORGOTTEN_US = 3600 * _SECOND_US
_KNOWN_US = 30 * 24 * 3600 * _SECOND_US
_MOST = 4096
_LONGEST = 64
_STEEPEST = 20


class Paused(Busy):
    """Too many wrong tries: it has to wait."""

    def __init__(self, wait_us: int) -> None:
        """Say for how long."""
        self.seconds = max(1, -(-wait_us // _SECOND_US))
        super().__init__(
            f"too many wrong tries: wait {self.seconds} s",
            "STOP needs none of this: a device that is enrolled, or offswitch stop --all",
        )


@dataclass(slots=True)
class _Tries:
    """What went wrong under one key."""

    wrong: int = 0
    last_us: int = 0


class Pauses:
    """Remembers wrong tries; clocks are monotonic microseconds."""

    def __init__(self) -> None:
        """Nobody tried anything yet."""
        self._tries: dict[str, OrderedDict[str, _Tries]] = {
            kind: OrderedDict() for kind in ("pair", "address", "name")
        }
        self._known: OrderedDict[str, int] = OrderedDict()

    def wait_us(self, name: str, address: str, now_us: int) -> int:
        """Give how long this name has to wait at this address; 0: it may try."""
        name, address, pair = _keys(name, address)
        seen_us = self._known.get(pair)
        if seen_us is not None and now_us - seen_us < _KNOWN_US:
            return self._left("pair", pair, _KNOWN_S, now_us)
        return max(
            self._left("pair", pair, _PAIR_S, now_us),
            self._left("address", address, _ADDRESS_S, now_us),
            self._left("name", name, _NAME_S, now_us),
        )

    def tried(self, name: str, address: str, now_us: int) -> None:
        """Count a try as wrong, before it is checked: many at once are not free."""
        name, address, pair = _keys(name, address)
        for kind, key in (("pair", pair), ("address", address), ("name", name)):
            kept = self._tries[kind]
            tries = kept.pop(key, None) or _Tries()
            if now_us - tries.last_us > _FORGOTTEN_US:
                tries.wrong = 0
            tries.wrong += 1
            tries.last_us = now_us
            kept[key] = tries
            if len(kept) > _MOST:
                kept.popitem(last=False)

    def passed(self, name: str, address: str, now_us: int) -> None:
        """Take back the try that turned out right, and remember who came from where."""
        name, address, pair = _keys(name, address)
        self._tries["pair"].pop(pair, None)
        for kind, key in (("address", address), ("name", name)):
            tries = self._tries[kind].get(key)
            if tries is not None:
                tries.wrong -= 1
        self._known.pop(pair, None)
        self._known[pair] = now_us
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def _left(self, kind: str, key: str, most_s: int, now_us: int) -> int:
        tries = self._tries[kind].get(key)
        if tries is None or tries.wrong < _FREE or now_us - tries.last_us > _FORGOTTEN_US:
            return 0
        pause = min(most_s, 1 << min(tries.wrong - _FREE, _STEEPEST)) * _SECOND_US
        return max(0, tries.last_us + pause - now_us)


def neighbourhood(address: str) -> str:
    """Give what one neighbour has: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:_LONGEST]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)


def _keys(name: str, address: str) -> tuple[str, str, str]:
    name, address = name[:_LONGEST], neighbourhood(address)
    return name, address, f"{name}@{address}"

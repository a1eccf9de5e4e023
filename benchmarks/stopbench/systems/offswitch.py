"""Ours: a warden that holds the target's cell; a gateway where the scenario has a server."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from hooked_world import KEY, HookedWorld
from installation import Installation, until
from stopbench.caller import Caller, Cold, Hot, Word
from stopbench.case import Case, Front, free_port
from stopbench.systems.contract import Limit, System, Unfit

__all__ = ["Offswitch"]

_MOST_CASES = 64
_GATED = frozenset({"stream", "revoked-credential"})
_FRESH = frozenset({"controller-killed", "hung-actuators", "service-restarted"})
"""Scenarios that end a warden, or give it hands: their cases have an installation each."""
_LAYERS = ("credentials", "data", "serving", "relay")
"""Those of the actuators that hang."""
_KEY = "upstream-key"
_REFUSED = 125
"""The exit status of `offswitch run` where nothing was started."""


class Offswitch(System):
    """An installation as it is installed: all layers that a target has, nothing switched off."""

    name = "offswitch"
    setting = (
        "a cell with a user of its own; the order to warden and keeper at once, over open"
        " connections (cold: offswitch stop); a gateway with two workers where the target serves or"
        " is lent a token; four webhooks besides the local layers where actuators hang"
    )
    limits = (
        Limit(
            "whose warden is killed in the middle is stopped by the keeper, whose word is"
            ' "commanded": nothing confirms it',
            "docs/concepts.md",
        ),
        Limit(
            "one layer of the plan that is not seen to be cut makes the whole stop not confirmed",
            "docs/concepts.md",
        ),
        Limit(
            "it needs root and control groups; without them some of this survives",
            "docs/cells.md",
        ),
    )

    def open(self, scenario: str) -> None:
        if os.geteuid() != 0:
            raise Unfit("cells need root here")
        self._scenario = scenario
        self._installation: Installation | None = None
        self._gateway: subprocess.Popen[bytes] | None = None
        self._worlds: list[HookedWorld] = []
        self._opened = self._cases = 0
        self._ports = tuple(free_port() for _ in range(4))
        """The gateway's, the streaming target's, the API's two workers'."""

    def _up(self) -> Installation:
        if self._installation is None:
            self._opened += 1
            folder = self.folder / f"{self._scenario}-{self._opened}"
            folder.mkdir()
            folder.chmod(0o711)
            self._installation = Installation(folder)
            self._installation.work.chmod(0o755)
            self._installation.start()
            if self._scenario in _GATED:
                self._stand_in_front(self._installation)
        return self._installation

    def ready(self, case: Case) -> None:
        """Number its target; behind the gateway ports and tokens are those that it was told."""
        self._up()
        self._cases += 1
        self._name = f"bench/{self._cases}"
        if self._scenario in _GATED:
            case.port, case.token = self._ports[1], _token(self._cases)

    def begin(self, case: Case) -> None:
        installation = self._up()
        self._declare(installation, case)
        self._files = (installation.run_folder, installation.home)
        self._argv = case.agent(self._files)
        self._target = installation.run(*self._argv, target=self._name)

    def _declare(self, installation: Installation, case: Case) -> None:
        """Declare as many webhooks as are to hang: they prove themselves, and hang at the stop."""
        if not case.hung:
            return
        key = Path(installation.home, "key")
        key.write_text(KEY)
        key.chmod(0o600)
        self._worlds = [HookedWorld("hangs") for _ in range(case.hung)]
        told = [
            world.declared(layer, self._name, key, layer)
            for layer, world in zip(_LAYERS, self._worlds, strict=True)
        ]
        message = {"op": "declare", "targets": [{"name": self._name}], "actuators": told}
        installation.ask(message)

        def all_ready() -> bool:
            hands = installation.ask({"op": "target", "name": self._name})["hands"]
            return [each["state"] for each in hands] == ["ready"] * case.hung

        until(all_ready, "all hands are ready")

    def caller(self, case: Case) -> Caller:
        place = self._up().place
        program = Hot.program(sys.executable, "offswitch_caller.py")
        return Hot([*program, place.home, place.run, self._name])

    def command(self, case: Case) -> Caller | None:
        env = {k: v for k, v in self._up().env.items() if k != "PYTHONDONTWRITEBYTECODE"}
        program = f"{os.path.dirname(sys.executable)}/offswitch"
        return Cold([program, "stop", self._name, "--json"], _read, env)

    def controller(self, case: Case, caller: Caller) -> int:
        warden = self._up().warden
        assert warden is not None
        return warden.pid

    def restart(self, case: Case) -> None:
        """The warden's unit is restarted, and the host's service starts the target again."""
        installation = self._up()
        assert installation.warden is not None
        installation.warden.terminate()
        installation.warden.wait(10)
        installation.start()
        installation.cli("start", self._name)
        again = ["run", "--target", self._name, "--", *self._argv]
        refused = installation.cli(*again, cwd=str(installation.work))
        if refused.returncode != _REFUSED or "latched by a stop" not in refused.stderr:
            raise RuntimeError(f"it was not the stop that kept it down: {refused.stderr}")

    def end(self, case: Case) -> None:
        if self._scenario in _FRESH:
            self.close()

    def close(self) -> None:
        try:
            if self._gateway is not None:
                self._gateway.terminate()
                try:
                    self._gateway.wait(15)
                except subprocess.TimeoutExpired:
                    self._gateway.kill()
                    self._gateway.wait()
        finally:
            self._gateway = None
            for world in self._worlds:
                world.close()
            self._worlds = []
            if self._installation is not None:
                self._installation.close()
            self._installation = None

    # --- the gateway ------------------------------------------------------------------

    def front(self, case: Case) -> Front:
        """At the gateway, whose key alone the workers behind it accept."""
        gate, _stream, one, two = self._ports
        return Front(gate, gate, (one, two), _KEY)

    def reader_port(self, case: Case) -> int:
        return self._ports[0]

    def _stand_in_front(self, installation: Installation) -> None:
        gate, stream, one, two = self._ports
        home = Path(installation.home)
        (home / "key").write_text(_KEY)
        (home / "key").chmod(0o600)
        paths = {"/": stream} if self._scenario == "stream" else {"/one/": one, "/two/": two}
        text = f"""[[gateway]]
name = "front"
listen = ["127.0.0.1:{gate}"]
workers = 2
"""
        for number in range(1, _MOST_CASES + 1):
            key = hashlib.sha256(_token(number).encode()).hexdigest()
            for path, port in paths.items():
                text += f"""[[gateway.route]]
target = "bench/{number}"
key_sha256 = "{key}"
path = "{path}"
upstream = "http://127.0.0.1:{port}"
key_file = {json.dumps(str(home / "key"))}
"""
        (home / "offswitch.toml").write_text(text)
        (home / "offswitch.toml").chmod(0o600)
        place = installation.place
        argv = [sys.executable, "-I", "-m", "offswitch.gateway"]
        argv += ["--home", place.home, "--run", place.run]
        with (home / "gateway.log").open("ab") as log:
            self._gateway = subprocess.Popen(argv, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        until(lambda: self._serves(gate), "the gateway serves")

    def _serves(self, port: int) -> bool:
        assert self._gateway is not None
        assert self._gateway.poll() is None
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True


def _token(number: int) -> str:
    return f"token-{number}"


def _read(code: int, out: str) -> Word:
    return ("stopped" if code == 0 else "not"), f"{code} {out.strip()[:400]}"

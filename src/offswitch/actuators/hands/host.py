"""The process of a hand: it is told what it is, proves that it could, and waits for its moment.

    ← {"op": "be", "name", "kind", "settings"}      once, first
    → {"event": "here"}      it can be told to act
    → {"event": "readiness", "state", "detail", "holds", "route"}    whenever it proved something
    ← {"op": "trip", "id", "level"}    → {"id", "done", "detail", "happened", "reissue", "took_us"}
    ← {"op": "release", "id"}          → likewise
    ← {"op": "cell", "cell": {"path", "id", "own_net"} | null}    whenever it is another one
    ← {"op": "prove"}   ← {"op": "latched", "value"}      while it is latched nothing is proven
    sight: ← {"op": "look", "id"}                   → {"id", "stands", "detail"}

It reads its secrets, opens what only root may open, and gives its rights away before it speaks
with anybody (SR-4). A trip is carried out by the main thread, on an instance that nobody else
uses; proofs run in a thread of their own, on another one, and the two change places after each
proof that succeeded. A process that looks does the same with the instance that looks.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from offswitch.actuators.contract import Readiness, Ready
from offswitch.actuators.hands.contract import Acted, CellFacts, Context, Hand, Role, Sight, Trouble
from offswitch.actuators.hands.unsaid import unsaid
from offswitch.clock import SystemClock
from offswitch.config.secret_file import read_any_secret
from offswitch.config.section import ActuatorSection
from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.seccomp import forbid
from offswitch.control.shed import KILL, complain, shed
from offswitch.errors import OffswitchError
from offswitch.plugins import ACTUATORS, of_kind
from offswitch.printable import printable

__all__ = ["Process", "main", "secrets_of"]

_MOST, _LONGEST = 200, 400
_STUCK_S = 30.0
"""A proof that takes longer never ends: the process does, and another one is started."""
_SILENT_S = 3.0
"""A proof that takes longer is told of."""
_FAILED_S = 20.0
"""How long one that could not begin waits until it is started again."""
_BEFORE_OTHERS = -15
_MOST_MEMORY = 4096
_IMPORTS = (
    "encodings.idna",
    "encodings.utf_8_sig",
    "http.client",
    "ssl",
    "stringprep",
    "unicodedata",
)
_SEEN = ("/proc", "/dev", "/etc/ssl", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_MORE_SEEN = ("/etc/host.conf", "/etc/gai.conf", "/usr/share/zoneinfo", "/usr/lib", "/lib")


@dataclass(frozen=True, slots=True)
class _Proof:
    """What one proof came to."""

    readiness: Readiness
    holds: tuple[str, ...]
    route: dict[str, Any] | None


def secrets_of(settings: ActuatorSection, role: Role) -> dict[str, str]:
    """Read the secrets that an instance of that role needs, and no other."""
    found = {}
    for key in sorted(settings.SECRETS):
        path = getattr(settings, key)
        if path is not None and settings.given(key, looks=role is Role.LOOK):
            found[key] = read_any_secret(path)
    return found


class Process:
    """One hand's process, in one role."""

    def __init__(
        self, link: socket.socket, role: Role, make: Callable[[], Hand], prove_s: float
    ) -> None:
        """Speak with the warden over `link`; `make` gives instances that nobody uses yet."""
        self._link = link
        self._role = role
        self._prove_s = prove_s
        self._decoder = frames.Decoder()
        self._ready, self._spare = make(), make()
        shown = (self._ready.context.secrets, self._spare.context.secrets)
        self._secrets = {secret for each in shown for secret in each.values()}
        self._latched = False
        self._remembered = self._ready.memory
        """What the warden keeps of it."""
        self._due = 0.0
        self._anew = False
        """Whether something has changed since the proof that is under way began."""
        self._began: float | None = None
        """When the proof that is under way began (CLOCK_MONOTONIC)."""
        self._told_silent = False
        self._proofs: deque[_Proof] = deque()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def prepare(self) -> None:
        """With all rights: open what only root may open."""
        for hand in (self._ready, self._spare):
            hand.prepare()

    def leave(self) -> None:
        """Have taken away what was only put there beforehand; no proof is waited for."""
        if self._latched:
            return
        try:
            self._ready.leave()
        except Exception as error:  # noqa: BLE001 - a plugin's own code: it stays, and cuts nobody
            complain("hand", [_why(error)])

    def run(self, sight: socket.socket | None = None) -> None:
        """Serve until the warden hangs up; `sight` is the link of whoever has it look."""
        gc.collect()
        gc.freeze()  # what is here stays: no collection looks through it in the middle of a trip
        self._say({"event": "here"})
        ends: list[Any] = [self._link, self._event, *([sight] if sight is not None else [])]
        asked = frames.Decoder()
        while True:
            self._prove_if_due()
            ready, _, _ = select.select(ends, [], [], self._patience())
            if self._event in ready:
                self._proven()
            if self._link in ready and not self._heard():
                return
            if sight is not None and sight in ready and not self._asked(sight, asked):
                return

    # --- what it is told ------------------------------------------------------------

    def _heard(self) -> bool:
        data = self._link.recv(1 << 16)
        for message in self._decoder.feed(data) if data else ():
            self._obey(message)
        return bool(data)

    def _obey(self, message: dict[str, Any]) -> None:
        match message.get("op"):
            case "trip":
                self._latched = True
                level = str(message["level"])
                self._act(int(message["id"]), lambda hand: hand.trip(level))
            case "release":
                self._act(int(message["id"]), lambda hand: hand.release())
                self._latched = False
                self._prove_anew()
            case "latched":
                self._latched = message["value"] is True
                self._prove_anew()
                if not self._latched:
                    self._ready.memory = self._spare.memory = self._remembered = ""
            case "cell":
                self._ready.cell = self._spare.cell = _cell_of(message["cell"])
                self._prove_anew()
            case "prove":
                self._prove_anew()

    def _prove_anew(self) -> None:
        """Prove now, or once the proof that is under way, which is of what was, has come back."""
        self._due, self._anew = 0.0, self._began is not None

    def _act(self, number: int, act: Callable[[Hand], Acted]) -> None:
        """Act by the instance that was proven last; once more, connected anew, if it has gone."""
        began = time.monotonic_ns()
        try:
            try:
                acted, done = self._once(act), True
            except Trouble:
                self._ready.close()
                acted, done = self._once(act), True
        except Exception as error:  # noqa: BLE001 - whatever a hand raises: it has not acted
            acted, done = Acted(_why(error)), False
        self._say(
            {
                "id": number,
                "done": done,
                "detail": self._shown(acted.detail),
                "happened": [self._shown(each) for each in acted.happened[:_MOST]],
                "reissue": [self._shown(each) for each in acted.reissue[:_MOST]],
                "took_us": (time.monotonic_ns() - began) // 1000,
            }
        )

    def _once(self, act: Callable[[Hand], Acted]) -> Acted:
        self._ready.open()
        return act(self._ready)

    def _asked(self, sight: socket.socket, decoder: frames.Decoder) -> bool:
        data = sight.recv(1 << 16)
        for message in decoder.feed(data) if data else ():
            if message.get("op") == "look":
                seen = self._look()
                detail = self._shown(seen.detail)
                number = int(message["id"])
                frames.send(sight, {"id": number, "stands": seen.stands, "detail": detail})
                self._remember()
        return bool(data)

    def _remember(self) -> None:
        """Have the warden keep what the look has to know, for a process in the place of this."""
        memory = self._ready.memory[:_MOST_MEMORY]
        self._spare.memory = memory
        if memory != self._remembered:
            self._remembered = memory
            self._say({"event": "remember", "memory": memory})

    def _look(self) -> Sight:
        try:
            try:
                self._ready.open()
                return self._ready.look()
            except Trouble:
                self._ready.close()
                self._ready.open()
                return self._ready.look()
        except Exception as error:  # noqa: BLE001 - whatever a hand raises: it has seen nothing
            self._ready.close()
            return Sight(None, _why(error))

    # --- proofs ---------------------------------------------------------------------

    def _patience(self) -> float | None:
        if self._began is not None:
            return 0.5
        return None if self._latched else max(0.0, self._due - time.monotonic())

    def _prove_if_due(self) -> None:
        now = time.monotonic()
        if self._began is not None:
            self._hangs(now - self._began)
        elif not self._latched and now >= self._due:
            self._began, self._told_silent = now, False
            threading.Thread(target=self._prove, args=(self._spare,), daemon=True).start()

    def _hangs(self, since_s: float) -> None:
        if since_s > _STUCK_S:
            os._exit(os.EX_UNAVAILABLE)  # its thread can be ended in no other way
        if since_s > _SILENT_S and not self._told_silent:
            self._told_silent = True
            why = f"its proof has not come back for {since_s:.0f} s"
            self._tell(_Proof(Readiness(Ready.UNPROVEN, why), (), None))

    def _prove(self, hand: Hand) -> None:
        """In a thread of its own: nothing here is touched that a stop needs."""
        holds: tuple[str, ...] = ()
        try:
            try:
                hand.open()
                readiness = hand.arm()
            except Trouble:  # a connection that has died since the last proof
                hand.close()
                hand.open()
                readiness = hand.arm()
            holds = hand.holds()
        except Exception as error:  # noqa: BLE001 - whatever a hand raises: nothing is proven
            hand.close()
            readiness = Readiness(Ready.UNPROVEN, _why(error))
        self._proofs.append(_Proof(readiness, holds, _route(hand)))
        os.eventfd_write(self._event, 1)

    def _proven(self) -> None:
        os.eventfd_read(self._event)
        self._began = None
        self._due = 0.0 if self._anew else time.monotonic() + self._prove_s
        self._anew = False
        while self._proofs:
            proof = self._proofs.popleft()
            if proof.readiness.state is not Ready.UNPROVEN:
                self._ready, self._spare = self._spare, self._ready
            self._tell(proof)

    def _tell(self, proof: _Proof) -> None:
        self._say(
            {
                "event": "readiness",
                "state": proof.readiness.state.value,
                "detail": self._shown(proof.readiness.detail),
                "holds": [self._shown(each) for each in proof.holds[:_MOST]],
                "route": proof.route,
            }
        )

    def _shown(self, text: str) -> str:
        """Give what a hand says for people: whatever it quotes, no secret that was read for it."""
        return unsaid(text, self._secrets, _LONGEST)

    def _say(self, message: dict[str, Any]) -> None:
        frames.send(self._link, message)


def _cell_of(said: dict[str, Any] | None) -> CellFacts | None:
    if said is None:
        return None
    return CellFacts(said["path"], said["id"], own_net=said["own_net"] is True)


def _why(error: Exception) -> str:
    if isinstance(error, OffswitchError):
        return f"{error.message}{'; ' if error.hint else ''}{error.hint}"
    return f"{type(error).__name__}: {error}"


def _route(hand: Hand) -> dict[str, Any] | None:
    try:
        route = hand.route()
    except Exception:  # noqa: BLE001 - a hand that cannot say what it rests on can still act
        return None
    return {
        "transport": printable(route.transport),
        "host": printable(route.host),
        "credential": printable(route.credential),
        "component": printable(route.component),
        "needs": [printable(each) for each in route.needs[:_MOST]],
    }


# --- coming up --------------------------------------------------------------------------


def _become(role: Role, settings: ActuatorSection) -> list[str]:
    """Give up root for a user of its own, and all that is not needed; list what was refused."""
    acts = role is Role.ACT
    with suppress(OSError):
        # A target that takes both cores must not put off its stop; nor must whoever looks at it.
        os.nice(_BEFORE_OTHERS if acts else 0)
    user = user_of(f"hand-{settings.layer()}" if acts else "looker")
    if acts and settings.AS_ROOT:
        return shed(None, keep=range(64))
    refused = shed(user, keep=settings.KEEPS if acts else settings.LOOK_KEEPS)
    if user is not None and not settings.RUNS:
        code = [path for path in sys.path if os.path.isdir(path)]
        files = [path for key in settings.FILES if (path := getattr(settings, key)) is not None]
        written = settings.writes() if acts else ()
        seen = [*_SEEN, *_MORE_SEEN, *code, *settings.reads(), *files]
        refused.append(confine_files(write=["/dev/null", *written], read=seen))
    if not settings.RUNS:
        refused.append(forbid("any", signals=user is None or (acts and KILL in settings.KEEPS)))
    return [each for each in refused if each]


def _begin(link: socket.socket, role: Role, told: dict[str, Any]) -> Process:
    """Become what we are told to be; raises what is wrong with it."""
    cls: type[Hand] = of_kind(ACTUATORS, str(told["kind"])).cls
    settings = cls.Settings.model_validate_json(json.dumps(told["settings"]))
    remembered = str(told.get("remembered", ""))
    context = Context(role, secrets_of(settings, role), SystemClock().wall_us(), remembered)
    process = Process(link, role, lambda: cls(settings, context), settings.prove / 1e6)
    process.prepare()
    for module in (*_IMPORTS, *cls.IMPORTS):
        importlib.import_module(module)
    with suppress(LookupError):
        "".encode("idna")  # the codec is found once, while its file can be read
    complain(f"hand {settings.name}", _become(role, settings))
    return process


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the warden on `--link` until it goes away."""
    parser = argparse.ArgumentParser(prog="offswitch.actuators.hands")
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--sight", type=int, default=-1)
    args = parser.parse_args(argv)
    link = socket.socket(fileno=args.link)
    sight = socket.socket(fileno=args.sight) if args.sight >= 0 else None
    first = frames.receive(link)
    if first is None:
        return 0
    role = Role.LOOK if sight is not None else Role.ACT
    try:
        process = _begin(link, role, first[0])
    except Exception as error:  # noqa: BLE001 - a plugin's own code: whatever it raises is told
        return _not_begun(link, error)
    try:
        process.run(sight)
    except (ConnectionError, OffswitchError):
        pass  # the warden is gone, or talks garbage
    process.leave()
    return 0


def _not_begun(link: socket.socket, error: Exception) -> int:
    """Say why it cannot be what it should be, and wait a while: then it is tried again."""
    said = {"event": "readiness", "state": "unproven", "detail": printable(_why(error), _LONGEST)}
    with suppress(OSError):
        frames.send(link, {**said, "holds": [], "route": None})
        link.settimeout(_FAILED_S)
        while link.recv(1 << 16):
            pass
    return 1

"""`offswitch up`: everything on one machine, in the foreground.

It starts what is not there and starts again what dies. Ctrl-C while targets run names them
and waits for a second one: with the warden gone its keeper freezes them at once and kills
them ten seconds later, which is a loss of the warden and not a way to stop things.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType
from typing import Annotated

import typer

from offswitch.cli.begin import warden_answers
from offswitch.cli.face import where
from offswitch.cli.household import Household
from offswitch.config.load import Loaded, installed_kinds, load
from offswitch.control.client import call
from offswitch.control.place import Place, chosen
from offswitch.errors import BadConfig, OffswitchError, Refused, Usage
from offswitch.printable import printable

__all__ = ["command"]

_TURN_MS = 200
_RENEW_S = 120.0
"""Longer than every patience of a hand-over together."""
_SHOWN = 8


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        pass  # the terminal is gone; what we keep alive stays


def _configuration(place: Place) -> Loaded | None:
    """Read the configuration in force; None where there is none."""
    named = bool(os.environ.get("OFFSWITCH_CONFIG"))
    if not named and not os.path.exists(place.config):
        return None
    loaded = load(place.config, installed_kinds(), named=named)
    for reason in loaded.degraded:
        _say(f"degraded: {reason}")
    return loaded


class _Signals:
    """The signals that end us, as bytes in a pipe."""

    def __init__(self) -> None:
        self.pipe, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(into, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)

    @staticmethod
    def _note(_number: int, _frame: FrameType | None) -> None:
        """Do nothing: the byte in the pipe is what counts."""

    def wait(self, patience_ms: int) -> list[int]:
        """Wait for signals; give those that came."""
        watching = select.poll()
        watching.register(self.pipe, select.POLLIN)
        if not watching.poll(patience_ms):
            return []
        return list(os.read(self.pipe, 256))


def _keep_up(household: Household, signals: _Signals) -> None:
    """Turn until we are told to end."""
    asked = announced = False
    told = ""
    while True:
        try:
            household.turn(time.monotonic())
        except (Refused, Usage, BadConfig):
            raise  # the next turn would meet the same
        except OffswitchError as error:
            if error.message != told:
                told = error.message
                _say(told)
        if household.ready and not announced:
            announced = True
            told = where(household.place)
            _say(f"up. To stop everything, at any time: offswitch stop --all{told and '   '}{told}")
            for line in household.listening():
                _say(line)
        for number in signals.wait(_TURN_MS):
            if number == signal.SIGTERM:
                return
            if number != signal.SIGINT:
                continue  # SIGHUP, too: a closed window is no reason to lose a warden
            alive, doubt = household.alive_targets()
            if asked or not (alive or doubt) or not household.owns_warden:
                return
            asked = True
            _name(alive, doubt)


def _name(alive: list[str], doubt: str) -> None:
    more = f" and {len(alive) - _SHOWN} more" if len(alive) > _SHOWN else ""
    names = f"{', '.join(alive[:_SHOWN])}{more}"
    if doubt:
        _say(f"what runs cannot be told ({doubt}); as far as can be seen: {names or 'unknown'}")
    else:
        _say(f"these still run: {names}")
    _say("stop them: offswitch stop --all. Or press Ctrl-C again: then their keeper freezes")
    _say("them at once and kills them after 10 s, as after any loss of the warden")


def _renew(place: Place) -> None:
    """Hand over from the old code to the new one; nothing is frozen meanwhile (SR-23)."""
    answer = call(place, {"op": "handover"}, _RENEW_S)
    _say(
        f"warden {answer['pid']} goes on with version {answer['version']}"
        f" (before: {answer['before']}); an `up` that runs starts watch anew by itself"
    )


def command(
    *,
    no_warden: Annotated[
        bool, typer.Option("--no-warden", help="Start no warden: another unit's serves.")
    ] = False,
    no_station: Annotated[
        bool, typer.Option("--no-station", help="Start no console: another unit's serves, or none.")
    ] = False,
    no_gateway: Annotated[
        bool, typer.Option("--no-gateway", help="Start no gateway: another unit's serves, or none.")
    ] = False,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew",
            help="Have the warden that serves go on with the code that is installed now.",
        ),
    ] = False,
) -> None:
    """Run warden, watch, console and gateways on this machine, in the foreground."""
    place = chosen()
    if renew:
        _renew(place)
        return
    loaded = _configuration(place)
    if loaded is None:
        _say(f"no configuration at {place.config}: targets are run, but nothing watches them")
    else:
        count = len(loaded.config.rule)
        _say(f"{place.config}: {len(loaded.config.target)} targets, {count} rules")
    if no_warden and not warden_answers(place):
        _say(f"no warden serves {place.run} yet; waiting for one")
    signals = _Signals()
    household = Household(
        place, loaded, _say, own=not no_warden, face=not no_station, gates=not no_gateway
    )
    try:
        _keep_up(household, signals)
    finally:
        _say("ending")
        household.end()

"""The units of systemd: put in place, enabled, started, and taken away again.

The service is judged by whether the warden answers, not by what systemctl returned. Where a
warden runs already, the new program is taken over by a reload: the same process goes on
with the new code and nothing freezes (SR-23).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import partial
from importlib.resources import files

from offswitch.control.client import call
from offswitch.control.place import Place
from offswitch.errors import Busy, OffswitchError, Unreachable
from offswitch.host.program import PREFIX
from offswitch.host.steps import Step, command

__all__ = [
    "NOT_SERVED",
    "SERVICE",
    "added",
    "answers",
    "has_systemd",
    "removed",
    "running",
    "stranger",
]

_FOLDER = "/etc/systemd/system"
SERVICE = "offswitch.service"
_SLICE = "offswitch.slice"
_UNITS = (
    _SLICE,
    SERVICE,
    "offswitch-watch.service",
    "offswitch-station.service",
    "offswitch-gateway.service",
)
NOT_SERVED = f"{PREFIX}/not-served-yet"
"""Lies there from when a new program is in place until the warden runs with it."""
_STARTED = _UNITS[1:]
_PATIENCE_S = 30.0


def has_systemd() -> bool:
    """Tell whether systemd's files are here, be it running or not (an image that is built)."""
    return shutil.which("systemctl") is not None and os.path.isdir("/lib/systemd/system")


def running() -> bool:
    """Tell whether systemd runs this machine."""
    return has_systemd() and os.path.isdir("/run/systemd/system")


def text_of(unit: str) -> str:
    """Give a unit's text for the program at its place."""
    text = files("offswitch.host").joinpath("units", unit).read_text("ascii")
    return text.replace("@PYTHON@", f"{PREFIX}/bin/python")


def added(place: Place) -> list[Step]:
    """Give the steps that put the units in place and have the service run and answer."""
    steps = [
        Step(
            f"{_FOLDER}/{unit}",
            "a unit of systemd",
            partial(_holds, f"{_FOLDER}/{unit}", text_of(unit)),
            partial(_write, f"{_FOLDER}/{unit}", text_of(unit)),
        )
        for unit in _UNITS
    ]
    steps.append(
        Step(
            "at boot",
            f"{' and '.join(_STARTED)} start by themselves",
            lambda: all(_says("is-enabled", unit) == "enabled" for unit in _STARTED),
            lambda: _run("systemctl", "enable", *_STARTED),
        )
    )
    if running():
        steps.append(
            Step(
                f"service {SERVICE}",
                "runs with this program, and its warden answers",
                lambda: _current(place),
                lambda: _start(place),
            )
        )
    return steps


def removed() -> list[Step]:
    """Give the steps that end the service and take its units away."""
    steps = []
    if running():
        steps.append(
            Step(
                f"service {SERVICE}",
                "ends",
                lambda: not any(map(is_active, _STARTED)),
                lambda: _run("systemctl", "stop", *_STARTED),
            )
        )
        steps.append(
            Step(
                _SLICE,
                "its cgroup, once our last process has ended",
                lambda: not _cgroups(),
                _clear_slice,
            )
        )
    if has_systemd():
        steps.append(
            Step(
                "at boot",
                "nothing of ours starts any more",
                lambda: not any(_says("is-enabled", unit) == "enabled" for unit in _STARTED),
                lambda: _run("systemctl", "disable", *_STARTED),
            )
        )
    steps.extend(
        Step(
            f"{_FOLDER}/{unit}",
            "a unit of systemd",
            partial(_is_gone, f"{_FOLDER}/{unit}"),
            partial(_take, f"{_FOLDER}/{unit}"),
        )
        for unit in reversed(_UNITS)
    )
    if running():
        steps.append(
            Step(
                "systemd",
                "forgets the units",
                lambda: all(_state(unit) == "not-found" for unit in _UNITS),
                _forget,
            )
        )
    return steps


def _state(unit: str) -> str:
    return command("systemctl", "show", "--property=LoadState", "--value", unit).strip()


def _cgroups() -> list[str]:
    trees = (f"{tree}/{_SLICE}" for tree in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"))
    return [path for path in trees if os.path.isdir(path)]


def _clear_slice() -> None:
    """Take the slice's cgroup away; the service leaves its helpers to end by themselves."""
    command("systemctl", "stop", _SLICE)
    for path in _cgroups():
        end = time.monotonic() + _PATIENCE_S
        while True:
            with open(f"{path}/cgroup.events", encoding="ascii") as file:
                empty = "populated 0" in file.read()
            if empty:
                break
            if time.monotonic() > end:
                raise Busy(f"processes of ours still run in {path}", f"see them: ls {path}")
            time.sleep(0.05)
        for folder, _folders, _files in os.walk(path, topdown=False):
            os.rmdir(folder)


def is_active(unit: str) -> bool:
    """Tell whether a unit is up or coming up."""
    return _says("is-active", unit) in {"active", "activating", "reloading", "deactivating"}


def answers(place: Place) -> int | None:
    """Give the pid of the warden that answers at `place`; None: nobody does."""
    try:
        return int(call(place, {"op": "ping"}, 3.0)["pid"])
    except OffswitchError:
        return None


def _says(verb: str, unit: str) -> str:
    """Ask systemctl, whose exit code says the same as its word."""
    done = subprocess.run(
        ["systemctl", verb, unit],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    return done.stdout.strip()


def stranger(place: Place) -> int | None:
    """Give the pid of a warden that serves `place` and is not the service's; None: none does."""
    pid = answers(place)
    if pid is None or (running() and _main_pid() == pid):
        return None
    return pid


def _main_pid() -> int:
    told = command("systemctl", "show", "--property=MainPID", "--value", SERVICE).strip()
    return int(told or 0)


def _current(place: Place) -> bool:
    if os.path.lexists(NOT_SERVED) or not all(is_active(unit) for unit in _STARTED[:1]):
        return False
    return answers(place) is not None and not stranger(place)


def _start(place: Place) -> None:
    """Have the service run with the program that is in place; return when its warden answers."""
    command("systemctl", "daemon-reload")
    if is_active(SERVICE):
        try:
            command("systemctl", "reload", SERVICE)
        except OffswitchError:
            command("systemctl", "restart", SERVICE)
        command("systemctl", "try-restart", *_STARTED[1:])
    else:
        command("systemctl", "start", *_STARTED)
    end = time.monotonic() + _PATIENCE_S
    while answers(place) is None:
        if time.monotonic() > end:
            hint = f"see why: journalctl --unit {SERVICE} --lines 30"
            raise Unreachable("it was started, and its warden does not answer", hint)
        time.sleep(0.05)
    if os.path.lexists(NOT_SERVED):
        os.unlink(NOT_SERVED)


def _forget() -> None:
    command("systemctl", "daemon-reload")
    for unit in _UNITS:
        try:
            command("systemctl", "reset-failed", unit)
        except OffswitchError:
            continue  # it had not failed


def _run(*argv: str) -> None:
    command(*argv)


def _holds(path: str, text: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == text.encode()
    except FileNotFoundError:
        return False


def _write(path: str, text: str) -> None:
    """Write a file so that it is never half there."""
    with open(f"{path}.new", "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def _is_gone(path: str) -> bool:
    return not os.path.lexists(path) and not os.path.lexists(f"{path}.new")


def _take(path: str) -> None:
    for each in (path, f"{path}.new"):
        if os.path.lexists(each):
            os.unlink(each)

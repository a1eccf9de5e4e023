"""What a configuration declares, as the warden is told it.

The warden reads no file: it is handed plain objects over its socket, and checks them again.
What a declared command needs of the environment is its `env_file`, and the PATH of whoever
typed `up`, so that a program is found as they would find it.
"""

from __future__ import annotations

import os
from typing import Any

from offswitch.config.keyring import PREFIX
from offswitch.config.load import Loaded
from offswitch.config.section import ActuatorSection
from offswitch.config.trust import others_could_write
from offswitch.errors import BadConfig

__all__ = ["declaration", "declare", "read_env_file"]

_LIMITS = {"drain_for": "drain", "freeze_for": "freeze"}
_FROM_CALLER = ("PATH", "LANG", "LC_ALL", "TZ")
_LARGEST = 1 << 20


def declare(loaded: Loaded) -> dict[str, Any]:
    """Give the whole message: targets, mode, and what a reset takes."""
    config = loaded.config
    targets = declaration(loaded)
    return {
        "op": "declare",
        "targets": targets,
        "actuators": [_actuator(one, loaded) for one in config.actuator],
        "mode": config.mode,
        "reset": config.reset.told(),
    }


def _actuator(one: ActuatorSection, loaded: Loaded) -> dict[str, Any]:
    """Give one actuator as the warden is told it; a path is meant from the file that names it."""
    folder = os.path.dirname(os.path.abspath(loaded.path))
    settings = one.model_dump(mode="json", exclude_none=True)
    paths = [key for key in sorted(one.SECRETS | one.FILES) if settings.get(key)]
    for key in paths:
        if not str(settings[key]).startswith(PREFIX):
            settings[key] = os.path.join(folder, settings[key])
    return {
        "name": one.name,
        "target": one.target,
        "kind": one.kind,
        "layer": one.layer(),
        "settings": settings,
        "files": [settings[key] for key in paths],
        "deadline_us": one.deadline,
        "prove_us": one.prove,
    }


def declaration(loaded: Loaded) -> list[dict[str, Any]]:
    """Give one object for each declared target, its environment read in."""
    targets = []
    for target in loaded.config.target:
        told = target.model_dump(mode="json", exclude_none=True, exclude=set(_LIMITS))
        given = {level: getattr(target, key) for key, level in _LIMITS.items()}
        told["stop"] = target.stop.told()
        told["limits_s"] = {level: us / 1e6 for level, us in given.items() if us is not None}
        if target.command is not None:
            env = {key: os.environ[key] for key in _FROM_CALLER if key in os.environ}
            if target.env_file is not None:
                folder = os.path.dirname(os.path.abspath(loaded.path))
                env |= read_env_file(os.path.join(folder, target.env_file))
            told["env"] = env
        targets.append(told)
    return targets


def read_env_file(path: str) -> dict[str, str]:
    """Read `KEY=value` lines; empty ones and those that begin with # are left out (SR-1)."""
    try:
        reasons = others_could_write(path, os.geteuid())
        with open(path, encoding="utf-8") as file:
            text = file.read(_LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: {error}", "correct env_file, or its rights") from None
    if reasons and os.geteuid() == 0:
        raise BadConfig(f"{path}: {reasons[0]}", "an env_file must be its owner's alone")
    env = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise BadConfig(f"{path}:{number}: this is not KEY=value", "one pair a line, no export")
        env[key] = value.strip().strip('"')
    return env

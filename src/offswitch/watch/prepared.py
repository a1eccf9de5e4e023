"""What a sensor gets from root before watch gives its rights away (SR-4).

    modules       that it needs and that the eye may not be able to read later
    secrets       texts of files that only root may read: tokens, passwords
    a descriptor  that only root can make, such as a fanotify group

Which way it fails: a sensor that cannot be prepared is opened all the same, and says at every
look why it cannot see; so its rules are blind and loud, and all the others see.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from offswitch import watch
from offswitch.config.load import Loaded
from offswitch.config.secret_file import read_secret
from offswitch.config.section import SensorSection
from offswitch.errors import BadConfig, OffswitchError

__all__ = ["NOTHING", "Prepared", "import_ours", "prepare"]

_EXTRA_OF = {"psycopg": "postgres", "pynvml": "gpu"}
"""Which extra of ours brings a module."""
_TAKEN_LATER = ("numpy.fft", "numpy.linalg", "numpy.ma", "numpy.polynomial", "numpy.random")
"""What numpy imports when it is first used."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one sensor got."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    """The text of each file that a key of `SECRETS` names, without the newline at its end."""
    descriptor: int | None = None
    """What the kind's `prepare` gave; it lives as long as watch does."""
    problem: str = ""
    """Why it could not be prepared; empty: it was."""


NOTHING = Prepared()


def prepare(loaded: Loaded, sections: Sequence[SensorSection] | None = None) -> dict[str, Prepared]:
    """Prepare the sensors of the configuration, or only `sections`, by name."""
    import_ours()
    chosen = loaded.config.sensor if sections is None else sections
    return {section.name: _prepared(loaded, section) for section in chosen}


def _prepared(loaded: Loaded, section: SensorSection) -> Prepared:
    cls = loaded.kinds.sensors[section.kind].cls
    try:
        for module in getattr(cls, "IMPORTS", ()):
            _import(module)
        secrets = {
            key: read_secret(str(path))
            for key in sorted(type(section).SECRETS)
            if (path := getattr(section, key, None)) is not None
        }
        make = getattr(cls, "prepare", None)
        return Prepared(secrets, None if make is None else make(section))
    except OffswitchError as error:
        return Prepared(problem=f"{error.message}; {error.hint}")
    except Exception as error:  # noqa: BLE001 - a plugin's edge: this one is blind, and says so
        return Prepared(problem=f"it could not be prepared: {error!r}"[:500])


def import_ours() -> None:
    """Import all of this room, and of numpy: later it may lie below a folder that is closed."""
    for module in pkgutil.walk_packages(watch.__path__, f"{watch.__name__}."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # of an extra that nobody asked for
                importlib.import_module(module.name)
    for name in _TAKEN_LATER:
        importlib.import_module(name)


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        extra = _EXTRA_OF.get(module.partition(".")[0])
        hint = f"pip install 'offswitch[{extra}]'" if extra else f"install {module}"
        raise BadConfig(f"it needs {module}, which is not here ({error})", hint) from None

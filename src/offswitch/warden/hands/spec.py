"""What a declared actuator is to be, checked again: the warden reads no configuration.

Settings are passed on as they are: the hand's own process checks them against its own model. No
secret is among them, only where it lies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from offswitch.errors import Usage
from offswitch.model.target import check_name
from offswitch.warden.plan import HAND_LAYERS

__all__ = ["Spec"]

_NAME = 63
_MOST_SETTINGS = 64
_MOST_FILES = 32
_LONGEST_US, _LONGEST_PROOF_US = 30_000_000, 3_600_000_000


@dataclass(frozen=True, slots=True)
class Spec:
    """One declared actuator."""

    name: str
    target: str
    kind: str
    """The name of an entry point, found by the hand's process."""
    layer: str
    settings: dict[str, Any]
    files: tuple[str, ...]
    """On which it rests, and whose change makes it unproven: secrets, certificates."""
    deadline_us: int
    """How long a trip may take."""
    prove_us: int
    """How often it proves itself."""

    @classmethod
    def read(cls, item: Any) -> Spec:  # noqa: ANN401 - what was sent, or kept
        """Check one declaration; raises `Usage`."""
        if not isinstance(item, dict) or not isinstance(item.get("settings"), dict):
            raise Usage("a declared actuator is an object with its settings")
        name, kind, layer = (str(item.get(key, "")) for key in ("name", "kind", "layer"))
        if not 0 < len(name) <= _NAME or not name.isprintable() or not 0 < len(kind) <= _NAME:
            raise Usage("a declared actuator has a name and a kind")
        if layer not in HAND_LAYERS:
            known = ", ".join(sorted(HAND_LAYERS))
            raise Usage(f"actuator {name}: no layer {layer!r} for hands", f"there are: {known}")
        files, settings = item.get("files") or [], item["settings"]
        if not isinstance(files, list) or len(files) > _MOST_FILES:
            raise Usage(f"actuator {name}: its files are a list of at most {_MOST_FILES}")
        if len(settings) > _MOST_SETTINGS:
            raise Usage(f"actuator {name}: more than {_MOST_SETTINGS} settings")
        return cls(
            name,
            check_name(str(item.get("target", ""))),
            kind,
            layer,
            settings,
            tuple(str(each) for each in files),
            _bounded(item.get("deadline_us"), _LONGEST_US, f"actuator {name}: its deadline"),
            _bounded(item.get("prove_us"), _LONGEST_PROOF_US, f"actuator {name}: its proofs"),
        )

    def wire(self) -> dict[str, Any]:
        """Give it as it is kept for the next warden."""
        return {**asdict(self), "files": list(self.files)}


def _bounded(value: object, most: int, what: str) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise Usage(f"{what}: microseconds, at most {most}")
    return value

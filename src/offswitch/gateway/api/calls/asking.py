"""Asks the judge about one call, and words what stands in a denied one's place.

What cannot be read in one way only is denied unasked: a judge that allowed what it read would have
allowed something else than what the client reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from offswitch.gateway.api.strict import parse, shallow
from offswitch.gateway.api.verdicts import Judge
from offswitch.gateway.exchange import Call, Malformed
from offswitch.printable import printable

__all__ = ["may_go", "notice", "notices"]

_LONGEST_NAME = 256
_SHOWN = 80


def may_go(judge: Judge, name: object, arguments: object, ident: object = "") -> bool:
    """Tell whether a call may be handed on; `arguments` is JSON text, or read already."""
    if type(name) is not str or not 0 < len(name) <= _LONGEST_NAME:
        return False
    try:
        said = parse(arguments.encode()) if type(arguments) is str and arguments else arguments
        shallow(said)
    except (Malformed, UnicodeEncodeError):
        return False
    if said is None or said == "":
        said = {}
    if type(said) is not dict:
        return False
    try:
        return judge(Call(name, said, str(ident)[:_LONGEST_NAME])) is True
    except Exception:  # noqa: BLE001 - a judge is another's code; one that fails has not allowed
        return False


def notice(name: object) -> str:
    """Say in the answer itself that a call was taken out of it."""
    return f"[offswitch: a call of the tool {printable(name, _SHOWN)} was not let through]"


def notices(names: Iterable[object]) -> str:
    """Say it of several, each on a line of its own, below whatever text there is."""
    return "".join(f"\n{notice(name)}" for name in names)

"""`offswitch rule bypass|restore`: lower a rule for a while, and put it back (SR-12, HMI-6).

A bypassed rule asks instead of stopping by itself, and when nobody answers it stops; with
`--channel` one of its channels is left out of the vote. Both take an owner, a reason and what is
done instead, last eight hours at most, return by themselves, are recorded, and stand in `status`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from offswitch.cli.alarm import RuleName, lower
from offswitch.cli.config import Json
from offswitch.cli.desk import For, Measure, Owner, Reason, ask_watch
from offswitch.cli.show import emit
from offswitch.printable import printable

__all__ = ["bypass", "restore"]

Channel = Annotated[str, typer.Option("--channel", metavar="SERIES", help="This channel alone.")]


def bypass(
    rule: RuleName,
    *,
    owner: Owner,
    reason: Reason,
    measure: Measure,
    lasts: For = "1h",
    channel: Channel = "",
    as_json: Json = False,
) -> None:
    """Have a rule ask instead of stopping by itself, or leave one channel out, for a while."""
    message = {"op": "bypass", "rule": rule, "owner": owner, "reason": reason, "measure": measure}
    lower({**message, "series": channel}, lasts, as_json=as_json)


def restore(rule: RuleName, *, channel: Channel = "", as_json: Json = False) -> None:
    """Put a rule, or its channel, back in force now."""
    said = ask_watch({"op": "restore", "rule": rule, "series": channel})
    emit(said, as_json=as_json, text=f"{printable(rule)}: in force again, as declared.")

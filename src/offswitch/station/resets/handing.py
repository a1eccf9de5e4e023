"""What people say about a reset, handed to the warden; its answer is the only one there is.

    open      scope as it was typed, the cause, why it is safe now, what changed
    confirm   the reset's digest, its scope typed once more, and a proof: a one-time code,
              a passkey's or SSH key's signature over that digest, or this machine's secret

The station adds who is signed in, and that is no proof (SR-5): whether the reset may be carried
out, and whose word counts, the warden decides by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from offswitch.clock import new_nonce
from offswitch.decide.roles import Power
from offswitch.errors import Refused, Usage
from offswitch.model.scope import parse_scope
from offswitch.station.parts import Parts
from offswitch.station.people.visitor import Visitor
from offswitch.station.wire import ask

__all__ = ["Grounds", "confirm", "may_ask", "open_reset", "waiting"]

_PATIENCE_S = 25.0
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why something may be let go."""

    scope: str
    """As it was typed."""
    reason: str
    """The cause: what had gone wrong."""
    safe: str
    """Why it is safe now."""
    changed: str
    """What was changed since."""
    write_off: bool = False
    """Whether what no longer exists is given up as never confirmed."""


def may_ask(parts: Parts, who: Visitor) -> bool:
    """Tell whether somebody may hand in a reset here; on a machine of one person, whoever may."""
    if who.kind != "person":
        return False
    alone = parts.confirmers.mode == "local" and Power.STOP in who.powers
    return Power.RESET in who.powers or alone


def _check(parts: Parts, who: Visitor, what: str) -> None:
    if not may_ask(parts, who):
        parts.refused(who.by, what, "console", "not their role")
        raise Refused(
            f"{who.name} may not reset: that takes the role safety",
            "root gives it: offswitch people add NAME --role safety",
        )


async def waiting(parts: Parts, who: Visitor) -> dict[str, Any]:
    """Give the resets that wait for people, and which of this person's stops were reset."""
    return await ask(parts.place.warden_socket, {"op": "resets", "for": who.by})


async def open_reset(parts: Parts, who: Visitor, grounds: Grounds, proofs: list[str]) -> Any:  # noqa: ANN401 - the warden's object
    """Open a reset; `proofs` are over nothing yet, so only this machine's secret can be among."""
    _check(parts, who, "reset")
    message = {
        "op": "reset",
        "scope": parse_scope(grounds.scope).text,
        "reason": grounds.reason,
        "safe": grounds.safe,
        "changed": grounds.changed,
        "write_off": grounds.write_off,
        "nonce": new_nonce(),
        "time_us": parts.clock.wall_us(),
        "channel": "console",
        "by": who.by,
        "proofs": [],
        **_secret(proofs),
    }
    return await ask(parts.place.warden_socket, message, _PATIENCE_S)


async def confirm(parts: Parts, who: Visitor, digest: str, scope: str, proofs: list[str]) -> Any:  # noqa: ANN401 - the warden's object
    """Bring proofs to an open reset."""
    _check(parts, who, "confirm a reset")
    if not _DIGEST.fullmatch(digest):
        raise Usage("that is no reset's digest", "64 hex digits, as its page shows")
    message = {
        "op": "reset",
        "digest": digest,
        "scope": parse_scope(scope).text,
        "nonce": new_nonce(),
        "time_us": parts.clock.wall_us(),
        "channel": "console",
        "by": who.by,
        "proofs": [_proof(who, text) for text in proofs if not text.startswith("secret ")],
        **_secret(proofs),
    }
    return await ask(parts.place.warden_socket, message, _PATIENCE_S)


def _proof(who: Visitor, text: str) -> str:
    """Six digits alone are the one-time code of whoever is signed in."""
    plain = text.strip().replace(" ", "")
    return f"code {who.name} {plain}" if _CODE.fullmatch(plain) else text.strip()


def _secret(proofs: list[str]) -> dict[str, str]:
    found = [text.removeprefix("secret ") for text in proofs if text.startswith("secret ")]
    return {"secret": found[0]} if found else {}

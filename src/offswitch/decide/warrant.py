"""A warrant: a stop that was signed before it is needed (SR-19). Standard library only.

    {"kind":"warrant","level":"kill","not_after_us":…,"scopes":["shop"],"v":1}
    -----BEGIN SSH SIGNATURE-----          ssh-keygen -Y sign -n offswitch-warrant -f KEY
    …

One line of JSON, and below it the signature of a person whom the warden knows, over that
line (with or without its newline). Who presents it makes a new order each time, with a nonce
and a time of its own, so it works again after a reset. It is refused to whoever is far away
unless signature, installation and `not_after_us` hold. Who may press here anyway needs none:
then it only says, in the record, whose word the press was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from offswitch.decide.people import People
from offswitch.decide.sshsig import parse_signature
from offswitch.errors import Refused, Usage
from offswitch.model.level import Level, parse_level
from offswitch.model.scope import parse_scope

__all__ = ["NAMESPACE", "Warrant", "parse_warrant", "signer"]

NAMESPACE = "offswitch-warrant"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_LONGEST = 16 * 1024
_MOST_SCOPES = 256
_FIELDS = {"installation", "kind", "level", "not_after_us", "reason", "scopes", "v"}


@dataclass(frozen=True, slots=True)
class Warrant:
    """What a warrant says, and not yet whether it holds."""

    scopes: tuple[str, ...]
    level: Level
    reason: str
    installation: str
    """For which installation; empty: for any."""
    not_after_us: int | None
    """UTC in microseconds; None: it does not expire."""
    signed: str
    """The line that is signed."""
    signature: str

    def names(self, texts: list[str]) -> bool:
        """Tell whether it is about every one of these scopes."""
        return set(texts) <= set(self.scopes)


def parse_warrant(text: str) -> Warrant:
    """Read a warrant; `Usage` says what is wrong with its words. Nothing is verified."""
    line, begin, rest = text.partition(_BEGIN)
    line = line.strip("\r\n")
    try:
        body = json.loads(line) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("kind") != "warrant" or body.get("v") != 1:
        raise Usage("that is no warrant", 'its first line is {"kind":"warrant","v":1,"scopes":[…]}')
    if set(body) - _FIELDS:
        raise Usage(
            "a warrant with a field that is unknown", f"known: {', '.join(sorted(_FIELDS))}"
        )
    scopes, until = body.get("scopes"), body.get("not_after_us")
    if not isinstance(scopes, list) or not 0 < len(scopes) <= _MOST_SCOPES:
        raise Usage("a warrant names between 1 and 256 scopes")
    if until is not None and type(until) is not int:
        raise Usage("a warrant's not_after_us is a number of microseconds")
    return Warrant(
        tuple(parse_scope(str(scope)).text for scope in scopes),
        parse_level(str(body.get("level", "kill"))),
        str(body.get("reason") or ""),
        str(body.get("installation") or ""),
        until,
        line,
        (begin + rest).strip(),
    )


def signer(warrant: Warrant, people: People, installation: str, now_us: int) -> str:
    """Name who signed it; `Refused` says why it does not hold here and now."""
    hint = f"sign it anew: ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE"
    if not warrant.signature:
        raise Refused("the warrant is not signed", hint)
    signature = parse_signature(warrant.signature)
    person = people.of_key(signature.key)
    if person is None:
        raise Refused("the warrant is signed by a key that is nobody's here", hint)
    signed = (warrant.signed.encode(), warrant.signed.encode() + b"\n")
    if not any(signature.verifies(message, NAMESPACE) for message in signed):
        raise Refused(f"{person.name}'s signature is not over this warrant", hint)
    if warrant.installation not in {"", installation}:
        raise Refused("the warrant is for another installation", hint)
    if warrant.not_after_us is not None and now_us > warrant.not_after_us:
        raise Refused("the warrant has expired", hint)
    return person.name

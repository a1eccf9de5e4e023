"""An order from outside: somebody asks that something be stopped (DEC-8). Standard library only.

    {"deadline_us":…,"from":"acme","installation":"…","kind":"order","level":"kill",
     "reason":"…","reference":"ACME-2026-17","scopes":["tenant=acme"],"v":1}
    -----BEGIN SSH SIGNATURE-----          ssh-keygen -Y sign -n offswitch-order -f KEY
    …

One line of JSON, and below it the signature of whoever it says it is from, over that line (with
or without its newline). It is no order of ours: what holds becomes a ticket, which a person here
accepts or declines. So nothing of it ever acts by itself, and a reference counts once.

Issuers are those of the configuration, each with keys and with scopes: asking beyond them is
refused, whoever signs. The line is signed for one installation, so that it means nothing at
another. Pure: nothing is read and nothing kept here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.decide.sshsig import PublicKey, parse_signature
from offswitch.errors import OffswitchError, Refused, Usage
from offswitch.model.level import Level, parse_level
from offswitch.model.scope import Scope, parse_scope

__all__ = ["LONGEST", "NAMESPACE", "Issuer", "OutsideOrder", "issuer_of", "parse_outside"]

NAMESPACE = "offswitch-order"
LONGEST = 16 * 1024
"""Bytes of an order and its signature."""

_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_MOST_SCOPES = 64
_LONGEST_REASON = 2000
_FURTHEST_US = 366 * 86_400_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_FIELDS = {
    "deadline_us", "from", "installation", "kind", "level", "reason", "reference", "scopes", "v",
}  # fmt: skip
_HINT = f"sign one line of JSON: ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody outside whose orders are read."""

    name: str
    keys: tuple[PublicKey, ...]
    scopes: tuple[Scope, ...]
    """What they may ask to be stopped: these, and what is below."""

    def may_ask(self, scope: Scope) -> bool:
        """Tell whether that lies in what is theirs."""
        return any(mine.contains(scope) for mine in self.scopes)


@dataclass(frozen=True, slots=True)
class OutsideOrder:
    """What an order says, and not yet whether it holds."""

    sender: str
    """Who it says it is from."""
    scopes: tuple[str, ...]
    level: Level
    deadline_us: int
    """Until when it is to be answered; UTC, microseconds."""
    reason: str
    reference: str
    """The sender's own name for it; it counts once."""
    installation: str
    signed: str
    """The line that is signed."""
    signature: str


def parse_outside(text: str) -> OutsideOrder:
    """Read an order; `Usage` says what is wrong with its words. Nothing is verified."""
    line, begin, rest = text.partition(_BEGIN)
    line = line.strip("\r\n")
    body = _object(line) if len(text) <= LONGEST else None
    if body is None or body.get("kind") != "order" or body.get("v") != 1:
        raise Usage("that is no order from outside", 'it begins {"kind":"order","v":1,…}')
    unknown, missing = sorted(set(body) - _FIELDS), sorted(_FIELDS - set(body))
    if unknown or missing:
        what = f"unknown: {', '.join(unknown)[:200]}" if unknown else f"no {', '.join(missing)}"
        raise Usage(f"an order with other fields than it has: {what}", ", ".join(sorted(_FIELDS)))
    scopes, deadline = body["scopes"], body["deadline_us"]
    if not isinstance(scopes, list) or not 0 < len(scopes) <= _MOST_SCOPES:
        raise Usage(f"an order names between 1 and {_MOST_SCOPES} scopes")
    if type(deadline) is not int or deadline <= 0:
        raise Usage("an order's deadline_us is a number of microseconds since 1970")
    for key in ("from", "level", "reason", "reference", "installation"):
        if not isinstance(body[key], str):
            raise Usage(f"an order's {key} is a text")
    if not _NAME.fullmatch(body["from"]) or not _REFERENCE.fullmatch(body["reference"]):
        raise Usage("an order has a sender's name and a reference", "letters, digits, . _ / -")
    if not body["reason"].strip() or len(body["reason"]) > _LONGEST_REASON:
        raise Usage(f"an order says why, in at most {_LONGEST_REASON} characters")
    return OutsideOrder(
        body["from"],
        tuple(dict.fromkeys(parse_scope(str(scope)).text for scope in scopes)),
        parse_level(body["level"]),
        deadline,
        body["reason"],
        body["reference"],
        body["installation"],
        line,
        (begin + rest).strip(),
    )


def _object(line: str) -> dict[str, Any] | None:
    """Read one object in which no key stands twice: two readers would see two orders."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    try:
        body = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def issuer_of(
    order: OutsideOrder, issuers: Sequence[Issuer], installation: str, now_us: int
) -> Issuer:
    """Give whose order it is; `Refused` says why it does not hold here and now."""
    issuer = next((one for one in issuers if one.name == order.sender), None)
    if issuer is None:
        raise Refused(
            f"nobody of the name {order.sender} may hand in orders here",
            "those who may stand in the configuration: [[outside]]",
        )
    if not order.signature:
        raise Refused("the order is not signed", _HINT)
    try:
        signature = parse_signature(order.signature)
    except OffswitchError as error:
        raise Refused(error.message, _HINT) from None
    if signature.key not in issuer.keys:
        raise Refused(f"the order is signed by a key that is not {issuer.name}'s", _HINT)
    signed = (order.signed.encode(), order.signed.encode() + b"\n")
    if not any(signature.verifies(message, NAMESPACE) for message in signed):
        raise Refused("the signature is not over this order", _HINT)
    if order.installation != installation:
        raise Refused("the order is for another installation", f"this one is {installation}")
    beyond = [scope for scope in order.scopes if not issuer.may_ask(parse_scope(scope))]
    if beyond:
        theirs = ", ".join(scope.text for scope in issuer.scopes)
        raise Refused(
            f"{issuer.name} may not ask for {', '.join(beyond)[:300]}", f"theirs is: {theirs[:300]}"
        )
    if now_us >= order.deadline_us:
        raise Refused("the order's deadline is over", "a new one, with a later deadline")
    if order.deadline_us - now_us > _FURTHEST_US:
        raise Refused("the order's deadline is more than a year away", "an earlier one")
    return issuer

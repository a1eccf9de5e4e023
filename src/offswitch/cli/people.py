"""`offswitch people list|add|remove`: who may confirm a reset, and by what they prove it (SR-5).

The people's files are the warden's own, so this is for root, or the owner of the installation.
The second person makes it take two, for good. While anything is latched nobody is added who could
confirm its reset, unless a person of role safety agrees with a proof: the guard of what is
stopped is not changed by one. Every change is an entry of the ledger.

A key is a line of a `.pub` file, or the file; a passkey the line that the console's People page
shows; `--totp` makes a one-time secret and shows it this once.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import Annotated, Any
from urllib.parse import quote

import segno
import typer

from offswitch.cli.config import Json
from offswitch.cli.people_change import Change, before, carry_out, standing
from offswitch.cli.reset import read_proof
from offswitch.cli.show import emit
from offswitch.clock import new_nonce
from offswitch.control.place import Place, chosen
from offswitch.decide.authority import Authority, Mode, add_person, read_authority
from offswitch.decide.passkey import read_line
from offswitch.decide.people import remove_person, write_person
from offswitch.decide.roles import Role
from offswitch.errors import NotFound, Refused, Usage
from offswitch.printable import printable
from offswitch.warden.reset.answers import about_person

__all__ = ["app"]

app = typer.Typer(help="Who may confirm a reset: list, add, remove.", no_args_is_help=True)
_TOTP_BYTES = 20
_LONGEST_KEY = 16 << 10

Name = Annotated[str, typer.Argument(metavar="NAME", help="a-z, then a-z, 0-9, . _ -")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]
Proof = Annotated[
    list[str] | None,
    typer.Option("--proof", metavar="FILE", help="While latched: a safety person's word for it."),
]


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List the people, their roles, and by what each can prove who they are."""
    place = _ours()
    authority = read_authority(place.home, os.geteuid())
    problems = [*([authority.problem] if authority.problem else []), *authority.people.problems]
    rows = [about_person(one) for one in authority.people.persons]
    answer = {"mode": authority.mode.value, "people": rows, "problems": problems}
    emit(answer, as_json=as_json, text="\n".join(_table(authority, rows, problems)))


def _table(authority: Authority, rows: list[dict[str, Any]], problems: list[str]) -> list[str]:
    if authority.mode is Mode.LOCAL:
        lines = ["ONE PERSON resets here alone (mode local); the second person makes it take two."]
    else:
        lines = ["Two people of role safety reset a kill here (mode people)."]
    for row in rows:
        means = [f"{len(row[key])} {key}" for key in ("keys", "passkeys") if row[key]]
        means += ["one-time codes"] if row["totp"] else []
        user = f", user {row['uid']}" if row["uid"] is not None else ""
        proves = ", ".join(means) or "NOTHING THAT COUNTS"
        lines.append(f"  {row['name']:<16} {', '.join(row['roles']):<18} {proves}{user}")
    if not rows:
        lines.append("  nobody is known: offswitch people add NAME --role safety --key FILE")
    return [printable(line, 500) for line in lines] + [
        f"  PROBLEM: {printable(one, 500)}" for one in problems
    ]


@app.command("add")
def add(  # noqa: PLR0913 - one parameter an option
    name: Name,
    *,
    role: Annotated[
        list[Role] | None, typer.Option("--role", help="operator, safety, auditor, admin; again.")
    ] = None,
    uid: Annotated[int | None, typer.Option("--uid", help="Their user id on this machine.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="FILE|LINE", help="An SSH public key.")
    ] = None,
    totp: Annotated[
        bool, typer.Option("--totp", help="Make a one-time secret, shown once.")
    ] = False,
    passkey: Annotated[
        list[str] | None, typer.Option("--passkey", metavar="LINE", help="As the console shows it.")
    ] = None,
    proof: Proof = None,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Add a person. The second one makes a reset take two people, for good."""
    if not role:
        raise Usage("it is not said what they may", f"add --role: {', '.join(Role)}")
    place = _ours()
    keys = [_key(one) for one in key or []]
    passkeys = [_passkey(name, line) for line in passkey or []]
    secret = base64.b32encode(_random(_TOTP_BYTES)).decode() if totp else None
    now = before(place)
    write: dict[str, Any] = {
        "uid": uid,
        "keys": keys,
        "totp": secret,
        "passkeys": passkeys,
        "roles": role,
    }
    person = write_person(place.home, name, **write, dry_run=True)
    said = about_person(person)
    change = Change("added", name, said, [read_proof(path) for path in proof or []])
    change.may_add(now, person)
    if not dry_run:
        carry_out(place, now, change, lambda: add_person(place.home, name, **write))
    after = standing(place) if not dry_run else now
    answer: dict[str, Any] = {"added": said, "mode": after.mode.value, "before": now.mode.value}
    answer |= {"dry_run": dry_run, "otpauth": None}
    if secret is not None and not dry_run:
        answer["otpauth"] = _otpauth(name, secret)
    emit(answer, as_json=as_json, text=_added(answer, name))


@app.command("remove")
def remove(
    name: Name,
    *,
    last: Annotated[
        bool, typer.Option("--last", help="Though fewer than two are left who can confirm.")
    ] = False,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Remove a person: what they prove counts no more, from this moment."""
    place = _ours()
    now = before(place)
    person = now.authority.people.of_name(name)
    known = os.path.lexists(f"{place.home}/people/{name}.json") and "/" not in name
    if person is None and not known:
        raise NotFound(f"there is no person {name[:40]}", "see: offswitch people list")
    said = {"name": name} if person is None else about_person(person)
    change = Change("removed", name, said)
    change.may_remove(now, last=last)
    if not dry_run:
        carry_out(place, now, change, lambda: remove_person(place.home, name))
    answer = {"removed": said, "mode": now.mode.value, "dry_run": dry_run}
    done = "would be removed" if dry_run else "removed; what they prove counts no more"
    emit(answer, as_json=as_json, text=f"{printable(name)}: {done}.")


def _ours() -> Place:
    """Give the installation, if it is this user's to rule."""
    place = chosen()
    try:
        owner = os.stat(place.home).st_uid
    except FileNotFoundError:
        owner = os.geteuid()
    if owner != os.geteuid():
        raise Refused(f"the people of {place.home} are its owner's business", f"as user {owner}")
    return place


def _key(given: str) -> str:
    """Take a key's line, or read it from a file."""
    if given.startswith(("ssh-", "sk-ssh-")):
        return given
    try:
        with open(given, encoding="utf-8") as file:
            lines = file.read(_LONGEST_KEY).strip().splitlines()
    except (OSError, ValueError) as error:
        raise Usage(f"no key in {printable(given)}: {error}", "a .pub file, or its line") from None
    if len(lines) != 1:
        raise Usage(f"{printable(given)} has {len(lines)} lines", "one public key a file")
    return lines[0]


def _passkey(name: str, line: str) -> dict[str, str]:
    named, raw = read_line(line)
    if named != name:
        raise Refused(f"that passkey was made for {named}", f"offswitch people add {named} …")
    return raw


def _random(count: int) -> bytes:
    return bytes.fromhex(new_nonce() + new_nonce())[:count]


def _otpauth(name: str, secret: str) -> str:
    label = quote(f"Offswitch:{name}")
    return (
        f"otpauth://totp/{label}?secret={secret}&issuer=Offswitch&algorithm=SHA1&digits=6&period=30"
    )


def _added(answer: dict[str, Any], name: str) -> str:
    if answer["dry_run"]:
        return f"{printable(name)} would be added; nothing is changed."
    lines = [f"{printable(name)}: added ({', '.join(answer['added']['roles'])})."]
    if answer["mode"] != answer["before"]:
        lines.append("From now on a reset takes two people.")
    if answer["otpauth"]:
        drawn = io.StringIO()
        segno.make(answer["otpauth"], error="m").terminal(out=drawn, compact=True)
        if sys.stdout.isatty():
            lines.append(drawn.getvalue().rstrip("\n"))
        lines += [answer["otpauth"], "Shown this once: it goes into their authenticator."]
    return "\n".join(lines)

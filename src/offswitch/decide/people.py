"""The people who may reset: one small file each in `$OFFSWITCH_HOME/people/`, the warden's.

    {"name": "ada", "uid": 1000, "keys": ["ssh-ed25519 AAAA… ada@desk"], "totp": "JBSW…",
     "passkeys": [{"id": "…", "key": "…", "rp": "offswitch.example.com"}], "roles": ["safety"]}

The folder and the files are the warden's own, and a file is for its eyes only (0600): who
can write one decides who may reset, who can read one has its one-time secret. A file that
is not so, or that cannot be read as one person, counts for nobody, and says so. So does
everything that two of them share: the same key or passkey, the same one-time secret or the same
user id under two names is one person twice, and two people are wanted. Whose file names no
roles is of role safety, as everybody was before there were any.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from offswitch.decide.passkey import Passkey, read_passkey
from offswitch.decide.roles import Role
from offswitch.decide.sshsig import PublicKey, parse_key
from offswitch.decide.totp import read_secret
from offswitch.errors import Busy, NotFound, OffswitchError, Refused, Storage, Usage

__all__ = ["NOBODY", "People", "Person", "read_people", "remove_person", "write_person"]

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_MAX_FILE = 16 * 1024
_MAX_PEOPLE = 1000
_MOST_PASSKEYS = 16
_FIELDS = {"name", "uid", "keys", "totp", "passkeys", "roles"}


@dataclass(frozen=True, slots=True)
class Person:
    """One person who may confirm a reset."""

    name: str
    uid: int | None
    """The user id under which this person works on this machine, if on this machine at all."""
    keys: tuple[PublicKey, ...]
    totp: bytes | None
    """The one-time secret; None: no codes."""
    passkeys: tuple[Passkey, ...] = ()
    roles: frozenset[Role] = frozenset({Role.SAFETY})

    @property
    def points(self) -> frozenset[bytes]:
        """The public keys of all kinds, as bytes."""
        ssh, web = {key.point for key in self.keys}, {key.point for key in self.passkeys}
        return frozenset(ssh | web)

    @property
    def proves(self) -> bool:
        """Whether there is anything by which this person can prove who they are."""
        return bool(self.keys or self.passkeys) or self.totp is not None


@dataclass(frozen=True, slots=True)
class People:
    """Who was found, and what was wrong with the rest."""

    persons: tuple[Person, ...]
    problems: tuple[str, ...] = ()
    """One sentence for each file or key that counts for nobody."""

    def of_key(self, key: PublicKey) -> Person | None:
        """Give the person whose key this is."""
        return next((person for person in self.persons if key in person.keys), None)

    def of_passkey(self, ident: bytes) -> tuple[Person, Passkey] | None:
        """Give the person who has the passkey of that id, and the passkey."""
        found = ((one, key) for one in self.persons for key in one.passkeys if key.id == ident)
        return next(found, None)

    def of_uid(self, uid: int) -> Person | None:
        """Give the person who works under that user id."""
        return next((person for person in self.persons if person.uid == uid), None)

    def of_placer(self, by: str) -> Person | None:
        """Give the person who placed a stop, as its `by` tells: `person:NAME` or `uid:N`."""
        kind, _, name = by.partition(":")
        if kind == "person":
            return self.of_name(name)
        return self.of_uid(int(name)) if kind == "uid" and name.isdigit() else None

    def of_name(self, name: str) -> Person | None:
        """Give the person of that name."""
        return next((person for person in self.persons if person.name == name), None)


NOBODY = People(())
"""What is known where nothing is known."""


def _own_bytes(path: str, owner_uid: int) -> bytes:
    """Read a small regular file that only `owner_uid` can read or write, following no link."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != owner_uid:
            raise Refused("it is not a file of the warden's user", f"chown {owner_uid} it")
        if facts.st_mode & 0o077:
            raise Refused("others can read or write it", "chmod 600 it")
        return file.read(_MAX_FILE + 1)


def _parse(data: bytes, name: str) -> Person:
    """Make a person of a file's bytes; `Refused` says why it is none."""
    try:
        raw = json.loads(data) if len(data) <= _MAX_FILE else None
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict) or set(raw) - _FIELDS:
        raise Refused("it is not JSON with name, uid, keys, totp, passkeys and roles alone")
    uid, keys, totp = raw.get("uid"), raw.get("keys", []), raw.get("totp")
    if raw.get("name") != name or not _NAME.fullmatch(name):
        raise Refused("its name is not the name of its file")
    if uid is not None and (not isinstance(uid, int) or isinstance(uid, bool) or uid < 0):
        raise Refused("its uid is no user id")
    if not isinstance(keys, list) or not all(isinstance(line, str) for line in keys):
        raise Refused("its keys are not a list of lines")
    if totp is not None and not isinstance(totp, str):
        raise Refused("its totp is no text")
    passkeys = raw.get("passkeys", [])
    if not isinstance(passkeys, list) or len(passkeys) > _MOST_PASSKEYS:
        raise Refused(f"its passkeys are no list of at most {_MOST_PASSKEYS}")
    return Person(
        name,
        uid,
        tuple(parse_key(line) for line in keys),
        None if totp is None else read_secret(totp),
        tuple(read_passkey(one) for one in passkeys),
        _roles(raw.get("roles")),
    )


def _roles(raw: object) -> frozenset[Role]:
    """Read the roles; nothing said is safety, and an empty list is nobody's role."""
    if raw is None:
        return frozenset({Role.SAFETY})
    if not isinstance(raw, list) or not raw or not all(one in list(Role) for one in raw):
        raise Refused(f"its roles are not some of {', '.join(Role)}")
    return frozenset(Role(one) for one in raw)


def _apart(persons: list[Person]) -> tuple[list[Person], list[str]]:
    """Take from everyone what two of them share; who shares a user id counts for nobody."""
    codes = Counter(person.totp for person in persons if person.totp is not None)
    uids = Counter(person.uid for person in persons if person.uid is not None)
    ids = Counter(one for person in persons for one in {key.id for key in person.passkeys})
    points = Counter(point for person in persons for point in person.points)
    kept, problems = [], []
    for person in persons:
        if person.uid is not None and uids[person.uid] > 1:
            problems.append(f"{person.name}: the user id {person.uid} stands under two names")
            continue
        own = tuple(key for key in person.keys if points[key.point] == 1)
        if len(own) < len(person.keys):
            problems.append(f"{person.name}: a key stands under two names")
        passkeys = tuple(key for key in person.passkeys if ids[key.id] == points[key.point] == 1)
        if len(passkeys) < len(person.passkeys):
            problems.append(f"{person.name}: a passkey stands under two names")
        totp = person.totp
        if totp is not None and codes[totp] > 1:
            problems.append(f"{person.name}: a one-time secret stands under two names")
            totp = None
        kept.append(replace(person, keys=own, totp=totp, passkeys=passkeys))
    return kept, problems


def read_people(home: str, owner_uid: int) -> People:
    """Read everyone; never raises: what cannot be read is a problem, and counts for nobody."""
    found, problems = _read_all(f"{home}/people", owner_uid)
    kept, shared = _apart(found)
    return People(tuple(kept), (*problems, *shared))


def _read_all(folder: str, owner_uid: int) -> tuple[list[Person], list[str]]:
    """Read every file of the folder, and say what is wrong with the others."""
    try:
        facts = os.stat(folder, follow_symlinks=False)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != owner_uid or facts.st_mode & 0o022:
            return [], [f"{folder}: not a folder of the warden's alone (chmod 700)"]
        names = sorted(entry for entry in os.listdir(folder) if entry.endswith(".json"))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{folder}: {error.strerror}"]
    persons: list[Person] = []
    problems: list[str] = []
    for entry in names[:_MAX_PEOPLE]:
        try:
            data = _own_bytes(f"{folder}/{entry}", owner_uid)
            persons.append(_parse(data, entry.removesuffix(".json")))
        except OffswitchError as error:
            problems.append(f"{folder}/{entry}: {error.message}")
        except OSError as error:
            problems.append(f"{folder}/{entry}: {error.strerror}")
    return persons, problems


def write_person(
    home: str,
    name: str,
    *,
    uid: int | None,
    keys: list[str],
    totp: str | None = None,
    passkeys: Sequence[Mapping[str, str]] = (),
    roles: Collection[Role] = (),
    dry_run: bool = False,
) -> Person:
    """Add a person; refused if the name is taken or anything of theirs is another's already."""
    if not _NAME.fullmatch(name):
        raise Usage(f"{name[:40]!r} is no name", "use a-z, then a-z, 0-9, . _ - (up to 32)")
    said: dict[str, Any] = {"name": name, "uid": uid, "keys": keys, "totp": totp}
    if passkeys:
        said["passkeys"] = [dict(one) for one in passkeys]
    if roles:
        said["roles"] = sorted(roles)
    body = json.dumps(said, indent=1).encode()
    fresh = _parse(body, name)
    if not fresh.proves:
        hint = "give an SSH key, a passkey or a one-time secret"
        raise Usage(f"{name} has nothing to prove it by", hint)
    found, _ = _read_all(f"{home}/people", os.geteuid())
    others = [one for one in found if one.name != name]
    _, problems = _apart([*others, fresh])
    if problems:
        raise Refused(problems[0], "two people share neither key, passkey, code nor user id")
    path = f"{home}/people/{name}.json"
    if os.path.lexists(path):
        raise Busy(f"there is a person {name} already", "remove that one first")
    if not dry_run:
        _write(path, body, name)
    return fresh


def _write(path: str, body: bytes, name: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        with open(fd, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Busy(f"there is a person {name} already", "remove that one first") from None
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}") from None


def remove_person(home: str, name: str) -> None:
    """Remove a person's file; `NotFound` if there is none."""
    if not _NAME.fullmatch(name):
        raise Usage(f"{name[:40]!r} is no name", "see: offswitch people list")
    path = f"{home}/people/{name}.json"
    try:
        os.unlink(path)
    except FileNotFoundError:
        raise NotFound(f"there is no person {name}", "see: offswitch people list") from None
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}") from None

"""The people who may reset: one small file each in `$OFFSWITCH_HOME/people/`, the warden's.

    {"name": "ada", "uid": 1000, "keys": ["ssh-ed25519 AAAA… ada@desk"], "totp": "JBSW…"}

The folder and the files are the warden's own, and a file is for its eyes only (0600): who
can write one decides who may reset, who can read one has its one-time secret. A file that
is not so, or that cannot be read as one person, counts for nobody, and says so. So does
everything that two of them share: the same key, the same one-time secret or the same user
id under two names is one person twice, and two people are wanted.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass

from offswitch.decide.sshsig import PublicKey, parse_key
from offswitch.decide.totp import read_secret
from offswitch.errors import Busy, OffswitchError, Refused, Storage, Usage

__all__ = ["NOBODY", "People", "Person", "read_people", "write_person"]

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_MAX_FILE = 16 * 1024
_MAX_PEOPLE = 1000
_FIELDS = {"name", "uid", "keys", "totp"}


@dataclass(frozen=True, slots=True)
class Person:
    """One person who may confirm a reset."""

    name: str
    uid: int | None
    """The user id under which this person works on this machine, if on this machine at all."""
    keys: tuple[PublicKey, ...]
    totp: bytes | None
    """The one-time secret; None: no codes."""


@dataclass(frozen=True, slots=True)
class People:
    """Who was found, and what was wrong with the rest."""

    persons: tuple[Person, ...]
    problems: tuple[str, ...] = ()
    """One sentence for each file or key that counts for nobody."""

    def of_key(self, key: PublicKey) -> Person | None:
        """Give the person whose key this is."""
        return next((person for person in self.persons if key in person.keys), None)

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
        raise Refused("it is not JSON with name, uid, keys and totp")
    uid, keys, totp = raw.get("uid"), raw.get("keys", []), raw.get("totp")
    if raw.get("name") != name or not _NAME.fullmatch(name):
        raise Refused("its name is not the name of its file")
    if uid is not None and (not isinstance(uid, int) or isinstance(uid, bool) or uid < 0):
        raise Refused("its uid is no user id")
    if not isinstance(keys, list) or not all(isinstance(line, str) for line in keys):
        raise Refused("its keys are not a list of lines")
    if totp is not None and not isinstance(totp, str):
        raise Refused("its totp is no text")
    parsed = tuple(parse_key(line) for line in keys)
    return Person(name, uid, parsed, None if totp is None else read_secret(totp))


def _apart(persons: list[Person]) -> tuple[list[Person], list[str]]:
    """Take from everyone what two of them share; who shares a user id counts for nobody."""
    keys = Counter(key for person in persons for key in set(person.keys))
    codes = Counter(person.totp for person in persons if person.totp is not None)
    uids = Counter(person.uid for person in persons if person.uid is not None)
    kept, problems = [], []
    for person in persons:
        if person.uid is not None and uids[person.uid] > 1:
            problems.append(f"{person.name}: the user id {person.uid} stands under two names")
            continue
        own = tuple(key for key in person.keys if keys[key] == 1)
        if len(own) < len(person.keys):
            problems.append(f"{person.name}: a key stands under two names")
        totp = person.totp
        if totp is not None and codes[totp] > 1:
            problems.append(f"{person.name}: a one-time secret stands under two names")
            totp = None
        kept.append(Person(person.name, person.uid, own, totp))
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
    home: str, name: str, *, uid: int | None, keys: list[str], totp: str | None = None
) -> None:
    """Add a person; refused if the name is taken or anything of theirs is another's already."""
    if not _NAME.fullmatch(name):
        raise Usage(f"{name[:40]!r} is no name", "use a-z, then a-z, 0-9, . _ - (up to 32)")
    body = json.dumps({"name": name, "uid": uid, "keys": keys, "totp": totp}, indent=1).encode()
    fresh = _parse(body, name)
    if not fresh.keys and fresh.totp is None:
        raise Usage(f"{name} has nothing to prove it by", "give an SSH key or a one-time secret")
    found, _ = _read_all(f"{home}/people", os.geteuid())
    others = [one for one in found if one.name != name]
    _, problems = _apart([*others, fresh])
    if problems:
        raise Refused(problems[0], "two people share neither key, code nor user id")
    folder = f"{home}/people"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f"{folder}/{name}.json", flags, 0o600)
        with open(fd, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Busy(f"there is a person {name} already", "remove that one first") from None
    except OSError as error:
        raise Storage(f"{folder}/{name}.json: {error.strerror}") from None

"""Who may confirm a reset, checked by the warden itself (SR-5). Standard library only.

`$OFFSWITCH_HOME/authority` holds one word. `local`: one person, under the rule of SR-2
(`secret.may_reset`). `people`: proofs of people whom the warden knows, over the digest of
this very reset. A kill or poweroff is cleared by two of role safety; a lesser stop by one whose
role stands at least as high as that of whoever placed it (RST-5). The configuration may ask for
more people, never for fewer, and that none of them placed the stop.

A proof is an SSH signature (namespace `offswitch-reset`) over the digest's 64 hex digits, a
passkey's word (`passkey`), or `code NAME 123456` with a one-time code. The same proofs, in a
namespace of their own, confirm other things that take a person (`prove`).

Which way it fails: a missing file is `local` in a fresh installation; a garbled one, or
one that somebody else could have written, is `people` with nobody in it, so nothing is
reset until root has looked. The second person of role safety switches to `people` for good.
Going back is an act of root on a stopped installation: `at_start` compares with the mode that
was in force last, reports the change for the ledger, and does not take it while a stop is live.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from offswitch.decide import passkey
from offswitch.decide.people import NOBODY, People, Person, read_people, write_person
from offswitch.decide.roles import Role, rank
from offswitch.decide.sshsig import parse_signature
from offswitch.decide.totp import CodeBook
from offswitch.errors import Refused, Storage, Usage
from offswitch.model.level import Level

__all__ = [
    "NAMESPACE",
    "VALID_US",
    "Authority",
    "Case",
    "Mode",
    "Ruling",
    "Start",
    "able",
    "add_person",
    "again",
    "at_start",
    "judge",
    "needed",
    "prove",
    "read_authority",
]

NAMESPACE = "offswitch-reset"
VALID_US = 15 * 60 * 1_000_000
"""How long a reset that was opened may be confirmed."""
_AHEAD_US = 60_000_000
_MAX_PROOFS = 4
_CODE = re.compile(r"code ([a-z][a-z0-9._-]{0,31}) ([0-9]{6})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ABOUT = re.compile(r"[a-z][a-z-]{0,31}")
_OPERATOR, _SAFETY = rank({Role.OPERATOR}), rank({Role.SAFETY})
_HOW = "printf %s {digest} | ssh-keygen -Y sign -n offswitch-reset -f KEY"


class Mode(StrEnum):
    """How resets are authorised."""

    LOCAL = "local"
    PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class Authority:
    """The mode in force and the people known."""

    mode: Mode
    people: People = NOBODY
    problem: str = ""
    """What is wrong with the authority file, for people; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One reset to be judged."""

    digest: str
    """The reset's own digest, 64 hex digits: what people sign."""
    level: Level
    """The highest level among the stops that it clears."""
    opened_us: int
    """The reset's time, UTC in microseconds."""
    done: bool = False
    """Whether a reset of this digest was carried out before."""
    placed_by: tuple[str, ...] = ()
    """Who placed the stops that it clears, as these say: `person:ada`, `uid:1000`, `rule:x`."""
    people: int = 0
    """How many people the configuration asks for; fewer than the level takes is as if 0."""
    not_who_stopped: bool = False
    """Whether nobody may confirm who placed one of the stops."""
    alone: bool = False
    """Single-person mode: one known person is enough."""

    @property
    def wanted(self) -> int:
        """How many people it takes."""
        return 1 if self.alone else max(needed(self.level), self.people)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the proofs amount to."""

    allowed: bool
    people: tuple[str, ...]
    """Names of those who proved themselves, sorted."""
    needs: tuple[str, ...]
    """What is missing, for people; empty when allowed."""
    refused: tuple[str, ...] = ()
    """Why proofs were not counted: for the ledger and the caller."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a warden finds at its start."""

    authority: Authority
    note: str = ""
    """A change of the mode since last time, for the ledger; empty: none."""
    before: str = ""
    """The mode that was in force last time; empty: this is the first."""


def needed(level: Level) -> int:
    """How many people a reset takes: two where it clears a kill or poweroff."""
    return 2 if level >= Level.KILL else 1


def able(people: People) -> set[str]:
    """Name those who can confirm the reset of a kill."""
    return {one.name for one in people.persons if one.proves and rank(one.roles) >= _SAFETY}


def _read_word(path: str, owner_uid: int) -> str | None:
    """Read a one-word file; None if missing; `Refused` if somebody else could have written it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    with open(fd, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != owner_uid or facts.st_mode & 0o022:
            raise Refused(f"{path}: somebody else than the warden's user can write it")
        return file.read(64).decode("ascii", "replace").strip()


def _write_word(path: str, word: str) -> None:
    fresh = path + ".new"
    try:
        if os.path.lexists(fresh):
            os.unlink(fresh)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(fresh, flags, 0o644)
        with open(fd, "w", encoding="ascii") as file:
            file.write(word + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise Storage(f"{path} cannot be written: {error.strerror}") from None


def read_authority(home: str, owner_uid: int) -> Authority:
    """Read the mode and the people; never raises: what is garbled lets nobody reset."""
    try:
        word = _read_word(f"{home}/authority", owner_uid)
        mode = Mode.LOCAL if word is None else Mode(word)
    except Refused as error:
        return Authority(Mode.PEOPLE, NOBODY, error.message)
    except ValueError:
        problem = f"{home}/authority holds neither local nor people: nobody may reset"
        return Authority(Mode.PEOPLE, NOBODY, problem)
    return Authority(mode, read_people(home, owner_uid))


def at_start(home: str, owner_uid: int, *, latched: bool) -> Start:
    """Read the authority as a warden that starts; compare with the mode in force last time.

    `latched` says whether any stop is live. A change from `people` to `local` is then not
    taken: what two people guard is not opened by editing a file in the middle of it.
    """
    now = read_authority(home, owner_uid)
    seen = f"{home}/authority.seen"
    try:
        before = _read_word(seen, owner_uid)
    except Refused:
        before = Mode.PEOPLE.value
    if now.mode is Mode.LOCAL and before not in {None, Mode.LOCAL.value} and latched:
        kept = Authority(Mode.PEOPLE, read_people(home, owner_uid))
        note = "authority was set to local while latched: it stays people until all is reset"
        return Start(kept, note, before or "")
    if before == now.mode.value:
        return Start(now)
    note = f"authority changed from {before or 'local'} to {now.mode.value}"
    if before is None and now.mode is Mode.LOCAL:
        note = ""
    if not now.problem:
        try:
            _write_word(seen, now.mode.value)
        except Storage as error:
            # A full disk keeps no warden from starting; the change is then noted again.
            return Start(now, f"{note or 'authority'} ({error.message})", before or "")
    return Start(now, note, before or "")


def again(current: Authority, home: str, owner_uid: int) -> Authority:
    """Read the authority anew in a running warden: `people` stays, whatever the file says now.

    That it was in force is kept, so that the next start finds out about going back.
    """
    now = read_authority(home, owner_uid)
    if current.mode is Mode.LOCAL and now.mode is Mode.PEOPLE and not now.problem:
        with suppress(Storage):  # a full disk makes nobody one person again
            _write_word(f"{home}/authority.seen", now.mode.value)
    if current.mode is Mode.PEOPLE and now.mode is Mode.LOCAL:
        return Authority(Mode.PEOPLE, read_people(home, owner_uid), current.problem)
    return now


def add_person(
    home: str,
    name: str,
    *,
    uid: int | None,
    keys: list[str],
    totp: str | None = None,
    passkeys: Sequence[Mapping[str, str]] = (),
    roles: Collection[Role] = (),
) -> Mode:
    """Add a person as the warden's user; the second who can reset a kill makes it take two."""
    write_person(home, name, uid=uid, keys=keys, totp=totp, passkeys=passkeys, roles=roles)
    owner = os.geteuid()
    now = read_authority(home, owner)
    if now.mode is Mode.LOCAL and len(able(now.people)) > 1:
        _write_word(f"{home}/authority", Mode.PEOPLE.value)
        return Mode.PEOPLE
    return now.mode


def judge(
    authority: Authority,
    case: Case,
    proofs: Sequence[str],
    book: CodeBook,
    now_us: int,
    already: Collection[str] = (),
) -> Ruling:
    """Weigh the proofs of a reset; each person counts once, and only if their role does.

    A code is burnt by being weighed, and two people rarely prove themselves in one call:
    `already` names those whom earlier rulings on this very digest had counted.
    """
    if not _DIGEST.fullmatch(case.digest) or case.done:
        return Ruling(False, (), ("open a new reset",), ("this reset was carried out already",))
    if not -_AHEAD_US <= now_us - case.opened_us <= VALID_US:
        return Ruling(False, (), ("open a new reset",), ("this reset has expired",))
    if authority.problem:
        return Ruling(False, (), (authority.problem,), (authority.problem,))
    known = authority.people
    proven, refused = _proven(known, case.digest, NAMESPACE, proofs, book, now_us)
    for person in proven:
        why = _does_not_count(person, case, known)
        refused += [why] if why else []
    before = [one for one in known.persons if one.name in already]
    counted = {one.name for one in (*before, *proven) if not _does_not_count(one, case, known)}
    missing = case.wanted - len(counted)
    needs = _missing(missing, case, known) if missing > 0 else ()
    return Ruling(missing <= 0, tuple(sorted(counted)), needs, tuple(refused))


def prove(
    authority: Authority,
    about: str,
    digest: str,
    wanted: int,
    role: Role,
    proofs: Sequence[str],
    book: CodeBook,
    now_us: int,
) -> Ruling:
    """Say who proved themselves over `digest`, of those who have `role`.

    `about` is what is confirmed (`bypass`, `decision`), and signatures bear it in their namespace,
    `offswitch-ABOUT`; a reset is never confirmed here. How long a digest is good for is for
    whoever asks to see to.
    """
    if not _ABOUT.fullmatch(about) or about == "reset" or not _DIGEST.fullmatch(digest):
        raise Usage("a proof is about something, and over a digest of 64 hex digits")
    if authority.problem:
        return Ruling(False, (), (authority.problem,), (authority.problem,))
    space = f"offswitch-{about}"
    proven, refused = _proven(authority.people, digest, space, proofs, book, now_us)
    counted = {person.name for person in proven if _has(person, role)}
    refused += [f"{one.name} is not {role.value}" for one in proven if one.name not in counted]
    missing = wanted - len(counted)
    needs: tuple[str, ...] = ()
    if missing > 0:
        how = f"printf %s {digest} | ssh-keygen -Y sign -n {space} -f KEY"
        needs = (f"the proof of {_people(missing)} of role {role.value}: {how}",)
    return Ruling(missing <= 0, tuple(sorted(counted)), needs, tuple(refused))


def _has(person: Person, role: Role) -> bool:
    """Tell whether somebody has a role; who is safety is an operator, too."""
    return role in person.roles or (role is Role.OPERATOR and Role.SAFETY in person.roles)


def _does_not_count(person: Person, case: Case, known: People) -> str:
    """Say why somebody who is who they say does not count for this reset; empty: they do."""
    if case.not_who_stopped and any(known.of_placer(by) == person for by in case.placed_by):
        return f"{person.name} placed one of these stops: another has to confirm"
    asked = _rank_asked(case, known)
    if rank(person.roles) >= asked:
        return ""
    what = f"a {case.level.label}" if case.level >= Level.KILL else "what a safety person stopped"
    who = Role.SAFETY.value if asked == _SAFETY else Role.OPERATOR.value
    roles = ", ".join(sorted(person.roles))
    return f"{person.name} is {roles}: {what} is reset by role {who}"


def _rank_asked(case: Case, known: People) -> int:
    """Give the rank that confirming takes: safety for a kill, else that of whoever stopped."""
    if case.level >= Level.KILL:
        return _SAFETY
    placers = [known.of_placer(by) for by in case.placed_by]
    return max((rank(one.roles) for one in placers if one is not None), default=0) or _OPERATOR


def _missing(missing: int, case: Case, known: People) -> tuple[str, ...]:
    """Say what is missing, for people; and that it cannot be had, where that is so."""
    asked = _rank_asked(case, known)
    role = f" of role {Role.SAFETY.value}" if asked == _SAFETY else ""
    needs = [f"the proof of {_people(missing)}{role}: {_HOW.format(digest=case.digest)}"]
    able = [one for one in known.persons if one.proves and not _does_not_count(one, case, known)]
    if len(able) < case.wanted:
        needs.append(
            f"it takes {case.wanted}, and {len(able)} may confirm it here: offswitch people add"
        )
    return tuple(needs)


def _people(count: int) -> str:
    return {1: "one more person", 2: "two people"}.get(count, f"{count} people")


def _proven(
    known: People,
    digest: str,
    space: str,
    proofs: Sequence[str],
    book: CodeBook,
    now_us: int,
) -> tuple[list[Person], list[str]]:
    """Find who made `proofs` over `digest`, and why the others count for nobody."""
    found: dict[str, Person] = {}
    refused: list[str] = []
    for proof in proofs[:_MAX_PROOFS]:
        try:
            person = _prover(known, digest, space, proof, book, now_us)
            found[person.name] = person
        except Refused as error:
            refused.append(error.message)
    return list(found.values()), refused


def _prover(
    people: People, digest: str, space: str, proof: str, book: CodeBook, now_us: int
) -> Person:
    """Find the person who made `proof` over `digest`; `Refused` says why nobody did."""
    code = _CODE.fullmatch(proof.strip())
    if code is not None:
        person = people.of_name(code[1])
        if person is None or person.totp is None:
            raise Refused(f"no one-time code is known for {code[1]}")
        book.redeem(person.name, person.totp, code[2], now_us)
        return person
    if proof.startswith(passkey.PREFIX):
        holder = people.of_passkey(passkey.id_of(proof))
        if holder is None:
            raise Refused("a passkey that is nobody's here")
        passkey.verify(proof, holder[1], digest)
        return holder[0]
    signature = parse_signature(proof)
    signer = people.of_key(signature.key)
    if signer is None:
        raise Refused("a signature by a key that is nobody's here")
    # `echo` adds a newline and `printf %s` does not; both say the same digest.
    signed = (digest.encode(), digest.encode() + b"\n")
    if not any(signature.verifies(message, space) for message in signed):
        raise Refused(f"{signer.name}'s signature is not over this {space.partition('-')[2]}")
    return signer

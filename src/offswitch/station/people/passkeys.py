"""Passkeys: a sign-in that no page can be phished of, and, once root knows it, a proof for resets.

    register   on one's own account; the browser's authenticator makes a key for this host
    sign in    the browser signs a challenge of ours; no name, no password
    confirm    what it signs is the digest of a reset: checked by the warden, not here (SR-5)

Registering takes the extra `passkeys`; who has registered signs in without it, by the very check
that the warden makes (`decide/passkey`). A challenge bears its own time and our seal, so that
asking for many of them fills nothing; one that was used is not taken again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from offswitch.decide import passkey
from offswitch.errors import Busy, NotFound, OffswitchError, Refused, Unsupported, Usage
from offswitch.printable import printable
from offswitch.station.people.store import Store

try:
    import webauthn
    from webauthn.helpers import structs
    from webauthn.helpers.cose import COSEAlgorithmIdentifier as Cose
    from webauthn.helpers.exceptions import InvalidRegistrationResponse
except ImportError:  # the extra that nobody asked for
    HERE = False
else:
    HERE = True

__all__ = ["HERE", "SIGN_IN", "Challenges", "Kept", "Passkeys", "options", "registered"]

SIGN_IN = "sign-in"
"""The purpose of a challenge that anybody gets."""
_LASTS_S = 300
_SEAL = 16
_MOST_EACH = 10
_MOST_USED = 4096
_LABEL_MOST = 40
_HINT = "open the page anew and try again"


@dataclass(frozen=True, slots=True)
class Kept:
    """One registered passkey."""

    id: str
    """The credential's id, base64url."""
    name: str
    """Whose it is."""
    key: str
    """The public key as COSE has it, base64url."""
    rp: str
    """The host that it is for."""
    label: str
    """What its person calls it."""
    made_us: int

    @property
    def line(self) -> str:
        """The line by which root has the warden know it, for resets."""
        return f"passkey:v1:{self.name}:{self.rp}:{self.id}:{self.key}"


class Challenges:
    """What authenticators are to sign: 8 bytes of time, 8 of chance, 16 that seal both.

    The seal says what for, too: one that anybody gets to sign in with registers nothing.
    """

    def __init__(self) -> None:
        """Seal with a key that this process alone has."""
        self._key = secrets.token_bytes(32)
        self._used: OrderedDict[str, None] = OrderedDict()

    def make(self, purpose: str, now_us: int) -> bytes:
        """Make one for `purpose`."""
        head = (now_us // 1_000_000).to_bytes(8, "big") + secrets.token_bytes(8)
        return head + self._seal(purpose, head)

    def take(self, purpose: str, challenge: bytes, now_us: int) -> None:
        """Accept one that is ours, fresh and was not used; raises `Refused`."""
        head, seal = challenge[:16], challenge[16:]
        age_s = now_us // 1_000_000 - int.from_bytes(head[:8], "big")
        ours = len(challenge) == 32 and hmac.compare_digest(seal, self._seal(purpose, head))  # noqa: PLR2004
        if not ours or not 0 <= age_s <= _LASTS_S or challenge.hex() in self._used:
            raise Refused("that was asked too long ago, or not by us", _HINT)
        self._used[challenge.hex()] = None
        if len(self._used) > _MOST_USED:
            self._used.popitem(last=False)

    def _seal(self, purpose: str, head: bytes) -> bytes:
        return hmac.new(self._key, head + purpose.encode(), hashlib.sha256).digest()[:_SEAL]


class Passkeys:
    """All of them, in memory; changes are written behind."""

    def __init__(self, store: Store) -> None:
        """Read them from `store`."""
        self._store = store
        rows = store.rows("SELECT id, name, key, rp, label, made_us FROM passkeys")
        self._kept = {one.id: one for one in (Kept(*row) for row in rows)}  # type: ignore[arg-type]
        self.challenges = Challenges()

    def of(self, name: str) -> list[Kept]:
        """List somebody's."""
        mine = (one for one in self._kept.values() if one.name == name)
        return sorted(mine, key=lambda one: one.made_us)

    def add(self, one: Kept) -> None:
        """Keep one."""
        if one.id in self._kept:
            raise Busy("this passkey is registered already", "use it to sign in")
        if len(self.of(one.name)) >= _MOST_EACH:
            raise Busy(f"you have {_MOST_EACH} passkeys", "remove one that is lost")
        self._kept[one.id] = one
        values = (one.id, one.name, one.key, one.rp, one.label, one.made_us)
        self._store.write("INSERT INTO passkeys VALUES (?, ?, ?, ?, ?, ?)", values)

    def remove(self, name: str, ident: str) -> Kept:
        """Forget one of somebody's."""
        one = self._kept.get(ident)
        if one is None or one.name != name:
            raise NotFound("no passkey of yours has that id", "see the page of your account")
        del self._kept[ident]
        self._store.write("DELETE FROM passkeys WHERE id = ?", (ident,))
        return one

    def remove_all(self, name: str) -> None:
        """Forget all of somebody's."""
        for one in self.of(name):
            self.remove(name, one.id)

    def check(self, proof: str, now_us: int) -> Kept:
        """Find whose passkey signed a challenge of ours; raises `Refused`."""
        challenge = _challenge_of(proof)
        one = self._kept.get(_text(passkey.id_of(proof)))
        if one is None:
            raise Refused("this passkey is not registered here", "sign in another way, register it")
        known = passkey.read_passkey({"id": one.id, "key": one.key, "rp": one.rp})
        passkey.verify(proof, known, challenge.hex())
        self.challenges.take(SIGN_IN, challenge, now_us)
        return one


def options(name: str, rp: str, challenge: bytes, known: list[Kept]) -> dict[str, Any]:
    """Give what a browser's `navigator.credentials.create` is asked."""
    if not HERE:
        raise Unsupported("passkeys are not here", "pip install 'offswitch[passkeys]'")
    if not rp:
        raise Unsupported(
            "a passkey is bound to a name, and this page was reached by an address",
            "[station] url, or on this machine http://localhost",
        )
    made = webauthn.generate_registration_options(
        rp_id=rp,
        rp_name="Offswitch",
        user_id=hashlib.sha256(f"offswitch:{name}".encode()).digest(),
        user_name=name,
        challenge=challenge,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[
            structs.PublicKeyCredentialDescriptor(id=_bytes(one.id)) for one in known
        ],
        supported_pub_key_algs=[Cose.EDDSA, Cose.ECDSA_SHA_256],
    )
    said: dict[str, Any] = json.loads(webauthn.options_to_json(made))
    return said


def registered(
    credential: dict[str, Any], name: str, rp: str, origin: str, label: str, now_us: int
) -> tuple[Kept, bytes]:
    """Check what the browser made; gives what is kept, and the challenge that it answers."""
    if not HERE:
        raise Unsupported("passkeys are not here", "pip install 'offswitch[passkeys]'")
    try:
        client = json.loads(_bytes(credential["response"]["clientDataJSON"]))
        challenge = _bytes(client["challenge"])
        made = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp,
            expected_origin=origin,
            require_user_verification=True,
            supported_pub_key_algs=[Cose.EDDSA, Cose.ECDSA_SHA_256],
        )
    except InvalidRegistrationResponse as error:
        raise Refused(
            f"the passkey was not made as asked: {printable(error, 150)}", _HINT
        ) from None
    except OffswitchError:
        raise
    except Exception:  # noqa: BLE001 - a stranger's bytes in a library's hands
        raise Usage("that is no new passkey", _HINT) from None
    label = printable(label.strip(), _LABEL_MOST) or "passkey"
    key, ident = _text(made.credential_public_key), _text(made.credential_id)
    passkey.read_passkey({"id": ident, "key": key, "rp": rp})
    return Kept(ident, name, key, rp, label, now_us), challenge


def _challenge_of(proof: str) -> bytes:
    try:
        raw = json.loads(proof.removeprefix(passkey.PREFIX))
        return _bytes(json.loads(_bytes(raw["clientDataJSON"]))["challenge"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("that is no passkey's word", _HINT) from None


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("no base64url")  # noqa: TRY004 - a stranger's bytes
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

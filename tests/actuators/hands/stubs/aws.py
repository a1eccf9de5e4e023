"""A stub of AWS's IAM and STS: the calls that a stop makes, in the shapes of their API reference.

It is no AWS. Every day it stands in for one, since it starts at once and can be made to misbehave;
`-m peers` puts moto in its place, whose calls and errors are made by others from AWS's own models.
Unlike moto it holds a policy's date against sessions, and refuses an inactive key, as AWS does.
Signatures are checked by our own way of signing, which moto checks by botocore's.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from actuators.hands.stubs.web import Asked, Said, Stub
from offswitch.actuators.hands.credentials.aws.sigv4 import Keys, Scope, signed

__all__ = ["ACCOUNT", "Aws", "Identity", "credentials"]

ACCOUNT = "123456789012"


def credentials(keys: Keys) -> str:
    """Write keys as ~/.aws/credentials has them."""
    lines = [f"aws_access_key_id = {keys.access_key}", f"aws_secret_access_key={keys.secret_key}"]
    if keys.session_token:
        lines.append(f"aws_session_token = {keys.session_token}")
    return "\n".join(["[default]", *lines, "[other]", "aws_access_key_id = AKIANOBODY", ""])


@dataclass
class Identity:
    """A user, or a role: what is written on it, and its keys or sessions."""

    name: str
    word: str
    """User or Role."""
    may: frozenset[str] = frozenset()
    """Actions that it may call."""
    policies: dict[str, str] = field(default_factory=dict)
    keys: dict[str, Keys] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    issued: dict[str, float] = field(default_factory=dict)
    """When a session was issued, by its access key."""


class _No(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Aws(Stub):
    """One account."""

    def __init__(self) -> None:
        self.all: list[Identity] = []
        self.forgets = False
        """Whether it says yes to a policy and writes nothing."""
        self.stubborn = ""
        """An access key that it does not get to make inactive."""
        self.slow_to_tell = False
        """Whether the services have not heard of any policy yet."""
        super().__init__()

    def user(self, name: str, *may: str, keys: int = 1) -> Identity:
        one = Identity(name, "User", frozenset(may))
        self.all.append(one)
        for _ in range(keys):
            self.key(one)
        return one

    def role(self, name: str, *may: str) -> Identity:
        one = Identity(name, "Role", frozenset(may))
        self.all.append(one)
        self.session(one)
        return one

    def key(self, of: Identity) -> Keys:
        number = sum(len(one.keys) for one in self.all)
        keys = Keys(f"AKIA{of.name.upper():X<12.12}{number:04}", f"secret/of+{of.name}{number:020}")
        of.keys[keys.access_key], of.active[keys.access_key] = keys, True
        return keys

    def session(self, of: Identity, age_s: float = 60) -> Keys:
        number = sum(len(one.keys) for one in self.all)
        access = f"ASIA{of.name.upper():X<12.12}{number:04}"
        keys = Keys(access, f"secret/of+{of.name}{number:020}", f"token=={of.name}{number:030}")
        of.keys[access], of.active[access] = keys, True
        of.issued[access] = self.now_s() - age_s
        return keys

    # --- what it answers ------------------------------------------------------------

    def answer(self, asked: Asked) -> Said:
        try:
            if asked.path.startswith("/bucket"):
                self._allowed(self._who(asked, "s3"), asked, "s3:ListBucket")
                return Said(200, b"<ListBucketResult><Name>bucket</Name></ListBucketResult>")
            said = dict(parse_qsl(asked.body.decode()))
            action = said["Action"]
            service = "sts" if said["Version"] == "2011-06-15" else "iam"
            who = self._who(asked, service)
            if service == "iam":
                self._allowed(who, asked, f"iam:{action}")
            inner = self._do(action, said, who)
        except _No as no:
            text = f"<Error><Code>{no.code}</Code><Message>{escape(no.message)}</Message></Error>"
            return Said(no.status, f"<ErrorResponse>{text}</ErrorResponse>".encode())
        return Said(200, f"<{action}Response>{inner}</{action}Response>".encode())

    def _who(self, asked: Asked, service: str) -> Identity:
        shown = asked.headers.get("authorization", "")
        found = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/", shown)
        access = found[1] if found else ""
        one = next((one for one in self.all if access in one.keys), None)
        if one is None or not one.active[access] or found is None or found[3] != service:
            raise _No(403, "InvalidClientTokenId", "The security token included is invalid.")
        at = time.strptime(asked.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
        time_s = int(time.mktime(at) - time.timezone)
        if abs(time_s - self.now_s()) > 300:
            raise _No(403, "SignatureDoesNotMatch", f"Signature expired: {asked.headers}")
        headers = {"content-type": asked.headers["content-type"]} if asked.method == "POST" else {}
        url, scope = f"{self.url}{asked.path}", Scope(found[2], service)
        made = signed(one.keys[access], scope, asked.method, url, asked.body, time_s, headers)
        if made["authorization"] != shown:
            said = f"The Canonical String should have been {asked.headers}"  # as AWS does
            raise _No(403, "SignatureDoesNotMatch", said)
        return one

    def _allowed(self, who: Identity, asked: Asked, action: str) -> None:
        access = asked.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        issued = who.issued.get(access)
        denied = not self.slow_to_tell and any(
            self._denies(text, issued) for text in who.policies.values()
        )
        if action not in who.may or denied:
            raise _No(403, "AccessDenied", f"{who.name} is not authorized to perform: {action}")

    @staticmethod
    def _denies(document: str, issued: float | None) -> bool:
        for one in json.loads(document)["Statement"]:
            when = one.get("Condition", {}).get("DateLessThan", {}).get("aws:TokenIssueTime")
            if when is None:
                return True
            before = time.mktime(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
            if issued is not None and issued < before:
                return True
        return False

    def _do(self, action: str, said: dict[str, str], who: Identity) -> str:
        if action == "GetCallerIdentity":
            key = "sts" if who.word == "Role" else "iam"
            kind = "assumed-role" if who.word == "Role" else "user"
            rest = f"{who.name}/session" if who.word == "Role" else who.name
            return f"<Arn>arn:aws:{key}::{ACCOUNT}:{kind}/{rest}</Arn>"
        word = "Role" if "RoleName" in said else "User"
        name = said[f"{word}Name"]
        whom = next((one for one in self.all if (one.word, one.name) == (word, name)), None)
        if whom is None:
            raise _No(404, "NoSuchEntity", f"The {word.lower()} with name {name} cannot be found.")
        return self._on(whom, action.replace(word, "*"), said)

    def _on(self, whom: Identity, action: str, said: dict[str, str]) -> str:
        policy = said.get("PolicyName", "")
        match action:
            case "Put*Policy":
                json.loads(said["PolicyDocument"])
                if not self.forgets:
                    whom.policies[policy] = said["PolicyDocument"]
                return ""
            case "Get*Policy" | "Delete*Policy" if policy not in whom.policies:
                missing = f"The {whom.word.lower()} policy with name {policy} cannot be found."
                raise _No(404, "NoSuchEntity", missing)
            case "Get*Policy":
                return f"<PolicyDocument>{quote(whom.policies[policy])}</PolicyDocument>"
            case "Delete*Policy":
                del whom.policies[policy]
                return ""
            case "ListAccessKeys":
                return "".join(
                    f"<member><AccessKeyId>{key}</AccessKeyId><Status>"
                    f"{'Active' if on else 'Inactive'}</Status></member>"
                    for key, on in whom.active.items()
                )
            case "UpdateAccessKey" if said["AccessKeyId"] == self.stubborn:
                raise _No(503, "ServiceUnavailable", "try again")
            case "UpdateAccessKey" if said["AccessKeyId"] in whom.active:
                whom.active[said["AccessKeyId"]] = said["Status"] == "Active"
                return ""
            case "UpdateAccessKey":
                missing = f"The Access Key with id {said['AccessKeyId']} cannot be found."
                raise _No(404, "NoSuchEntity", missing)
        raise _No(400, "InvalidAction", action)

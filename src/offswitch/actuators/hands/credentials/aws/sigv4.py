"""Signing a request for AWS: Signature Version 4, by the standard library.

    canonical request   method, path, query, headers, their names, SHA-256 of the body
    string to sign      algorithm, time, scope (day/region/service/aws4_request), SHA-256 of that
    signature           HMAC-SHA-256 by a key that is made of the secret for that scope alone

See "Create a signed AWS API request" in the IAM user guide. Published examples are in the tests,
and botocore, the client of AWS's own, checks it there too. A path is encoded once more for the
signature, as every service but S3 wants it. No secret is in the repr of what is here.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

from offswitch.errors import BadConfig

__all__ = ["Keys", "Scope", "keys_of", "signed"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_STANDARD_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials of AWS."""

    access_key: str
    """The public half, `AKIA…` or `ASIA…`."""
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    """Of a session; empty: the keys are a user's own."""

    @property
    def shown(self) -> str:
        """Name them for people."""
        return f"…{self.access_key[-4:]}"


@dataclass(frozen=True, slots=True)
class Scope:
    """For what a signature is good."""

    region: str
    service: str


def keys_of(text: str, place: str) -> Keys:
    """Take a file as in `~/.aws/credentials` apart, its first profile; `BadConfig` names the place.

    Nothing of the file is in the error.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if line.lstrip().startswith("[") and found:
            break
        if value.strip() and name.strip().lower() not in found:
            found[name.strip().lower()] = value.strip()
    try:
        return Keys(
            found["aws_access_key_id"],
            found["aws_secret_access_key"],
            found.get("aws_session_token", ""),
        )
    except KeyError as missing:
        hint = "write it as in ~/.aws/credentials: aws_access_key_id = …, aws_secret_access_key = …"
        raise BadConfig(f"{place}: there is no {missing.args[0]} in it", hint) from None


def signed(
    keys: Keys,
    scope: Scope,
    method: str,
    url: str,
    body: bytes,
    time_s: int,
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Give the headers with which a request is sent, `headers` among them."""
    parts = urlsplit(url)
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time_s))
    digest = hashlib.sha256(body).hexdigest()
    said = {name.lower(): value for name, value in (headers or {}).items()}
    said |= {"host": _host(parts.scheme, parts.hostname or "", parts.port), "x-amz-date": at}
    if keys.session_token:
        said["x-amz-security-token"] = keys.session_token
    if scope.service == "s3":
        said["x-amz-content-sha256"] = digest
    names = ";".join(sorted(said))
    canonical = "\n".join(
        (
            method,
            _path(parts.path or "/", scope.service),
            _query(parts.query),
            *(f"{name}:{' '.join(said[name].split())}" for name in sorted(said)),
            "",
            names,
            digest,
        )
    )
    day = f"{at[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join((_ALGORITHM, at, day, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret_key}".encode()
    for part in day.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    made = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    said["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key}/{day}, SignedHeaders={names}, Signature={made}"
    )
    return said


def _host(scheme: str, host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if port in {None, _STANDARD_PORTS.get(scheme)} else f"{shown}:{port}"


def _path(path: str, service: str) -> str:
    return path if service == "s3" else quote(path, safe="/-_.~")


def _query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return "&".join(f"{name}={value}" for name, value in pairs)

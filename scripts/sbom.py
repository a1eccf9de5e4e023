"""A bill of materials for a release, in CycloneDX 1.6: what is in it, under which licences.

The versions and hashes are those of requirements.lock, the licences those of the packages'
own metadata. Only what runs is listed, not what tests and builds use. The same lock gives
the same bytes: no time of building, no name of a machine, and a serial number made of the rest.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from datetime import UTC, datetime
from importlib.metadata import Distribution
from typing import Any

from offswitch.host.program import needed

_PINNED = re.compile(
    r"^(\S+)==(\S+) \\\n((?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE
)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "offswitch")


def locked(lock: str) -> dict[str, tuple[str, list[str]]]:
    """Read a lock: each package's version and the hashes of the files that may be installed."""
    found = {}
    for name, version, hashes in _PINNED.findall(lock):
        found[name] = version, re.findall(r"sha256:([0-9a-f]{64})", hashes)
    return found


def bill(lock: str, version: str, epoch: int) -> str:
    """Give the bill of materials of `version` as JSON text."""
    packages = {_key(each.name): each for each in needed() if each.name != "offswitch"}
    pins = locked(lock)
    product = _component("offswitch", version, "application", "Apache-2.0")
    told: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": product,
        },
        "components": [_library(name, packages[name], *pins[name]) for name in sorted(packages)],
        "dependencies": [
            {"ref": product["bom-ref"], "dependsOn": _refs(_distribution(), packages)},
            *(
                {"ref": _ref(name, package.version), "dependsOn": _refs(package, packages)}
                for name, package in sorted(packages.items())
            ),
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(told, sort_keys=True))
    told = {**told, "serialNumber": f"urn:uuid:{serial}"}
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


def _distribution() -> Distribution:
    return next(each for each in needed() if each.name == "offswitch")


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ref(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def _refs(package: Distribution, packages: dict[str, Distribution]) -> list[str]:
    """Name what a package needs, of what is in the release."""
    names = {
        _key(re.split(r"[^\w.-]", line.strip())[0])
        for line in package.requires or []
        if "extra ==" not in line
    }
    return [_ref(name, packages[name].version) for name in sorted(names & set(packages))]


def _component(name: str, version: str, kind: str, licence: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": kind,
        "bom-ref": _ref(name, version),
        "name": name,
        "version": version,
        "purl": _ref(name, version),
    }
    if licence:
        told["licenses"] = [{"expression": licence}]
    return told


def _library(name: str, package: Distribution, version: str, hashes: list[str]) -> dict[str, Any]:
    if package.version != version:
        message = f"{name} {package.version} is here, and {version} is locked: scripts/setup"
        raise SystemExit(message)
    told = _component(name, version, "library", package.metadata.get("License-Expression", ""))
    if "licenses" not in told:
        plain = package.metadata.get("License") or _classified(package)
        told["licenses"] = [{"license": {"name": plain}}] if plain else []
    # Which of these files it is depends on the machine: each is one that the lock lets in.
    told["externalReferences"] = [
        {
            "type": "distribution",
            "url": f"https://pypi.org/project/{name}/{version}/",
            "comment": "any of the files with these hashes",
            "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
        }
    ]
    return told


def _classified(package: Distribution) -> str:
    """Give the licence as the old classifiers tell it."""
    lines = package.metadata.get_all("Classifier") or []
    names = [line.rsplit(" :: ", 1)[-1] for line in lines if line.startswith("License ::")]
    return " and ".join(names)


def epoch_of(environment: os._Environ[str]) -> int:
    """Give the time that all files of a release bear."""
    return int(environment["SOURCE_DATE_EPOCH"])

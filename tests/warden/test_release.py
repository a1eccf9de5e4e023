"""Our own files are compared with the list that lies beside them (SEC-7)."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import offswitch
from offswitch.warden.release import HAND_PACKAGES, look, looking


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Give a copy of our package as an installer leaves it: with a list of hashes beside it."""
    folder = tmp_path / "site-packages"
    package = Path(offswitch.__file__).parent
    shutil.copytree(package, folder / "offswitch", ignore=shutil.ignore_patterns("__pycache__"))
    lines = [
        f"{path.relative_to(folder)},sha256={_hash(path)},{path.stat().st_size}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    (folder / "offswitch-1.dist-info").mkdir()
    (folder / "offswitch-1.dist-info/RECORD").write_text("".join(lines))
    return folder


def _hash(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_SEC_7_what_was_released_is_whole(library: Path) -> None:
    assert look(str(library)) == []


def test_SEC_7_any_flipped_bit_of_any_file_is_found(library: Path, rng: random.Random) -> None:
    files = [path for path in (library / "offswitch").rglob("*") if path.stat().st_size]
    for path in rng.sample([path for path in files if path.is_file()], 40):
        data = path.read_bytes()
        at = rng.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        assert look(str(library)) == [f"{path} is not what was released"]
        path.write_bytes(data)


def test_SEC_7_a_file_that_is_gone_or_was_never_there_is_found(library: Path) -> None:
    (library / "offswitch/warden/press.py").unlink()
    (library / "offswitch/warden/planted.py").write_text("")
    told = look(str(library))
    assert [line.split(" is ")[1] for line in told] == [
        "not what was released",
        "no part of what was released",
    ]


def test_SEC_7_without_its_list_a_release_is_not_taken_for_a_checkout(library: Path) -> None:
    shutil.rmtree(library / "offswitch-1.dist-info")
    assert len(look(str(library))) == 1
    (library.parent / "pyproject.toml").write_text("")
    assert look(str(library)) == [], "in a checkout files are meant to change"


def test_SEC_7_a_garbled_list_ends_in_a_finding_and_never_in_an_error(
    library: Path, rng: random.Random
) -> None:
    record = library / "offswitch-1.dist-info/RECORD"
    good = record.read_bytes()
    for _time in range(30):
        data = bytearray(good)
        for _each in range(20):
            data[rng.randrange(len(data))] = rng.randrange(256)
        record.write_bytes(data)
        assert look(str(library))
    record.write_bytes(b"")
    assert look(str(library))


def test_SEC_7_a_few_files_at_a_time_are_read_so_that_nothing_waits(library: Path) -> None:
    files = sum(1 for path in (library / "offswitch").rglob("*") if path.is_file())
    assert len(list(looking(str(library)))) >= files // 16


# --- hands, and the packages that they use ----------------------------------------------

LOADED = """
import importlib, pkgutil, sys
before = set(sys.modules)
import offswitch.actuators.hands as hands
from offswitch.actuators.hands.contract import Hand
for found in pkgutil.walk_packages(hands.__path__, hands.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
def below(cls):
    return [cls, *(each for sub in cls.__subclasses__() for each in below(sub))]
for cls in below(Hand):
    for name in cls.IMPORTS:
        importlib.import_module(name)
from importlib.metadata import packages_distributions
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
brought = packages_distributions()
print(*{one for top in tops for one in brought.get(top, ())} - {"offswitch"}, sep="\\n")
"""


def brought(library: Path, package: str, name: str) -> Path:
    """Have an installer put a file of a package there, and list it as it does."""
    path = library / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"what came")
    line = f"{name},sha256={_hash(path)},9\n../../../bin/{package},sha256=x,1\n{package}/n.pyc,,\n"
    (library / f"{package}-1.dist-info").mkdir()
    (library / f"{package}-1.dist-info/RECORD").write_text(line)
    return path


def test_SEC_7_a_hands_own_file_and_what_it_uses_are_compared_as_well(library: Path) -> None:
    own = [library / "offswitch/actuators/hands" / name for name in ("webhook.py", "host.py")]
    for path in own:
        data = path.read_bytes()
        path.write_bytes(data + b"\n")
        assert look(str(library)) == [f"{path} is not what was released"]
        path.write_bytes(data)
    for package in ("psycopg", "cryptography", "pydantic_core"):
        path = brought(library, package, f"{package}/inner.so")
        assert look(str(library)) == [], "nor is a script beside it, which differs everywhere"
        path.write_bytes(b"what cbme")
        assert look(str(library)) == [f"{path} is not what {package} brought"]
        path.unlink()
        assert look(str(library)) == [f"{path} is not what {package} brought"]
        path.write_bytes(b"what came")


def test_SEC_7_the_list_names_every_package_that_a_hand_loads() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADED], capture_output=True, text=True, check=True
    )
    found = {name.replace("-", "_").lower() for name in done.stdout.split()}
    assert "pydantic" in found, "it has looked"
    assert found <= set(HAND_PACKAGES), "extend release.HAND_PACKAGES"

"""Our own files are compared with the list that lies beside them (SEC-7)."""

from __future__ import annotations

import base64
import hashlib
import random
import shutil
from pathlib import Path

import pytest

import offswitch
from offswitch.warden.release import look, looking


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

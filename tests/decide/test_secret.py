"""SR-2: who may reset at all, and the secret that shows a person at the keyboard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from offswitch.decide.secret import check_secret, is_secret_set, may_reset, set_secret
from offswitch.errors import Usage

ME = os.geteuid()

# peer, in a cell, uids that ran targets, warden's uid, secret set, secret right
# → allowed, forgeable
TABLE = [
    (0, True, (), 0, False, False, False, False),
    (1000, True, (1000,), 0, True, True, False, False),
    (1000, True, (1000,), 1000, False, False, False, True),
    (1000, False, (), 0, False, False, True, False),
    (1000, False, (2000,), 0, False, False, True, False),
    (1000, False, (1000,), 0, False, False, False, False),
    (1000, False, (1000,), 0, True, False, False, False),
    (1000, False, (1000,), 0, True, True, True, False),
    (0, False, (1000,), 0, False, False, True, False),
    (0, False, (0, 1000), 0, False, False, True, True),
    (0, False, (0,), 0, True, False, False, True),
    (0, False, (0,), 0, True, True, True, True),
    (1000, False, (1000,), 1000, False, False, True, True),
    (1000, False, (1000,), 1000, True, False, False, True),
    (1000, False, (1000,), 1000, True, True, True, True),
    (0, False, (1000,), 1000, False, False, True, True),
    (1001, False, (1000, 1001), 1000, False, False, False, True),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_SR_2_who_may_reset_follows_the_table(row: tuple[object, ...]) -> None:
    peer, in_cell, ran, warden, is_set, right, allowed, forgeable = row
    verdict = may_reset(
        peer,  # type: ignore[arg-type]
        peer_in_cell=bool(in_cell),
        uids_that_ran_targets=ran,  # type: ignore[arg-type]
        warden_uid=warden,  # type: ignore[arg-type]
        secret_set=bool(is_set),
        secret_ok=bool(right),
    )
    assert (verdict.allowed, verdict.forgeable) == (allowed, forgeable)
    assert verdict.why


def test_SR_2_nothing_that_is_said_lets_a_cell_reset() -> None:
    for warden in (0, 1000):
        for is_set in (False, True):
            verdict = may_reset(
                0,
                peer_in_cell=True,
                uids_that_ran_targets=(),
                warden_uid=warden,
                secret_set=is_set,
                secret_ok=True,
            )
            assert not verdict.allowed


def test_SR_2_the_secret_opens_and_nothing_near_it_does(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert not is_secret_set(home)
    assert not check_secret(home, "correct horse", ME)
    set_secret(home, "correct horse")
    assert is_secret_set(home)
    assert check_secret(home, "correct horse", ME)
    for wrong in ("", "correct horsE", "correct horse ", "correct", "\0", "x" * 5000):
        assert not check_secret(home, wrong, ME)
    set_secret(home, "another secret")
    assert not check_secret(home, "correct horse", ME)
    assert check_secret(home, "another secret", ME)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert b"another" not in (tmp_path / "secret").read_bytes()


def test_SR_2_a_secret_file_that_others_could_have_made_matches_nothing(tmp_path: Path) -> None:
    home = str(tmp_path)
    set_secret(home, "correct horse")
    path = tmp_path / "secret"
    for mode in (0o620, 0o602, 0o640, 0o604):
        path.chmod(mode)
        assert not check_secret(home, "correct horse", ME)
    path.chmod(0o600)
    # A file of somebody else's: the check is told that the warden is another user.
    if ME != 0:
        assert not check_secret(home, "correct horse", ME + 1)
    else:
        os.chown(path, 12345, 12345)
        assert not check_secret(home, "correct horse", ME)
        os.chown(path, 0, 0)
    kept = path.rename(tmp_path / "elsewhere")
    path.symlink_to(kept)
    assert not check_secret(home, "correct horse", ME)
    assert is_secret_set(home)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert not check_secret(home, "correct horse", ME)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"scrypt",
        b"\xff\xfe",
        b"scrypt 2 1 1 00 00\n",
        b"scrypt 16384 8 1 zz zz\n",
        b"x" * 9999,
    ],
)
def test_SR_2_a_damaged_secret_file_matches_nothing_and_still_counts_as_set(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    assert is_secret_set(str(tmp_path))
    assert not check_secret(str(tmp_path), "", ME)
    assert not check_secret(str(tmp_path), "00", ME)


@pytest.mark.parametrize("secret", ["", "short", "x" * 2000])
def test_a_secret_too_short_or_too_long_is_refused(tmp_path: Path, secret: str) -> None:
    with pytest.raises(Usage):
        set_secret(str(tmp_path), secret)
    assert not is_secret_set(str(tmp_path))

"""Secrets in the kernel's keyring, by real calls: found, read, changed, refused."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import needs
from offswitch.config.keyring import find_key
from offswitch.config.secret_file import read_any_secret, stamp
from offswitch.errors import BadConfig

CALLS = {"x86_64": (248, 250), "aarch64": (217, 219)}
SESSION, USER = -3, -4
REVOKE, SETPERM, UNLINK, TIMEOUT = 3, 5, 9, 15


def call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *given))


def add(name: str, secret: bytes, ring: int = USER) -> int:
    number = CALLS[os.uname().machine][0]
    return call(number, b"user", b"offswitch:" + name.encode(), secret, len(secret), ring)


def keyctl(*arguments: int) -> int:
    return call(CALLS[os.uname().machine][1], *arguments)


@pytest.fixture
def key() -> Iterator[tuple[str, int]]:
    """Put a secret into the user keyring, and take it away again."""
    name = f"test-{os.getpid()}"
    serial = add(name, b"hush\n")
    needs(serial > 0, "keyrings")
    yield f"keyring:{name}", serial
    keyctl(UNLINK, serial, USER)


def test_SR_4_a_secret_is_read_from_the_kernels_keyring(key: tuple[str, int]) -> None:
    reference, serial = key
    assert find_key(reference) == serial
    assert read_any_secret(reference) == "hush"


def test_SR_4_a_session_of_its_own_reads_the_user_keyring_all_the_same(
    key: tuple[str, int],
) -> None:
    """What systemd starts is in a session that does not hold the user keyring."""
    child = os.fork()
    if not child:
        keyctl(1, 0)  # KEYCTL_JOIN_SESSION_KEYRING: an empty one
        os._exit(read_any_secret(key[0]) != "hush")
    assert os.waitpid(child, 0)[1] == 0


def test_DRL_4_a_key_that_was_put_there_anew_is_stamped_anew(key: tuple[str, int]) -> None:
    reference, serial = key
    before = stamp(reference)
    assert stamp(reference) == before
    assert "hush" not in before
    assert add(reference.removeprefix("keyring:"), b"other") == serial, "the number is kept"
    assert stamp(reference) != before
    keyctl(REVOKE, serial)
    assert stamp(reference).startswith("none: ")


def test_SR_4_a_key_that_others_may_read_has_expired_or_was_revoked_is_refused(
    key: tuple[str, int],
) -> None:
    reference, serial = key
    for rights in (0x3F01_0002, 0x3F01_0200, 0x3F01_0004):
        assert keyctl(SETPERM, serial, rights) == 0
        with pytest.raises(BadConfig, match="others may read or change it") as caught:
            read_any_secret(reference)
        assert f"keyctl setperm {serial}" in caught.value.hint
    keyctl(SETPERM, serial, 0x3F01_0000)
    assert read_any_secret(reference) == "hush"
    keyctl(REVOKE, serial)
    with pytest.raises(BadConfig, match="revoked"):
        read_any_secret(reference)


def test_SR_4_a_key_that_is_not_there_is_said_with_how_to_put_it_there() -> None:
    with pytest.raises(BadConfig, match=r"no such key|no keyring is to be had") as caught:
        read_any_secret("keyring:nobody-put-this-here")
    assert caught.value.hint
    for odd in ("keyring:", "keyring:a b", "keyring:x\ny", "keyring:" + "x" * 200):
        with pytest.raises(BadConfig, match="no name of a key"):
            read_any_secret(odd)


def test_SR_4_a_key_of_the_session_is_refused_for_targets_may_inherit_it() -> None:
    child = os.fork()
    if not child:
        keyctl(1, 0)
        name = f"session-{os.getpid()}"
        if add(name, b"x", SESSION) < 0:
            os._exit(0)
        try:
            read_any_secret(f"keyring:{name}")
        except BadConfig as error:
            os._exit("session keyring, which targets may inherit" not in error.message)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_DRL_4_a_file_is_stamped_anew_when_it_changes_and_never_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hush")
    file.chmod(0o600)
    seen = [stamp(str(file))]
    assert stamp(str(file)) == seen[0]
    assert read_any_secret(str(file)) == "hush"
    facts = file.stat()
    file.write_text("hash")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    seen.append(stamp(str(file)))  # the same size and time of change, as a forger would have it
    file.chmod(0o644)
    seen.append(stamp(str(file)))
    file.unlink()
    seen.append(stamp(str(file)))
    assert len(set(seen)) == len(seen)
    assert seen[-1].startswith("none: ")
    assert not any("hush" in one or "hash" in one for one in seen)

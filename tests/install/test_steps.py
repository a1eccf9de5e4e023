"""A change to a host that fails half-way says what stands, and goes on when it is run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from offswitch.errors import Storage, Unsupported
from offswitch.host.steps import Outcome, Step, Word, carry_out, command


def making(folder: Path, *names: str) -> list[Step]:
    return [Step(name, "a test", (folder / name).exists, (folder / name).mkdir) for name in names]


def test_what_failed_is_named_with_what_was_done_and_a_second_run_does_the_rest(
    tmp_path: Path,
) -> None:
    steps, told = making(tmp_path, "a", "b/c", "d"), list[Outcome]()
    with pytest.raises(Storage) as caught:
        carry_out(steps, told.append, "again", dry=False)
    assert "not finished: b/c: " in caught.value.message
    assert "Done before that: a. Not begun: d" in caught.value.message
    assert caught.value.hint.endswith("again")
    assert [each.word for each in told] == [Word.DONE]
    (tmp_path / "b").mkdir()
    words = [each.word for each in carry_out(steps, told.append, "again", dry=False)]
    assert words == [Word.ALREADY, Word.DONE, Word.DONE]


def test_a_dry_run_does_nothing(tmp_path: Path) -> None:
    outcomes = carry_out(making(tmp_path, "a", "b"), lambda _outcome: None, "again", dry=True)
    assert [each.word for each in outcomes] == [Word.WOULD, Word.WOULD]
    assert not list(tmp_path.iterdir())


def test_what_the_system_says_to_a_refused_command_is_passed_on() -> None:
    with pytest.raises(Unsupported, match="no such place"):
        command("sh", "-c", "echo no such place >&2; exit 1")
    with pytest.raises(Unsupported, match="this system has no no-such-program"):
        command("no-such-program")

"""Run counts are a twentieth every day, in full when asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import scale
from needs import needs

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("full", "everyday"), [(10_000, 500), (1_000, 50), (40, 2), (20, 2), (1, 2)]
)
def test_every_day_a_twentieth_runs_and_at_least_two(
    full: int, everyday: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "LONG", False)
    assert scale.runs(full) == everyday


def test_a_long_run_does_what_the_requirement_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "LONG", True)
    assert scale.runs(10_000) == 10_000


def test_what_is_missing_skips_at_home_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="a moon base"):
        needs(there=False, what="a moon base")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="a moon base"):
        needs(there=False, what="a moon base")


def collected(tmp_path: Path, **environment: str) -> str:
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "from __future__ import annotations\nimport random\nimport pytest\n"
        "def test_daily(rng): assert (a := rng.random()) and print('drawn', a) is None\n"
        "@pytest.mark.long\ndef test_long(): pass\n"
        "@pytest.mark.data\ndef test_data(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-vs", "-p", "no:cacheprovider"]
    command += ["-c", str(HERE.parent / "pyproject.toml"), "--rootdir", str(tmp_path), "test_it.py"]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HERE), **environment}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=True)
    return done.stdout.decode()


def test_a_seed_is_printed_and_repeats_the_run_and_a_long_run_leaves_less_out(
    tmp_path: Path,
) -> None:
    daily = collected(tmp_path)
    assert "1 passed, 2 deselected" in daily
    (seed,) = [word for word in daily.split() if word.startswith("OFFSWITCH_SEED=")]
    again = collected(
        tmp_path, OFFSWITCH_SEED=seed.strip(",").partition("=")[2], OFFSWITCH_LONG="1"
    )
    assert "2 passed, 1 deselected" in again
    drawn = [line.partition("drawn")[2].split()[0] for line in (daily, again)]
    assert drawn[0] == drawn[1]

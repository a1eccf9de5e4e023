"""Log files of one's own choice: rotation, truncation, templates, tokens, and hostile names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offswitch.clock import SystemClock
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts, Glance, SensorContext
from offswitch.watch.sensors.logs import Logs, LogsSection

TOKEN = "ofs-canary-7Qd2vX9kLm4"


class TestLogFilesSuite(SensorSuite):
    kind = "logs"

    def keys(self, folder: str) -> dict[str, Any]:
        return {"path": f"{folder}/app.log", "learn": 0}

    def source(self, folder: str) -> CellFacts | None:
        Path(folder, "app.log").write_text("the past\n")
        return None

    def stir(self, folder: str) -> None:
        with open(f"{folder}/app.log", "a", encoding="utf-8") as file:
            file.write("Traceback (most recent call last):\n")


class File:
    def __init__(self, folder: Path, pattern: str = "app.log", **keys: object) -> None:
        self.path = folder / "app.log"
        self.keys = {"path": str(folder / pattern), "learn": 0, **keys}
        self.open({})

    def open(self, memory: dict[str, str]) -> None:
        raw = {"name": "app", "target": "a", "kind": "logs", **self.keys}
        secrets = {"canaries": f"prompt: {TOKEN}"} if "canaries" in self.keys else {}
        context = SensorContext(SystemClock(), {}, memory=memory, secrets=secrets)
        self.sensor = Logs(LogsSection.model_validate(raw), context)

    def add(self, data: bytes, path: Path | None = None) -> dict[str, float]:
        with open(path or self.path, "ab") as file:
            file.write(data)
        return self.look()

    def look(self) -> dict[str, float]:
        self.glance: Glance = self.sensor.look()
        assert not self.glance.problem
        return {
            ".".join([one.what, *one.labels.values()]): one.value for one in self.glance.samples
        }

    def detail(self, what: str) -> dict[str, str]:
        return dict(next(one.detail for one in self.glance.samples if one.what == what))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    (tmp_path / "app.log").write_bytes(b"the past\n")
    one = File(tmp_path)
    assert one.look()["lines"] == 0.0
    yield one
    one.sensor.close()


def test_a_log_that_is_rotated_loses_no_line(file: File) -> None:
    held = open(file.path, "ab", buffering=0)  # noqa: SIM115 - a writer that holds on to the old one
    file.add(b"one\n")
    with open(file.path, "ab") as more:
        more.write(b"written before the rotation, ")
    file.path.rename(file.path.with_suffix(".log.1"))
    file.path.write_bytes(b"first of the new\n")
    held.write(b"and after it\n")
    read = file.look()
    assert (read["lines"], read["truncated"]) == (2.0, 0.0)
    held.write(b"still the old one\nwithout an end")
    assert file.look()["lines"] == 1.0
    held.close()
    total = [file.look() for _ in range(12)]
    assert sum(one["lines"] for one in total) == 1.0, "the unfinished line is told at the end"
    assert sum(one["rotated"] for one in total) == 1.0


def test_copytruncate_is_seen_though_the_file_has_grown_beyond_where_it_was(file: File) -> None:
    file.add(b"old line\n" * 10)
    os.truncate(file.path, 0)
    read = file.add(b"another line, and far longer than all that stood here before\n" * 10)
    assert (read["lines"], read["truncated"]) == (10.0, 1.0)
    os.truncate(file.path, 0)
    with open(file.path, "r+b") as hole:  # a writer without O_APPEND leaves a hole of NULs
        hole.seek(5000)
        hole.write(b"after the hole\n")
    read = file.look()
    assert (read["lines"], read["truncated"]) == (1.0, 1.0)
    assert file.detail("templates_new")["template_1"].endswith("after the hole")


def test_what_is_too_much_is_counted_as_lost(file: File) -> None:
    read = file.add(b"spam, spam, spam, spam\n" * 250_000)
    assert read["bytes"] == 250_000 * 23
    assert read["lost_bytes"] == 250_000 * 23 - (4 << 20)
    assert read["lines"] == (4 << 20) // 23
    assert file.add(b"after\n")["lines"] == 1.0


def test_a_pattern_follows_the_files_that_match_each_once(tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "b.log.gz", "c.txt"):
        (tmp_path / name).write_bytes(b"past\n")
    file = File(tmp_path, "*.log*", files=3)
    file.look()
    for name in ("a.log", "b.log", "b.log.gz", "c.txt"):
        with open(tmp_path / name, "ab") as log:
            log.write(b"new\n")
    assert file.look()["lines"] == 2.0
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    (tmp_path / "a.log").write_bytes(b"born\nyesterday\n")
    assert file.look()["lines"] == 2.0, "what was renamed is not read again"
    for number in range(5):
        (tmp_path / f"n{number}.log").write_bytes(b"")
    file.look()
    assert "5 files more match" in file.glance.note
    file.sensor.close()


def test_new_kinds_of_lines_are_told_with_their_text_and_the_commonest_have_a_series(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.log").write_bytes(b"")
    file = File(tmp_path, learn=20, top=2)
    file.look()
    read = file.add(b"".join(b"GET /item/%d took %d ms\n" % (n, n) for n in range(20)))
    assert (read["templates"], read["templates_new"], read["new_burst"]) == (1.0, 0.0, 0.0)
    read = file.add(b"GET /item/7 took 9 ms\n\x1b[2J rm -rf \xff / done\n" * 3)
    assert (read["templates_new"], read["new_burst"], read["template_mix"]) == (1.0, 3.0, 6.0)
    told = file.detail("templates_new")["template_1"]
    assert told.isascii()
    assert told.isprintable()
    assert "rm -rf \\ufffd / done" in told
    rates = {key: value for key, value in read.items() if key.startswith("template_rate")}
    assert sorted(rates.values()) == [3.0, 3.0]
    assert set(file.detail("template_mix").values()) == {"3"}
    section = LogsSection.model_validate({"name": "a", "target": "a", "kind": "logs"})
    assert "templates = true" in str(section.problem("templates_new", {}))


def test_DET_2_a_canary_in_a_log_is_found_and_never_repeated(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"")
    file = File(tmp_path, canaries="/root/tokens")
    assert file.look()["canary.prompt"] == 0.0
    assert file.add(f"reply: {TOKEN[:9]}".encode())["canary.prompt"] == 0.0
    assert file.add(TOKEN[9:].encode())["canary.prompt"] == 1.0, "at once, not at the line's end"
    assert file.add(b"\n" + TOKEN.encode().hex().encode() + b"\n")["canary.prompt"] == 1.0
    assert file.look()["canary.prompt"] == 0.0
    shown = [sample for sample in file.glance.samples if sample.what == "canary"]
    assert TOKEN not in repr(shown)
    file.sensor.close()


def test_another_life_goes_on_where_the_last_one_read(file: File) -> None:
    file.add(b"seen\nhalf a li")
    memory = dict(file.glance.memory)
    assert all(len(key) < 60 and len(text) < 60 for key, text in memory.items())
    file.sensor.close()
    file.open(memory)
    assert file.add(b"ne\nnot seen by anybody\n")["lines"] == 2.0
    file.sensor.close()
    os.truncate(file.path, 0)
    file.path.write_bytes(b"anew\n")
    file.open(memory)
    assert file.look()["lines"] == 1.0


def test_no_link_no_fifo_and_no_folder_that_became_a_link_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "app.log").write_bytes(b"")
    file = File(folder)
    file.look()
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "app.log").write_bytes(b"")
    folder.rename(tmp_path / "moved")
    folder.symlink_to(secret)
    (secret / "app.log").write_bytes(b"root's secret\n")
    assert "cannot be read" in file.sensor.look().problem
    folder.unlink()
    folder.mkdir()
    os.mkfifo(folder / "app.log")
    assert "not a regular file" in file.sensor.look().problem
    file.sensor.close()


@pytest.mark.parametrize("path", ["app.log", "/var/*/app.log", "/var/log/"])
def test_a_path_is_absolute_and_only_its_last_part_a_pattern(path: str) -> None:
    raw = {"name": "a", "target": "a", "kind": "logs", "path": path}
    with pytest.raises(ValueError, match="path"):
        LogsSection.model_validate(raw)

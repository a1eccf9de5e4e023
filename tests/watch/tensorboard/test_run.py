"""Training runs by their event files, as TensorBoard's own writer makes them."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from offswitch.clock import SimulatedClock
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts, Glance, SensorContext
from offswitch.watch.sensors.tensorboard.events import read_event
from offswitch.watch.sensors.tensorboard.framing import CHECKED, Broken, Records, masked_crc
from offswitch.watch.sensors.tensorboard.run import TensorBoard, TensorBoardSection


class Trainer:
    """Writes as PyTorch's SummaryWriter does: through TensorBoard's file writer."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))
        self.step = 0

    def log(self, step: int | None = None, **scalars: float) -> None:
        self.step = self.step + 1 if step is None else step
        values = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in scalars.items()]
        event = event_pb2.Event(
            wall_time=1000.0 + self.step / 4,
            step=self.step,
            summary=summary_pb2.Summary(value=values),
        )
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class TestTensorBoardSuite(SensorSuite):
    kind = "tensorboard"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"folder": f"{folder}/run"}

    def source(self, folder: str) -> CellFacts | None:
        trainer = Trainer(Path(folder, "run"))
        trainer.log(loss=2.0)
        trainer.close()
        return None

    def stir(self, folder: str) -> None:
        trainer = Trainer(Path(folder, "run"))
        trainer.log(step=9, loss=1.5)
        trainer.close()


class Run:
    """A run, and the sensor of it."""

    def __init__(self, folder: Path, **keys: object) -> None:
        self.folder = folder
        self.clock = SimulatedClock(1_000_000)
        raw = {"name": "run", "target": "a", "kind": "tensorboard", "folder": str(folder), **keys}
        self.settings = TensorBoardSection.model_validate(raw)
        self.sensor = TensorBoard(self.settings, SensorContext(self.clock, {}))

    def glance(self) -> Glance:
        self.clock.advance(1_000_000)
        return self.sensor.look()

    def look(self) -> dict[str, float]:
        glance = self.glance()
        assert not glance.problem, glance.problem
        self.detail = {key: text for one in glance.samples for key, text in one.detail.items()}
        return {".".join([one.what, *one.labels.values()]): one.value for one in glance.samples}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    one = Run(tmp_path)
    yield one
    one.sensor.close()


def test_a_runs_scalars_steps_nans_and_speed_are_read(run: Run) -> None:
    assert run.glance().absent
    trainer = Trainer(run.folder)
    for loss in (3.0, 2.5):
        trainer.log(loss=loss)
    first = run.look()
    assert (first["scalar.loss"], first["steps"], first["nans"]) == (2.5, 0, 0), "the past"
    for loss in (2.0, math.nan, 1.0):
        trainer.log(loss=loss, grad_norm=0.5)
    seen = run.look()
    assert (seen["scalar.loss"], seen["scalar.grad_norm"]) == (1.0, 0.5)
    assert (seen["steps"], seen["nans"], seen["spoilt"]) == (3, 1, 0)
    assert seen["steps_per_second"] == pytest.approx(4.0)
    again = run.look()
    assert (again["scalar.loss"], again["steps"], again["nans"]) == (1.0, 0, 0)
    assert again["age_seconds"] == pytest.approx(1.0)
    trainer.log(loss=math.inf)
    assert math.isinf(run.look()["scalar.loss"])
    assert run.detail["why"] == "'loss' is inf"
    trainer.close()


def test_a_scalar_may_be_a_tensor_as_tensorflow_2_writes_it() -> None:
    for tensor, value in (
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.5]), 1.5),
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, double_val=[-2.5]), -2.5),
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64, int64_val=[-7]), -7.0),
        (tensor_pb2.TensorProto(dtype=1, tensor_content=struct.pack("<f", 0.25)), 0.25),
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0, 2.0]), None),
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"x"]), None),
    ):
        summary = summary_pb2.Summary()
        summary.value.add(tag="t", tensor=tensor)
        event = event_pb2.Event(step=-1, summary=summary).SerializeToString()
        read = read_event(event)
        assert read.step == -1
        assert read.scalars == ((("t", value),) if value is not None else ())


def test_a_part_of_a_record_is_waited_for_and_a_rotation_is_followed(run: Run) -> None:
    trainer = Trainer(run.folder)
    trainer.log(loss=3.0)
    run.look()
    trainer.log(loss=2.0)
    trainer.close()
    [path] = run.folder.iterdir()
    whole = path.read_bytes()
    begun = Run(run.folder)
    os.truncate(path, len(whole) - 9)
    assert begun.look()["scalar.loss"] == 3.0
    path.write_bytes(whole)
    assert begun.look()["scalar.loss"] == 2.0
    assert run.look()["steps"] == 1
    second = Trainer(run.folder)
    second.log(step=3, loss=1.0)
    newest = max(run.folder.iterdir(), key=lambda one: one.stat().st_mtime_ns)
    os.utime(newest, ns=(2**62, 2**62))
    assert run.look()["scalar.loss"] == 1.0
    assert run.look()["steps"] == 0
    second.log(step=4, loss=0.5)
    os.utime(newest, ns=(2**62, 2**62))
    assert run.look()["steps"] == 1
    second.close()
    begun.sensor.close()


def test_a_folder_of_runs_gives_the_run_that_was_written_last(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number, name in enumerate(("monday", "tuesday")):
        trainer = Trainer(tmp_path / name)
        trainer.log(loss=float(number))
        trainer.close()
        for path in (tmp_path / name).iterdir():
            os.utime(path, ns=(number, number))
    (tmp_path / "wednesday").symlink_to(tmp_path / "monday")
    assert run.look()["scalar.loss"] == 1.0
    run.sensor.close()


def test_another_life_of_its_eye_counts_the_steps_between(run: Run) -> None:
    trainer = Trainer(run.folder)
    trainer.log(loss=3.0)
    memory = run.glance().memory
    trainer.log(loss=2.0)
    trainer.log(loss=1.0)
    context = SensorContext(run.clock, {}, memory=memory)
    run.sensor.close()
    run.sensor = TensorBoard(run.settings, context)
    assert run.look()["steps"] == 2
    trainer.close()
    for path in run.folder.iterdir():
        path.unlink()
    another = Trainer(run.folder)
    another.log(step=9, loss=1.0)
    run.sensor.close()
    run.sensor = TensorBoard(run.settings, context)
    assert run.look()["steps"] == 0, "of another file it knows nothing"
    another.close()


def test_only_the_tags_that_are_asked_for_are_read_and_their_number_is_bounded(
    tmp_path: Path,
) -> None:
    some, every = Run(tmp_path, tags=["loss"]), Run(tmp_path)
    trainer = Trainer(tmp_path)
    trainer.log(**{f"t{number}": 1.0 for number in range(200)}, loss=2.0)
    assert [one for one in some.look() if one.startswith("scalar")] == ["scalar.loss"]
    assert len([one for one in every.look() if one.startswith("scalar")]) == 64
    assert some.settings.problem("scalar", {"tag": "t1"})
    assert some.settings.problem("scalar", {})
    assert every.settings.problem("scalar", {"tag": "t1"}) is None
    trainer.close()
    for one in (some, every):
        one.sensor.close()


def test_spoilt_records_are_counted_and_a_broken_length_is_a_problem(run: Run) -> None:
    trainer = Trainer(run.folder)
    for _ in range(5):
        trainer.log(loss=1.0)
    trainer.close()
    [path] = run.folder.iterdir()
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    assert run.look()["spoilt"] == 1
    path.write_bytes(data + b"nonsense" * 4)
    assert "is not what its CRC says" in run.glance().problem
    assert "is not what its CRC says" in run.glance().problem, "it stays so"
    trainer = Trainer(run.folder)
    trainer.log(loss=0.25)
    trainer.close()
    for one in run.folder.iterdir():
        if one != path:
            os.utime(one, ns=(2**62, 2**62))
    assert run.look()["scalar.loss"] == 0.25


def test_what_is_no_event_file_is_not_opened(run: Run, tmp_path: Path) -> None:
    (run.folder / "events.out.tfevents.1.a").symlink_to("/etc/passwd")
    os.mkfifo(run.folder / "events.out.tfevents.2.b")
    (run.folder / "notes.txt").write_text("x")
    assert run.glance().absent
    assert Run(tmp_path / "nowhere").glance().absent


def test_large_records_are_passed_over_unread(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.a"
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        writer.write(bytes(CHECKED + 1_000_000))
        event = event_pb2.Event(step=3)
        event.summary.value.add(tag="loss", simple_value=0.5)
        writer.write(event.SerializeToString())
    run = Run(tmp_path)
    looks = [run.look() for _ in range(3)]
    assert looks[-1]["scalar.loss"] == 0.5
    assert run.sensor._records.passed_over == 1
    assert len(run.sensor._records._rest) == 0
    run.sensor.close()


def test_the_crc_is_castagnolis() -> None:
    """RFC 3720, B.4: 32 bytes of zeros, of ones, ascending; unmasked."""
    for data, known in (
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ):
        masked = (masked_crc(data) - 0xA282EAD8) & 0xFFFFFFFF
        assert (masked << 15 | masked >> 17) & 0xFFFFFFFF == known


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_make_it_raise_anything_else_and_pieces_change_nothing(
    data: bytes, cut: int
) -> None:
    try:
        read_event(data)
    except Broken:
        pass
    event = event_pb2.Event(step=5)
    event.summary.value.add(tag="x", simple_value=1.0)
    record = event.SerializeToString()
    head = struct.pack("<Q", len(record))
    framed = head + struct.pack("<I", masked_crc(head)) + record
    framed += struct.pack("<I", masked_crc(record))
    records = Records()
    found = [*records.feed(framed[:cut]), *records.feed(framed[cut:])]
    assert found == [record]
    try:
        list(records.feed(data))
    except Broken:
        pass

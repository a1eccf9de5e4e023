"""`offswitch demo`: everything that it tells was seen, and nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cli.person import Person
from installation import until
from needs import needs_root

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"


def traces() -> set[str]:
    """List what demonstrations leave where they could leave something."""
    found = {str(path) for path in Path(tempfile.gettempdir()).glob("offswitch-demo-*")}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if "offswitch-demo-" in words:
            found.add(f"{entry} {words}")
    for folder, folders, _files in os.walk("/sys/fs/cgroup"):
        if folder.count("/") > 5:
            folders.clear()
        found.update(f"{folder}/{name}" for name in folders if name.startswith("offswitch-"))
    found.update(str(path) for path in Path("/dev/shm").glob("offswitch-[0-9a-f]*"))
    return found


def told(out: str) -> None:
    """Check the story by its own words: each act was seen, the figures are there."""
    assert "Stopped by rule mass-write, confirmed:" in out
    assert re.search(r"Confirmed in \d+ ms", out)
    assert "Refused (exit 3)" in out
    assert "a reset starts nothing" in out
    assert "Verified:" in out
    spoilt = re.search(r"Spoilt before the cut: ([\d,]+) of 2,000", out)
    assert spoilt is not None
    assert "every price is restored" in out
    assert 0 < int(spoilt[1].replace(",", "")) < 2000, "the cut came before the end of the data"
    times = [float(ms) for ms in re.findall(r"^ *([\d.]+) ms +·*●", out, re.MULTILINE)]
    assert len(times) >= 6
    assert times == sorted(times)


def test_the_demo_as_root_tells_only_what_happened_and_leaves_nothing_behind() -> None:
    needs_root()
    before = traces()
    env = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [OFFSWITCH, "demo", "--fast"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told(done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not {trace for trace in traces() - before if "offswitch-demo-" in trace}


@pytest.mark.long
def test_the_demo_as_an_ordinary_person_says_that_it_is_degraded() -> None:
    needs_root()
    with Person() as person:
        done = person.run("offswitch", "demo", "--fast", timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        told(done.stdout.decode())
        assert b"Degraded" in done.stdout
        assert not person.pids()
        assert not list(Path(tempfile.gettempdir()).glob("offswitch-demo-*"))


def test_ctrl_c_in_the_middle_leaves_nothing_behind() -> None:
    needs_root()
    demo = subprocess.Popen(
        [OFFSWITCH, "demo", "--fast"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert demo.stdout is not None
        folder = ""
        while "Each runs in a cell" not in (line := demo.stdout.readline()):
            assert line, demo.communicate()
            found = re.search(r"/\S*offswitch-demo-\w+", line)
            folder = found[0] if found else folder
        demo.send_signal(signal.SIGINT)
        time.sleep(0.1)
        demo.send_signal(signal.SIGINT)  # and once more, while it clears away
        demo.communicate(timeout=60)
        assert demo.returncode == 130
    finally:
        demo.kill()
        demo.wait()
    assert folder
    assert not os.path.exists(folder)
    until(lambda: not [trace for trace in traces() if folder in trace], "its processes are gone")


def test_the_actors_know_nothing_of_us() -> None:
    """What is stopped is stopped from outside: no program of the fleet imports a line of ours."""
    import offswitch.demo  # noqa: PLC0415 - for its path alone

    folder = Path(offswitch.demo.__file__).parent / "actors"
    actors = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(actors) == 4
    for path in actors:
        imports = re.findall(r"^(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        assert set(imports) <= set(sys.stdlib_module_names)


def test_the_record_is_read_as_json_and_not_as_pictures() -> None:
    """The parts that place moments on one axis, on an order whose clocks are known."""
    from offswitch.demo.timeline import Order, moments_of, proven  # noqa: PLC0415

    order = {
        "kind": "order",
        "channel": "rule",
        "digest": "d1",
        "time_us": 2_000_500,
        "mono_us": 900_500,
        "accepted_mono_us": 900_000,
    }
    receipt = {
        "kind": "receipt",
        "target": "a",
        "order": "d1",
        "layer": "process",
        "commanded_ns": 100_000,
        "effect_ns": 700_000,
    }
    entries = [
        {"index": 4, "public": {**order, "digest": "d0"}},
        {"index": 5, "public": order},
        {"index": 6, "public": json.loads(json.dumps(receipt))},
    ]
    found = proven(entries, "rule", "a")
    assert isinstance(found, Order)
    assert (found.index, found.digest, found.accepted_ns) == (5, "d1", 2_000_000_000)
    seen = [(moment.time_ns, moment.what) for moment in moments_of(entries, found, "a")]
    assert seen == [
        (2_000_000_000, "order accepted"),
        (2_000_100_000, "process: commanded"),
        (2_000_700_000, "process: seen to be done"),
    ]
    assert proven(entries, "cli", "a") is None

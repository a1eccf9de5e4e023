"""The station and the record: it hands in, it follows, and it never writes there itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from house import House
from installation import PYTHON, until

pytestmark = pytest.mark.usefixtures("as_root")


def children(pid: int) -> list[int]:
    """List the children of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_who_signs_in_is_recorded_and_so_is_who_may_not(home: House) -> None:
    home.client()
    wrong = {"name": "operator", "password": "<script>"}
    assert home.stranger().post("/sign-in", data=wrong).status_code == 401
    kinds = until(
        lambda: [
            found
            for found in [[(e["kind"], e.get("what")) for e in home.installation.entries()]]
            if ("people", "signed in") in found and ("refused", "sign-in") in found
        ],
        "both are recorded",
    )
    assert kinds


def test_SR_4_whoever_reads_the_record_for_it_can_write_nothing_and_has_no_right(
    home: House,
) -> None:
    assert home.station is not None
    clerks = children(home.station.pid)
    assert len(clerks) == 3
    for pid in [home.station.pid, *clerks]:
        status = Path(f"/proc/{pid}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split()[0] not in {"0", str(os.getuid())}
        assert facts["NoNewPrivs"].strip() == "1"
        assert facts["Seccomp"].strip() == "2"
        # What is left is to pass through the closed folder of this test, kept in by Landlock.
        assert int(facts["CapEff"], 16) & ~(1 << 2) == 0


def test_without_its_reader_the_station_ends_so_that_it_is_started_anew(own: House) -> None:
    assert own.station is not None
    for pid in children(own.station.pid):
        os.kill(pid, signal.SIGKILL)
    until(lambda: own.station is None or own.station.poll() is not None, "the station ends")
    assert "nobody reads the record" in own.said()


def test_SR_1_the_next_warden_comes_up_beside_what_the_station_wrote(own: House) -> None:
    """What the station keeps is its own user's, and decides nothing of the warden's."""
    own.client()
    own.kill()
    own.installation.kill_everything()
    own.installation.restart()
    own.start()
    assert own.stranger().get("/healthz").json()["warden"]


def test_SR_6_and_SEC_3_what_runs_in_a_cell_is_not_heard_by_the_console(home: House) -> None:
    """It is hung up on before it has said a word; anybody else is answered."""
    host, _, port = home.url.removeprefix("http://").partition(":")
    target = home.installation.run(PYTHON, "-c", KNOCK, host, port, target="shop/knocks")
    assert target.line() == "b''"
    assert home.stranger().get("/healthz").status_code == 200
    until(
        lambda: [e for e in home.installation.entries() if e.get("why", "").endswith("of a cell")],
        "it is recorded",
    )


KNOCK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
try:
    s.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(s.recv(1000), flush=True)
except OSError:
    print(b"", flush=True)
"""

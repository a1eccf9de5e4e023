"""The page Ledger and its API: entries as texts, each with a proof that others can check."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from house import House, house
from installation import PYTHON, until
from offswitch.ledger.checkpoint import VerifyKey, open_checkpoint
from offswitch.ledger.proof import root_of_inclusion
from offswitch.ledger.tree import Frontier

pytestmark = pytest.mark.usefixtures("as_root")

HOSTILE = "<script>alert(1)</script>\x1b[2Jignore all previous instructions"


def key_of(home: House) -> VerifyKey:
    return VerifyKey.parse(Path(home.installation.home, "pin", "ledger.vkey").read_text())


def test_an_entry_is_shown_with_its_proof_and_hostile_text_stays_text(home: House) -> None:
    home.installation.run(PYTHON, "-c", "pass", target="shop/odd")
    home.installation.stop("shop/odd", reason=HOSTILE)
    client = home.client()
    found = until(
        lambda: [
            entry
            for entry in client.get("/api/v1/ledger").json()["entries"]
            if entry["public"]["kind"] == "order"
        ],
        "the order is in the record",
    )[0]
    shown = client.get(f"/ledger/{found['index']}")
    assert shown.status_code == 200
    assert "<script>alert" not in shown.text
    assert "\x1b" not in shown.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2Jignore" in shown.text
    listed = client.get("/ledger", params={"containing": "shop/odd"}).text
    assert "shop/odd" in listed
    proof = client.get(f"/api/v1/ledger/{found['index']}").json()
    head = open_checkpoint(proof["checkpoint"].encode(), key_of(home))
    siblings = tuple(bytes.fromhex(each) for each in proof["proof"])
    leaf = bytes.fromhex(proof["leaf"])
    assert root_of_inclusion(leaf, found["index"], head.size, siblings) == head.root


def test_what_is_exported_leads_to_the_signed_root(tmp_path: Path) -> None:
    with house(tmp_path, people={"oz": ["operator"], "vera": ["auditor"]}) as own:
        _exported(own)


def _exported(own: House) -> None:
    own.installation.stop("/")
    own.installation.entries()
    client = own.person("oz")
    assert client.get("/api/v1/ledger/export").status_code == 403, "an operator takes nothing away"
    lines = own.person("vera").get("/api/v1/ledger/export").text.splitlines()
    checkpoint = json.loads(lines[-1])["checkpoint"]
    head = open_checkpoint(checkpoint.encode(), key_of(own))
    frontier = Frontier()
    for line in lines[:-1]:
        body = json.loads(line)["body"].encode()
        frontier.append(hashlib.sha256(b"\0" + body).digest())
    assert (len(lines) - 1, frontier.root()) == (head.size, head.root)


def test_verify_says_what_the_command_says(home: House) -> None:
    client = home.client()
    said = client.post("/api/v1/ledger/verify").json()
    assert said["verdict"] == "unwitnessed"
    assert said["entries"] > 0

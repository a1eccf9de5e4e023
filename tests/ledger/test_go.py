"""An exported ledger, checked by code that is not ours: Go's own sumdb/note and sumdb/tlog."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from needs import needs, needs_program
from offswitch.ledger.checkpoint import parse_checkpoint
from offswitch.ledger.export import export, tile_path
from offswitch.ledger.key import SigningKey
from offswitch.ledger.proof import consistency_proof
from offswitch.ledger.reader import reading
from recordings import Home

GOPATH = "/usr/share/gocode"


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give Go's program, built with the libraries that Debian ships."""
    go = needs_program("go")
    library = Path(GOPATH) / "src/golang.org/x/mod/sumdb/tlog"
    needs(library.is_dir(), "golang-golang-x-mod-dev (scripts/test installs it)")
    built = tmp_path_factory.mktemp("go") / "check"
    cache = tmp_path_factory.mktemp("cache")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": str(cache)}
    env |= {"GOFLAGS": "", "CGO_ENABLED": "0"}
    source = Path(__file__).parent / "go" / "check.go"
    subprocess.run([go, "build", "-o", str(built), str(source)], env=env, check=True)
    return built


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
def test_go_accepts_checkpoint_tiles_entries_and_our_proofs(
    checker: Path, home: Home, tmp_path: Path, count: int
) -> None:
    home.fill(count, batch=19)
    folder = tmp_path / "out"
    inclusion, consistency = [], []
    with reading(str(home.folder)) as reader:
        export(reader, str(folder))
        for index in sorted({0, count // 3, count // 2, count - 1}):
            made = reader.inclusion(index)
            proof = [item.hex() for item in made.proof]
            inclusion.append({"index": index, "leaf": made.leaf.hex(), "proof": proof})
        for first in sorted({1, count // 2, count - 1} - {0}):
            root = home.open().store.root_at(first).hex()
            proof = [item.hex() for item in consistency_proof(reader.nodes, first, count)]
            if proof:
                consistency.append({"first": first, "first_root": root, "proof": proof})
    proofs = tmp_path / "proofs.json"
    skey = Path(home.paths.key).read_text().strip()
    proofs.write_text(
        json.dumps({"inclusion": inclusion, "consistency": consistency, "skey": skey})
    )
    done = _checked(checker, folder, home.vkey.text(), proofs)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["origin"], told["entries"]) == (home.vkey.name, count)
    assert (told["inclusion"], told["consistency"]) == (len(inclusion), len(consistency))
    # What Go signs with our key reads here, and ours is signed the same.
    checkpoint = parse_checkpoint(told["signed"].encode())[0]
    assert SigningKey.load(home.paths.key).sign(checkpoint) == told["signed"].encode()


def test_go_refuses_an_export_in_which_one_bit_is_other(
    checker: Path, home: Home, tmp_path: Path
) -> None:
    home.fill(300)
    folder, proofs = tmp_path / "out", tmp_path / "proofs.json"
    with reading(str(home.folder)) as reader:
        export(reader, str(folder))
    skey = Path(home.paths.key).read_text().strip()
    proofs.write_text(json.dumps({"skey": skey}))
    assert _checked(checker, folder, home.vkey.text(), proofs).returncode == 0
    for name in ("checkpoint", "tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"):
        path = folder / name
        good = path.read_bytes()
        path.write_bytes(good[:10] + bytes([good[10] ^ 1]) + good[11:])
        assert _checked(checker, folder, home.vkey.text(), proofs).returncode == 1, name
        path.write_bytes(good)


def _checked(
    checker: Path, folder: Path, vkey: str, proofs: Path
) -> subprocess.CompletedProcess[str]:
    arguments = [str(checker), str(folder), vkey, str(proofs)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (7, 9, "tile/0/007.p/9"),
        (999, 256, "tile/0/999"),
        (1000, 256, "tile/0/x001/000"),
        (1234067, 256, "tile/0/x001/x234/067"),
        (1234067, 1, "tile/0/x001/x234/067.p/1"),
    ],
)
def test_tile_paths_are_those_of_the_specification(index: int, width: int, path: str) -> None:
    assert tile_path("0", index, width) == path

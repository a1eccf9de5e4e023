"""A release: built from what git tracks, byte by byte the same, listed, signed, and installed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest

from installation import until
from newcomer import OURS, PLACE, Newcomer
from requirements_table import ROOT

EXAMPLE = ROOT / "examples/devcontainer"


def built(out: Path) -> Path:
    """Build a release into `out`."""
    words = [str(ROOT / "scripts/build"), "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a release, built once for all tests."""
    return built(tmp_path_factory.mktemp("release") / "dist")


def handed(one: Newcomer, release: Path, kind: str) -> str:
    """Copy a release's file to the host; give its path there."""
    file = next(release.glob(f"*.{kind}"))
    shutil.copy(file, one.host.root / "srv")
    return f"/srv/{file.name}"


def test_SEC_7_the_bill_of_materials_lists_what_is_installed_and_locked(tmp_path: Path) -> None:
    """Written as scripts/build does it; compared with the environment and the lock."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); from sbom import bill; "
    script += "sys.stdout.write(bill(open(sys.argv[2]).read(), '1.2.3', 1_700_000_000))"
    lock = ROOT / "requirements.lock"
    argv = [sys.executable, "-I", "-c", script, str(ROOT / "scripts"), str(lock)]
    first, second = (
        subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert first == second
    told = json.loads(first)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", told["serialNumber"])
    names = {each["name"] for each in told["components"]}
    assert {"cryptography", "numpy", "pydantic", "rich", "typer"} <= names
    assert not {"pytest", "hatchling", "mypy"} & names, "what tests use is not shipped"
    for each in told["components"]:
        assert distribution(each["name"]).version == each["version"]
        assert f"{each['name']}=={each['version']}" in lock.read_text()
        hashes = each["externalReferences"][0]["hashes"]
        assert hashes, each["name"]
        assert all(f"sha256:{one['content']}" in lock.read_text() for one in hashes)
        assert each["licenses"], f"{each['name']} tells no licence"
    refs = {each["bom-ref"] for each in told["components"]} | {"pkg:pypi/offswitch@1.2.3"}
    assert {each["ref"] for each in told["dependencies"]} == refs
    assert {one for each in told["dependencies"] for one in each["dependsOn"]} <= refs


def test_SEC_7_what_is_signed_is_checked_as_the_page_says_and_a_change_is_found(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    program("ssh-keygen")
    blocks = re.findall(r"```text\n(.*?)```", (ROOT / "docs/releases.md").read_text(), re.DOTALL)
    sign, verify = (block.strip().splitlines() for block in blocks)
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "KEY")]
    subprocess.run(make, check=True)
    (tmp_path / "offswitch.whl").write_bytes(b"released")
    digest = hashlib.sha256(b"released").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  offswitch.whl\n")
    key = (tmp_path / "KEY.pub").read_text()
    signer = f'releases@offswitch namespaces="offswitch-release" {key}'
    (tmp_path / "signers").write_text(signer)

    def typed(lines: list[str]) -> bool:
        script = "set -e\n" + "\n".join(lines)
        return subprocess.run(["sh", "-c", script], cwd=tmp_path, check=False).returncode == 0

    assert typed(sign)
    assert typed(verify)
    (tmp_path / "offswitch.whl").write_bytes(b"Released")
    assert not typed(verify)
    (tmp_path / "offswitch.whl").write_bytes(b"released")
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  offswitch.whl\n# one line more\n")
    assert not typed(verify)


def test_the_dev_container_is_well_formed_and_its_files_are_there() -> None:
    told = json.loads((EXAMPLE / "devcontainer.json").read_text())
    assert (EXAMPLE / told["build"]["dockerfile"]).is_file()
    assert any("/var/lib/offswitch" in mount for mount in told["mounts"]), "a stop must outlive it"
    said = {line.split()[0] for line in instructions()}
    assert said == {"FROM", "COPY", "RUN"}


def instructions() -> list[str]:
    text = (EXAMPLE / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.long
def test_SEC_7_two_builds_are_byte_by_byte_the_same(release: Path, tmp_path: Path) -> None:
    again = built(tmp_path / "elsewhere" / "dist")
    names = sorted(path.name for path in release.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    for name in names:
        assert (release / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.long
def test_nothing_in_a_release_names_the_machine_that_built_it(
    release: Path, tmp_path: Path
) -> None:
    wheel, deb = next(release.glob("*.whl")), next(release.glob("*.deb"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    assert list((tmp_path / "wheel").glob("*.dist-info/sboms/offswitch.cdx.json"))
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tmp_path / "deb")], check=True)
    deb_ours = [*(tmp_path / "deb").rglob("site-packages/offswitch*"), tmp_path / "deb/DEBIAN"]
    ours = [tmp_path / "wheel", *deb_ours, tmp_path / "deb/usr", tmp_path / "deb/opt/offswitch/bin"]
    files = {path for top in ours for path in top.rglob("*") if path.is_file()}
    assert len(files) > 400, "theirs name their own builders; these are all of ours"
    words = [str(ROOT).encode(), sys.prefix.encode(), sys.base_prefix.encode()]
    if len(socket.gethostname()) > 3:  # a shorter one is a part of many words
        words.append(socket.gethostname().encode())
    for path in files:
        assert not [word for word in words if word in path.read_bytes()], path
    listed = {line.split("  ")[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in release.iterdir()} - {"SHA256SUMS"}


@pytest.mark.long
def test_the_deb_installs_is_not_taken_away_while_latched_and_leaves_nothing(
    bare: Newcomer, release: Path
) -> None:
    before = bare.traces()
    deb = handed(bare, release, "deb")
    bare.sh(f"dpkg --install {deb}")
    assert bare.answers()
    assert bare.sh("command -v offswitch") == "/usr/bin/offswitch"
    assert bare.sh("dpkg --verify offswitch") == ""
    assert bare.refused()[1] == "refused", "from a checkout it is not written over"
    bare.begin("shop/a")
    bare.sh(f"dpkg --install {deb}")
    assert bare.pids("shop/a") == 1, "an upgrade goes on"
    bare.typed("stop", "shop/a")
    done = bare.run(["dpkg", "--remove", "offswitch"])
    assert (done.returncode != 0, "offswitch reset shop/a" in done.stderr) == (True, True)
    assert bare.answers()
    bare.reset("shop/a")
    bare.sh("dpkg --remove offswitch")
    assert (bare.host.root / "var/lib/offswitch/ledger/ledger.db").exists()
    bare.sh("dpkg --purge offswitch")
    bare.sh(f"rm {deb}")
    after = bare.traces()
    assert set(after["files"]) - set(before["files"]) == set()
    assert (after["accounts"], after["units"], after["cgroups"]) == (
        before["accounts"],
        before["units"],
        before["cgroups"],
    )


@pytest.mark.long
def test_the_dev_containers_steps_work_in_a_root_without_systemd(
    bare: Newcomer, release: Path
) -> None:
    """What a registry and a network would give is left out: the base image, apt-get update."""
    deb = handed(bare, release, "deb")
    run = next(line for line in instructions() if line.startswith("RUN ")).removeprefix("RUN ")
    run = run.replace("apt-get update", "true").replace("rm -rf /var/lib/apt/lists/*", "true")
    bare.sh(f"cp {deb} /tmp/")
    hidden = "mount -t tmpfs none /lib/systemd; mount -t tmpfs none /run/systemd;"
    begin = json.loads((EXAMPLE / "devcontainer.json").read_text())["postStartCommand"]
    script = f"{hidden} {run}; sh -c {shlex.quote(begin)}; sleep 2; offswitch status"
    done = bare.run(["unshare", "--mount", "bash", "-euc", script], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing runs under the switch" in done.stdout
    bare.kill(bare.pids("bin/offswitch up"), "INT")
    until(lambda: not bare.pids("opt/offswitch"), "it ends")
    bare.sh("dpkg --purge offswitch")


@pytest.mark.long
def test_the_wheel_installs_a_host_from_an_environment_of_its_own(
    bare: Newcomer, release: Path
) -> None:
    """The packages come from this environment, as a company's index would give them."""
    wheel = handed(bare, release, "whl")
    library = next(Path(sys.prefix, "lib").glob("python3.*/site-packages"))
    minor = f"python3.{sys.version_info.minor}"
    bare.sh(
        f"/usr/bin/{minor} -m venv --without-pip /srv/venv;"
        f" cd /srv/venv/lib/{minor}/site-packages; /usr/bin/{minor} -m zipfile -e {wheel} .;"
        f" for each in {library}/*; do"
        " case $each in */*offswitch*|*/__pycache__) ;; *) ln -s $each .;; esac; done"
    )
    start = "import sys; from offswitch.__main__ import main; sys.exit(main())"
    done = bare.run(["/srv/venv/bin/python", "-I", "-c", start, "install", "--json"], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bare.answers()
    assert bare.run([OURS, "--version"]).stdout == bare.typed("--version").stdout
    assert os.path.exists(bare.host.root / PLACE.lstrip("/"))
    bare.install("--remove", "--purge")
    bare.sh("rm -r /srv/*")

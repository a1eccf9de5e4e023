"""Which rung a warden finds in a real container (SR-25): by trying, and never the first unseen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import offswitch
from needs import needs_program, needs_root

ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from offswitch.control.place import Place
from offswitch.warden.cells.rung import standing
print(json.dumps(standing(Place("/tmp/home", "/tmp/offswitch-test-run")).facts()))
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Give a copy of this machine's files, for containers to change as they like.

    Its folder has a short name: podman takes none of more than 50 characters.
    """
    needs_root()
    needs_program("podman")
    needs_program("runc")
    folder = Path(tempfile.mkdtemp(prefix="off-"))
    upper = folder / "upper"
    upper.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(upper)], check=True)
    for name in ("files", "work"):
        (upper / name).mkdir()
    (folder / "root").mkdir()
    options = f"lowerdir=/,upperdir={upper}/files,workdir={upper}/work"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(folder / "root")]
    subprocess.run(mount, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder / "root"), str(upper)], check=True)
        if os.path.ismount(folder / "store/overlay"):  # podman leaves its store mounted on itself
            subprocess.run(["umount", "--lazy", str(folder / "store/overlay")], check=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("options", "rung"),
    [
        ([], "subreaper"),
        (["--cgroupns=private", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw"], "root-cgroup"),
        (["--user", "1000:1000"], "namespace"),
    ],
)
def test_SR_25_the_rung_in_a_container_is_what_really_holds_there(
    root: Path, options: list[str], rung: str
) -> None:
    """uid 0 without writable cgroups is not the first rung, and with them it is by trying."""
    code = "/srv/code"  # a copy: the checkout may lie below a folder that is closed to others
    package = os.path.dirname(offswitch.__file__)
    shutil.copytree(package, f"{root}/root{code}/offswitch", dirs_exist_ok=True)
    argv = ["podman", "--cgroup-manager=cgroupfs", "--root", f"{root}/store"]
    argv += ["--runroot", f"{root}/run", "run", "--rm", "--runtime", "runc", "--network=none"]
    argv += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", *options]
    argv += ["--rootfs", f"{root}/root", "/usr/bin/python3", "-I", "-c", ASK, code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rung"] == rung
    if rung != "root-cgroup":
        assert told["missing"]
        assert told["climb"]
        assert told["escapes"]

"""Builds a release: called by scripts/build, which names its time in SOURCE_DATE_EPOCH.

    git's files ─► wheel (with SBOM) ─► program laid out as on a host ─► deb ─► SHA256SUMS[.sig]

The deb carries what the wheel holds, laid out and compiled by the code that `offswitch
install` uses, and the locked packages from this environment, each file checked against its
own package's list. Its scripts call `offswitch install`, so there is one way of installing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from sbom import bill, epoch_of  # noqa: E402 - it lies beside this file

PREFIX = "/opt/offswitch"
_STAGE = "import sys; sys.path[:0] = [sys.argv[1]]; from offswitch.host import program as p; "
_STAGE += "p.lay_out(sys.argv[2], p.interpreter())"
_POSTINST = f"""#!/bin/sh
# What is in place now is served by whatever runs: offswitch install has it taken over.
set -e
[ "$1" = configure ] || exit 0
touch {PREFIX}/not-served-yet
exec {PREFIX}/bin/offswitch install
"""
_PRERM = f"""#!/bin/sh
# Refuses, and says what to do, while anything is latched or runs under the switch.
set -e
[ "$1" = remove ] || exit 0
{PREFIX}/bin/offswitch install --remove
rm -f {PREFIX}/not-served-yet
"""
_POSTRM = """#!/bin/sh
# State and record stay when the program goes, and go when they are purged.
set -e
[ "$1" = purge ] || exit 0
rm -rf /var/lib/offswitch
"""
_COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: offswitch
Comment: The licences of the packages that lie below /opt/offswitch stand in sbom.cdx.json
 beside this file, their texts in the packages' own folders.

Files: *
Copyright: the authors of Offswitch
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
"""


def main() -> int:
    """Build everything; say what was built."""
    parser = argparse.ArgumentParser(prog="scripts/build", description="Build a release.")
    parser.add_argument("--out", default=str(ROOT / "dist"), help="where to; dist unless given")
    parser.add_argument("--sign", metavar="KEY", help="sign the checksums with this SSH key")
    options = parser.parse_args()
    out = Path(options.out).resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    epoch = epoch_of(os.environ)
    with tempfile.TemporaryDirectory(prefix="offswitch-build-") as folder:
        work = Path(folder)
        tree = work / "tree"
        _copy_tracked(tree)
        version = _version(tree)
        (tree / "offswitch.cdx.json").write_text(
            bill((tree / "requirements.lock").read_text(), version, epoch)
        )
        wheel = _wheel(tree, out)
        shutil.copyfile(tree / "offswitch.cdx.json", out / f"offswitch-{version}.cdx.json")
        _deb(work, wheel, version, epoch, out)
    _checksums(out)
    if options.sign:
        words = ["ssh-keygen", "-q", "-Y", "sign", "-n", "offswitch-release", "-f", options.sign]
        subprocess.run([*words, str(out / "SHA256SUMS")], check=True)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>12,}  {path.name}")
    return 0


def _copy_tracked(tree: Path) -> None:
    """Copy what git tracks, as it lies here: nothing else gets into a release."""
    git = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}"]
    names = subprocess.run([*git, "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    if dirty.stdout:
        sys.stderr.write("build: this tree differs from its commit; it is no release\n")


def _version(tree: Path) -> str:
    for line in (tree / "src/offswitch/__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    message = "src/offswitch/__init__.py names no version"
    raise SystemExit(message)


def _wheel(tree: Path, out: Path) -> Path:
    """Build the wheel by the locked build backend, with the bill of materials inside (PEP 770)."""
    project = tree / "pyproject.toml"
    head = "[tool.hatch.build.targets.wheel]\n"
    text = project.read_text()
    if text.count(head) != 1:
        message = "pyproject.toml has no place for the bill of materials"
        raise SystemExit(message)
    project.write_text(text.replace(head, head + 'sbom-files = ["offswitch.cdx.json"]\n'))
    words = [sys.executable, "-I", "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(words, cwd=tree, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def _deb(work: Path, wheel: Path, version: str, epoch: int, out: Path) -> None:
    site, stage = work / "site", work / "stage"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (stage / "opt").mkdir(parents=True)
    program = stage / PREFIX.lstrip("/")
    subprocess.run([sys.executable, "-I", "-c", _STAGE, str(site), str(program)], check=True)
    (stage / "usr/bin").mkdir(parents=True)
    (stage / "usr/bin/offswitch").symlink_to(f"{PREFIX}/bin/offswitch")
    about = stage / "usr/share/doc/offswitch"
    about.mkdir(parents=True)
    (about / "copyright").write_text(_COPYRIGHT)
    shutil.copyfile(next(out.glob("*.cdx.json")), about / "sbom.cdx.json")
    shutil.copyfile(ROOT / "CHANGELOG.md", about / "CHANGELOG.md")
    _control(stage, version)
    _dated(stage, epoch)
    name = f"offswitch_{version}_{_architecture()}.deb"
    words = ["dpkg-deb", "-Zzstd", "-z3", "--root-owner-group", "--build", str(stage)]
    subprocess.run([*words, str(out / name)], check=True, capture_output=True)


def _control(stage: Path, version: str) -> None:
    minor = sys.version_info.minor
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(path.stat().st_size for path in files) // 1024
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(stage)}\n"
        for path in files
    ]
    control = stage / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        f"Package: offswitch\nVersion: {version}\nArchitecture: {_architecture()}\n"
        "Maintainer: The authors of Offswitch <offswitch@localhost>\n"
        f"Installed-Size: {size}\nSection: admin\nPriority: optional\n"
        f"Depends: python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), passwd\n"
        "Recommends: systemd\n"
        "Description: emergency stop for AI systems\n"
        " Stops models, agents and training jobs in milliseconds, shows that they stopped,\n"
        " and keeps a record that nobody can quietly change.\n"
    )
    (control / "md5sums").write_text("".join(sums))
    for name, text in (("postinst", _POSTINST), ("prerm", _PRERM), ("postrm", _POSTRM)):
        (control / name).write_text(text)
        (control / name).chmod(0o755)


def _dated(stage: Path, epoch: int) -> None:
    """Give every file and folder the release's time: when it was built says nothing."""
    for path in (stage, *stage.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _architecture() -> str:
    words = ["dpkg", "--print-architecture"]
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()


def _checksums(out: Path) -> None:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(out.iterdir())
    ]
    (out / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main())

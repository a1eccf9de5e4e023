"""What a reboot does to an installation."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from installation import Installation, until


def wipe(installation: Installation) -> None:
    """Take away what a reboot takes: the folder on tmpfs, the cgroups and all in them."""
    for tree in list(installation.cgroups()):
        for folder, _folders, _files in os.walk(tree, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder, "cgroup.kill").write_text("1")
            with contextlib.suppress(OSError):
                until(lambda at=folder: not Path(at, "cgroup.procs").read_text(), "empty", 5)
                os.rmdir(folder)
    for entry in os.scandir(installation.run_folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)

"""A wall clock for the processes of one installation, which a test can set.

The machine's own is everybody's. A library is laid under every process that is started in a
mount namespace (ld.so.preload), and it answers clock_gettime(CLOCK_REALTIME) alone: what counts
on another clock sees nothing of it.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from needs import needs_program

__all__ = ["WallClock"]

LIBRARY = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static volatile long *ahead;
int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!ahead) {
        int fd = open(AHEAD, O_RDONLY | O_CLOEXEC);
        static long none;
        ahead = fd < 0 ? &none : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0) close(fd);
    }
    int done = syscall(SYS_clock_gettime, clock, at);
    if (clock == CLOCK_REALTIME) at->tv_sec += *ahead;
    return done;
}
"""


class WallClock:
    """A wall clock for one installation's processes, all of them, that can be set."""

    def __init__(self, folder: Path) -> None:
        self._ahead = folder / "ahead"
        self._ahead.write_bytes(bytes(8))
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(LIBRARY)
        compiler = needs_program("cc")
        flags = ["-shared", "-fPIC", "-O1", f'-DAHEAD="{self._ahead}"']
        subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
        overlay = f"lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/worked"
        for name in ("upper", "worked"):
            (folder / name).mkdir()
        (folder / "upper" / "ld.so.preload").write_text(f"{library}\n")
        script = f'mount -t overlay -o {overlay} none /etc && exec "$@"'
        self.under = ["unshare", "-m", "sh", "-c", script, "sh"]
        """What starts a program under it."""

    def jump(self, seconds: int) -> None:
        """Set it so far ahead of the machine's."""
        with self._ahead.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

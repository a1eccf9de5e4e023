"""A real Debian host for a test: systemd as the first process of its own namespaces.

    host = Host().boot()
    host.run(["systemctl", "is-active", "dbus"]).stdout
    host.reboot()                 # the same disk, another boot id
    host.end()

Its root is an overlay of this machine's, so that the checkout, its .venv and the interpreter
lie at their own paths, and what it writes is gone at the end. It has processes, mounts, a
network (loopback only), a cgroup v2 tree and a name of its own, and the real uid 0. The default
folders of an installation are free there: /var/lib/offswitch (on the disk that this machine's
/var/tmp lies on, as `doctor` wants it) and /run/offswitch.

What it cannot have: on a hybrid machine the pids and memory controllers are bound to v1, so its
v2 tree has only what is left (`host.controllers()`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from needs import needs, needs_root

SYSTEMD = "/lib/systemd/systemd"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE_S = 60.0
ASLEEP = (
    *("postgresql.service", "podman.service", "podman.socket", "podman-restart.service"),
    *("podman-auto-update.service", "podman-auto-update.timer", "apt-daily.timer"),
    *("apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "man-db.timer", "systemd-timesyncd.service"),
    *("getty.target", "getty@tty1.service", "console-getty.service", "getty-static.service"),
    *("systemd-firstboot.service", "systemd-modules-load.service", "systemd-binfmt.service"),
    *("systemd-hwdb-update.service", "systemd-repart.service", "systemd-pstore.service"),
    *("systemd-sysusers.service", "systemd-random-seed.service", "ldconfig.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "dev-mqueue.mount"),
    *("dev-hugepages.mount", "proc-sys-fs-binfmt_misc.automount", "sys-kernel-config.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount"),
    *("systemd-ask-password-console.path", "systemd-ask-password-wall.path", "modprobe@.service"),
    *("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-sysctl.service"),
    *("systemd-tmpfiles-clean.timer", "remote-fs.target", "systemd-pcrphase.service"),
    *("systemd-remount-fs.service", "systemd-networkd.service", "kmod-static-nodes.service"),
)
"""Units that have no part in our tests and would make each boot longer."""
INSIDE = r"""
set -e
D=$1 STATE=$2 R=$1/root
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir=$D/upper,workdir=$D/work $R
mount -t proc proc $R/proc
mount -t sysfs sysfs $R/sys
mount -t cgroup2 cgroup2 $R/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $R/run
mount -t tmpfs -o mode=1777 tmpfs $R/tmp
mkdir $R/run/host
mkdir $R/run/host/notify $R/run/host/proc
mount --bind $D/notify $R/run/host/notify
mount -t proc proc $R/run/host/proc  # a whole one, or no user may mount one in a namespace
mount --bind $D/boot_id $R/proc/sys/kernel/random/boot_id
mount -t tmpfs tmpfs $R/dev -o mode=755
mkdir $R/dev/{pts,shm,net}
mount -t devpts devpts $R/dev/pts -o newinstance,ptmxmode=0666,mode=620,gid=5
mount -t tmpfs -o mode=1777 tmpfs $R/dev/shm
for d in null zero full random urandom tty fuse net/tun; do
    [ -e /dev/$d ] || continue
    touch $R/dev/$d
    mount --bind /dev/$d $R/dev/$d
done
ln -s pts/ptmx $R/dev/ptmx
ln -s /proc/self/fd $R/dev/fd
if [ -n "$STATE" ]; then
    mkdir -p $R/var/lib/offswitch
    mount --bind $STATE $R/var/lib/offswitch
fi
mkdir -p $R/old
cd $R
pivot_root . old
umount -l /old
ip link set lo up
hostname offswitch-host
exec env -i container=offswitch-test PATH=$PATH NOTIFY_SOCKET=/run/host/notify/notify \
    /lib/systemd/systemd --log-target=console --log-level=warning --unit=multi-user.target
"""
"""What makes the host's mounts and becomes its init, from inside its new namespaces."""


def _write(path: str | Path, text: str) -> None:
    Path(path).write_text(text)


class Host:
    """One host. `boot`, `run`, `reboot`, `end`; a second `end` does nothing."""

    def __init__(self, *, state_on_disk: bool = True) -> None:
        """Make its disk; with `state_on_disk` /var/lib/offswitch is a real disk's folder.

        A mount point can be emptied and not removed: a test of uninstalling goes without.
        """
        needs_root()
        needs(os.path.exists(SYSTEMD), "systemd (scripts/test installs it)")
        needs(shutil.which("unshare") and shutil.which("nsenter"), "unshare and nsenter")
        needs(_tree(), "a cgroup v2 tree that can be written to")
        self.folder = Path(tempfile.mkdtemp(prefix="offswitch-host-", dir="/dev/shm"))
        self.folder.chmod(0o755)
        self.state: str | None = None
        if state_on_disk:
            self.state = tempfile.mkdtemp(prefix="offswitch-host-", dir="/var/tmp")
        self.cgroup = f"{_tree()}/{self.folder.name}"
        self.init = 0
        """Its first process, as this machine counts; the root of its files is `root`."""
        self._outer: subprocess.Popen[bytes] | None = None
        for name in ("upper", "work", "root", "notify"):
            (self.folder / name).mkdir()
        etc = self.folder / "upper/etc"
        (etc / "systemd/system").mkdir(parents=True)
        (etc / "systemd/journald.conf.d").mkdir()
        _write(etc / "systemd/journald.conf.d/test.conf", "[Journal]\nStorage=volatile\n")
        for unit in ASLEEP:
            (etc / "systemd/system" / unit).symlink_to("/dev/null")
        _write(etc / "machine-id", f"{uuid.uuid4().hex}\n")
        _write(etc / "fstab", "")

    # --- its life -----------------------------------------------------------------

    def boot(self) -> Host:
        """Start it, and return when systemd says that the boot is done."""
        _write(self.folder / "boot_id", f"{uuid.uuid4()}\n")
        os.makedirs(f"{self.cgroup}/tests", exist_ok=True)
        notify = self.folder / "notify/notify"
        notify.unlink(missing_ok=True)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            open(self.folder / "console", "ab") as console,
        ):
            told.bind(str(notify))
            self._outer = subprocess.Popen(
                [
                    *self._in_cgroup("."),
                    *("unshare", "--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc"),
                    *("--net", "--kill-child", "bash", "-c", INSIDE, "host"),
                    *(str(self.folder), self.state or ""),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
            self._await_ready(told)
        return self

    def _await_ready(self, told: socket.socket) -> None:
        assert self._outer is not None
        end = time.monotonic() + PATIENCE_S
        told.settimeout(0.2)
        while True:
            assert self._outer.poll() is None, f"the host ended at boot: {self.console()}"
            assert time.monotonic() < end, f"the host does not boot: {self.console()}"
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in told.recv(4096).split(b"\n"):
                    break
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        self.init = int(children.split()[0])

    def reboot(self, *, power_cut: bool = False) -> Host:
        """Go down, in order or (`power_cut`) at once, and boot from the same disk."""
        assert self._outer is not None
        if not power_cut:
            self.run(["systemctl", "--no-block", "reboot"])
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._outer.wait(PATIENCE_S)
        self._down()
        return self.boot()

    def end(self) -> None:
        """Kill all that runs in it and take away all that it left on this machine."""
        self._down()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.state:
            shutil.rmtree(self.state, ignore_errors=True)

    def _down(self) -> None:
        outer, self._outer, self.init = self._outer, None, 0
        if outer is not None:
            with contextlib.suppress(OSError):
                _write(f"{self.cgroup}/cgroup.kill", "1")
            outer.send_signal(signal.SIGKILL)
            outer.wait()
        end = time.monotonic() + PATIENCE_S
        while os.path.isdir(self.cgroup) and time.monotonic() < end:
            for folder, _folders, _files in os.walk(self.cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            time.sleep(0.005)

    # --- what a test does with it ---------------------------------------------------

    @property
    def root(self) -> Path:
        """Its files, as this machine reaches them: `host.root / "etc/passwd"`."""
        return Path(f"/proc/{self.init}/root")

    def console(self) -> str:
        """Give what its init has said."""
        return (self.folder / "console").read_text(errors="replace")[-8000:]

    def controllers(self) -> list[str]:
        """Name the controllers of its cgroup v2 tree."""
        return Path(self.cgroup, "cgroup.controllers").read_text().split()

    def argv(
        self, argv: Sequence[str], user: str | None = None, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """Give the command that runs `argv` inside, for a Popen of the test's own."""
        words = [
            *self._in_cgroup("tests"),
            "nsenter",
            f"--target={self.init}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
        ]
        words += ["--pid", "--cgroup", "--", "env", "-i", f"PATH={PATH}", "LANG=C.UTF-8"]
        words += [f"{name}={value}" for name, value in (env or {}).items()]
        if user is not None:
            words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
            words += ["env", f"USER={user}", f"HOME=/home/{user}"]
            uid = self.uid(user)
            if (self.root / f"run/user/{uid}").exists():
                words += [f"XDG_RUNTIME_DIR=/run/user/{uid}"]
        return [*words, *argv]

    def _in_cgroup(self, folder: str) -> list[str]:
        script = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", script, f"{self.cgroup}/{folder}/cgroup.procs"]

    def popen(
        self,
        argv: Sequence[str],
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,  # noqa: ANN401 - Popen's own
    ) -> subprocess.Popen[Any]:
        """Start a program inside, in the background; stdin is empty unless given."""
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.argv(argv, user, env), cwd="/", **more)

    def run(
        self,
        argv: Sequence[str],
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        *,
        timeout: float = PATIENCE_S,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside and give its exit code, stdout and stderr."""
        pipe = subprocess.PIPE
        with self.popen(
            argv, user, env, stdin=stdin, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                _kill_below(process.pid)
                process.kill()
                raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def sh(self, script: str, user: str | None = None) -> str:
        """Run a shell script inside, which must succeed, and give what it said."""
        done = self.run(["sh", "-euc", script], user)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def pids(self, words: str, user: str | None = None) -> list[int]:
        """List the processes inside, by its own numbers, whose command line holds `words`."""
        uid = None if user is None else self.uid(user)
        found = []
        for entry in (self.root / "proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and uid in {None, entry.stat().st_uid}:
                    line = (
                        (entry / "cmdline")
                        .read_bytes()
                        .replace(b"\0", b" ")
                        .decode(errors="replace")
                    )
                    found += [int(entry.name)] if words in line else []
        return sorted(found)

    def kill(self, pids: Sequence[int], signal: str = "KILL") -> None:
        """Signal processes inside, by their numbers there."""
        self.sh(f"kill -{signal} {' '.join(map(str, pids))}")

    # --- its people -----------------------------------------------------------------

    def uid(self, user: str) -> int:
        """Give a user's number inside."""
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, uid = line.split(":")[:3]
            if name == user:
                return int(uid)
        raise KeyError(user)

    def add_user(self, user: str, *, lingering: bool = False) -> int:
        """Make an ordinary user, who can run this checkout and nothing else below closed folders.

        `lingering`: with a running systemd user session.
        """
        for path in {os.path.realpath(sys.executable), os.path.dirname(__file__), sys.prefix}:
            self.sh(f"chmod o+x {' '.join(map(shlex.quote, map(str, Path(path).parents)))}")
        self.sh(f"id {user} 2>/dev/null || useradd --create-home --shell /bin/bash {user}")
        uid = self.uid(user)
        if lingering:
            self.sh(f"loginctl enable-linger {user}; systemctl start user@{uid}.service")
        return uid


def _tree() -> str | None:
    """Give the cgroup v2 tree of this machine, where root may make cgroups in it."""
    for tree in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.isfile(f"{tree}/cgroup.procs") and os.access(tree, os.W_OK):
            return tree
    return None


def _kill_below(pid: int) -> None:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            _kill_below(int(child))
            os.kill(int(child), signal.SIGKILL)


@contextlib.contextmanager
def booted(**options: bool) -> Iterator[Host]:
    """Give a host of the test's own that is booted, and end it."""
    host = Host(**options)
    try:
        yield host.boot()
    finally:
        host.end()

"""The host that other tests run on is what they take it for."""

from __future__ import annotations

import os
from pathlib import Path

from host import Host, booted


def test_a_host_is_debian_with_systemd_and_this_checkout(host: Host) -> None:
    assert host.sh("systemctl is-system-running") == "running"
    assert host.sh("readlink /proc/1/exe").endswith("systemd")
    assert "0::/tests" in host.sh("cat /proc/self/cgroup")
    assert host.sh("ls /sys/class/net") == "lo"
    checkout = Path(__file__).parents[1]
    assert host.run([f"{checkout}/.venv/bin/offswitch", "--version"]).returncode == 0


def test_a_lingering_user_has_a_session_of_systemds(host: Host) -> None:
    uid = host.add_user("ann", lingering=True)
    done = host.run(["systemctl", "--user", "is-system-running"], user="ann")
    assert done.stdout.strip() == "running", done
    assert host.run(["id", "-u"], user="ann").stdout.strip() == str(uid)


def test_a_reboot_keeps_the_disk_and_changes_the_boot_id() -> None:
    with booted() as host:
        boots = [host.sh("cat /proc/sys/kernel/random/boot_id")]
        host.sh("echo kept > /root/kept; echo lost > /run/lost; sleep 1000 >/dev/null 2>&1 &")
        for power_cut in (False, True):
            host.reboot(power_cut=power_cut)
            boots.append(host.sh("cat /proc/sys/kernel/random/boot_id"))
            assert host.sh("cat /root/kept; ls /run/lost 2>/dev/null || true") == "kept"
        assert len(set(boots)) == 3
        folder, cgroup = host.folder, host.cgroup
    assert not folder.exists()
    assert not os.path.exists(cgroup)
    assert not Path("/root/kept").exists()

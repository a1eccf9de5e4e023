"""Another person on the same machine, speaking to a warden with nothing of ours but the wire."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from installation import PYTHON, Installation

PERSON = r"""
import array, json, os, socket, struct, sys
path, uid, gid, groups, what = sys.argv[1:6]
if what != "stop-all":
    os.setgroups([int(g) for g in groups.split(",") if g])
    os.setresgid(int(gid), int(gid), int(gid)); os.setresuid(int(uid), int(uid), int(uid))
def answer(s):
    head = b""
    while len(head) < 4:
        more = s.recv(4 - len(head))
        if not more: return None
        head += more
    size = struct.unpack(">I", head)[0]
    body = b""
    while len(body) < size: body += s.recv(size - len(body))
    return json.loads(body)
message = {"op": "stop", "scopes": ["/"]} if what == "stop-all" else json.loads(what)
s = socket.socket(socket.AF_UNIX); s.settimeout(20)
try:
    s.connect(path)
except OSError as error:
    print(json.dumps({"error": {"kind": "unreachable", "message": str(error)}})); sys.exit()
fds = message.pop("_fds", False); read = message.pop("_read", False)
body = json.dumps(message).encode()
r, w = os.pipe()
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [r, w, w]))] if fds else []
s.sendmsg([struct.pack(">I", len(body)) + body], rights)
os.close(w)
got = answer(s)
if got and got.get("accepted"): got = answer(s)
if read and got and "error" not in got:
    text = b""
    while True:
        more = os.read(r, 65536)
        if not more: break
        text += more
    got["output"] = text.decode(errors="replace")
print(json.dumps(got or {"error": {"kind": "unreachable", "message": "hung up"}}), flush=True)
if fds: sys.stdin.read()
"""


class Person:
    """Somebody with a user id of their own; by default in the group that may stop."""

    def __init__(
        self,
        installation: Installation,
        uid: int = 4242,
        groups: tuple[int, ...] | None = None,
        gid: int | None = None,
    ) -> None:
        self.uid = uid
        self.gid = uid if gid is None else gid
        self._installation = installation
        self._groups = (installation.gid,) if groups is None else groups
        self._kept: list[subprocess.Popen[str]] = []

    def ask(
        self, message: dict[str, Any], *, fds: bool = False, read: bool = False
    ) -> dict[str, Any]:
        """Send one message as this person; with `fds` the relay stays until the test ends."""
        folder = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin"}, "raw": True}
        whole = {"nonce": "0" * 32, "time_us": 1, **message}
        if fds:
            whole = {**folder, **whole, "_fds": True, "_read": read}
        argv = [PYTHON, "-c", PERSON, self._installation.place.warden_socket, str(self.uid)]
        argv += [str(self.gid), ",".join(map(str, self._groups)), json.dumps(whole)]
        asked = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )
        assert asked.stdout is not None
        answer = json.loads(asked.stdout.readline())
        self._installation.children.append(asked)
        return dict(answer)

"""A hand of kind `systemd` in a real host of its own, told by lines what to do.

hands = HandWithin(host)
hands.ask("act", "arm")          # {"state": "ready", …} or {"trouble": "…"}
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from host import Host

__all__ = ["HandWithin"]

SCRIPT = """
import dataclasses, json, os, sys
from offswitch.actuators.hands.contract import Context, Role, Trouble
from offswitch.actuators.hands.scheduler.systemd import Systemd
hands = {}
for line in sys.stdin:
    who, what, args = json.loads(line)
    try:
        if what == "make":
            role = Role.ACT if who.startswith("act") else Role.LOOK
            settings = {"name": who, "target": "shop/llm", "kind": "systemd"} | args[0]
            hands[who] = Systemd(Systemd.Settings.model_validate(settings), Context(role))
            hands[who].prepare()
            hands[who].open()
            said = {}
        elif what == "become":
            os.setresgid(*[args[0]] * 3)
            os.setresuid(*[args[0]] * 3)
            said = {}
        else:
            said = getattr(hands[who], what)(*args)
            said = dataclasses.asdict(said) if dataclasses.is_dataclass(said) else {"said": said}
    except Trouble as trouble:
        said = {"trouble": str(trouble)}
    print(json.dumps(said), flush=True)
"""


class HandWithin:
    """One process, with as many hands as are made in it."""

    def __init__(self, host: Host) -> None:
        pipe = subprocess.PIPE
        argv = [sys.executable, "-I", "-c", SCRIPT]
        self.process = host.popen(argv, stdin=pipe, stdout=pipe, text=True)

    def ask(self, who: str, what: str, *args: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Have it do something, and give what it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([who, what, args]) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline() or '{"trouble": "ended"}'))

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

"""The kill switch of agent-hypervisor, in the process that holds it.

    hypervisor_caller.py PID HUNG      in an environment that has agent-hypervisor

The callback of the agent kills its process group and waits for the process's end, so that
`terminated` means something. The callbacks of HUNG other participants never return; all are killed
at the same time, from a thread each, as no call of the toolkit's own does.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading

from hypervisor.security.kill_switch import KillReason, KillSwitch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve

PID, HUNG = int(sys.argv[1]), int(sys.argv[2])
HANDLE = os.pidfd_open(PID)
SWITCH = KillSwitch(callback_timeout=1.0)
AGENT = "did:mesh:agent"


def end_agent() -> None:
    """End its process group, and see that the process has ended."""
    os.killpg(PID, signal.SIGKILL)
    ready, _, _ = select.select([HANDLE], [], [], 0.9)
    if not ready:
        raise TimeoutError("the process lives")


SWITCH.register_agent(AGENT, end_agent)
OTHERS = [f"did:mesh:tool-{number}" for number in range(HUNG)]
for each in OTHERS:
    SWITCH.register_agent(each, threading.Event().wait)  # type: ignore[arg-type]


def press() -> tuple[str, str]:
    """Kill all of them."""
    results: dict[str, bool] = {}

    def kill(did: str) -> None:
        results[did] = SWITCH.kill(did, "session", KillReason.MANUAL).terminated

    threads = [threading.Thread(target=kill, args=(did,), daemon=True) for did in OTHERS]
    for thread in threads:
        thread.start()
    kill(AGENT)
    for thread in threads:
        thread.join()
    words = ", ".join(
        f"{did.rpartition(':')[2]} terminated={done}" for did, done in results.items()
    )
    return ("stopped" if all(results.values()) else "not"), words


serve(press)

"""supervisord's stop over its XML-RPC interface, with the connection open.

supervisord_caller.py SOCKET      in an environment that has supervisor
"""

from __future__ import annotations

import os
import sys
from xmlrpc.client import ServerProxy

from supervisor.xmlrpc import SupervisorTransport

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from pressing import serve

PROXY = ServerProxy("http://127.0.0.1", SupervisorTransport(serverurl=f"unix://{sys.argv[1]}"))
PROXY.supervisor.getPID()


def press() -> tuple[str, str]:
    """Stop it, and wait until supervisord says that it has stopped."""
    done = PROXY.supervisor.stopProcess("agent", True)
    state = PROXY.supervisor.getProcessInfo("agent")["statename"]
    return ("stopped" if done and state == "STOPPED" else "not"), f"{done}, {state}"


serve(press)

"""What `doctor` asks about gateways: does each that is declared serve, and hear the warden?

The warden says which have attached; that their listeners answer is tried, as a client would, by the
probe that tells of a target whether it is latched.
"""

from __future__ import annotations

import http.client
import os
import ssl
from typing import Any

from offswitch.config.load import installed_kinds, load
from offswitch.control.place import Place
from offswitch.errors import OffswitchError

__all__ = ["gateways_serve"]

_PATIENCE_S = 1.0
_ANSWERS = {200, 503}
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound to: whom it means


def gateways_serve(place: Place, attached: list[dict[str, Any]]) -> tuple[bool, str, str]:
    """Give whether all gateways serve, what there is, and what to do."""
    try:
        declared = {each.name: each.workers for each in _declared(place)}
    except OffswitchError as error:
        return False, f"the configuration cannot be read: {error.message}", error.hint
    known = {str(each["gateway"]): each for each in attached}
    hint = "start it: offswitch up, or systemctl start offswitch-gateway; see warden.log"
    for name, workers in declared.items():
        serves = int(known[name]["workers"]) if name in known else 0
        if serves < workers:
            why = f"{name}: {serves} of {workers} workers hear the warden"
            return False, why, hint
    for name, each in known.items():
        for at in each["listen"]:
            why = _wrong_with(str(at), str(each["targets"][0]))
            if why:
                return False, f"{name}: {at} {why}", hint
    if not known:
        return True, "none is declared, and none serves", ""
    return True, f"each hears the warden, and answers at its listener: {', '.join(known)}", ""


def _declared(place: Place) -> list[Any]:
    if not os.path.exists(place.config):
        return []
    return list(load(place.config, installed_kinds(), named=True).config.gateway)


def _wrong_with(at: str, target: str) -> str:
    """Ask a listener about a target; say what is wrong, or nothing."""
    host, _, port = at.removeprefix("https://").rpartition(":")
    host = _ANY.get(host.strip("[]"), host.strip("[]"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # ours, by its address
    secure = http.client.HTTPSConnection(host, int(port), timeout=_PATIENCE_S, context=context)
    plain = http.client.HTTPConnection(host, int(port), timeout=_PATIENCE_S)
    asked = secure if at.startswith("https://") else plain
    try:
        asked.request("GET", "/.offswitch/probe", headers={"x-offswitch-target": target})
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer: {error}"
    finally:
        asked.close()
    return "" if status in _ANSWERS else f"answers {status} to a probe"

"""A canary in a log file of one's own choice, through a real watch and a real warden."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from installation import until

if TYPE_CHECKING:
    from conftest import Shop

TOKEN = "ofs-canary-7Qd2vX9kLm4"


def test_DET_2_an_agent_that_writes_a_canary_is_stopped_and_no_record_repeats_it(
    shop: Shop,
) -> None:
    tokens = Path(shop.installation.home, "tokens")
    tokens.write_text(f"prompt: {TOKEN}\n")
    tokens.chmod(0o600)
    log = shop.installation.work / "app.log"
    log.write_text("it begins\n")
    log.chmod(0o666)
    leak = base64.b64encode(f"and here it is: {TOKEN}".encode()).decode()
    shop.start_watch(
        f'[[sensor]]\nname = "app-log"\ntarget = "shop/agent"\nkind = "logs"\nevery = "100ms"\n'
        f'path = "{log}"\ncanaries = "{tokens}"\n',
        shop.rule(
            """{ kind = "threshold", series = 'app-log.canary{name="prompt"}', above = 0 }""",
            name="canary",
        ),
    )
    until(lambda: len(shop.eyes()) == 2, "the log has an eye of its own", 10)
    shell = f"until [ -e go ]; do sleep 0.01; done; echo {leak} >> app.log; sleep 60"
    agent = shop.installation.run("sh", "-c", shell, target="shop/agent")
    until(lambda: shop.seen("logs"), "the log is watched", 10)
    (shop.installation.work / "go").touch()
    assert shop.wait_stopped(agent)["level"] == "kill"
    [live] = shop.installation.status()["latched"]
    assert live["by"] == "rule:canary"
    found = until(lambda: shop.entries("finding"), "the finding is recorded", 5)
    assert any(one["series"] == 'app-log.canary{name="prompt"}' for one in found)
    # The command of a cell is recorded sealed; what watch says of it is no place for it at all.
    assert TOKEN not in json.dumps(found + shop.entries("decision") + shop.entries("watch"))
    assert leak not in json.dumps(found + shop.entries("decision"))

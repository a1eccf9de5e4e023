"""A target's page says what of it can act, and on what its stop rests (MON-3, MON-6)."""

from __future__ import annotations

import pytest

from house import House
from installation import PYTHON

pytestmark = pytest.mark.usefixtures("as_root")


def test_MON_6_a_targets_page_says_on_what_its_stop_rests_and_what_of_it_can_act(
    town: House,
) -> None:
    home = town.installation
    home.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="rests/a")
    home.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="rests/a/child")
    shown = town.client().get("/part/target", params={"name": "rests/a"})
    assert shown.status_code == 200
    told = " ".join(shown.text.split())
    assert "On what its stop rests" in told
    assert "process and sweep share nothing" in told
    assert "ONE POINT" not in told
    assert "What of it can act" in told
    assert "1 process <" in told
    assert 'href="/target/rests/a/child"' in told
    assert "NOT KNOWN</strong> what runs beside it: watch does not report" in told

"""What Prometheus reads, parsed by Prometheus' own parser; and the page of the console's alarms."""

from __future__ import annotations

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from house import House
from installation import PYTHON, until

pytestmark = pytest.mark.usefixtures("as_root")


def scraped(home: House) -> dict[tuple[str, str], float]:
    text = home.stranger().get("/metrics").text
    return {
        (sample.name, ",".join(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_how_long_stops_took_and_what_is_ready_and_name_nobody(home: House) -> None:
    home.installation.run(PYTHON, "-c", "import time\nwhile 1: time.sleep(1)", target="shop/hush")
    until(lambda: scraped(home).get(("offswitch_readiness", "process,ready")), "it is seen")
    since_s = scraped(home)["offswitch_readiness_since_seconds", "process,ready"]
    assert 0 <= time.time() - since_s < 3600
    home.installation.stop("shop/hush")
    found = until(
        lambda: [s for s in [scraped(home)] if s.get(("offswitch_stop_seconds_count", "process"))],
        "the stop is counted",
    )[0]
    assert found["offswitch_stops_total", "kill"] == 1
    assert found["offswitch_ledger_lag_entries", ""] < 100
    assert found["offswitch_live", ""] == 1
    assert "shop" not in home.stranger().get("/metrics").text


def test_HMI_5_the_consoles_own_alarms_are_measured_and_shown(home: House) -> None:
    page = home.client().get("/alarms").text
    assert "In ten minutes, at the worst" in page

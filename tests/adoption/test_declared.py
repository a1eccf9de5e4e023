"""An adoption is declared in the configuration, too, and refused there as elsewhere."""

from __future__ import annotations

import signal

import pytest

from adopted_ground import Ground
from installation import Installation, until
from offswitch.config.load import installed_kinds, parse
from offswitch.errors import BadConfig


def test_SR_24_what_the_configuration_declares_is_adopted(
    installation: Installation, ground: Ground
) -> None:
    path = ground.make("llm")
    child = ground.born("llm", "sleep", "1000")
    until(lambda: ground.members("llm"), "it runs")
    targets = [{"name": "said/llm", "cgroup": path}, {"name": "said/ours", "cgroup": ground.path}]
    ground.make("ours")
    installation.ask({"op": "declare", "targets": targets})
    until(lambda: installation.target("said/llm")["state"] == "running", "it is adopted")
    assert installation.stop("said/llm")["confirmed"] is True
    assert child.wait() == -signal.SIGKILL


def test_SR_24_a_declaration_that_may_not_be_adopted_is_said_and_hinders_nothing(
    installation: Installation,
) -> None:
    ours = f"/{installation.place.cgroup}"
    installation.ask({"op": "declare", "targets": [{"name": "said/bad", "cgroup": ours}]})

    def said() -> bool:
        return any("said/bad is not held" in note for note in installation.status()["notes"])

    until(said, "why not")
    assert installation.target("said/bad")["adopted"] is None


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ('unit = "vllm.service"', ""),
        ('container = "web"', ""),
        ('unit = "vllm.service"\ncommand = ["vllm"]', "others start it"),
        ('unit = "vllm.service"\ncontainer = "web"', "by one name"),
        ('unit = "a/b.service"', "not a service"),
        ('cgroup = "/"', "not a cgroup"),
    ],
)
def test_SR_24_a_target_is_started_by_us_or_adopted_by_one_name(keys: str, wrong: str) -> None:
    text = f'[[target]]\nname = "a"\n{keys}\n'.encode()
    if wrong:
        with pytest.raises(BadConfig, match=wrong):
            parse(text, "x.toml", installed_kinds())
    else:
        assert parse(text, "x.toml", installed_kinds()).target[0].name == "a"

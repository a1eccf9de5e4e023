"""What every kind of hand has to say of itself, or no configuration could be read at all."""

from __future__ import annotations

from typing import get_args

import pytest

from offswitch.config.load import installed_kinds, parse
from offswitch.config.section import ActuatorSection
from offswitch.plugins import ACTUATORS, installed

KINDS = installed(ACTUATORS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_is_named_as_it_is_registered_and_its_keys_are_keys(name: str) -> None:
    settings: type[ActuatorSection] = KINDS[name].cls.Settings
    assert get_args(settings.model_fields["kind"].annotation) == (name,)
    assert set(settings.model_fields) >= settings.SECRETS | settings.FILES


def test_a_configuration_is_read_with_every_kind_installed() -> None:
    assert parse(b"", "offswitch.toml", installed_kinds()).actuator == []

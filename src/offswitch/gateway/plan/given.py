"""A front that is given by words, without a configuration: `gateway --listen … --upstream …`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from offswitch.config.gateway import Gateway
from offswitch.errors import Usage
from offswitch.gateway.plan.front import Front
from offswitch.gateway.plan.reading import front_of

__all__ = ["Given", "front_given"]


@dataclass(frozen=True, slots=True)
class Given:
    """What was typed."""

    listen: Sequence[str]
    upstream: str
    target: str
    name: str = "gateway"
    key_file: str = ""
    api: str = "auto"
    workers: int = 1

    def words(self) -> list[str]:
        """Give it as words again, for the process that serves."""
        words = ["--name", self.name, "--upstream", self.upstream, "--target", self.target]
        words += [word for each in self.listen for word in ("--listen", each)]
        words += ["--key-file", self.key_file] if self.key_file else []
        return [*words, "--api", self.api, "--workers", str(self.workers)]


def front_given(given: Given, home: str) -> Front:
    """Check what was typed as a configuration would be; `Usage` names the word that is wrong."""
    route = {"target": given.target, "api": given.api}
    table = {
        "name": given.name,
        "listen": list(given.listen),
        "upstream": given.upstream,
        "workers": given.workers,
        "route": [route],
    }
    if given.key_file:
        table["key_file"] = given.key_file
    try:
        section = Gateway.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = next((str(step) for step in reversed(first["loc"]) if isinstance(step, str)), "")
        said = str(first["msg"]).removeprefix("Value error, ")
        raise Usage(f"--{where.replace('_', '-')}: {said}" if where else said) from None
    return front_of(section, home)

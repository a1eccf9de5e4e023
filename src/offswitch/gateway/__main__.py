"""`python -I -m offswitch.gateway --home H --run R [--name N | --listen … --upstream …]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from offswitch.config.load import installed_kinds, load
from offswitch.control.place import Place, chosen
from offswitch.errors import OffswitchError, Usage
from offswitch.gateway.generations import Generations
from offswitch.gateway.plan.front import Front
from offswitch.gateway.plan.given import Given, front_given
from offswitch.gateway.plan.reading import fronts

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve what the configuration declares, or what was typed."""
    parser = argparse.ArgumentParser(prog="offswitch.gateway")
    for word in ("--home", "--run", "--name", "--upstream", "--target", "--key-file"):
        parser.add_argument(word, default="")
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--api", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    said = parser.parse_args(argv)
    place = Place(said.home, said.run) if said.home and said.run else chosen()
    try:
        return Generations(place, lambda: _fronts(place, said)).run()
    except OffswitchError as error:
        sys.stderr.write(f"offswitch gateway: {error}\n")
        return error.exit_code


def _fronts(place: Place, said: argparse.Namespace) -> tuple[Front, ...]:
    if said.listen:
        name, key = said.name or "gateway", said.key_file
        target = said.target or f"gateway/{name}"
        given = Given(said.listen, said.upstream, target, name, key, said.api, said.workers)
        return (front_given(given, place.home),)
    named = bool(os.environ.get("OFFSWITCH_CONFIG"))
    loaded = load(place.config, installed_kinds(), named=named)
    found = fronts(loaded.config, place.home)
    found = tuple(front for front in found if said.name in {"", front.name})
    if not found and said.name:
        raise Usage(f"{place.config} declares no such gateway", "see: offswitch config show")
    return found


if __name__ == "__main__":
    sys.exit(main())

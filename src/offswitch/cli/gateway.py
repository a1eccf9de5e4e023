"""`offswitch gateway`: stand in front of model servers and tool servers, in the foreground.

Without options it serves what the configuration declares; with `--listen` and `--upstream` it
needs none. What goes through it belongs to a target, and is cut when that is stopped.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer

from offswitch.cli import adapter
from offswitch.cli.begin import daemon_environment, ensure_warden
from offswitch.config.load import installed_kinds, load
from offswitch.control.place import Place, chosen
from offswitch.errors import Usage
from offswitch.gateway.plan.front import Front
from offswitch.gateway.plan.given import Given, front_given
from offswitch.gateway.plan.reading import fronts
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(no_args_is_help=False, add_completion=False)
app.add_typer(adapter.app, name="adapter", help="For those who keep a front of their own.")


def _declared(place: Place, name: str) -> tuple[Front, ...]:
    """Read what the configuration declares; `name`: only that one."""
    loaded = load(place.config, installed_kinds(), named=bool(os.environ.get("OFFSWITCH_CONFIG")))
    found = fronts(loaded.config, place.home)
    if name:
        found = tuple(front for front in found if front.name == name)
    if not found:
        what = f"no [[gateway]] of the name {name!r}" if name else "no [[gateway]]"
        hint = "declare one there, or: offswitch gateway --listen 127.0.0.1:8100 --upstream URL"
        raise Usage(f"{place.config} declares {what}", hint)
    return found


def _say(front: Front) -> None:
    scheme = "https" if front.certificate else "http"
    at = ", ".join(f"{scheme}://{_host(each.host)}:{each.port}" for each in front.listen)
    sys.stderr.write(f"gateway {front.name}: {at}\n")
    for route in front.routes:
        there = f"{'https' if route.upstream.tls else 'http'}://{route.upstream.authority.decode()}"
        model = f" model {route.model}" if route.model else ""
        stop = f"offswitch stop {route.target}"
        line = f"  {route.path.decode()}{model} → {there}   to stop it: {stop}"
        sys.stderr.write(f"{printable(line)}\n")


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@app.callback(invoke_without_command=True)
def gateway(
    context: typer.Context,
    *,
    listen: Annotated[
        list[str] | None, typer.Option(help="Where clients come: ADDRESS:PORT; several may be.")
    ] = None,
    upstream: Annotated[str, typer.Option(help="The server behind: its URL.")] = "",
    target: Annotated[str, typer.Option(help="Which target all of it belongs to.")] = "",
    name: Annotated[str, typer.Option(help="The gateway's name, here or in the file.")] = "",
    key_file: Annotated[
        str, typer.Option(help="File with the credential for the server behind, mode 0600.")
    ] = "",
    api: Annotated[
        Literal["auto", "openai", "anthropic", "mcp", "plain"],
        typer.Option(help="What is spoken; by the path unless given."),
    ] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that share the work.")] = 1,
) -> None:
    """Stand in front of model servers and tool servers: refuse, cut in flight, sense."""
    if context.invoked_subcommand is not None:
        return
    place = chosen()
    words: list[str] = []
    if listen or upstream:
        if not listen or not upstream:
            missing = "--upstream URL" if listen else "--listen ADDRESS:PORT"
            raise Usage(f"{missing} is missing", "offswitch gateway --help")
        own = name or "gateway"
        path = os.path.abspath(key_file) if key_file else ""
        given = Given(listen, upstream, target or f"gateway/{own}", own, path, api, workers)
        served: tuple[Front, ...] = (front_given(given, place.home),)
        words = given.words()
    else:
        if target or key_file or api != "auto" or workers != 1:
            raise Usage("these options need --listen and --upstream", "offswitch gateway --help")
        served = _declared(place, name)
        words = ["--name", name] if name else []
    ensure_warden(place)
    for front in served:
        _say(front)
    python = [sys.executable, "-I", "-m", "offswitch.gateway"]
    environment = daemon_environment()
    sys.stderr.flush()
    os.execve(  # noqa: S606 - the words are ours, and there is no shell
        sys.executable, [*python, "--home", place.home, "--run", place.run, *words], environment
    )

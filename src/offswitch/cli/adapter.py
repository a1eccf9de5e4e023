"""`offswitch gateway adapter haproxy|litellm`: for those who keep a front of their own.

Each runs in the foreground, follows the words of its targets, and says what it did and saw. It has
the rights of whoever starts it, since it needs those of the front: HAProxy's runtime socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Coroutine
from typing import Annotated, Any

import typer

from offswitch.cli.begin import ensure_warden
from offswitch.config.secret_file import read_secret
from offswitch.control.place import chosen
from offswitch.errors import Storage, Usage
from offswitch.gateway.fronts.asked import address_given, serve
from offswitch.gateway.fronts.following import Following
from offswitch.gateway.fronts.haproxy import Haproxy, Runtime, server_given
from offswitch.gateway.fronts.kill_webhook import KillWebhook
from offswitch.gateway.fronts.standing import Standing
from offswitch.printable import printable
from offswitch.warden.whole_file import write_whole

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()
    except OSError:
        return  # nobody listens; what is done stays done


async def _all(*works: Coroutine[Any, Any, Any] | Awaitable[Any]) -> None:
    """Run until one of them fails, or a signal ends it."""
    loop, tasks = asyncio.get_running_loop(), [asyncio.ensure_future(each) for each in works]
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        return


@app.command()
def haproxy(
    socket: Annotated[str, typer.Option(help="HAProxy's `stats socket`, with `level admin`.")],
    server: Annotated[
        list[str], typer.Option(help="BACKEND/SERVER=TARGET: what goes through it, and is shut.")
    ],
    standing: Annotated[
        str, typer.Option(help="ADDRESS:PORT of a health check that only a running target passes.")
    ] = "",
    name: Annotated[str, typer.Option(help="By which the warden knows this front.")] = "haproxy",
) -> None:
    """A stop puts servers of HAProxy into maintenance and shuts their sessions."""
    place = chosen()
    servers = [server_given(each) for each in server]
    address = address_given(standing) if standing else None
    ensure_warden(place)

    async def work() -> None:
        following = Following(place, name, tuple(dict.fromkeys(each.target for each in servers)))
        following.attach()
        front = Haproxy(Runtime(socket), servers, following, _say)
        if address is not None:
            await serve(address, Standing(following).answer)
        for each in servers:
            _say(f"haproxy {each.path}: to shut it: offswitch stop {each.target}")
        await _all(following.run(), front.run())

    asyncio.run(work())


@app.command()
def litellm(
    target: Annotated[str, typer.Option(help="What its calls belong to.")],
    model: Annotated[
        list[str] | None, typer.Option(help="MODEL=TARGET: a model's calls belong to another.")
    ] = None,
    front: Annotated[
        str, typer.Option(help="The file that is written for the hook (OFFSWITCH_FRONT).")
    ] = "",
    listen: Annotated[
        str, typer.Option(help="ADDRESS:PORT where kill webhooks are answered: /stop/SCOPE.")
    ] = "",
    token_file: Annotated[
        str, typer.Option(help="File with the token that a webhook shows, mode 0600.")
    ] = "",
    name: Annotated[str, typer.Option(help="By which the warden knows this front.")] = "litellm",
) -> None:
    """Serve LiteLLM's pre-call hook with the page, and answer its agents' kill webhooks."""
    place = chosen()
    models = dict(_model_given(each) for each in model or ())
    if bool(listen) != bool(token_file):
        raise Usage("a webhook takes both --listen and --token-file", "offswitch gateway --help")
    address = address_given(listen) if listen else None
    token = read_secret(token_file) if token_file else ""
    ensure_warden(place)
    targets = tuple(dict.fromkeys((target, *models.values())))
    path = front or os.path.join(place.run, f"{name}.json")

    async def work() -> None:
        following = Following(place, name, targets)
        following.attach()
        said = {"page": following.page, "slots": following.slots, "models": models, "usual": target}
        try:
            write_whole(path, json.dumps(said).encode() + b"\n", 0o644)
        except OSError as error:
            raise Storage(f"{path}: {error.strerror}", "--front FILE") from None
        _say(f"litellm: its hook reads OFFSWITCH_FRONT={path}")
        if address is not None:
            webhook = KillWebhook(place, token, targets, f"webhook:{name}")
            await serve(address, webhook.answer)
            host, port = address
            _say(f"litellm: kill_switch url: http://{host}:{port}/stop/{target}")
        await _all(following.run())

    asyncio.run(work())


def _model_given(text: str) -> tuple[str, str]:
    model, _, target = text.rpartition("=")
    if not model or not target:
        raise Usage(f"not a model: {printable(text)}", "--model MODEL=TARGET")
    return model, target

"""`offswitch assess`: on what the stop itself rests, and what one loss would disarm (MON-6, ACT-3).

For each target: which layers bring about *no output*, *no action* and *no compute* now; what is
lost, and why; each process, credential, file, program, route, host and user whose loss would leave
a layer with no way to act; and with `--independence` what each two layers share. Facts come from
the warden; the files and programs that a layer needs are looked for here as well.

It exits with 0 where every target is sound: nothing is lost, and no one loss disarms an effect.
With 1 where one is not, or where there are more than are looked at in one go; with `--independence`
where an effect has no two layers that share nothing, or any two share everything. With 4 where
nobody answers.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from offswitch.cli.assess_words import independence_words, soundness_words
from offswitch.cli.show import emit
from offswitch.control.client import call
from offswitch.control.place import chosen
from offswitch.diagnose.assessment import Assessment, assess
from offswitch.errors import NotFound
from offswitch.model.scope import parse_scope

__all__ = ["command", "examined"]

_ASK_S = 3.0


def examined(scope: str | None) -> tuple[dict[str, Any], list[Assessment]]:
    """Ask the chosen installation, look for what its layers need, and assess each target."""
    facts = call(chosen(), {"op": "assess", "scope": scope}, _ASK_S)
    for target in facts["targets"]:
        for hand in target["hands"]:
            hand["missing"] = _missing(hand)
    return facts, [assess(target, facts["ours"]) for target in facts["targets"]]


def _missing(hand: dict[str, Any]) -> list[str]:
    """Name the files, programs and packages that a hand cannot act without, and that are gone."""
    route = hand.get("route") or {}
    needs = [str(one) for one in route.get("needs") or []]
    paths = [str(one) for one in hand.get("files") or []]
    gone = [path for path in (*paths, *needs) if path.startswith("/") and _no_file(path)]
    gone += [name for name in needs if "/" not in name and _no_program(name)]
    return list(dict.fromkeys(gone))


def _no_file(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # not for whoever asks to see
    return False


def _no_program(name: str) -> bool:
    """Tell whether neither a program nor a package of that name is here; of libraries, no."""
    if ".so" in name or not name.isidentifier():
        return False
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return found is None and find_spec(name) is None


def command(
    scope: Annotated[
        str | None, typer.Argument(metavar="[SCOPE]", help="All unless given.")
    ] = None,
    *,
    independence: Annotated[
        bool, typer.Option("--independence", help="What each two layers share.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List what one loss would disarm of the stop itself, and what its layers share."""
    if scope is not None:
        parse_scope(scope)
    facts, found = examined(scope)
    if scope is not None and not found:
        raise NotFound(f"nothing is known below {scope}", "see: offswitch target list")
    ok = all(one.diverse if independence else one.sound for one in found)
    ok = ok and not facts["left_out"]  # nobody has looked at those
    answer = {
        "ok": ok,
        "installation": facts["installation"],
        "targets": [one.as_dict() for one in found],
        "left_out": facts["left_out"],
    }
    words = independence_words if independence else soundness_words
    emit(answer, as_json=as_json, text="" if as_json else words(found, facts["left_out"]))
    sys.exit(0 if ok else 1)

"""What the configuration declares: taken in by the warden, checked again, and kept.

The warden reads no configuration. It is handed targets, mode and the rules of a reset over its
socket, by its owner alone; what is kept of them tells the next warden before anybody speaks.
"""

from __future__ import annotations

from typing import Any

from offswitch.errors import Storage, Usage
from offswitch.model.reserved import check_free_name
from offswitch.model.state import State
from offswitch.model.target import Target
from offswitch.warden.adopting import Adopter
from offswitch.warden.core import Core
from offswitch.warden.door.mode import set_mode, set_rules
from offswitch.warden.door.server import Connection
from offswitch.warden.hands.hands import Hands
from offswitch.warden.recovery import declared_command, declared_target
from offswitch.warden.reset.rules import ResetRules
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Declarer"]


class Declarer:
    """Takes declarations in."""

    def __init__(self, core: Core, stopper: Stopper, adopter: Adopter, hands: Hands) -> None:
        """Work on the parts of this warden."""
        self._hands = hands
        self._core = core
        self._stopper = stopper
        self._adopter = adopter

    def declare(self, connection: Connection, message: dict[str, Any]) -> None:
        """Take in what is declared; answered when it is kept."""
        declared = message.get("targets")
        if not isinstance(declared, list):
            raise Usage("a declaration lists targets")
        checked = [(declared_target(item), item) for item in declared]
        for target, _item in checked:
            check_free_name(target.name)
        hands = Hands.read(message["actuators"]) if message.get("actuators") is not None else None
        if hands is not None:
            self._hands.check(hands)
        rules = ResetRules.read(message["reset"]) if message.get("reset") is not None else None
        if rules is not None:
            set_rules(self._core, rules, connection.peer)
        if "mode" in message:
            set_mode(self._core, str(message["mode"]), connection.peer)
        for target, item in checked:
            row = self._core.table.get(target.name)
            if row is None:
                row = Tracked(target, State.IDLE)
                row.declared = item
                self._core.table.put(row)
                self._stopper.resume(row)
            row.declared = item
            self._relabel(row, target)
            self._adopter.declared(row, item, connection.peer)
        if hands is not None:
            self._hands.declare(hands)
        self._core.recording.note(
            "config",
            {"by": f"uid:{connection.peer.uid}"},
            what="targets declared",
            channel="socket",
            targets=[target.name for target, _item in checked],
            actuators=None if hands is None else [f"{each.name} ({each.kind})" for each in hands],
        )
        self._keep_declared(connection, [item for _target, item in checked])

    def _keep_declared(self, connection: Connection, items: list[dict[str, Any]]) -> None:
        """Keep what is declared for the next warden, and the commands for `start`; then answer."""
        core, uid = self._core, connection.peer.uid
        everything = core.table.declarations()

        def keep() -> None:
            core.table.save_declared(everything)
            for item in items:
                spec = declared_command(item, uid)
                if spec is not None:
                    core.table.save_spec(str(item["name"]), spec)

        def kept(outcome: OSError | None) -> None:
            if isinstance(outcome, OSError):
                why = f"declared, but not kept for the next warden: {outcome.strerror}"
                core.notes["declared"] = why
                connection.error(Storage(why, "free space for OFFSWITCH_HOME, then try again"))
            else:
                core.notes.pop("declared", None)
                connection.reply({"ok": True, "targets": len(items)})

        core.errands.send(keep, kept)

    def _relabel(self, row: Tracked, target: Target) -> None:
        """Give a target its labels. A stop that covers it now hits it; none lets go of it so."""
        core = self._core
        before = core.level(row)
        changed, row.target = row.target.labels != target.labels, target
        after = core.level(row)
        if not changed:
            return
        if row.cell is not None and row.slot is not None and core.keeper is not None:
            facts, fds = row.cell.facts(), row.cell.fds()
            core.keeper.hand(facts, fds, target.name, dict(target.labels), row.slot)
        if before is not None and (after is None or after < before):
            self._stopper.hold(row, before, "its labels were changed while it was latched")
        elif after is not None and after != before:
            self._stopper.enforce(row, "its labels came under a stop")

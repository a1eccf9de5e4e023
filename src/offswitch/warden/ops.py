"""What can be asked over the control socket, one method an operation.

The peer is the kernel's, its rights are checked before its message is looked at. Stops
come first and cheapest; everything else may fail without harm.
"""

from __future__ import annotations

import os
from typing import Any

from offswitch import __version__
from offswitch.control.peer import Peer
from offswitch.errors import NotFound, OffswitchError, Refused, Storage, Usage
from offswitch.model.state import State
from offswitch.model.target import Target, check_name
from offswitch.warden import reporting
from offswitch.warden.core import Core
from offswitch.warden.press import accepted
from offswitch.warden.pressed import stops_of
from offswitch.warden.recovery import declared_target
from offswitch.warden.request import Request, default_name
from offswitch.warden.resetting import Resetter
from offswitch.warden.rung import Rung
from offswitch.warden.server import Connection
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked

__all__ = ["Operations"]


class _Relay:
    """A `run` at the other end of a connection: hears what becomes of its target.

    A program may end, or be stopped, before whoever asked was told that it was born.
    """

    __slots__ = ("_connection", "_held", "row")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: list[dict[str, Any]] | None = []
        self.row: Tracked | None = None

    def born(self, answer: dict[str, Any], log: int | None) -> None:
        self._connection.reply(answer, log)
        held, self._held = self._held or [], None
        for message in held:
            self._connection.reply(message)

    def _tell(self, message: dict[str, Any]) -> None:
        if self._held is None:
            self._connection.reply(message)
        else:
            self._held.append(message)

    def stopped(self, order: str, level: str) -> None:
        self._tell({"event": "stopped", "order": order, "level": level})

    def exited(self, code: int | None, signal: int | None, order: str | None) -> None:
        self.row = None
        self._tell({"event": "exited", "code": code, "signal": signal, "order": order})


class Operations:
    """Serves the messages of one warden."""

    def __init__(self, core: Core, stopper: Stopper, starter: Starter, resetter: Resetter) -> None:
        """Work on the parts of this warden."""
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._resetter = resetter

    def handle(self, connection: Connection, message: dict[str, Any]) -> None:
        """Serve one message of a peer; raises what the peer is to be told."""
        operation = message.get("op")
        if not isinstance(operation, str):
            raise Usage("a message without an operation", 'send {"op": …}')
        method = getattr(self, f"_op_{operation.replace('-', '_')}", None)
        if method is None:
            raise Usage(f"unknown operation {operation[:40]!r}")
        peer = connection.peer
        inside = self._inside(peer)
        try:
            self._core.rights.check(peer, operation, in_cell=inside)
        except Refused as error:
            self._core.recording.note(
                "refused",
                {"by": f"uid:{peer.uid} pid:{peer.pid}"},
                what=operation,
                error=error.kind,
                why=error.message,
            )
            raise
        method(connection, message)

    def _inside(self, peer: Peer) -> bool | None:
        """Tell whether a peer lives in a cell; on the lower rung by the cells' own pids."""
        pids: set[int] = set()
        if self._core.rung is not Rung.ROOT:
            for row in self._core.table:
                if row.cell is not None:
                    pids.update(row.cell.pids())
        return self._core.rights.in_cell(peer, pids)

    def garbage(self, peer: Peer, what: str) -> None:
        """Note a peer that sent what is no message."""
        self._core.recording.note(
            "refused", {"by": f"uid:{peer.uid} pid:{peer.pid}"}, what="message", why=what
        )

    def hung_up(self, connection: Connection) -> None:
        """A peer is gone: if it relayed a target, the target is hung up."""
        relay = connection.context
        if isinstance(relay, _Relay) and relay.row is not None:
            row, relay.row = relay.row, None
            self._starter.hang_up(row)

    # --- the three verbs ----------------------------------------------------------

    def _op_stop(self, connection: Connection, message: dict[str, Any]) -> None:
        core, peer = self._core, connection.peer
        by = f"uid:{peer.uid}"
        if message.get("channel") == "rule" and core.rights.owner(peer) and message.get("by"):
            by = str(message["by"])[:200].encode("utf-8", "replace").decode()
        stops = stops_of(message, core.installation, by, core.clock.wall_us())
        press = self._stopper.press(stops, connection.reply, wait=bool(message.get("wait")))
        connection.reply(accepted(press))

    def _op_reset(self, connection: Connection, message: dict[str, Any]) -> None:
        self._resetter.ask(message, connection.peer, connection.reply, connection.error)

    def _op_run(self, connection: Connection, message: dict[str, Any]) -> None:
        argv = message.get("argv")
        if not isinstance(argv, list) or not argv or not all(isinstance(a, str) for a in argv):
            raise Usage("there is no command to run", "offswitch run -- CMD…")
        env = message.get("env")
        cwd = message.get("cwd")
        if not isinstance(env, dict) or not isinstance(cwd, str):
            raise Usage("a run needs its folder and its environment")
        user = message.get("user")
        self._bring_up(
            connection,
            message,
            name=str(message.get("target") or default_name(argv)),
            argv=argv,
            cwd=cwd,
            env={str(key): str(value) for key, value in env.items()},
            user=str(user) if user is not None else None,
            raw=bool(message.get("raw")),
        )

    def _op_start(self, connection: Connection, message: dict[str, Any]) -> None:
        name = check_name(str(message.get("target", "")))
        spec = self._core.table.load_spec(name)
        owner = spec.get("uid")
        if not self._core.rights.owner(connection.peer) and owner != connection.peer.uid:
            raise Refused(f"{name} was run by another user", "ask them, or root")
        if connection.peer.uid != owner and spec.get("user") is None:
            raise Refused(
                f"{name} was run by user {owner}, and starts only as that user",
                f"run it as that user: offswitch start {name}",
            )
        self._bring_up(
            connection,
            message,
            name=name,
            argv=spec["argv"],
            cwd=spec["cwd"],
            env=spec["env"],
            user=spec.get("user"),
            raw=bool(spec.get("raw")),
        )

    def _bring_up(
        self,
        connection: Connection,
        message: dict[str, Any],
        *,
        name: str,
        argv: list[str],
        cwd: str,
        env: dict[str, str],
        user: str | None,
        raw: bool,
    ) -> None:
        fds = connection.take_fds()
        if len(fds) != 3:  # noqa: PLR2004 - stdin, stdout, stderr
            connection.drop_fds(fds)
            raise Usage("a target needs three descriptors: stdin, stdout, stderr")
        if connection.context is not None:
            connection.drop_fds(fds)
            raise Usage("this connection relays a target already")
        relay = _Relay(connection)
        connection.context = relay

        def born(answer: dict[str, Any], log: int | None) -> None:
            row = self._core.table.get(name)
            if row is not None and row.listener is relay:
                relay.row = row
            relay.born(answer, log)
            if connection.closed and row is not None and row.listener is relay:
                self._starter.hang_up(row)

        def failed(error: OffswitchError, code: int) -> None:
            connection.context = None
            connection.error(error, code)

        self._starter.run(
            Request(
                name=name,
                argv=argv,
                cwd=cwd,
                env=env,
                user=user,
                tty=bool(message.get("tty")),
                raw=raw,
                detached=message.get("op") == "start" or bool(message.get("detached")),
                fds=fds,
                peer=connection.peer,
                listener=relay,
                born=born,
                failed=failed,
                gone=lambda: connection.closed,
                drop=connection.drop_fds,
            )
        )

    def _op_signal(self, connection: Connection, message: dict[str, Any]) -> None:
        relay = connection.context
        number = message.get("signal")
        if not isinstance(relay, _Relay) or not isinstance(number, int) or not 0 < number < 65:  # noqa: PLR2004
            raise Usage("a signal goes to the target that this connection relays")
        if relay.row is not None:
            self._starter.signal(relay.row, number)

    # --- looking ------------------------------------------------------------------

    def _op_ping(self, connection: Connection, _message: dict[str, Any]) -> None:
        core = self._core
        connection.reply(
            {
                "pong": True,
                "pid": os.getpid(),
                "epoch": core.page.epoch,
                "installation": core.installation,
                "rung": core.rung.value,
                "version": __version__,
            }
        )

    def _op_status(self, connection: Connection, message: dict[str, Any]) -> None:
        scope = message.get("scope")
        connection.reply(reporting.status(self._core, str(scope) if scope else None))

    def _op_cells(self, connection: Connection, _message: dict[str, Any]) -> None:
        connection.reply(reporting.cells(self._core))

    def _op_targets(self, connection: Connection, _message: dict[str, Any]) -> None:
        rows = [reporting.target(self._core, row) for row in self._core.table]
        connection.reply({"targets": rows})

    def _op_target(self, connection: Connection, message: dict[str, Any]) -> None:
        row = self._core.table.get(check_name(str(message.get("name", ""))))
        if row is None:
            raise NotFound(f"no target {message.get('name')!r}", "see: offswitch target list")
        connection.reply(reporting.everything(self._core, row))

    def _op_alarms(self, connection: Connection, _message: dict[str, Any]) -> None:
        connection.reply(reporting.alarms(self._core))

    def _op_health(self, connection: Connection, _message: dict[str, Any]) -> None:
        connection.reply(reporting.health(self._core))

    # --- from our own processes ---------------------------------------------------

    def _op_report(self, connection: Connection, message: dict[str, Any]) -> None:
        core = self._core
        if core.watch.take(message, core.clock.mono_us()):
            scopes = sorted(core.watch.auto)
            core.errands.send(lambda: core.table.save_watched(scopes), self._watched_kept)
        connection.reply({"ok": True})

    def _watched_kept(self, outcome: OSError | None) -> None:
        """Say so where the next warden would not know for what automatic rules are meant."""
        self._core.notes.pop("watched", None)
        if isinstance(outcome, OSError):
            why = f"not kept for the next warden, what rules are about: {outcome.strerror}"
            self._core.notes["watched"] = why

    def _op_declare(self, connection: Connection, message: dict[str, Any]) -> None:
        declared = message.get("targets")
        if not isinstance(declared, list):
            raise Usage("a declaration lists targets")
        checked = [(declared_target(item), item) for item in declared]
        for target, item in checked:
            row = self._core.table.get(target.name)
            if row is None:
                row = Tracked(target)
                row.state = State.STOPPED if self._core.latch.covering(target) else State.IDLE
                self._core.table.put(row)
            row.declared = item
            self._relabel(row, target)
        self._core.recording.note(
            "config",
            {"by": f"uid:{connection.peer.uid}"},
            what="targets declared",
            targets=[target.name for target, _item in checked],
        )
        self._keep_declared(connection, [item for _target, item in checked])

    def _keep_declared(self, connection: Connection, items: list[dict[str, Any]]) -> None:
        """Keep what is declared for the next warden, and the commands for `start`; then answer."""
        core, uid = self._core, connection.peer.uid
        everything = core.table.declarations()

        def keep() -> None:
            core.table.save_declared(everything)
            for item in items:
                spec = _declared_command(item, uid)
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


def _declared_command(item: dict[str, Any], uid: int) -> dict[str, Any] | None:
    """Give what `start` needs to bring a declared target up; None where no command is declared."""
    command, env = item.get("command"), item.get("env")
    if not isinstance(command, list) or not command:
        return None
    user = item.get("user")
    return {
        "argv": [str(part) for part in command],
        "cwd": str(item.get("cwd") or "/"),
        "env": {str(k): str(v) for k, v in env.items()} if isinstance(env, dict) else {},
        "user": None if user is None else str(user),
        "uid": uid,
        "raw": False,
    }

"""What can be asked over the control socket, one method an operation.

The peer is the kernel's, its rights are checked before its message is looked at. Stops
come first and cheapest; everything else may fail without harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from offswitch import __version__
from offswitch.control.peer import Peer
from offswitch.decide.secret import is_secret_set
from offswitch.errors import Busy, NotFound, OffswitchError, Refused, Storage, Usage
from offswitch.model.order import Stop
from offswitch.model.target import check_name
from offswitch.warden.adopting import Adopter
from offswitch.warden.cells.adopted import AdoptedCell
from offswitch.warden.cells.rung import Rung
from offswitch.warden.core import Core
from offswitch.warden.door import assessing, reporting
from offswitch.warden.door.declaring import Declarer
from offswitch.warden.door.feed import Feed
from offswitch.warden.door.pressed import stops_of
from offswitch.warden.door.request import Request, default_name
from offswitch.warden.door.server import Connection
from offswitch.warden.drill.ground import Ground
from offswitch.warden.errands import tried
from offswitch.warden.gates.attached import Attached
from offswitch.warden.gates.gates import Gates
from offswitch.warden.hands.hands import Hands
from offswitch.warden.press import accepted
from offswitch.warden.reset.answers import Answers
from offswitch.warden.reset.resetting import Resetter
from offswitch.warden.starting import Starter
from offswitch.warden.stopping import Stopper
from offswitch.warden.table import Tracked
from offswitch.warden.warrants import Warrants

__all__ = ["Operations"]


class _Relay:
    """A `run` at the other end of a connection: hears what becomes of its target.

    A program may end, or be stopped, before whoever asked was told that it was born.
    """

    __slots__ = ("_held", "connection", "row")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._held: list[dict[str, Any]] | None = []
        self.row: Tracked | None = None

    def born(self, answer: dict[str, Any], log: int | None) -> None:
        self.connection.reply(answer, log)
        held, self._held = self._held or [], None
        for message in held:
            self.connection.reply(message)

    def go_on(self, row: Tracked) -> None:
        self._held, self.row = None, row

    def _tell(self, message: dict[str, Any]) -> None:
        if self._held is None:
            self.connection.reply(message)
        else:
            self._held.append(message)

    def stopped(self, order: str, level: str) -> None:
        self._tell({"event": "stopped", "order": order, "level": level})

    def exited(self, code: int | None, signal: int | None, order: str | None) -> None:
        self.row = None
        self._tell({"event": "exited", "code": code, "signal": signal, "order": order})


class Operations:
    """Serves the messages of one warden."""

    def __init__(
        self,
        core: Core,
        stopper: Stopper,
        starter: Starter,
        resetter: Resetter,
        adopter: Adopter,
        gates: Gates,
        hands: Hands,
    ) -> None:
        """Work on the parts of this warden."""
        self._adopter = adopter
        self._gates = gates
        self._core = core
        self._stopper = stopper
        self._starter = starter
        self._resetter = resetter
        self._warrants = Warrants(core)
        self._declarer = Declarer(core, stopper, adopter, hands)
        self._answers = Answers(core, resetter)
        self._ground = Ground(core, starter, resetter)
        self.feed = Feed(core)
        self.hand_over: Callable[[Connection | None], None] = _no_hand_over
        """Has the warden renewed with the code that is installed now."""
        self._looking = False
        """Whether somebody is looking if a secret is set."""

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
                channel="socket",
                error=error.kind,
                why=error.message,
                prior="unchanged",
                state="unchanged",
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
        cells = [row.cell for row in self._core.table]
        adopted = [cell.place for cell in cells if isinstance(cell, AdoptedCell)]
        return self._core.rights.in_cell(peer, pids, adopted)

    def garbage(self, peer: Peer, what: str) -> None:
        """Note a peer that sent what is no message."""
        self._core.recording.note(
            "refused",
            {"by": f"uid:{peer.uid} pid:{peer.pid}"},
            what="message",
            channel="socket",
            why=what,
            prior="unchanged",
            state="unchanged",
        )

    def hung_up(self, connection: Connection) -> None:
        """A peer is gone: if it relayed a target, the target is hung up."""
        self._ground.hung_up(connection)
        self.feed.left(connection)
        self._gates.left(connection)
        relay = connection.context
        if isinstance(relay, _Relay) and relay.row is not None:
            row, relay.row = relay.row, None
            self._starter.hang_up(row)

    @staticmethod
    def relayed(connection: Connection) -> str | None:
        """Name the target that a connection relays, if it does (SR-23)."""
        relay = connection.context
        row = relay.row if isinstance(relay, _Relay) else None
        return None if row is None else row.target.name

    @staticmethod
    def relay_on(connection: Connection, row: Tracked) -> None:
        """Let a connection that was handed over go on relaying its target."""
        connection.context = relay = _Relay(connection)
        relay.go_on(row)
        row.listener = relay

    # --- the three verbs ----------------------------------------------------------

    def _op_stop(self, connection: Connection, message: dict[str, Any]) -> None:
        core, peer, warrant = self._core, connection.peer, message.get("warrant")
        if message.get("remote"):

            def press_for(stops: list[Stop]) -> None:
                connection.reply(accepted(self._stopper.press(stops, connection.reply)))

            self._warrants.remote(warrant, peer.uid, press_for, connection.error)
            return
        by = core.rights.named(peer, message)
        stops = stops_of(message, core.installation, by, core.clock.wall_us())
        reply, wait = connection.reply, bool(message.get("wait")) and core.shares.waits(peer.uid)

        def waited(answer: dict[str, Any]) -> None:
            core.shares.waited(peer.uid)
            connection.reply(answer)

        done = waited if wait else reply
        press = self._stopper.press(stops, done, wait=wait, asker=connection)
        told = accepted(press)
        connection.reply(told)
        if warrant is not None:
            self._warrants.presented(warrant, peer.uid, stops, told["order"])

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
        wanted = {
            "argv": argv,
            "cwd": cwd,
            "env": {str(key): str(value) for key, value in env.items()},
            "user": str(user) if user is not None else None,
            "raw": bool(message.get("raw")),
        }
        name = str(message.get("target") or default_name(argv))
        relay, fds = self._relay(connection)
        self._bring_up(message, name, wanted, relay, fds)

    def _op_start(self, connection: Connection, message: dict[str, Any]) -> None:
        core = self._core
        name = check_name(str(message.get("target", "")))
        self._starter.refuse_adopted(core.table.get(name))
        relay, fds = self._relay(connection)

        def read(spec: dict[str, Any] | OffswitchError | OSError) -> None:
            try:
                known = self._may_start(connection.peer, name, spec)
            except OffswitchError as error:
                connection.context = None
                connection.drop_fds(fds)
                connection.error(error)
            else:
                self._bring_up(message, name, known, relay, fds)

        core.errands.send(tried(lambda: core.table.load_spec(name)), read)

    def _may_start(
        self, peer: Peer, name: str, spec: dict[str, Any] | OffswitchError | OSError
    ) -> dict[str, Any]:
        """Give what is known of how `name` was run, if this peer may start it again."""
        if isinstance(spec, OSError):
            why = f"how {name} was run cannot be read: {spec.strerror}"
            raise Storage(why, "see the disk of OFFSWITCH_HOME: offswitch doctor")
        if isinstance(spec, OffswitchError):
            raise spec
        owner = spec.get("uid")
        if not self._core.rights.owner(peer) and owner != peer.uid:
            raise Refused(f"{name} was run by another user", "ask them, or root")
        if peer.uid != owner and spec.get("user") is None:
            raise Refused(
                f"{name} was run by user {owner}, and starts only as that user",
                f"run it as that user: offswitch start {name}",
            )
        return spec

    @staticmethod
    def _relay(connection: Connection) -> tuple[_Relay, list[int]]:
        """Make a connection the relay of one target, with the descriptors that came for it."""
        fds = connection.take_fds()
        if len(fds) != 3:  # noqa: PLR2004 - stdin, stdout, stderr
            connection.drop_fds(fds)
            raise Usage("a target needs three descriptors: stdin, stdout, stderr")
        if connection.context is not None:
            connection.drop_fds(fds)
            raise Usage("this connection relays a target already")
        connection.context = relay = _Relay(connection)
        return relay, fds

    def _bring_up(
        self,
        message: dict[str, Any],
        name: str,
        wanted: dict[str, Any],
        relay: _Relay,
        fds: list[int],
    ) -> None:
        """Have `name` run what is `wanted`: argv, cwd, env, user, raw. The descriptors are ours."""
        connection = relay.connection
        known = self._core.table.get(name)
        if known is not None:
            self._stopper.reappeared(known)

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
                argv=wanted["argv"],
                cwd=wanted["cwd"],
                env=wanted["env"],
                user=wanted.get("user"),
                tty=bool(message.get("tty")),
                raw=bool(wanted.get("raw")),
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

    # --- what others start --------------------------------------------------------

    def _op_adopt(self, connection: Connection, message: dict[str, Any]) -> None:
        name, said = str(message.get("target", "")), message.get("as")
        if not isinstance(said, dict):
            raise Usage("it is not said what is to be adopted")

        def done(row: Tracked) -> None:
            connection.reply({"ok": True, **reporting.everything(self._core, row)})

        self._adopter.adopt(name, said, connection.peer, done, connection.error)

    def _op_release(self, connection: Connection, message: dict[str, Any]) -> None:
        name = str(message.get("target", ""))

        def done(row: Tracked) -> None:
            connection.reply({"ok": True, **reporting.target(self._core, row)})

        self._adopter.release(name, connection.peer, done, connection.error)

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
        core, scope = self._core, message.get("scope")
        connection.reply(reporting.status(core, str(scope) if scope else None, connection.peer.uid))
        if not self._looking:
            self._looking = True
            core.errands.send(lambda: is_secret_set(core.place.home), self._looked)

    def _looked(self, found: bool | OSError) -> None:  # noqa: FBT001 - what one look found
        """Say it in the next `status`: this one does not wait for a disk."""
        self._looking = False
        if not isinstance(found, OSError):
            self._core.secret_set = found

    def _op_follow(self, connection: Connection, _message: dict[str, Any]) -> None:
        self.feed.join(connection)

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

    def _op_assess(self, connection: Connection, message: dict[str, Any]) -> None:
        scope = message.get("scope")
        connection.reply(assessing.assess(self._core, str(scope) if scope else None))

    # --- rehearsals ---------------------------------------------------------------

    @property
    def busy(self) -> str:
        """Say what is half done and cannot be handed over; empty: nothing."""
        return self._ground.busy

    def _op_drill(self, connection: Connection, message: dict[str, Any]) -> None:
        self._ground.ask(connection, message)

    # --- from our own processes ---------------------------------------------------

    def _op_report(self, connection: Connection, message: dict[str, Any]) -> None:
        core = self._core
        if core.watch.take(message, core.clock.mono_us()):
            scopes = core.watch.to_keep()
            core.errands.send(lambda: core.table.save_watched(scopes), self._watched_kept)
        connection.reply({"ok": True})

    def _watched_kept(self, outcome: OSError | None) -> None:
        """Say so where the next warden would not know for what automatic rules are meant."""
        self._core.notes.pop("watched", None)
        if isinstance(outcome, OSError):
            why = f"not kept for the next warden, what rules are about: {outcome.strerror}"
            self._core.notes["watched"] = why

    def _op_gate(self, connection: Connection, message: dict[str, Any]) -> None:
        self._gates.attach(connection, message)

    def _op_gate_note(self, connection: Connection, message: dict[str, Any]) -> None:
        gate = connection.context
        if not isinstance(gate, Attached):
            raise Usage("a gate attaches before it notes anything")
        about = self._gates.notes.take(gate, message)
        row = None if about is None else self._core.table.get(about)
        if row is not None:
            self._stopper.proving.tell_more(row)

    def _op_handover(self, connection: Connection, _message: dict[str, Any]) -> None:
        self.hand_over(connection)

    def _op_declare(self, connection: Connection, message: dict[str, Any]) -> None:
        self._declarer.declare(connection, message)

    # --- about people -------------------------------------------------------------

    def _op_people(self, connection: Connection, _message: dict[str, Any]) -> None:
        self._answers.people(connection)

    def _op_resets(self, connection: Connection, message: dict[str, Any]) -> None:
        self._answers.resets(connection, message)

    def _op_end_probation(self, connection: Connection, message: dict[str, Any]) -> None:
        row = self._starter.probation.end(message, connection.peer)
        connection.reply({"ok": True, **reporting.target(self._core, row)})

    def _op_prove(self, connection: Connection, message: dict[str, Any]) -> None:
        self._answers.prove(connection, message)


def _no_hand_over(_asker: Connection | None) -> None:
    raise Busy("this warden is coming up or going down", "try again in a second")

"""After a cut: for each server behind, what it is asked, when, and what the warden is told.

    a target's word is kill ─► a moment for the sweep ─► abort what was cut
      ─► FIRST_S after the cut ─► a look ─► told if it is news ─► EVERY_S ─► … until idle, or
      until nobody could learn anything new

One server is asked by one worker of a gateway only, and never more often than it bears. What is
said is about the server as a whole: where targets that may go on have routes there, work proves
nothing about those that may not.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.evidence.found import Found, Said, Standing, Witness, judged
from offswitch.gateway.evidence.llama_cpp import LlamaCpp
from offswitch.gateway.evidence.ollama import Ollama
from offswitch.gateway.evidence.prometheus import Prometheus
from offswitch.gateway.evidence.sglang import Sglang
from offswitch.gateway.evidence.vllm import Vllm
from offswitch.gateway.plan.front import Front
from offswitch.gateway.plan.route import Evidence, EvidenceKind, Route
from offswitch.gateway.plan.upstream import Upstream
from offswitch.model.level import Level

__all__ = ["Inquiries", "Tell"]

_SWEEP_S = 0.05
"""How long the sweep may take before the answers that it cut are aborted by name."""
_LONGEST_S = 60.0
"""For which a server is asked after a cut; after that what was said last stands."""
_MOST_ABORTED = 4096

Tell = Callable[[str, str, Found], None]
"""Hears of a target, its server (`host:port`), and what was found there."""


def _witness(evidence: Evidence) -> Witness | None:
    match evidence.kind:
        case EvidenceKind.LLAMA_CPP:
            return LlamaCpp()
        case EvidenceKind.VLLM:
            return Vllm()
        case EvidenceKind.SGLANG:
            return Sglang()
        case EvidenceKind.OLLAMA:
            return Ollama()
        case EvidenceKind.PROMETHEUS:
            return Prometheus(evidence.gauge)
        case EvidenceKind.NONE:
            return None


@dataclass(slots=True)
class _Server:
    """One server behind, and what is known of it."""

    witness: Witness
    ask: Ask
    name: str
    targets: set[str] = field(default_factory=set)
    """Those whose routes name it as evidence."""
    others: set[str] = field(default_factory=set)
    """All whose requests go there."""
    cut: dict[str, float] = field(default_factory=dict)
    """Targets that are cut, each with the loop's time of it."""
    told: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """Those whose answers were not yet aborted by name."""
    free_at: float = 0.0
    """When it may be asked again."""
    task: asyncio.Task[None] | None = None


class Inquiries:
    """Those of one worker."""

    def __init__(
        self,
        front: Front,
        level: Callable[[str], Level | None],
        tell: Tell,
        *,
        answers: Callable[[str], list[str]] = lambda _target: [],
        looks: bool = True,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`answers` gives a target's answers that were cut, each once; `looks`: this worker asks.

        Without `looks` it only has its own answers aborted.
        """
        self._level = level
        self._tell = tell
        self._answers = answers
        self._looks = looks
        self._servers = _servers(front, context)

    @property
    def any(self) -> bool:
        """Whether any server is to be asked at all."""
        return bool(self._servers)

    def look(self) -> None:
        """Words have changed: ask of what is newly cut, and forget what may go on."""
        if not self._servers:
            return
        loop = asyncio.get_running_loop()
        for server in self._servers:
            for target in server.targets:
                level = self._level(target)
                if level is None or level < Level.KILL:
                    server.cut.pop(target, None)
                    server.told.pop(target, None)
                elif target not in server.cut:
                    server.cut[target] = loop.time()
                    server.fresh.add(target)
            if server.fresh and (server.task is None or server.task.done()):
                server.task = loop.create_task(self._inquire(server))

    def forget(self) -> None:
        """Another warden listens, which was told nothing: ask anew of whatever is cut."""
        for server in self._servers:
            server.cut.clear()
            server.told.clear()

    async def _inquire(self, server: _Server) -> None:
        """Ask until nothing is in work, or nothing new can be learnt."""
        loop = asyncio.get_running_loop()
        before: Said | None = None
        worked = False
        while server.cut:
            if server.fresh:
                before, worked = None, False
                await self._abort(server)
            if not self._looks:
                return
            last = max(server.cut.values(), default=0.0)
            due = max(last + server.witness.FIRST_S, server.free_at)
            await asyncio.sleep(max(due - loop.time(), 0.0))
            if server.fresh or not server.cut:
                continue
            server.free_at = loop.time() + server.witness.EVERY_S
            said = await _look(server)
            shared = self._shared(server)
            found = judged(said, before, shared=shared)
            if worked and said.mute and not shared:
                found = Found(Standing.BUSY, f"still busy when it last told: now {said.by}")
            before, worked = said, found.standing is Standing.BUSY
            for target in list(server.cut):
                if server.told.get(target) != found.text:
                    server.told[target] = found.text
                    self._tell(target, server.name, found)
            over = loop.time() - last > _LONGEST_S
            if not server.fresh and (found.standing is Standing.IDLE or over):
                return

    async def _abort(self, server: _Server) -> None:
        await asyncio.sleep(_SWEEP_S)
        targets, server.fresh = server.fresh, set()
        answers = [one for target in targets for one in self._answers(target)]
        try:
            await server.witness.abort(server.ask, answers[:_MOST_ABORTED])
        except (OSError, ValueError):
            return  # the closed connection remains

    def _shared(self, server: _Server) -> bool:
        """Tell whether somebody may have work there by right."""
        levels = (self._level(target) for target in server.others)
        return any(level is None or level < Level.KILL for level in levels)

    def close(self) -> None:
        """Ask no more."""
        for server in self._servers:
            if server.task is not None:
                server.task.cancel()


async def _look(server: _Server) -> Said:
    try:
        return await server.witness.look(server.ask)
    except TimeoutError:
        return Said(None, "it does not answer in time", mute=True)
    except OSError:
        return Said(None, "it cannot be asked")
    except (ValueError, RecursionError):
        return Said(None, "it does not answer as it should", mute=True)


def _servers(front: Front, context: ssl.SSLContext | None) -> list[_Server]:
    """Gather the routes by the server that they go to and how it is asked."""
    found: dict[tuple[Evidence, str], _Server] = {}
    for route in front.routes:
        witness = _witness(route.evidence)
        if witness is None:
            continue
        name = _name(route.upstream)
        key = (route.evidence, name)
        if key not in found:
            found[key] = _Server(witness, Ask(_asked(route), context), name)
        found[key].targets.add(route.target)
    by_name: Mapping[str, set[str]] = {
        name: {route.target for route in front.routes if _name(route.upstream) == name}
        for _evidence, name in found
    }
    for (_evidence, name), server in found.items():
        server.others = by_name[name]
    return [*found.values()]


def _name(upstream: Upstream) -> str:
    return f"{upstream.host}:{upstream.port}"


def _asked(route: Route) -> Upstream:
    """Give the server that is asked: the upstream's key goes to nobody else."""
    parts = urlsplit(route.evidence.url)
    if not parts.hostname:
        upstream = route.upstream
        return Upstream(upstream.host, upstream.port, upstream.tls, b"", upstream.key)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    same = (parts.hostname, port, tls) == (
        route.upstream.host,
        route.upstream.port,
        route.upstream.tls,
    )
    path = parts.path.rstrip("/")
    if route.evidence.kind is not EvidenceKind.PROMETHEUS:
        path = path.removesuffix("/v1")  # that is the API's; what is asked stands beside it
    return Upstream(parts.hostname, port, tls, path.encode(), route.upstream.key if same else b"")

"""Another configuration, from now on: read, checked, compared, wired, recorded (SR-3).

The text comes from root, who read the files of secrets as well, since watch has lost the right.
One that is broken changes nothing. What is the same goes on as it was: sensors keep their eyes,
channels what they have learnt, and an alarm that stands goes on standing. What becomes weaker is
named, in the answer and in the ledger.
"""

from __future__ import annotations

import hashlib
from typing import Any

from offswitch.config.difference import Change, changes
from offswitch.config.load import Loaded, parse
from offswitch.control.peer import Peer
from offswitch.errors import Usage
from offswitch.model.entry import EntryKind
from offswitch.watch.prepared import Prepared
from offswitch.watch.scribe import Scribe
from offswitch.watch.wiring import Wiring

__all__ = ["apply"]

_MOST = 200
_LONGEST = 300

Message = dict[str, Any]


def apply(
    peer: Peer, message: Message, loaded: Loaded, wired: Wiring, scribe: Scribe
) -> tuple[Message, Loaded]:
    """Put the text of `message` in force; gives the answer, and what is in force now."""
    text, path = message.get("text"), message.get("path")
    if not isinstance(text, str) or not isinstance(path, str):
        raise Usage("there is no configuration in this", "offswitch config apply")
    data = text.encode("utf-8", "surrogateescape")
    config = parse(data, path[:_LONGEST], loaded.kinds)
    digest = hashlib.sha256(data).hexdigest()
    found = changes(loaded.config, config)
    answer: Message = {
        "sha256": digest,
        "before": loaded.sha256,
        "applied": False,
        "changes": [{"what": one.what[:_LONGEST], "weaker": one.weaker} for one in found[:_MOST]],
        "left_out": max(len(found) - _MOST, 0),
    }
    if message.get("dry_run"):
        return answer, loaded
    fresh = Loaded(config, loaded.kinds, path[:_LONGEST], digest)
    standing = {bench.rule.name for bench in wired.benches if bench.tripped}
    wired.renew(fresh, _prepared(message.get("prepared")))
    dropped = sorted(standing - {rule.name for rule in config.rule})
    _record(peer, fresh, loaded, found, dropped, wired, scribe)
    return {**answer, "applied": True, "dropped": dropped}, fresh


def _prepared(said: object) -> dict[str, Prepared]:
    """Take what root has prepared for the sensors; descriptors do not travel."""
    found = {}
    for name, one in said.items() if isinstance(said, dict) else ():
        secrets = one.get("secrets") if isinstance(one, dict) else None
        texts = {str(k): str(v) for k, v in secrets.items()} if isinstance(secrets, dict) else {}
        problem = str(one.get("problem") or "") if isinstance(one, dict) else ""
        found[str(name)] = Prepared(texts, None, problem[:_LONGEST])
    return found


def _record(
    peer: Peer,
    fresh: Loaded,
    before: Loaded,
    found: list[Change],
    dropped: list[str],
    wired: Wiring,
    scribe: Scribe,
) -> None:
    scribe.tell(
        EntryKind.CONFIG,
        "another configuration is in force",
        why=f"{len(found)} changes, {sum(one.weaker for one in found)} of them weaker",
        prior=f"{len(before.config.rule)} in force",
        state=f"{len(fresh.config.rule)} in force",
        by=f"uid:{peer.uid}",
        channel="desk",
        path=fresh.path,
        sha256=fresh.sha256,
        before=before.sha256,
        weaker=[one.what for one in found if one.weaker][:_MOST],
        changes=[one.what for one in found if not one.weaker][:_MOST],
        dropped=dropped,
    )
    scribe.rules(fresh, [bench.in_force() for bench in wired.benches])

"""Near misses: something was seen, and nothing was stopped (REP-6).

    denied      a rule asked, and people let it go on
    lapsed      a rule asked, nobody answered, and a monitor that stops nothing alone had asked
    shadow      a rule would have stopped: it is tried out, or the installation only observes
    faded       an early sign, and nothing tripped within an hour

What comes again within an hour, of the same scope and from the same rule, is the same near miss;
so are all early signs of one target, whatever their series are called. One that a stop follows
within a quarter of an hour was that incident's beginning.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from offswitch.reports.said import Said

__all__ = ["FADES_US", "SAME_US", "EarlySigns", "near_miss"]

SAME_US = 3_600_000_000
"""Within so long the same again is the same near miss."""
FADES_US = 3_600_000_000
"""An early sign after which nothing trips for so long has gone away."""

_MOST = 5000


def near_miss(said: Said) -> str:
    """Say how an entry tells of a near miss; empty: it does not."""
    match said.kind, said.text("choice"):
        case "decision", "would-stop":
            return f"would have stopped {said.text('scope')} ({said.text('level')})"
        case "decision", "nothing":
            return _of_question(said)
        case "note", _:
            what = said.text("what")
            return what if what.startswith(("would have stopped ", "would have frozen ")) else ""
        case _:
            return ""


def _of_question(said: Said) -> str:
    why, scope = said.text("why"), said.text("scope")
    if said.known("verdict") == "deny" or (said.known("question") and why.startswith("deny by ")):
        closed = said.known("closed") or ("no" if "or it is stopped" in why else "yes")
        return f"a rule asked to stop {scope}, and it was let go on" if closed == "yes" else ""
    if why.startswith("nobody answered within "):
        return f"a monitor asked to stop {scope}, nobody answered, and nothing was stopped"
    return ""


class EarlySigns:
    """Early signs that are still waited for: they come true, or fade."""

    __slots__ = ("_due", "_open")

    def __init__(self) -> None:
        self._open: OrderedDict[str, dict[str, Said]] = OrderedDict()
        self._due: deque[tuple[int, str, str, int]] = deque()

    def add(self, said: Said) -> None:
        """A detector sees its limit come near."""
        target, series = said.text("target"), said.text("series")
        self._open.setdefault(target, {}).setdefault(series, said)
        self._due.append((said.time_us + FADES_US, target, series, said.index))
        if len(self._due) > _MOST:
            _due, old, of, index = self._due.popleft()
            self._take(old, of, index)

    def came_true(self, target: str) -> None:
        """Something of the target tripped, or it was stopped."""
        self._open.pop(target, None)

    def faded(self, now_us: int) -> Iterator[Said]:
        """Give those that came to nothing."""
        while self._due and self._due[0][0] <= now_us:
            _due, target, series, index = self._due.popleft()
            said = self._take(target, series, index)
            if said is not None:
                yield said

    def _take(self, target: str, series: str, index: int) -> Said | None:
        of_target = self._open.get(target)
        said = None if of_target is None else of_target.get(series)
        if of_target is None or said is None or said.index != index:
            return None
        del of_target[series]
        if not of_target:
            del self._open[target]
        return said

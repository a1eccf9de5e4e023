"""What `doctor` asks about the hooks of coding agents: does each that is installed hold?

Of the whole proof (`offswitch hook check`) it runs what decides: a cell that runs, one that is
latched, a lease that nobody renews, no page. A hook that lets something pass is a NO.
"""

from __future__ import annotations

from offswitch.cli.hook import installed, wrong_with
from offswitch.host.hooks import settings as files
from offswitch.host.hooks.agents import AGENTS
from offswitch.host.hooks.proof import in_short, prove

__all__ = ["hooks_hold"]


def hooks_hold() -> tuple[bool, str, str]:
    """Give whether all hooks hold, what there is, and what to do."""
    kept: list[str] = []
    for agent in AGENTS:
        for path, settings, firm in installed(agent):
            wrong = wrong_with(agent, path, settings)
            if not wrong:
                trials = prove(agent, files.lines(settings, agent), all_of_it=False)
                wrong = "" if all(each.holds for each in trials) else in_short(trials)
            if wrong:
                hint = f"offswitch hook install {agent.name}; then: offswitch hook check"
                return False, f"{agent.title} ({path}): {wrong}", hint
            kept.append(f"{agent.title} ({'firm' if firm else 'cooperative'})")
    if not kept:
        return True, "no coding agent asks us by a hook: offswitch hook install AGENT", ""
    return True, f"run as their agents would, they block when latched: {', '.join(kept)}", ""

"""The hooks of coding agents: which there are, where they are written, and proof that they hold.

    agents      what each agent calls its events and files
    line        the command line that is written there, which blocks at every failure
    settings    an agent's own settings file, with our entries in it or without
    trust       whether Codex was told to run them
    proof       run what is installed as the agent would, in a cell of our own making

An agent reads its settings where its own user may write them, and so may take the hook out again:
a hook is cooperative, unless root keeps the file. What it refuses, it refuses early and with
words that the model can read; the cell does not need it.
"""

from __future__ import annotations

__all__: list[str] = []

"""Guards for agent frameworks: each model call and each tool call asks before it begins.

    clients         OpenAI's and Anthropic's plain clients: guarded(client)
    openai_agents   the OpenAI Agents SDK: Runner.run(…, hooks=Hooks())
    langchain       LangChain and LangGraph: callbacks=[Callback()], or middleware=[Middleware()]
    training        Hugging Face's Trainer and Lightning: callbacks=[Watched()]

Standard library only: no framework is ever imported, each is taken by its shape. A stop comes
out as `Stopped`, which is no `Exception` (ADR 15), so that a framework that hands a tool's error
to the model cannot hand it this one; where a framework has a gentler end of its own, as trainers
have, *drain* takes that. Each step is reported to those who watch, and what a tool is called
with is told, too.

All of it is cooperative, as the guard is: it lies inside the program that is watched. A model
call that is silent is not woken by it, and what a hosted service does on its own side is not
seen by it. For both there is the gateway.
"""

from __future__ import annotations

__all__: list[str] = []

"""A process that runs evaluations of inspect-ai, one after the other, each with an agent in it.

    inspect_host.py HUNG      in an environment that has inspect-ai; XDG_DATA_HOME is set

A line on stdin is a JSON list: the folder for the log, "set" or "single", and the agent's
command, which a solver executes in the sandbox `local`, as a tool call would. HUNG hooks never come
back from the end of a sample.
"""

from __future__ import annotations

import json
import sys

import anyio
from inspect_ai import Task, eval, eval_set  # noqa: A004 - their name
from inspect_ai.dataset import Sample
from inspect_ai.hooks import Hooks, hooks
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import sandbox


@solver
def acting(argv: list[str]) -> Solver:
    """Run the agent."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001 - theirs
        await sandbox().exec(argv)
        return state

    return solve


def hang(number: int) -> None:
    """Declare a hook that never ends."""

    @hooks(name=f"deaf-{number}", description="never comes back")
    class Deaf(Hooks):
        async def on_sample_end(self, data: object) -> None:
            await anyio.sleep_forever()


def main() -> None:
    """Run what each line asks for."""
    for number in range(int(sys.argv[1])):
        hang(number)
    print("up", flush=True)
    for line in sys.stdin:
        folder, how, *argv = json.loads(line)
        task = Task(
            name="agent", dataset=[Sample(input="go")], solver=acting(argv), sandbox="local"
        )
        if how == "set":
            eval_set([task], log_dir=folder, model="mockllm/model", display="none", retry_wait=1)
        else:
            eval(task, model="mockllm/model", display="none", log_dir=folder)
        print("over", flush=True)


main()

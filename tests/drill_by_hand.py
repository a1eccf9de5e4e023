"""A drill step by step, so that a test can put something between two of them."""

from __future__ import annotations

import time
from typing import Any, Self

from installation import Installation
from offswitch.control.client import Conversation
from offswitch.drills.senses import Senses

__all__ = ["Drill"]


class Drill:
    """Made, and acting; ended by `end`, or by hanging up."""

    def __init__(self, installation: Installation, **more: Any) -> None:  # noqa: ANN401
        self.installation = installation
        self.senses = Senses()
        self.held = Conversation(installation.place.warden_socket, 30.0)
        message = {"op": "drill", "do": "make", "port": self.senses.port, **more}
        try:
            self.born = self.held.ask(message, self.senses.fds)
        except BaseException:
            self.__exit__()
            raise
        self.senses.hand_over()
        end = time.monotonic() + 20
        while self.senses.missing(
            witness=self.born["witness"], since_ns=time.monotonic_ns() - 100_000_000
        ):
            assert time.monotonic() < end, "its target does not act"
            self.senses.listen(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.held.close()
        self.senses.__exit__()

    @property
    def target(self) -> str:
        return str(self.born["target"])

    @property
    def name(self) -> str:
        return str(self.born["drill"])

    def press(self, *scopes: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Press as the drill does, for its own target unless another scope is named."""
        said = {"channel": "drill", "by": self.born["by"], **more}
        answer = self.installation.stop(*(scopes or (self.target,)), **said)
        self.senses.listen(0.05)
        return answer

    def end(self, *, seen: bool = True, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Say that everything was seen, and give the warden's word."""
        layers = {name: {"seen": seen, "last_act_ns": 1} for name in self.born["layers"]}
        message = {"op": "drill", "do": "end", "drill": self.name, "layers": layers}
        return self.held.ask({**message, **more})

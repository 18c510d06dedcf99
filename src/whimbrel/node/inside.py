"""What the router of a cluster needs of its own node: its engine and who waits for replies."""

from collections.abc import Callable, Sequence
from typing import Any

from whimbrel.domain.answers import ToSession
from whimbrel.domain.messages import ToActor
from whimbrel.node.interpreter import Interpreter
from whimbrel.runtime.engine import Engine


class Inside:
    """cluster.router.Inside, made real."""

    def __init__(
        self,
        engine: Engine,
        host: Interpreter,
        later_us: Callable[[int, Callable[[], None]], object],
    ) -> None:
        self.post = engine.post
        self.replied: Callable[[int, ToSession | None], None] = host.replied
        self._engine = engine
        self._later_us = later_us

    def busy(self, account: int, message: ToActor) -> Sequence[Any]:
        """Nothing while the node is not ready: whoever sent it will say it again."""
        if not self._engine.ready:
            return ()
        behaviours = self._engine.behaviours
        answers: Sequence[Any] = behaviours[behaviours.kind_of(account)].busy(account, message)
        return answers

    def later(self, delay_us: int, call: Callable[[], None], /) -> None:
        self._later_us(delay_us, call)

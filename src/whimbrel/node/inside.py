"""What the router of a cluster needs of its own node: its engine and who waits for replies."""

from collections.abc import Callable, Sequence
from typing import Any

from whimbrel.domain.answers import ToSession
from whimbrel.domain.messages import ToActor, TryAgain
from whimbrel.node.interpreter import Interpreter
from whimbrel.runtime.engine import Engine

AT_ONCE = 500  # actors that ask again in one go
PAUSE_US = 20_000  # then others have their turn


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

    def try_again(self, concerned: Callable[[int], bool], /) -> None:
        """Actors here that wait for an answer of such accounts ask again, some at a time."""
        found: list[tuple[int, tuple[int, ...]]] = []
        for account, cell in self._engine.cells.items():
            owing = getattr(cell.state, "owing", None)
            if owing:
                peers = tuple(sorted(filter(concerned, owing)))
                if peers:
                    found.append((account, peers))
        self._try_some(found)

    def _try_some(self, found: list[tuple[int, tuple[int, ...]]]) -> None:
        for account, peers in found[:AT_ONCE]:
            if account in self._engine.cells:
                self._engine.post(account, TryAgain(peers))
        if len(found) > AT_ONCE:
            self._later_us(PAUSE_US, lambda: self._try_some(found[AT_ONCE:]))

    def later(self, delay_us: int, call: Callable[[], None], /) -> None:
        self._later_us(delay_us, call)

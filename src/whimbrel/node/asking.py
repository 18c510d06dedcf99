"""Asking an actor: a request with a reply, for HTTP and administration.

The reply is released by the commit that covers it, like everything else. If the commit
fails, or nobody answers in time, the caller hears `try again`. A reply's number says on which
node somebody waits for it, as a session's does (decision 0009): the actor may live on another one,
and then a question that changes nothing is asked again while no answer comes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from whimbrel.domain.answers import ToSession
from whimbrel.domain.errors import Busy, Unready
from whimbrel.domain.ids import NODES_MAX
from whimbrel.domain.messages import Describe, Inspect, Prove, ToActor
from whimbrel.domain.ports import Router, Store
from whimbrel.domain.wants import Want
from whimbrel.node.interpreter import Interpreter
from whimbrel.runtime.engine import Engine

CHANGE_NOTHING = (Describe, Inspect, Prove)
AGAIN_S = 2.0
NO_OWNER_S = 0.05


class Asking:
    def __init__(
        self,
        engine: Engine,
        host: Interpreter,
        store: Store,
        router: Router,
        node: int = 0,
        now_us: int = 0,
        patience_s: float = 0.0,
    ) -> None:
        """now_us: the wall clock, so that nobody gets an answer to a question of before.

        patience_s: how long a message that is not taken is offered again.
        """
        self._engine = engine
        self._host = host
        self._store = store
        self._router = router
        self._patience_s = patience_s
        self._numbers = count(max(1, now_us) * NODES_MAX + node, NODES_MAX)
        self._loop = asyncio.get_running_loop()

    async def ask(
        self, key: int, make: Callable[[int], ToActor], timeout_s: float = 10.0
    ) -> ToSession:
        """Tell the actor make(reply number) and wait. Raises Busy or Unready."""
        if not self._engine.ready:
            raise Unready(self._host.trouble or "not ready")
        number = next(self._numbers)
        message = make(number)
        future: asyncio.Future[ToSession | None] = self._loop.create_future()

        def then(answer: ToSession | None) -> None:
            if not future.done():
                future.set_result(answer)

        self._host.replies[number] = then
        try:
            await self._tell(key, message)
            answer = await self._wait(future, timeout_s, key, message)
        except TimeoutError:
            raise Unready("no answer in time") from None
        finally:
            self._host.replies.pop(number, None)
        if answer is None:
            raise Unready(self._host.trouble or "the commit failed")
        return answer

    async def _tell(self, key: int, message: ToActor) -> None:
        """Raises Busy. Among several nodes an account may have no owner for a moment."""
        end_s = self._loop.time() + self._patience_s
        while not self._router.tell(key, message):
            if self._loop.time() >= end_s:
                raise Busy("the mailbox is full", retry_after_s=1)
            await asyncio.sleep(NO_OWNER_S)

    async def _wait(
        self, future: asyncio.Future[ToSession | None], timeout_s: float, key: int, message: ToActor
    ) -> ToSession | None:
        """Raises TimeoutError."""
        end_s = self._loop.time() + timeout_s
        again = isinstance(message, CHANGE_NOTHING)
        while True:
            left_s = end_s - self._loop.time()
            done, _ = await asyncio.wait(
                (future,), timeout=min(AGAIN_S, left_s) if again else left_s
            )
            if done:
                return future.result()
            if self._loop.time() >= end_s:
                raise TimeoutError
            self._router.tell(key, message)

    def load(self, want: Want) -> Awaitable[object]:
        """Read from the store, outside any turn. Raises Unready."""
        future: asyncio.Future[object] = self._loop.create_future()

        def done(answers: list[object] | Exception) -> None:
            if future.done():
                return
            if isinstance(answers, Exception):
                future.set_exception(Unready(str(answers)))
            else:
                future.set_result(answers[0])

        self._store.load([want], done)
        return future

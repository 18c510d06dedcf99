"""Asking an actor: a request with a reply, for HTTP and administration.

The reply is released by the commit that covers it, like everything else. If the commit
fails, or nobody answers in time, the caller hears `try again`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from whimbrel.domain.answers import ToSession
from whimbrel.domain.errors import Busy, Unready
from whimbrel.domain.messages import ToActor
from whimbrel.domain.ports import Store
from whimbrel.domain.wants import Want
from whimbrel.node.interpreter import Interpreter
from whimbrel.runtime.engine import Engine


class Asking:
    def __init__(self, engine: Engine, host: Interpreter, store: Store) -> None:
        self._engine = engine
        self._host = host
        self._store = store
        self._numbers = count(1)
        self._loop = asyncio.get_running_loop()

    async def ask(
        self, key: int, make: Callable[[int], ToActor], timeout_s: float = 10.0
    ) -> ToSession:
        """Tell the actor make(reply number) and wait. Raises Busy or Unready."""
        if not self._engine.ready:
            raise Unready(self._host.trouble or "not ready")
        number = next(self._numbers)
        future: asyncio.Future[ToSession | None] = self._loop.create_future()

        def then(answer: ToSession | None) -> None:
            if not future.done():
                future.set_result(answer)

        self._host.replies[number] = then
        try:
            if not self._engine.post(key, make(number)):
                raise Busy("the mailbox is full", retry_after_s=1)
            answer = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise Unready("no answer in time") from None
        finally:
            self._host.replies.pop(number, None)
        if answer is None:
            raise Unready(self._host.trouble or "the commit failed")
        return answer

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

"""The registry of live sessions: numbers to sinks, and what sleeping actors left behind.

DELIVERY.md: "the node, not the actor, keeps the registry". While an actor is awake it holds
its attachments itself; when it goes to sleep they stay here; when it crashes they are void
and its sessions attach again.
"""

from collections.abc import Callable
from itertools import count

from whimbrel.domain.ids import NODES_MAX
from whimbrel.domain.ports import SessionSink
from whimbrel.domain.user import Attachment


class Sessions:
    __slots__ = ("_asleep", "_first", "_next", "_node", "sinks")

    def __init__(self, now_us: int, node: int = 0) -> None:
        """now_us: the wall clock, so that numbers rise over restarts and moves too."""
        self.sinks: dict[int, SessionSink] = {}
        self._asleep: dict[int, dict[int, Attachment]] = {}
        self._node = node
        self._first = now_us * NODES_MAX + node
        self._next = count(self._first, NODES_MAX)

    def open(self, sink: SessionSink) -> int:
        """A number for a new session; never reused, also not after a restart."""
        number = next(self._next)
        self.sinks[number] = sink
        return number

    def again(self, number: int, sink: SessionSink) -> bool:
        """A session of the process before keeps its number. False: it is not one of this node."""
        known = number in self.sinks or number >= self._first
        if number % NODES_MAX != self._node or known:
            return False
        self.sinks[number] = sink
        return True

    def close(self, number: int) -> None:
        self.sinks.pop(number, None)

    def awake(self, account: int) -> dict[int, Attachment]:
        return self._asleep.pop(account, {})

    def asleep(self, account: int, attached: dict[int, Attachment]) -> None:
        if attached:
            self._asleep[account] = attached

    def abandon(self, lost: Callable[[int], bool]) -> list[Attachment]:
        """What these sleeping actors left behind is void: they live on another node now."""
        gone = [account for account in self._asleep if lost(account)]
        return [att for account in gone for att in self._asleep.pop(account).values()]

    def forget_attachments(self) -> None:
        self._asleep.clear()

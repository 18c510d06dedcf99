"""A session's line to its account's actor: in order, resent until answered, attached again.

DELIVERY.md "Device -> actor": submits that are not answered are sent again, in order, with
back-off; an actor that has lost its memory is told where we stand. Above it: acknowledging.py.
The layers of a session are one object: there are as many of them as there are clients.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.edge.session import (
    ATTACH_CALM_S,
    ATTACH_FIRST_S,
    ATTACH_MAX_S,
    BUSY_RETRY_S,
)

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub
    from whimbrel.edge.xmpp.presence import Presence
    from whimbrel.edge.xmpp.stream import XmppStream

ASKS_MAX = 64  # requests of one client that wait for its actor
ASK_TRIES = 3
ASK_PATIENCE_S = 10.0  # then its client hears that there is no answer
AGAIN_IS_THE_SAME = (
    im.ArchiveGet,
    im.BlockedGet,
    im.DocumentGet,
    im.DocumentSet,
    im.LastGet,
    im.PeerDocument,
    im.PushSet,
    im.ReadRef,
    im.RefsGet,
    im.RosterGet,
    im.RosterSet,
    im.Subscription,
)


class Asked:
    """One question. lost: called if there is no answer."""

    __slots__ = ("account", "again_s", "end_s", "lost", "message", "then", "tries")

    def __init__(
        self,
        account: int,
        message: m.ToActor,
        then: Callable[[Any], None],
        lost: Callable[[], None],
        now_s: float,
        again_s: float,
    ) -> None:
        self.account = account
        self.message = message
        self.then = then
        self.lost = lost
        self.tries = 1
        self.again_s = now_s + again_s
        self.end_s = now_s + ASK_PATIENCE_S


class ActorLine:
    __slots__ = (
        "_asks",
        "_attach_delay_s",
        "_attach_s",
        "_attaching",
        "_backlog",
        "_confirmed",
        "_forgotten",
        "_last",
        "_open",
        "_ordinal",
        "_resend_delay_s",
        "_resend_s",
        "_tag",
        "account",
        "carried",
        "device",
        "hub",
        "number",
        "over",
        "presence",
        "stream",
    )
    number: int
    presence: Presence

    def __init__(self, hub: Hub, stream: XmppStream | None, account: int) -> None:
        self.hub = hub
        self.stream = stream
        self.account = account
        self.device = 0
        self.over = False
        self._ordinal = 0
        self._last = 0  # the last item taken
        self._confirmed = 0
        self._backlog: deque[m.ToActor] = deque()
        self._open: dict[int, m.Submit] = {}
        self._asks: dict[int, Asked] = {}
        self._tag = 0
        self._forgotten = False
        self._attach_s = self._resend_s = 0.0
        self._resend_delay_s = 0.0
        self._attach_delay_s = ATTACH_FIRST_S
        self._attaching = False
        self.carried = False  # from another process, and the actor has not heard of it (carried.py)

    def tell(self, message: m.ToActor) -> None:
        """In order, also when the actor's mailbox is full."""
        backlog = self._backlog
        if backlog or not self.hub.edge.router.tell(self.account, message):
            if not backlog:
                self.hub.edge.later(BUSY_RETRY_S, self._try_backlog)
            backlog.append(message)

    def _try_backlog(self) -> None:
        backlog = self._backlog
        if self.over and not backlog:
            return
        tell = self.hub.edge.router.tell
        while backlog and tell(self.account, backlog[0]):
            backlog.popleft()
        if backlog:
            self.hub.edge.later(BUSY_RETRY_S, self._try_backlog)
        elif self.stream is not None:
            self.stream.go_on()

    def ask(
        self,
        make: Callable[[int], m.ToActor],
        then: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> bool:
        """Ask the actor something: then(answer), or lost(). False: too much is asked already."""
        if len(self._asks) >= ASKS_MAX:
            return False
        self.tell(self._asked(self.account, make, then, lost).message)
        return True

    def ask_other(
        self,
        account: int,
        make: Callable[[int], m.ToActor],
        then: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> bool:
        """The same of another account's actor. False also if it is busy."""
        if len(self._asks) >= ASKS_MAX:
            return False
        if not self.hub.edge.router.tell(account, self._asked(account, make, then, lost).message):
            self._asks.pop(self._tag, None)
            return False
        return True

    def _asked(
        self,
        account: int,
        make: Callable[[int], m.ToActor],
        then: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> Asked:
        self._tag += 1
        edge = self.hub.edge
        asked = Asked(account, make(self._tag), then, lost, edge.now_s, edge.limits.resend_first_s)
        self._asks[self._tag] = asked
        return asked

    def _ask_again(self, asked: Asked, now_s: float) -> None:
        """Between nodes a question or its answer may be lost: what does no harm twice is asked
        again, a few times.
        """
        if asked.tries >= ASK_TRIES or not isinstance(asked.message, AGAIN_IS_THE_SAME):
            return
        asked.again_s = now_s + self.hub.edge.limits.resend_first_s * (1 << asked.tries)
        asked.tries += 1
        if asked.account == self.account:
            self.tell(asked.message)
        else:
            self.hub.edge.router.tell(asked.account, asked.message)

    def _sweep_questions(self, now_s: float) -> None:
        for tag, asked in list(self._asks.items()):
            if now_s >= asked.end_s:
                self._asks.pop(tag, None)
                self.hub.edge.counts["unanswered"] += 1
                asked.lost()
            elif now_s >= asked.again_s and not self._backlog:
                self._ask_again(asked, now_s)

    def submit(self, message: m.Submit) -> None:
        if not self._open:
            self._put_off_resend()
        self._open[message.c] = message
        self.tell(message)

    def _put_off_resend(self) -> None:
        self._resend_delay_s = self.hub.edge.limits.resend_first_s
        self._resend_s = self.hub.edge.now_s + self._resend_delay_s

    def _resend_all(self) -> None:
        if not self._backlog:
            for message in self._open.values():
                self.tell(message)

    def confirm(self, q: int) -> None:
        """The client has everything up to this item."""
        if q > self._confirmed:
            self._confirmed = q
            self._last = max(self._last, q)  # it had it before it went unavailable and came back
            self.tell(m.Confirm(self.device, self.number, q))

    def _attach_soon(self) -> None:
        """Once, however often we are told within the delay."""
        if self._attaching:
            return
        self._attaching = True
        edge = self.hub.edge
        if edge.now_s > self._attach_s - edge.limits.reattach_s + ATTACH_CALM_S:
            self._attach_delay_s = ATTACH_FIRST_S
        delay_s = self._attach_delay_s
        self._attach_delay_s = min(delay_s * 2, ATTACH_MAX_S)
        self._attach_s = self.hub.edge.now_s + self.hub.edge.limits.reattach_s
        self.hub.edge.later(delay_s, self._attach)

    def _attach(self) -> None:
        """The actor has lost its memory: say where we stand, then repeat what is unanswered."""
        self._attaching = False
        if self.over:
            return
        if not self.hub.edge.ready():
            self._attach_soon()
            return
        self.carried = False
        self._backlog.clear()
        if not self.device:
            self.bind_again()
            return
        self._say_where()
        self.presence.again()
        for message in self._open.values():
            self.tell(message)
        for asked in list(self._asks.values()):
            if asked.account == self.account:
                self._ask_again(asked, self.hub.edge.now_s)

    def bind_again(self) -> None:
        """The same bind: its actor knows it by the session."""
        raise NotImplementedError

    def _say_where(self) -> None:
        self.tell(m.Attach(self.device, self.number, self._ordinal, self._last, self._confirmed))

    def sweep_line(self, now_s: float) -> None:
        """Once a second: what is unanswered is sent again, and the actor hears from us."""
        limits = self.hub.edge.limits
        if self._asks:
            self._sweep_questions(now_s)
        if self._open and now_s >= self._resend_s:
            self._resend_delay_s = min(self._resend_delay_s * 2, limits.resend_max_s)
            self._resend_s = now_s + self._resend_delay_s
            self._resend_all()
        if now_s >= self._attach_s:
            self._attach_delay_s = ATTACH_FIRST_S
            self._attach_s = now_s + limits.reattach_s
            if self.carried:
                self._attach()
            else:
                self._say_where()

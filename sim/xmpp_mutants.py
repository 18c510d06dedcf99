"""Planted bugs of XMPP that the simulated world has to notice, as in mutants.py."""

from collections.abc import Callable
from inspect import getattr_static
from typing import Any

from sim.planting import Edit, Mutant
from whimbrel.edge.xmpp.acknowledging import Acknowledging
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.logic import resources, stream

_HANDLED: Callable[..., Any] = getattr_static(Acknowledging, "handled").fget  # it is a property

XMPP = (
    Mutant(
        "xmpp-a-before-the-commit",
        1,
        "`<a/>` counts stanzas that are not committed",
        "clients-in-trouble",
        (
            Edit(Acknowledging._answer_request, "first <= self._ack_wanted", "False"),
            Edit(_HANDLED, "first - 1 if first else self.received", "self.received"),
        ),
    ),
    Mutant(
        "xmpp-counter-lost-at-a-resume",
        2,
        "the client's stanzas are counted from nought again",
        "dead-phones",
        (
            Edit(
                Acknowledging.resume, "self.on_ack(h)\n", "self.on_ack(h)\n    self.received = 0\n"
            ),
        ),
    ),
    Mutant(
        "xmpp-resumed-while-commits-are-under-way",
        2,
        "the client is told less than what is stored a moment later",
        "clients-in-trouble",
        (Edit(Acknowledging.settle, "if self._undone:", "if False:"),),
    ),
    Mutant(
        "xmpp-queue-dropped-at-a-resume",
        2,
        "what was written to the dead connection is not written again",
        "dead-phones",
        (Edit(Acknowledging.resume, "stream.write_stanza(data)", "pass"),),
    ),
    Mutant(
        "xmpp-queue-doubled-at-a-resume",
        2,
        "what was written to the dead connection is written twice",
        "dead-phones",
        (Edit(Acknowledging.resume, "stream.write_stanza(data)", "stream.write_stanza(data * 2)"),),
    ),
    Mutant(
        "xmpp-resumed-by-anybody",
        6,
        "a token opens the session of another account",
        "resources",
        (Edit(XmppStream.resumable, "session.account != self.account", "False"),),
    ),
    Mutant(
        "xmpp-dead-connection-counts-as-read",
        4,
        "what was written to a connection that died is confirmed",
        "dead-phones",
        (
            Edit(
                XmppSession.lost,
                "self.stream = None\n",
                "self.stream = None\n    self.confirm(self._sent_q)\n",
            ),
        ),
    ),
    Mutant(
        "xmpp-goodbye-counts-what-came-after",
        2,
        "what is not written any more after a client's goodbye is confirmed",
        "resources",
        (Edit(Acknowledging.has_all, "self.confirm(q)", "self.confirm(self._sent_q)"),),
    ),
    Mutant(
        "xmpp-one-ack-for-all",
        4,
        "any acknowledgement confirms everything that was sent",
        "dead-phones",
        (
            Edit(
                Acknowledging.on_ack,
                "q = self._queue.popleft()[1]",
                "q = (self._queue.popleft(), self._sent_q)[1]",
            ),
        ),
    ),
    Mutant(
        "xmpp-shown-again-after-being-away",
        2,
        "a client that was unavailable is shown what it had",
        "resources",
        (Edit(XmppSession._on_item, "if item.q > self._shown_q:", "if True:"),),
    ),
    Mutant(
        "xmpp-gap-is-not-noticed",
        2,
        "an item is shown although one before it got lost between nodes",
        "clients-that-move",
        (Edit(XmppSession._on_item, "item.prev <= last < item.q", "last < item.q"),),
    ),
    Mutant(
        "xmpp-confirm-of-one-client-only",
        2,
        "the next client of the account gets again what another one has confirmed",
        "resources",
        (Edit(stream._confirm, "base is not None and base.confirmed < q", "False"),),
    ),
    Mutant(
        "xmpp-client-begins-at-the-end",
        2,
        "a client that comes is not shown what waits",
        "dead-phones",
        (
            Edit(
                resources.on_available,
                "base.confirmed if base is not None else user.tail",
                "user.tail",
            ),
        ),
    ),
    Mutant(
        "xmpp-forgotten-session-is-turned-out",
        7,
        "presence to an actor that has lost its memory ends the session",
        "presences",
        (
            Edit(
                resources.on_available,
                "[Push(m.session, UnknownSession())]",
                "[Push(m.session, Gone(Replaced.code))]",
            ),
        ),
    ),
    Mutant(
        "xmpp-lost-start-is-not-repeated",
        2,
        "a client whose start got lost between nodes is shown nothing",
        "presences",
        (Edit(resources.on_available, "elif takes:", "elif False:"),),
    ),
    Mutant(
        "xmpp-submits-of-a-resumed-session-forgotten",
        2,
        "messages that are under way when the connection dies are not sent again",
        "clients-in-trouble",
        (Edit(XmppSession.lost, "self._requested = False\n", "self._open.clear()\n"),),
    ),
)

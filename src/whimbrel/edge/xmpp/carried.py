"""XMPP sessions that outlive the process (XEP-0198): what a restart carries from one to the next.

A session is carried while it is at rest: everything its client said is committed and answered, so
what its numbers promise is true. Its resource stays bound meanwhile; the next process goes on under
the same session number, tells the account's actor where it stands, and its client resumes as after
any loss of the network. Law 2: the stanzas that wait here are those that are unconfirmed in the
inbox; whichever of both is given to the client, the same numbers confirm it. Law 4: what is
carried holds bodies and goes from memory to memory, never to a file.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from whimbrel.domain import im
from whimbrel.domain.discreet import discreet
from whimbrel.domain.ports import SessionSink
from whimbrel.edge.xmpp.messages import _Sent
from whimbrel.edge.xmpp.session import XmppSession

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub

ATTACH_WITHIN_S = 30.0  # far below the patience of the actor with resources nobody speaks for


class CarriedSent(msgspec.Struct):
    """A message whose sender may want to hear its fate (messages.py)."""

    peer: int
    id: int
    ref: str
    own: str
    to: str
    flags: int
    __repr__ = discreet


class CarriedSession(msgspec.Struct):
    """Every field has a default or stands here since the first version: versions differ."""

    number: int
    token: str
    address: str
    account: int
    via: int
    device: int
    resource: str
    ordinal: int
    received: int
    sent: int
    acked: int
    queue: list[tuple[bytes, int]]
    last: int
    confirmed: int
    shown_q: int
    sent_q: int
    c: int
    waits_s: float
    carbons: bool = False
    inactive: bool = False
    taking: bool = False
    wants_roster: bool = False
    wants_blocks: bool = False
    pushes: list[tuple[str, str, int, bytes]] = []
    priority: int | None = None  # of its presence; None: not available
    presence: bytes = b""
    farewell: bytes = b""
    held: list[tuple[str, bytes]] = []
    own: list[str] = []
    marks: list[CarriedSent] = []
    shown: list[tuple[int, str, int, int]] = []
    started_us: int = 0
    told: list[tuple[int, int, int]] = []
    __repr__ = discreet


def carry(hub: Hub) -> list[CarriedSession]:
    """Take every session that can be carried out of this process; the others are left."""
    carried = []
    for session in list(hub.sessions.values()):
        if _is_at_rest(session):
            carried.append(_packed(session))
            stream, session.stream = session.stream, None
            if stream is not None:
                stream.session = None
            session._close_down()  # without a word to the actor
    return carried


def _is_at_rest(session: XmppSession) -> bool:
    return (
        type(session) is XmppSession
        and session.resumable
        and bool(session.device)
        and not session.over
        and not (session._open or session._undone or session._backlog or session._asks)
    )


def _packed(session: XmppSession) -> CarriedSession:
    messages, presence, edge = session.messages, session.presence, session.hub.edge
    said = presence._said
    waits_s = edge.limits.resume_s if session.stream else session._waits_s - edge.now_s
    return CarriedSession(
        session.number,
        session.token,
        session.address,
        session.account,
        session.via,
        session.device,
        session.resource,
        session._ordinal,
        session.received,
        session._sent,
        session._acked,
        list(session._queue),
        session._last,
        session._confirmed,
        session._shown_q,
        session._sent_q,
        messages._c,
        waits_s,
        session.carbons,
        session.inactive,
        session.taking,
        session.wants_roster,
        session.wants_blocks,
        [(*key, *value) for key, value in session._pushes.items()],
        None if said is None else said.priority,
        b"" if said is None else said.stanza,
        presence.last,
        list(presence._held.items()),
        sorted(presence.own),
        [
            CarriedSent(peer, sent.id, sent.ref, sent.own, sent.to, sent.flags)
            for peer, each in messages._sent.items()
            for sent in each.values()
        ],
        [(*key, *value) for key, value in messages._shown.items()],
        messages._started_us,
        [(peer, *marks) for peer, marks in messages._told.items()],
    )


def carry_on(
    hub: Hub, carried: Iterable[CarriedSession], again: Callable[[int, SessionSink], bool]
) -> int:
    """Sessions that wait for their clients; how many. again: gives a session its old number."""
    count = 0
    for each in carried:
        session = XmppSession(hub, None, each.address, each.account, each.via)
        hub.sessions.pop(session.number)
        hub.edge.numbers.close(session.number)
        if again(each.number, session):
            _unpack(session, each)
            hub.sessions[each.number] = session
            hub.tokens[each.token] = session
            count += 1
    return count


def _unpack(session: XmppSession, each: CarriedSession) -> None:
    now_s = session.hub.edge.now_s
    session.number, session.token = each.number, each.token
    session.device, session.resource = each.device, each.resource
    session.jid = f"{session.bare}/{each.resource}"
    session.sm = session.resumable = True
    session.received, session._sent, session._acked = each.received, each.sent, each.acked
    session._queue = deque(each.queue)
    session._ordinal, session._last = each.ordinal, each.last
    session._confirmed, session._shown_q = each.confirmed, each.shown_q
    session._sent_q = each.sent_q
    session.carbons, session.inactive, session.taking = each.carbons, each.inactive, each.taking
    session.wants_roster, session.wants_blocks = each.wants_roster, each.wants_blocks
    session._pushes = {(jid, node): (home, iq) for jid, node, home, iq in each.pushes}
    session._waits_s = now_s + max(each.waits_s, ATTACH_WITHIN_S)
    # Not all actors at once; who is resumed earlier attaches then.
    session.carried = True
    session._attach_s = now_s + random.uniform(0.0, ATTACH_WITHIN_S)
    _unpack_presence(session, each)
    _unpack_messages(session, each)


def _unpack_presence(session: XmppSession, each: CarriedSession) -> None:
    presence = session.presence
    presence.last = each.farewell
    presence.own = set(each.own)
    presence._held = dict(each.held)
    if each.priority is not None:
        presence._said = im.Available(session.device, session.number, each.priority, each.presence)


def _unpack_messages(session: XmppSession, each: CarriedSession) -> None:
    messages = session.messages
    messages._c = each.c
    messages._started_us = each.started_us
    messages._told = {peer: (delivered, read) for peer, delivered, read in each.told}
    for mark in each.marks:
        sent = _Sent(mark.ref, mark.own, mark.to, mark.flags, 0)
        sent.id = mark.id
        messages._sent.setdefault(mark.peer, OrderedDict())[mark.id] = sent
    for peer, ref, q, id in each.shown:
        messages._shown[peer, ref] = (q, id)

"""Push notifications (XEP-0357): what waits with no client there wakes a phone.

A client names a component and a node; the edge makes the notification once, when it is switched
on, and it says nothing of any message. It is sent when a message was stored while no XMPP client
takes messages, at most once a second; it is not repeated: the message waits anyway.
"""

import msgspec

from whimbrel.domain.answers import Gone
from whimbrel.domain.effects import Effect, Push, Tell
from whimbrel.domain.errors import Busy, Replaced, TooBig
from whimbrel.domain.im import IQ, Done, PeerRelay, PushRefused, PushSet
from whimbrel.domain.rows import DocumentGone, DocumentRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import PushTo, User
from whimbrel.domain.wants import DocumentWant, NotLoaded
from whimbrel.logic.pairs import offline_of

DOCUMENT = "push"
PUSHES_MAX = 8  # an account
PUSH_EVERY_US = 1_000_000


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[PushTo, ...]).decode


def need_pushes(user: User) -> tuple[PushTo, ...]:
    """Those of this account, or NotLoaded."""
    if user.pushes is None:
        want = DocumentWant(user.number, DOCUMENT)
        if want not in user.loaded:
            raise NotLoaded(want)
        row = user.loaded.pop(want)
        user.pushes = _unpack(row.body) if isinstance(row, DocumentRow) else ()
    return user.pushes


def _keep(user: User, pushes: tuple[PushTo, ...], turn: Turn) -> Effect:
    user.pushes = pushes
    if not pushes:
        return DocumentGone(user.number, DOCUMENT)
    return DocumentRow(user.number, DOCUMENT, turn.now_us, _pack(pushes))


def on_push_set(user: User, m: PushSet, turn: Turn) -> list[Effect]:
    """Switched on (stanza), or off: this node of a component, or with node "" all of it."""
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    known = need_pushes(user)
    kept = tuple(each for each in known if each.jid != m.jid or (m.node and each.node != m.node))
    if m.stanza:
        if len(m.stanza) > turn.limits.document_bytes_max:
            return [Push(m.session, Done(m.tag, TooBig.code))]
        if len(kept) >= PUSHES_MAX:
            return [Push(m.session, Done(m.tag, Busy.code))]
        kept = (*kept, PushTo(m.id, m.jid, m.node, m.home, m.stanza))
    done = Push(m.session, Done(m.tag))
    return [done] if kept == known else [_keep(user, kept, turn), done]


def on_push_refused(user: User, m: PushRefused, turn: Turn) -> list[Effect]:
    """The component does not know this node any more (section 6): it is asked no more."""
    if not user.exists:
        return []
    known = need_pushes(user)
    kept = tuple(each for each in known if each.id != m.id or each.home != m.peer)
    return [] if kept == known else [_keep(user, kept, turn)]


def waits_for_nobody(user: User) -> bool:
    """Does this account have XMPP clients, and none is here to take a message?"""
    for att in user.attached.values():
        if att.resource and att.presence and att.priority >= 0:
            return False
    return offline_of(user) is not None


def notify(user: User, pushes: tuple[PushTo, ...], turn: Turn) -> list[Effect]:
    if turn.mono_us < user.pushed_us + PUSH_EVERY_US and user.pushed_us:
        return []
    user.pushed_us = turn.mono_us
    return [
        Tell(each.home, PeerRelay(user.number, user.address, "", "", IQ, each.stanza))
        for each in pushes
    ]


def end_pushes(user: User) -> list[Effect]:
    """Whoever held the old key is woken no more."""
    user.pushes = ()
    return [DocumentGone(user.number, DOCUMENT)]

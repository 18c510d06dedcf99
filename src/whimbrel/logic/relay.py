"""Relays: stanzas that pass through and are not kept (iq, headlines, chat states, directed
presence). RFC 6121 section 8. Lost without harm; an iq that nobody takes goes back.
"""

from whimbrel.domain.answers import TypingShown
from whimbrel.domain.effects import Effect, Push, Tell
from whimbrel.domain.errors import BLOCKED
from whimbrel.domain.im import (
    COMPOSING,
    HEADLINE,
    IQ,
    NO_STATE,
    PRESENCE,
    Bounced,
    PeerAvailable,
    PeerBounce,
    PeerRelay,
    Relay,
    StanzaShown,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Attachment, User
from whimbrel.logic.components import is_component, jid_at_component
from whimbrel.logic.pairs import pair_of

DIRECTED_MAX = 256  # JIDs that a resource may have told of itself beside its roster


def on_relay(user: User, m: Relay, turn: Turn) -> list[Effect]:
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return []
    if pair_of(user, m.peer).blocked:  # XEP-0191 section 3.3
        return [Push(m.session, Bounced(m.stanza, BLOCKED))]
    if m.kind == PRESENCE:
        return _direct(user, att, m)
    return [
        Tell(
            m.peer,
            PeerRelay(
                user.number, user.address, att.resource, m.resource, m.kind, m.stanza, m.state
            ),
        )
    ]


def _direct(user: User, att: Attachment, m: Relay) -> list[Effect]:
    """Section 4.6: whoever heard of us directly hears when we go."""
    jid = f"{m.address}/{m.resource}" if m.resource else m.address
    if att.directed is None:
        att.directed = {}
    if not m.on:
        att.directed.pop(jid, None)
    elif jid in att.directed or len(att.directed) < DIRECTED_MAX:
        att.directed[jid] = m.peer
    else:
        return []
    at = jid_at_component(m.address)
    told = PeerAvailable(user.number, user.address, att.resource, m.stanza, m.resource, True, at)
    return [Tell(m.peer, told)]


def on_peer_relay(user: User, m: PeerRelay, turn: Turn) -> list[Effect]:
    pair = pair_of(user, m.peer) if user.exists else None
    if pair is None or pair.blocked:
        return _back(m)
    strange = not (pair.stored_id or pair.wrote or is_component(user.address))
    if m.state != NO_STATE and strange:
        return []  # as with typing: nobody hears of strangers
    shown = StanzaShown(m.kind, m.stanza)
    effects: list[Effect] = [
        Push(att.session, shown) for att in user.attached.values() if _takes(att, m)
    ]
    if m.state != NO_STATE:
        typing = TypingShown(m.address, m.state == COMPOSING)
        effects += [Push(a.session, typing) for a in user.attached.values() if not a.resource]
    return effects or _back(m)


def _takes(att: Attachment, m: PeerRelay) -> bool:
    if m.resource:
        return att.resource == m.resource
    return bool(att.resource and att.presence) and (att.priority >= 0 or m.kind != HEADLINE)


def _back(m: PeerRelay) -> list[Effect]:
    if m.kind != IQ:
        return []
    return [Tell(m.peer, PeerBounce(0, m.sender, m.stanza))]


def on_peer_bounce(user: User, m: PeerBounce, turn: Turn) -> list[Effect]:
    return [
        Push(att.session, Bounced(m.stanza))
        for att in user.attached.values()
        if att.resource == m.resource
    ]

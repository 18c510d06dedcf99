"""Presence, typing, blocking: what people see of each other beside messages.

Typing and presence are ephemeral: never stored, lost without harm. Policy: someone sees
your presence only if you have written to them, have not blocked them and do not hide it;
otherwise they hear nothing at all, which also tells nothing about who exists. Who hides sees
nobody else either.
"""

from whimbrel.domain.answers import BlockDone, Gone, HideDone, PresenceShown, TypingShown
from whimbrel.domain.effects import Effect, Push, Tell
from whimbrel.domain.messages import (
    Block,
    Hide,
    PeerPresence,
    PeerTyping,
    PeerWatch,
    Typing,
    Watch,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import User
from whimbrel.logic.contacts import block_presence, hide_presence, need_roster
from whimbrel.logic.pairs import account_row, pair_of, pair_row, push_all


def on_typing(user: User, m: Typing, turn: Turn) -> list[Effect]:
    if m.device not in user.attached:
        return []
    return [Tell(m.peer, PeerTyping(user.number, user.address, m.on))]


def on_peer_typing(user: User, m: PeerTyping, turn: Turn) -> list[Effect]:
    if not user.attached:
        return []
    pair = pair_of(user, m.peer)
    if pair.blocked or not (pair.stored_id or pair.wrote):
        return []
    return push_all(user, TypingShown(m.address, m.on))


def on_watch(user: User, m: Watch, turn: Turn) -> list[Effect]:
    if m.device not in user.attached or user.hidden:
        return []
    return [Tell(m.peer, PeerWatch(user.number, user.address))]


def on_peer_watch(user: User, m: PeerWatch, turn: Turn) -> list[Effect]:
    if not user.exists or user.hidden:
        return []
    pair = pair_of(user, m.peer)
    if pair.blocked or not pair.wrote:
        return []
    _forget_watchers(user, turn)
    if len(user.watchers) >= turn.limits.watchers_max and m.peer not in user.watchers:
        return []
    user.watchers[m.peer] = turn.mono_us + turn.limits.watch_s * 1_000_000
    return [Tell(m.peer, _presence(user))]


def _forget_watchers(user: User, turn: Turn) -> None:
    for peer in [peer for peer, until in user.watchers.items() if until < turn.mono_us]:
        del user.watchers[peer]


def _presence(user: User) -> PeerPresence:
    return PeerPresence(user.number, user.address, user.there, user.last_seen_us)


def tell_watchers(user: User, turn: Turn, effects: list[Effect]) -> None:
    """The account came or went: those who watch it hear of it."""
    if user.watchers:
        _forget_watchers(user, turn)
        presence = _presence(user)
        effects += [Tell(peer, presence) for peer in user.watchers]


def on_peer_presence(user: User, m: PeerPresence, turn: Turn) -> list[Effect]:
    return push_all(user, PresenceShown(m.address, m.online, m.last_seen_us))


def on_hide(user: User, m: Hide, turn: Turn) -> list[Effect]:
    """Those who watch hear the last of it: away, and nothing of when."""
    if m.device not in user.devices:
        return [Push(m.session, Gone("replaced"))]
    need_roster(user)
    effects: list[Effect] = []
    if m.on and not user.hidden:
        hide_presence(user, True, effects)
        _forget_watchers(user, turn)
        away = PeerPresence(user.number, user.address, False, 0)
        effects += [Tell(peer, away) for peer in user.watchers]
        user.watchers.clear()
    shown_again = user.hidden and not m.on
    user.hidden = m.on
    if shown_again:
        hide_presence(user, False, effects)
    return [account_row(user), *push_all(user, HideDone(m.on)), *effects]


def on_block(user: User, m: Block, turn: Turn) -> list[Effect]:
    """Refuse, or accept again, what a peer sends. Also for addresses that nobody has yet."""
    if m.device not in user.devices:
        return [Push(m.session, Gone("replaced"))]
    need_roster(user)
    pair = pair_of(user, m.peer)
    effects: list[Effect] = []
    if m.on != pair.blocked:
        block_presence(user, m.peer, m.on, effects)
    pair.blocked = m.on
    (user.blocked.add if m.on else user.blocked.discard)(m.peer)
    pair.address = pair.address or m.to
    if m.on:
        user.watchers.pop(m.peer, None)
    done = BlockDone(m.to, m.on)
    effects += [
        Push(att.session, done)
        for att in user.attached.values()
        if att.resource and att.session != m.session
    ]
    return [pair_row(user, pair), Push(m.session, done), *effects]

"""The end of an account: everything goes but its numbers, so that none is ever given twice."""

from whimbrel.domain.answers import Gone, Removed
from whimbrel.domain.effects import Effect, Push, Reply
from whimbrel.domain.errors import NotFound, Replaced
from whimbrel.domain.im import Done, RemoveThis
from whimbrel.domain.messages import RemoveAccount
from whimbrel.domain.rows import (
    ArchiveForget,
    DeviceGone,
    DocumentsGone,
    InboxUpto,
    PairsGone,
    RosterGoneAll,
    SentForgetAll,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER, User
from whimbrel.logic.contacts import end_subscriptions, need_roster
from whimbrel.logic.pairs import account_row


def on_remove(user: User, m: RemoveAccount, turn: Turn) -> list[Effect]:
    """Delete the account. A tombstone keeps its numbers, so that none is ever given twice."""
    if not user.exists:
        return [Reply(m.reply, Removed(NotFound.code))]
    need_roster(user)
    effects: list[Effect] = [
        Push(att.session, Gone(Replaced.code)) for att in user.attached.values()
    ]
    end_subscriptions(user, effects)
    user.attached.clear()
    effects += [DeviceGone(user.number, number) for number in user.devices]
    user.devices.clear()
    user.exists, user.deleted = False, True
    user.waiting = 0
    user.pairs.clear()
    user.forgot = True
    user.owing.clear()
    user.open_count = 0
    user.roster, user.contacts = None, 0
    user.pushes = None
    effects += [
        InboxUpto(user.number, user.tail),
        PairsGone(user.number),
        RosterGoneAll(user.number),
        DocumentsGone(user.number),
        ArchiveForget(user.number, NEVER),
        SentForgetAll(user.number),
        account_row(user),
        Reply(m.reply, Removed()),
    ]
    return effects


def on_remove_this(user: User, m: RemoveThis, turn: Turn) -> list[Effect]:
    """The same, as an administrator asks from a session of XMPP."""
    if not user.exists:
        return [Push(m.session, Done(m.tag, NotFound.code))]
    kept = [e for e in on_remove(user, RemoveAccount(0), turn) if not isinstance(e, Reply)]
    return [*kept, Push(m.session, Done(m.tag))]

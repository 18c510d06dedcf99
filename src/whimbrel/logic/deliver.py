"""Deliver: another user's actor brings a message; ours stores it in the inbox, then says so.

DELIVERY.md "Actor -> actor", the recipient's half. Law 2: what was taken or refused once is
answered the same way for ever, also after the body has been wiped, by the watermark
`stored_id` and the short ring of refused ids. Law 5: a full inbox is trimmed aloud, or busy.
"""

from whimbrel.domain.answers import Item
from whimbrel.domain.effects import Effect, Note, Tell
from whimbrel.domain.errors import BLOCKED, EXPIRED, UNDELIVERABLE, UnknownRecipient
from whimbrel.domain.ids import next_id
from whimbrel.domain.messages import Ack, BusyAck, Deliver
from whimbrel.domain.rows import MESSAGE, ArchiveRow, InboxRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Pair, User
from whimbrel.logic.pairs import account_row, pair_of, pair_row, push_item
from whimbrel.logic.push import need_pushes, notify, waits_for_nobody
from whimbrel.logic.trimming import make_room


def on_deliver(user: User, m: Deliver, turn: Turn) -> list[Effect]:
    if not user.exists:
        return [Tell(m.sender, Ack(user.number, m.id, UnknownRecipient.code))]
    pair = pair_of(user, m.sender)
    if m.id <= pair.stored_id:
        return [Tell(m.sender, Ack(user.number, m.id, pair.ring.get(m.id, "")))]
    if m.prev > pair.stored_id:
        return []  # an older one is missing: a retry brings both in order
    if turn.now_us > m.deadline_us:
        return _refuse(user, pair, m, EXPIRED)
    if pair.blocked:
        return _refuse(user, pair, m, BLOCKED)
    pushes = need_pushes(user) if waits_for_nobody(user) else ()
    effects: list[Effect] = []
    if user.waiting >= turn.limits.inbox_messages_max and not make_room(user, turn, effects):
        return [Tell(m.sender, BusyAck(user.number, m.id)), Note("deliver-busy")]
    _clean_ring(pair, m.low)
    pair.stored_id = m.id
    if pair.address != m.address:
        pair.address = m.address
    before = user.tail
    user.tail = q = before + 1
    user.waiting += 1
    kept = 0
    if turn.limits.archive_s:
        user.last_id = kept = next_id(turn.now_us, user.last_id)
        effects.append(ArchiveRow(user.number, kept, m.sender, m.address, False, m.body))
    effects.append(
        InboxRow(
            user.number, q, MESSAGE, m.sender, m.id, m.device, m.c, kept, "", turn.now_us, m.body
        )
    )
    effects.append(pair_row(user, pair))
    effects.append(account_row(user))
    effects.append(Tell(m.sender, Ack(user.number, m.id, "")))
    if user.attached:
        item = Item(before, q, MESSAGE, m.address, m.id, m.device, m.c, kept, "", m.body)
        push_item(user, item, m.sender, before, turn, effects)
    if pushes:
        effects += notify(user, pushes, turn)
    return effects


def _refuse(user: User, pair: Pair, m: Deliver, code: str) -> list[Effect]:
    """Refused for good: the watermark passes it and the ring remembers why."""
    _clean_ring(pair, m.low)
    pair.stored_id = m.id
    pair.ring[m.id] = code
    if not pair.address:
        pair.address = m.address
    return [pair_row(user, pair), Tell(m.sender, Ack(user.number, m.id, code))]


def refuse_poison(user: User, m: Deliver) -> list[Effect]:
    """This message killed the actor twice: it is set aside, and its sender is told."""
    if not user.exists:
        return []
    pair = pair_of(user, m.sender)
    if m.id <= pair.stored_id or m.prev > pair.stored_id:
        return []
    return _refuse(user, pair, m, UNDELIVERABLE)


def _clean_ring(pair: Pair, low: int) -> None:
    """Ids below the sender's lowest open row will never be asked for again."""
    if pair.ring:
        for id in [id for id in pair.ring if id < low]:
            del pair.ring[id]

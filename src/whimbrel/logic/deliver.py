"""Deliver: another user's actor brings a message; ours stores it in the inbox, then says so.

DELIVERY.md "Actor -> actor", the recipient's half. Law 2: what was taken or refused once is
answered the same way for ever, also after the body has been wiped, by the watermark
`stored_id` and the short ring of refused ids. Law 5: a full inbox is trimmed aloud, or busy.
"""

from whimbrel.domain.answers import Item
from whimbrel.domain.effects import Effect, Note, Tell
from whimbrel.domain.errors import (
    BLOCKED,
    EXPIRED,
    TRIMMED,
    UNDELIVERABLE,
    UnknownRecipient,
)
from whimbrel.domain.messages import Ack, BusyAck, Deliver, ExpireInbox
from whimbrel.domain.rows import MESSAGE, TRIM, InboxGone, InboxRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Pair, User
from whimbrel.domain.wants import NotLoaded, OldestWant
from whimbrel.logic.pairs import account_row, need_pairs, pair_of, pair_row, push_item
from whimbrel.logic.receipts import send_receipt

Oldest = tuple[int, int, int, int, int]  # q, kind, peer, id, stored_us


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
    effects: list[Effect] = []
    if user.waiting >= turn.limits.inbox_messages_max and not _trim(user, turn, effects):
        return [Tell(m.sender, BusyAck(user.number, m.id)), Note("deliver-busy")]
    _clean_ring(pair, m.low)
    pair.stored_id = m.id
    if pair.address != m.address:
        pair.address = m.address
    before = user.tail
    user.tail = q = before + 1
    user.waiting += 1
    effects.append(
        InboxRow(user.number, q, MESSAGE, m.sender, m.id, m.device, m.c, 0, "", turn.now_us, m.body)
    )
    effects.append(pair_row(user, pair))
    effects.append(account_row(user))
    effects.append(Tell(m.sender, Ack(user.number, m.id, "")))
    if user.attached:
        item = Item(before, q, MESSAGE, m.address, m.id, m.device, m.c, 0, "", m.body)
        push_item(user, item, m.sender, before, turn, effects)
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


# ---- messages that nobody collects ------------------------------------------------------


def _trim(user: User, turn: Turn, effects: list[Effect]) -> bool:
    """Make room by removing the oldest waiting messages. False: a live session holds them."""
    rows = _oldest(user, turn.limits.trim_slice)
    return _remove(user, [row for row in rows if row[1] == MESSAGE], TRIMMED, turn, effects)


def on_expire(user: User, m: ExpireInbox, turn: Turn) -> list[Effect]:
    """Remove messages that waited too long; their senders are told."""
    if not user.exists:
        return []
    rows = _oldest(user, turn.limits.read_rows_max)
    old = [row for row in rows if row[1] == MESSAGE and row[4] < m.before_us]
    effects: list[Effect] = []
    if old and _remove(user, old, EXPIRED, turn, effects) and len(old) == len(rows):
        effects.append(Tell(user.number, m))
    return effects


def _oldest(user: User, limit: int) -> list[Oldest]:
    want = OldestWant(user.number, 0, limit)
    if want not in user.loaded:
        raise NotLoaded(want)
    rows: list[Oldest] = user.loaded[want]  # type: ignore[assignment]
    need_pairs(user, {row[2] for row in rows if row[1] == MESSAGE})
    user.loaded.clear()
    return rows


def _remove(user: User, rows: list[Oldest], code: str, turn: Turn, effects: list[Effect]) -> bool:
    """Remove rows that no live session holds; tell their senders unless already delivered."""
    held = min(
        (user.devices[device].confirmed for device in user.attached if device in user.devices),
        default=user.tail,
    )
    rows = [row for row in rows if row[0] <= held]
    if not rows:
        return False
    told: dict[int, Pair] = {}
    for q, _kind, peer, id, _stored in rows:
        effects.append(InboxGone(user.number, q))
        pair = user.pairs[peer]
        if id > pair.delivered_id:
            _note_removed(pair, id, code)
            told[peer] = pair
    user.waiting -= len(rows)
    for pair in told.values():
        effects.append(pair_row(user, pair))
        send_receipt(user, pair, turn, effects)
    before = user.tail
    user.tail = q = before + 1
    first, last = rows[0][0], rows[-1][0]
    effects.append(
        InboxRow(user.number, q, TRIM, user.number, first, 0, 0, last, code, turn.now_us, None)
    )
    effects.append(account_row(user))
    item = Item(before, q, TRIM, user.address, first, 0, 0, last, code, None)
    push_item(user, item, user.number, before, turn, effects)
    return True


def _note_removed(pair: Pair, id: int, code: str) -> None:
    """Ranges merge: all that this sender stored here between two removed ids is removed."""
    if pair.removed:
        first, last, was = pair.removed[-1]
        if was == code and id > last >= pair.delivered_id:  # nothing was delivered between
            pair.removed[-1] = (first, id, code)
            return
    pair.removed.append((id, id, code))

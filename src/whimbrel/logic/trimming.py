"""Trimming: what nobody collects leaves the inbox, aloud.

An inbox holds at most `inbox_messages_max` rows with a body, messages and copies of own ones;
the oldest make room, and each waits at most `inbox_expiry_s`. Law 5: bounded. Law 2: whoever
wrote a removed message hears of it, unless some device had it; the devices that missed it
get a TRIM item. Used by deliver.py and submit.py.
"""

from whimbrel.domain.answers import Item
from whimbrel.domain.effects import Effect, Tell
from whimbrel.domain.errors import EXPIRED, TRIMMED
from whimbrel.domain.messages import ExpireInbox
from whimbrel.domain.rows import MESSAGE, TRIM, InboxGone, InboxRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Pair, User
from whimbrel.domain.wants import NotLoaded, OldestWant
from whimbrel.logic.pairs import account_row, need_pairs, pair_row, push_item
from whimbrel.logic.receipts import send_receipt

Oldest = tuple[int, int, int, int, int]  # q, kind, peer, id, stored_us


def make_room(user: User, turn: Turn, effects: list[Effect]) -> bool:
    """Remove the oldest waiting bodies. False: a live session holds them."""
    return _remove(user, _oldest(user, turn.limits.trim_slice), TRIMMED, turn, effects)


def on_expire(user: User, m: ExpireInbox, turn: Turn) -> list[Effect]:
    """Remove what waited too long; the senders are told."""
    if not user.exists:
        return []
    rows = _oldest(user, turn.limits.read_rows_max)
    old = [row for row in rows if row[4] < m.before_us]
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
    for q, kind, peer, id, _stored in rows:
        effects.append(InboxGone(user.number, q))
        if kind != MESSAGE:
            continue  # a copy of what the account itself sent
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

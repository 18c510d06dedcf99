"""Receipts: the second and the blue check mark, told as state and repeated until heard.

DELIVERY.md "Receipts". The recipient's actor owes one receipt a pair (delivered_id, read_id,
removed ranges); the sender's actor marks its ledger rows and shows its devices one item a
peer. Law: a mark shown never covers a message that the recipient does not hold.
"""

from bisect import insort

from whimbrel.domain.answers import CommandRefused, Gone, Item, ReadDone, UnknownSession
from whimbrel.domain.effects import Effect, Push, Tell
from whimbrel.domain.errors import UNDELIVERABLE, UnknownRecipient
from whimbrel.domain.im import Done, MarksShown, PeerRefGet, PeerRefIs, ReadRef
from whimbrel.domain.messages import MarkRead, Receipt, ReceiptAck
from whimbrel.domain.rows import (
    DELIVERED,
    FAILURE,
    OWN,
    READ,
    RECEIPT,
    REMOVED,
    InboxGone,
    InboxRow,
    SentMarks,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER, Pair, User
from whimbrel.domain.wants import NotLoaded, RefsWant
from whimbrel.logic.pairs import (
    account_row,
    backoff_us,
    done_with,
    floor_of,
    pair_of,
    pair_row,
    push_item,
    wake_by,
)

# ---- as recipient -----------------------------------------------------------------------


REFS_MAX = 1_000  # of the newest named messages to a peer, among which a marker's is looked for
HIDDEN_MAX = 64  # runs of messages refused by a block that a pair remembers untold


def on_mark_read(user: User, m: MarkRead, turn: Turn) -> list[Effect]:
    """A device says its person has read up to a message; only what was delivered counts."""
    if m.device not in user.devices:
        return [Push(m.session, Gone("replaced"))]
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return [Push(m.session, UnknownSession())]
    pair = pair_of(user, m.peer)
    if not pair.stored_id:
        return [Push(m.session, CommandRefused("read", UnknownRecipient.code))]
    effects = _read(user, pair, m.id, turn)
    # The mark as it stands: a read that overtook its confirm has to be said again.
    effects.append(Push(m.session, ReadDone(m.to, pair.read_id)))
    return effects


def _read(user: User, pair: Pair, id: int, turn: Turn) -> list[Effect]:
    effects: list[Effect] = []
    upto = min(id, pair.delivered_id)
    if upto > pair.read_id:
        pair.read_id = upto
        effects.append(pair_row(user, pair))
        send_receipt(user, pair, turn, effects)
    return effects


def on_read_ref(user: User, m: ReadRef, turn: Turn) -> list[Effect]:
    """A marker for a message of an earlier session: only its sender's ledger knows the name."""
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return []  # it attaches, and says it again
    if not pair_of(user, m.peer).stored_id:
        return [Push(m.session, Done(m.tag))] if m.tag else []
    return [Tell(m.peer, PeerRefGet(user.number, m.ref, m.session, m.tag))]


def on_peer_ref_get(user: User, m: PeerRefGet, turn: Turn) -> list[Effect]:
    want = RefsWant(user.number, m.peer, 0, NEVER, REFS_MAX)
    if want not in user.loaded:
        raise NotLoaded(want)
    refs: list[tuple[int, str]] = user.loaded.pop(want)  # type: ignore[assignment]
    ids = [id for id, ref in refs if ref == m.ref]
    id = ids[-1] if ids else 0
    return [Tell(m.peer, PeerRefIs(user.number, id, m.session, m.tag))] if id or m.tag else []


def on_peer_ref_is(user: User, m: PeerRefIs, turn: Turn) -> list[Effect]:
    effects = _read(user, pair_of(user, m.peer), m.id, turn)
    if m.tag:
        effects.append(Push(m.session, Done(m.tag)))
    return effects


def send_receipt(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    """Tell the sender where we stand; again with back-off until it has answered."""
    limits = turn.limits
    if pair.receipt_attempts:
        pair.receipt_retry_us = turn.mono_us + backoff_us(
            pair.receipt_attempts, limits.retry_first_s, limits.retry_max_s, pair.delivered_id
        )
    else:
        pair.receipt_retry_us = turn.retry_us
    pair.receipt_attempts += 1
    user.owing.add(pair.peer)
    wake_by(user, pair.receipt_retry_us)
    effects.append(
        Tell(
            pair.peer,
            Receipt(user.number, pair.delivered_id, pair.read_id, tuple(pair.removed)),
        )
    )


def try_receipt_now(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    """The sender lives elsewhere now."""
    if pair.receipt_attempts:
        pair.receipt_attempts = 0
        send_receipt(user, pair, turn, effects)


def retry_receipt(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    if pair.receipt_retry_us <= turn.mono_us:
        send_receipt(user, pair, turn, effects)
    else:
        wake_by(user, pair.receipt_retry_us)


def on_receipt_ack(user: User, m: ReceiptAck, turn: Turn) -> list[Effect]:
    pair = pair_of(user, m.peer)
    if not pair.owed:
        return []
    pair.acked_delivered_id = max(pair.acked_delivered_id, m.delivered_id)
    pair.acked_read_id = max(pair.acked_read_id, m.read_id)
    if m.removed:
        heard = set(m.removed)
        pair.removed = [part for part in pair.removed if tuple(part) not in heard]
    pair.receipt_attempts = 0
    if not pair.owed and not pair.open:
        done_with(user, pair.peer, turn)
    return [pair_row(user, pair)]


# ---- as sender --------------------------------------------------------------------------


def on_receipt(user: User, m: Receipt, turn: Turn) -> list[Effect]:
    """The recipient's state. Removed ranges first; then marks on rows that are stored."""
    if not user.exists:
        return [Tell(m.peer, ReceiptAck(user.number, m.delivered_id, m.read_id, m.removed))]
    pair = pair_of(user, m.peer)
    effects: list[Effect] = []
    now = turn.now_us
    changed = False
    for first, last, code in m.removed:
        if last > pair.peer_removed_id:
            first = max(first, pair.peer_removed_id + 1)
            _mark(user, pair, first - 1, last, REMOVED, code, now, effects)
            pair.peer_removed_id = last
            _tell_removed(user, pair, first, last, code, turn, effects)
            changed = True
    old = pair.peer_delivered_id
    if m.delivered_id > old:
        _mark(user, pair, old, m.delivered_id, DELIVERED, "", now, effects)
        pair.peer_delivered_id = m.delivered_id
        changed = True
    old = pair.peer_read_id
    if m.read_id > old:
        _mark(user, pair, old, m.read_id, READ, "", now, effects)
        pair.peer_read_id = m.read_id
        changed = True
    if changed:
        show_receipt(user, pair, turn, effects)
    effects.append(Tell(m.peer, ReceiptAck(user.number, m.delivered_id, m.read_id, m.removed)))
    return effects


def _mark(
    user: User,
    pair: Pair,
    after: int,
    upto: int,
    state: int,
    code: str,
    now: int,
    effects: list[Effect],
) -> None:
    effects.append(SentMarks(user.number, pair.peer, after, upto, state, code, now))


def _tell_removed(
    user: User, pair: Pair, first: int, last: int, code: str, turn: Turn, effects: list[Effect]
) -> None:
    before = user.tail
    user.tail = q = before + 1
    effects.append(
        InboxRow(user.number, q, FAILURE, pair.peer, last, 0, 0, first, code, turn.now_us, None)
    )
    effects.append(account_row(user))
    item = Item(before, q, FAILURE, pair.address, last, 0, 0, first, code, None)
    push_item(user, item, pair.peer, before, turn, effects)


def hide(user: User, pair: Pair, id: int, turn: Turn, effects: list[Effect]) -> None:
    """Remember a message that a block refused. A run of them is one range, if nothing between
    was stored and nothing below is still open: answers may come in any order.
    """
    hidden = pair.hidden
    lowest = next(iter(pair.open), NEVER)
    if hidden and pair.kept_id < hidden[-1][1] < id < lowest:
        hidden[-1] = (hidden[-1][0], id)
    else:
        insort(hidden, (id, id))  # the lowest stands first, in whatever order answers came
    if len(hidden) > HIDDEN_MAX:
        tell_hidden(user, pair, hidden[0][0], turn, effects)
    effects.append(pair_row(user, pair))


def tell_hidden(user: User, pair: Pair, upto: int, turn: Turn, effects: list[Effect]) -> None:
    """A watermark is about to pass over messages that a block refused: a mark must not lie,
    so their failure is told before it, without its reason.
    """
    for first, last in pair.hidden:
        if first <= upto:
            _tell_removed(user, pair, first, last, UNDELIVERABLE, turn, effects)
    pair.hidden = [part for part in pair.hidden if part[0] > upto]


def xmpp_listeners(user: User) -> list[int]:
    """The sessions of an account that only XMPP clients use, and that are here now: they are told
    at once. A mark that is lost with its session is not a mark that lies.
    """
    for device in user.devices.values():
        if device.kind == OWN:
            return []
    return [att.session for att in user.attached.values() if att.resource and att.cursor != NEVER]


def show_receipt(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    """One RECEIPT item a peer: the old one goes, the new one comes under a new number.

    Clipped below the first open row: a message that is still being retried has one mark.
    """
    delivered, read = pair.peer_delivered_id, pair.peer_read_id
    if pair.open:
        below = next(iter(pair.open)) - 1
        delivered, read = min(delivered, below), min(read, below)
    if pair.hidden and pair.hidden[0][0] <= delivered:
        tell_hidden(user, pair, delivered, turn, effects)
    listeners = xmpp_listeners(user)
    if listeners:
        shown = MarksShown(pair.address, delivered, read)
        effects += [pair_row(user, pair), *(Push(session, shown) for session in listeners)]
        return
    if pair.receipt_q > floor_of(user):
        effects.append(InboxGone(user.number, pair.receipt_q))
    before = user.tail
    user.tail = pair.receipt_q = q = before + 1
    effects.append(
        InboxRow(user.number, q, RECEIPT, pair.peer, delivered, 0, 0, read, "", turn.now_us, None)
    )
    effects.append(account_row(user))
    effects.append(pair_row(user, pair))
    item = Item(before, q, RECEIPT, pair.address, delivered, 0, 0, read, "", None)
    push_item(user, item, pair.peer, before, turn, effects)

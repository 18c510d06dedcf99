"""Submit: a device sends; its actor stores the message and brings it to the peer's actor.

DELIVERY.md "Device -> actor" and the sender's half of "Actor -> actor". Law 1: every answer
here is released by the commit that holds the row. Law 2: a repeated submit gets the same
answer and never makes a second message.
"""

from whimbrel.domain.answers import Gone, Item, Stored, SubmitRefused, UnknownSession
from whimbrel.domain.effects import Effect, Note, Push, Tell
from whimbrel.domain.errors import (
    BLOCKED,
    EXPIRED,
    GAP,
    INTERNAL,
    NUMBER_USED,
    TOO_OLD,
    Busy,
    RateLimited,
    UnknownRecipient,
)
from whimbrel.domain.ids import next_id
from whimbrel.domain.messages import Ack, BusyAck, Deliver, Submit
from whimbrel.domain.rows import (
    COPY,
    DELIVERED,
    FAILURE,
    OPEN,
    REFUSED,
    REMOVED,
    RESOURCE,
    STORED,
    ArchiveRow,
    InboxRow,
    SentRow,
    SentState,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Device, Open, Pair, User
from whimbrel.domain.wants import NotLoaded, SentWant
from whimbrel.logic.pairs import (
    account_row,
    backoff_us,
    count_contact,
    device_row,
    done_with,
    has_readers,
    pair_of,
    pair_row,
    push_item,
    wake_by,
)
from whimbrel.logic.receipts import hide, show_receipt
from whimbrel.logic.trimming import make_room


def on_submit(user: User, m: Submit, turn: Turn) -> list[Effect]:
    device = user.devices.get(m.device)
    if device is None:
        return [Push(m.session, Gone("replaced"))]
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return [Push(m.session, UnknownSession())]
    c = m.c
    if c <= device.submitted:
        return _repeat_answer(user, m)
    if c > device.submitted + 1:
        return [Push(m.session, SubmitRefused(c, GAP, device.submitted + 1))]
    if m.refused:
        refusal: list[Effect] = []
        _refuse(user, device, m, m.refused, turn, refusal)
        return refusal
    pair = pair_of(user, m.peer)
    if pair.blocked and device.kind == RESOURCE:  # XEP-0191 section 3.5; our own clients know
        told: list[Effect] = []
        _refuse(user, device, m, BLOCKED, turn, told)
        return told
    if user.open_count >= turn.limits.open_per_account_max:
        return [Push(m.session, SubmitRefused(c, Busy.code, 0, 1))]
    effects: list[Effect] = []
    copied = len(user.devices) > 1 and has_readers(user, device)
    full = copied and user.waiting >= turn.limits.inbox_messages_max
    if full and not make_room(user, turn, effects):  # for the copy
        return [Push(m.session, SubmitRefused(c, Busy.code, 0, 1))]
    if not pair.wrote or not pair.exists or pair.address != m.to:
        if not pair.stored_id:  # whoever wrote to us first tells us nothing new by existing
            wait_s = count_contact(user, turn)
            if wait_s:
                return [Push(m.session, SubmitRefused(c, RateLimited.code, 0, wait_s))]
            effects.append(account_row(user))
        if not pair.exists or pair.address != m.to:
            del user.pairs[m.peer]  # looked up anew next time
            user.forgot = True
            _refuse(user, device, m, UnknownRecipient.code, turn, effects)
            return effects
        pair.wrote = True
        pair.address = m.to
        effects.append(pair_row(user, pair))
    _accept(user, device, pair, m, copied, turn, effects)
    return effects


def _accept(
    user: User,
    device: Device,
    pair: Pair,
    m: Submit,
    copied: bool,
    turn: Turn,
    effects: list[Effect],
) -> None:
    now = turn.now_us
    id = next_id(now, user.last_id)
    user.last_id = device.last_id = id
    device.submitted = m.c
    effects.append(
        SentRow(
            user.number,
            id,
            m.peer,
            m.device,
            m.c,
            m.hash,
            OPEN,
            "",
            now,
            0,
            0,
            0,
            0,
            m.body,
            m.ref,
        )
    )
    if turn.limits.archive_s:
        effects.append(ArchiveRow(user.number, id, m.peer, m.to, True, m.body))
    effects.append(device_row(user, device))
    effects.append(Push(m.session, Stored(m.c, id)))
    if copied:
        _copy(user, m, id, turn, effects)
    entry = Open(id, m.device, m.c, m.body, now)
    opened = pair.open
    under_way = len(opened)
    prev = next(reversed(opened)) if under_way else 0
    opened[id] = entry
    user.open_count += 1
    user.owing.add(m.peer)
    if under_way < turn.limits.open_per_peer_max:
        _deliver(user, pair, entry, prev, turn, effects)


def _deliver(
    user: User, pair: Pair, entry: Open, prev: int, turn: Turn, effects: list[Effect]
) -> None:
    """One try; the next one is due after the back-off, whatever becomes of this one."""
    limits = turn.limits
    if entry.attempts:
        effects.append(Note("retried"))
        entry.retry_us = turn.mono_us + backoff_us(
            entry.attempts, limits.retry_first_s, limits.retry_max_s, entry.id
        )
    else:
        entry.retry_us = turn.retry_us
    entry.attempts += 1
    if entry.retry_us < user.alarm_us:
        user.alarm_us = entry.retry_us
    effects.append(
        Tell(
            pair.peer,
            Deliver(
                user.number,
                user.address,
                entry.id,
                prev,
                next(iter(pair.open)),
                entry.accepted_us + limits.deliver_deadline_s * 1_000_000,
                entry.device,
                entry.c,
                entry.body,
            ),
        )
    )


def retry(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    """Try the oldest open rows whose time has come; give up on those past the deadline."""
    limits = turn.limits
    patience_s = limits.deliver_deadline_s + limits.deadline_grace_s
    late_us = turn.now_us - patience_s * 1_000_000
    for entry in [entry for entry in pair.open.values() if entry.accepted_us < late_us]:
        _close(user, pair, entry, REMOVED, EXPIRED, turn, effects)
    prev = 0
    for count, entry in enumerate(pair.open.values()):
        if count >= limits.open_per_peer_max:
            break
        if entry.retry_us <= turn.mono_us:
            _deliver(user, pair, entry, prev, turn, effects)
        else:
            wake_by(user, entry.retry_us)
        prev = entry.id


def try_now(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    """The peer lives elsewhere now: what is under way is said there, without its old back-off."""
    prev = 0
    for count, entry in enumerate(pair.open.values()):
        if count >= turn.limits.open_per_peer_max:
            break
        if entry.attempts:
            entry.attempts = 0
            _deliver(user, pair, entry, prev, turn, effects)
        prev = entry.id


def on_ack(user: User, m: Ack, turn: Turn) -> list[Effect]:
    """The recipient stored it, or refused it for good. Counts only for an open row."""
    pair = pair_of(user, m.peer)
    entry = pair.open.get(m.id)
    if entry is None:
        return []
    effects: list[Effect] = []
    if m.code:
        _close(user, pair, entry, REFUSED, m.code, turn, effects)
    elif m.id <= pair.peer_delivered_id:
        _close(user, pair, entry, DELIVERED, "", turn, effects)
        show_receipt(user, pair, turn, effects)
    else:
        _close(user, pair, entry, STORED, "", turn, effects)
    if pair.open:
        _go_on(user, pair, turn, effects)
    return effects


def on_busy(user: User, m: BusyAck, turn: Turn) -> list[Effect]:
    """Not taken: the row stays open and the back-off that is already running decides."""
    pair = user.pairs.get(m.peer)
    entry = pair.open.get(m.id) if pair else None
    if entry is not None:
        wake_by(user, entry.retry_us)
    return []


def _go_on(user: User, pair: Pair, turn: Turn, effects: list[Effect]) -> None:
    """The peer takes messages: the row that entered the window gets its first try, and a
    head that has failed before is not left to its long back-off (it holds up all others).
    """
    head = next(iter(pair.open.values()))
    if head.attempts >= 2:
        _deliver(user, pair, head, 0, turn, effects)
    if len(pair.open) < turn.limits.open_per_peer_max:
        return
    prev = 0
    for count, entry in enumerate(pair.open.values()):
        if count >= turn.limits.open_per_peer_max:
            return
        if entry.retry_us == 0:
            _deliver(user, pair, entry, prev, turn, effects)
        prev = entry.id


def _close(
    user: User,
    pair: Pair,
    entry: Open,
    state: int,
    code: str,
    turn: Turn,
    effects: list[Effect],
) -> None:
    """The row leaves `open`; a failure is told to the devices, except that of a block.

    Policy: someone who is blocked sees one check mark, and nothing else; only when a receipt
    would pass over such a message its failure is told first (receipts.tell_hidden).
    """
    del pair.open[entry.id]
    user.open_count -= 1
    if not pair.open and not pair.owed:
        done_with(user, pair.peer, turn)
    at_us = max(turn.now_us, entry.accepted_us + 1)  # never as if refused at the submit
    effects.append(SentState(user.number, entry.id, state, code, at_us))
    if code == BLOCKED:
        hide(user, pair, entry.id, turn, effects)
    elif entry.id > pair.kept_id:
        pair.kept_id = entry.id
    if state in (REFUSED, REMOVED) and code != BLOCKED:
        append_failure(user, pair, entry.device, entry.c, entry.id, 0, code, turn, effects)
        if pair.peer_delivered_id:
            show_receipt(user, pair, turn, effects)


def append_failure(
    user: User,
    pair: Pair,
    device: int,
    c: int,
    id: int,
    first: int,
    code: str,
    turn: Turn,
    effects: list[Effect],
) -> None:
    """A FAILURE item for the account's devices: one message, or ids first..id."""
    before = user.tail
    user.tail = q = before + 1
    effects.append(
        InboxRow(user.number, q, FAILURE, pair.peer, id, device, c, first, code, turn.now_us, None)
    )
    effects.append(account_row(user))
    item = Item(before, q, FAILURE, pair.address, id, device, c, first, code, None)
    push_item(user, item, pair.peer, before, turn, effects)


def _copy(user: User, m: Submit, id: int, turn: Turn, effects: list[Effect]) -> None:
    """What one device sent is shown on the account's other devices, in the same sequence."""
    before = user.tail
    user.tail = q = before + 1
    user.waiting += 1
    effects.append(
        InboxRow(user.number, q, COPY, m.peer, id, m.device, m.c, 0, "", turn.now_us, m.body)
    )
    effects.append(account_row(user))
    item = Item(before, q, COPY, m.to, id, m.device, m.c, 0, "", m.body)
    push_item(user, item, m.peer, before, turn, effects)


def _repeat_answer(user: User, m: Submit) -> list[Effect]:
    """c was used before: the answer its row gives, if it is the same message."""
    want = SentWant(user.number, m.device, m.c)
    if want not in user.loaded:
        raise NotLoaded(want)
    row = user.loaded[want]
    user.loaded.clear()
    if not isinstance(row, SentRow):
        return [Push(m.session, SubmitRefused(m.c, TOO_OLD))]
    if row.hash != m.hash:
        return [Push(m.session, SubmitRefused(m.c, NUMBER_USED))]
    if row.state == REFUSED and row.final_us == row.accepted_us:  # told at submit, not later
        return [Push(m.session, SubmitRefused(m.c, row.code))]
    return [Push(m.session, Stored(m.c, row.id))]


def _refuse(
    user: User, device: Device, m: Submit, code: str, turn: Turn, effects: list[Effect]
) -> None:
    """A permanent refusal uses the number up, so that later submits stay dense."""
    id = next_id(turn.now_us, user.last_id)
    user.last_id = device.last_id = id
    device.submitted = m.c
    now = turn.now_us
    effects.append(
        SentRow(
            user.number, id, m.peer, m.device, m.c, m.hash, REFUSED, code, now, 0, 0, 0, now, None
        )
    )
    effects.append(device_row(user, device))
    effects.append(Push(m.session, SubmitRefused(m.c, code)))


def refuse_poison(user: User, m: Submit, turn: Turn) -> list[Effect]:
    """This submit killed the actor twice: it is refused for good."""
    device = user.devices.get(m.device)
    effects: list[Effect] = []
    if device is not None and m.c == device.submitted + 1:
        _refuse(user, device, m, INTERNAL, turn, effects)
    return effects

"""Stream: items flow from the inbox to each attached device, in order, within a window.

DELIVERY.md "Actor -> device". A device that has had everything gets a new row at once
(logic/pairs.push_item); one that lags is fed from the store, slice by slice, as it confirms,
so that a backlog of 100,000 needs no memory. Law 4: what every device confirmed is wiped.
"""

from whimbrel.domain.answers import EndOfQueue, Gone, Item, Rejected, UnknownSession
from whimbrel.domain.effects import Effect, Note, Push, ReadInbox, Tell
from whimbrel.domain.errors import BadConfirm
from whimbrel.domain.messages import Confirm, InboxRead, Rewind
from whimbrel.domain.rows import LAST_WITH_BODY, MESSAGE, RESOURCE, InboxUpto
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER, Attachment, Device, Flight, Pair, User
from whimbrel.domain.wants import FlightsWant, NotLoaded
from whimbrel.logic.pairs import (
    ITEM_OVERHEAD_BYTES,
    account_row,
    device_row,
    floor_of,
    fly,
    for_device,
    need_pairs,
    offline_of,
    pair_row,
    wake_by,
)
from whimbrel.logic.presence import tell_watchers
from whimbrel.logic.receipts import send_receipt

Known = tuple[int, int, int, int]  # q, kind, peer, id

ATTACHES_MISSED = 4  # so many a session may miss before it is taken for dead
CONFIRM_SLICE = 1_024  # rows of an old confirm taken in one turn
DELIVERED_ONE = Note("delivered")


def on_confirm(user: User, m: Confirm, turn: Turn) -> list[Effect]:
    """Cumulative: everything up to q is stored and shown on this device."""
    device = user.devices.get(m.device)
    if device is None:
        return [Push(m.session, Gone("replaced"))]
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return [Push(m.session, UnknownSession())]
    if m.q > user.tail:
        return [Push(m.session, Rejected(BadConfirm.code))]
    if device.confirmed == NEVER:  # it has stopped taking, and had these before
        base = offline_of(user)
        if base is None:
            return []
        device = base
    if m.q <= device.confirmed:
        return []
    effects: list[Effect] = []
    upto = _confirm(user, device, att, m.q, turn, effects)
    if upto < m.q:  # a long confirm from before this session: the rest in the next turn
        effects.append(Tell(user.number, m))
    if att.cursor < user.tail or not att.ended:
        effects += pump(user, att, turn)
    return effects


def _confirm(
    user: User, device: Device, att: Attachment, q: int, turn: Turn, effects: list[Effect]
) -> int:
    old = device.confirmed
    if old >= att.base and q <= att.cursor:
        flights = att.flights
        if flights and flights[-1].q > q:
            flights = [flight for flight in flights if flight.q <= q]
    else:
        flights, q = _read_flights(user, old, q)
    highest: dict[int, int] = {}
    for flight in flights:
        if flight.kind == MESSAGE:
            highest[flight.peer] = flight.id  # rising per peer: the last one is the highest
    if highest:
        need_pairs(user, highest)
    user.loaded.clear()
    floor = floor_of(user)
    device.confirmed = q
    base = offline_of(user) if device.kind == RESOURCE else None
    if base is not None and base.confirmed < q:
        base.confirmed = q
        effects.append(device_row(user, base))  # a resource's own row may lag: its session knows
    else:
        effects.append(device_row(user, device))
    _land(att, q)
    for peer, id in highest.items():
        pair = user.pairs[peer]
        if id > pair.delivered_id:
            effects.append(_newly_delivered(flights, pair))
            pair.delivered_id = id
            effects.append(pair_row(user, pair))
            send_receipt(user, pair, turn, effects)
    wiped = floor_of(user)
    if wiped > floor:
        effects.append(InboxUpto(user.number, wiped))
        _count_wiped(user, flights, floor, wiped, effects)
    return q


def _newly_delivered(flights: list[Flight], pair: Pair) -> Note:
    """Counts what no device had confirmed before. Nearly always that is one message."""
    if len(flights) == 1:
        return DELIVERED_ONE
    old, peer = pair.delivered_id, pair.peer
    new = [f for f in flights if f.peer == peer and f.kind == MESSAGE and f.id > old]
    return Note("delivered", len(new))


def _count_wiped(
    user: User, flights: list[Flight], floor: int, wiped: int, effects: list[Effect]
) -> None:
    """The lowest device has moved: its flights were the rows that are gone now."""
    gone = 0
    for flight in flights:
        if flight.kind <= LAST_WITH_BODY and floor < flight.q <= wiped:
            gone += 1
    if gone:
        user.waiting = max(0, user.waiting - gone)
        effects.append(account_row(user))


def _read_flights(user: User, after: int, upto: int) -> tuple[list[Flight], int]:
    """What a confirm from an earlier session covers is read from the store, in slices."""
    want = FlightsWant(user.number, after, upto, CONFIRM_SLICE)
    if want not in user.loaded:
        raise NotLoaded(want)
    rows: list[Known] = user.loaded[want]  # type: ignore[assignment]
    flights = [Flight(q, kind, peer, id) for q, kind, peer, id in rows]
    return flights, flights[-1].q if len(flights) >= CONFIRM_SLICE else upto


def _land(att: Attachment, q: int) -> None:
    """Flights up to q have landed."""
    flights = att.flights
    if flights:
        if flights[-1].q <= q:
            att.flights = []
            att.bytes = 0
        else:
            att.flights = flying = [flight for flight in flights if flight.q > q]
            att.bytes = sum(flight.bytes for flight in flying)
    if att.base < q:
        att.base = q
    if att.cursor < q:
        att.cursor = q
    if att.sent < q:
        att.sent = q


def pump(user: User, att: Attachment, turn: Turn) -> list[Effect]:
    """Ask for the next slice if the device lags and its window has room."""
    if att.reading:
        return []
    if att.cursor >= user.tail:
        if att.ended:
            return []
        att.ended = True
        return [Push(att.session, EndOfQueue(att.cursor))]
    limits = turn.limits
    room = limits.window_items_max - len(att.flights)
    room_bytes = limits.window_bytes_max - att.bytes
    if att.flights and (room < max(1, limits.window_items_max // 4) or room_bytes <= 0):
        return []
    att.reading = True
    return [
        ReadInbox(
            user.number, att.device, att.session, att.cursor, user.tail, room, max(room_bytes, 1)
        )
    ]


def on_inbox_read(user: User, m: InboxRead, turn: Turn) -> list[Effect]:
    """A slice from the store: sent if it still continues where the device stands."""
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return []
    att.reading = False
    effects: list[Effect] = []
    if m.after == att.cursor:
        for row, address in m.rows:
            item = Item(
                att.sent,
                row.q,
                row.kind,
                address,
                row.id,
                row.device,
                row.c,
                row.extra,
                row.code,
                row.body,
            )
            effects.append(Push(att.session, for_device(item, att)))
            size = ITEM_OVERHEAD_BYTES + (len(row.body) if row.body else 0)
            fly(user, att, item, row.peer, size, turn)
        if m.upto > att.cursor:
            att.cursor = m.upto  # rows that were replaced or removed leave holes
    effects += pump(user, att, turn)
    return effects


def on_rewind(user: User, m: Rewind, turn: Turn) -> list[Effect]:
    """The session missed something: go back to what it has."""
    device = user.devices.get(m.device)
    att = user.attached.get(m.device)
    if device is None or att is None or att.session != m.session:
        return [Push(m.session, UnknownSession())]
    rewind(device, att, max(m.last, device.confirmed))
    return pump(user, att, turn)


def _let_go(user: User, att: Attachment, turn: Turn, effects: list[Effect]) -> None:
    """Its node is gone and nobody said so: a session that lives attaches again and again.

    It would hold the inbox of an account whose devices are all away (trimming.py).
    """
    del user.attached[att.device]
    effects.append(Push(att.session, UnknownSession()))
    if not user.there:
        user.last_seen_us = turn.now_us
        tell_watchers(user, turn, effects)


def rewind(device: Device, att: Attachment, to: int) -> None:
    """Forget what was sent after `to`; it will be read and sent again."""
    if to >= att.cursor:
        return
    att.flights = [flight for flight in att.flights if flight.q <= to]
    att.bytes = sum(flight.bytes for flight in att.flights)
    att.cursor = att.sent = to
    att.base = min(att.base, to)
    att.reading = False


def rewind_stale(user: User, turn: Turn) -> list[Effect]:
    """Items that nobody confirmed for a long time are sent again (a push may be lost)."""
    effects: list[Effect] = []
    patience_us = int(turn.limits.rewind_s * 1_000_000)
    for att in list(user.attached.values()):
        device = user.devices.get(att.device)
        if device is None or not att.flights:
            continue
        if turn.mono_us - att.seen_us > ATTACHES_MISSED * turn.limits.reattach_s * 1_000_000:
            _let_go(user, att, turn, effects)
            continue
        due_us = att.flights[0].sent_us + patience_us
        if due_us > turn.mono_us:
            wake_by(user, due_us)
            continue
        rewind(device, att, device.confirmed)
        effects += pump(user, att, turn)
    return effects

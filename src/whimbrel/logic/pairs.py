"""Pairs, rows and back-off: what every rule of the user actor needs.

Law: a fact that is missing is asked for (NotLoaded) before a rule changes anything.
"""

from collections.abc import Collection

import msgspec

from whimbrel.domain.answers import Item, ToSession
from whimbrel.domain.effects import Effect, Push
from whimbrel.domain.rows import (
    COPY,
    LAST_WITH_BODY,
    OFFLINE,
    AccountRow,
    DeviceRow,
    InboxUpto,
    PairRow,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER, Attachment, Device, Flight, Pair, User
from whimbrel.domain.wants import (
    FlightsWant,
    NotLoaded,
    PairRows,
    PairWant,
    SettledPairWant,
)
from whimbrel.logic.components import is_component

_pack = msgspec.msgpack.Encoder().encode
_unpack_ring = msgspec.msgpack.Decoder(list[tuple[int, str]]).decode
_unpack_hidden = msgspec.msgpack.Decoder(list[tuple[int, int]]).decode
_unpack_removed = msgspec.msgpack.Decoder(list[tuple[int, int, str]]).decode

ITEM_OVERHEAD_BYTES = 64  # what an item costs on the wire beside its body, about


def pair_of(user: User, peer: int) -> Pair:
    """The pair, or NotLoaded."""
    pair = user.pairs.get(peer)
    if pair is None:
        raise NotLoaded(_want(user, peer))
    return pair


def need_pairs(user: User, peers: Collection[int]) -> None:
    """NotLoaded for all that are missing at once."""
    pairs = user.pairs
    for peer in peers:
        if peer not in pairs:
            raise NotLoaded(*(_want(user, each) for each in sorted(peers) if each not in pairs))


def _want(user: User, peer: int) -> PairWant:
    """What was not in memory since the actor woke was not written either: no need to wait."""
    return (PairWant if user.forgot else SettledPairWant)(user.number, peer)


def fill_pair(user: User, peer: int, rows: PairRows) -> Pair:
    """A pair as the store knows it; `rows.address` is "" if the peer has no account."""
    pair = Pair(peer, rows.address)
    pair.exists = bool(rows.address)
    pair.kept_id = user.last_id  # nothing is known of rows that were closed before
    row = rows.row
    if row is not None:
        pair.address = pair.address or row.address
        pair.wrote = row.wrote
        pair.blocked = row.blocked
        pair.stored_id = row.stored_id
        pair.ring = dict(_unpack_ring(row.ring)) if row.ring else {}
        pair.delivered_id = row.delivered_id
        pair.read_id = row.read_id
        pair.removed = _unpack_removed(row.removed) if row.removed else []
        pair.acked_delivered_id = row.acked_delivered_id
        pair.acked_read_id = row.acked_read_id
        pair.peer_delivered_id = row.peer_delivered_id
        pair.peer_read_id = row.peer_read_id
        pair.peer_removed_id = row.peer_removed_id
        pair.hidden = _unpack_hidden(row.hidden) if row.hidden else []
        pair.receipt_q = row.receipt_q
    user.pairs[peer] = pair
    return pair


def pair_row(user: User, pair: Pair) -> PairRow:
    return PairRow(
        user.number,
        pair.peer,
        pair.address,
        pair.wrote,
        pair.blocked,
        pair.stored_id,
        _pack(list(pair.ring.items())) if pair.ring else b"",
        pair.delivered_id,
        pair.read_id,
        _pack(pair.removed) if pair.removed else b"",
        pair.acked_delivered_id,
        pair.acked_read_id,
        pair.owed,
        pair.peer_delivered_id,
        pair.peer_read_id,
        pair.receipt_q,
        pair.peer_removed_id,
        _pack(pair.hidden) if pair.hidden else b"",
    )


def account_row(user: User) -> AccountRow:
    return AccountRow(
        user.number,
        user.address,
        user.created_us,
        user.last_id,
        user.tail,
        user.waiting,
        user.last_device,
        user.last_seen_us,
        user.contacts_hour,
        user.contacts_used,
        user.deleted,
        user.hidden,
        user.contacts,
    )


def device_row(user: User, device: Device) -> DeviceRow:
    return DeviceRow(
        user.number,
        device.number,
        device.key_hash,
        device.name,
        device.submitted,
        device.last_id,
        device.confirmed,
        device.ordinal,
        device.last_seen_us,
        device.kind,
        device.scram,
        device.via,
    )


def backoff_us(attempts: int, first_s: float, max_s: float, salt: int) -> int:
    """Exponential, with jitter of a quarter from `salt`: rules know no chance."""
    base = min(first_s * (1 << min(attempts, 30)), max_s)
    spread = ((salt * 2654435761 + attempts * 40503) >> 7) & 1023
    return int(base * (1_000_000 + spread * 244))


def wake_by(user: User, at_us: int) -> None:
    if at_us < user.alarm_us:
        user.alarm_us = at_us


def done_with(user: User, peer: int, turn: Turn) -> None:
    """Nothing is open or owed to this peer. The alarm that was set for it is taken back, so
    that the usual case (all of it within one turn) never sets a timer.
    """
    user.owing.discard(peer)
    if not user.owing and user.alarm_us <= turn.retry_us:
        user.alarm_us = turn.rewind_us


def floor_of(user: User) -> int:
    """Every device has confirmed the items up to here; a user without devices has none."""
    devices = user.devices
    if len(devices) == 1:  # nearly everybody
        for device in devices.values():
            return device.confirmed
    if not devices:
        return user.tail
    lowest = NEVER
    for device in devices.values():
        if device.confirmed < lowest:
            lowest = device.confirmed
    return lowest


def offline_of(user: User) -> Device | None:
    """Where messages wait for the account's XMPP clients; None if it never had one."""
    for device in user.devices.values():
        if device.kind == OFFLINE:
            return device
    return None


def has_readers(user: User, sender: Device) -> bool:
    """Is there another device that shows what this one sent?"""
    for device in user.devices.values():
        if device is not sender and device.kind != OFFLINE and device.confirmed != NEVER:
            return True
    return False


def wipe_without(user: User, gone: Collection[Device], turn: Turn, effects: list[Effect]) -> None:
    """These are about to hold nothing any more: what they alone held is wiped. NotLoaded."""
    old = floor_of(user)
    left = [each.confirmed for each in user.devices.values() if each not in gone]
    new = min(left, default=old)
    if not old < new < NEVER:
        return
    want = FlightsWant(user.number, old, new, turn.limits.inbox_messages_max * 4)
    if want not in user.loaded:
        raise NotLoaded(want)
    rows: list[tuple[int, int, int, int]] = user.loaded[want]  # type: ignore[assignment]
    user.loaded.clear()
    user.waiting = max(0, user.waiting - sum(row[1] <= LAST_WITH_BODY for row in rows))
    effects += [InboxUpto(user.number, new), account_row(user)]


HOUR_US = 3_600_000_000


def count_contact(user: User, turn: Turn) -> int:
    """0, or seconds to wait: nobody finds out who exists faster than the limits allow. Components
    are the operator's own.
    """
    if is_component(user.address):
        return 0
    hour = turn.now_us // HOUR_US
    if hour != user.contacts_hour:
        user.contacts_hour, user.contacts_used = hour, 0
    if user.contacts_used >= turn.limits.new_contacts_per_hour:
        return int(((hour + 1) * HOUR_US - turn.now_us) // 1_000_000) + 1
    user.contacts_used += 1
    return 0


def push_all(user: User, answer: ToSession) -> list[Effect]:
    return [Push(att.session, answer) for att in user.attached.values()]


def push_item(
    user: User, item: Item, peer: int, before: int, turn: Turn, effects: list[Effect]
) -> None:
    """Send a row that was just appended to every device that has had all before it.

    Law 3: a device that lags gets it from the store, in order, never from here.
    `before` is the tail before the row.
    """
    for att in user.attached.values():
        if att.cursor == before and not att.reading:
            limits = turn.limits
            size = ITEM_OVERHEAD_BYTES + (len(item.body) if item.body else 0)
            flights = att.flights
            if flights and (
                len(flights) >= limits.window_items_max
                or att.bytes + size > limits.window_bytes_max
            ):
                continue
            effects.append(Push(att.session, for_device(item, att)))
            fly(user, att, item, peer, size, turn)


def for_device(item: Item, att: Attachment) -> Item:
    """The item as this device gets it: its own `prev`; a copy goes back without its body."""
    own = item.kind == COPY and item.device == att.device
    if item.prev == att.sent and not own:
        return item
    return msgspec.structs.replace(item, prev=att.sent, body=None if own else item.body)


def fly(user: User, att: Attachment, item: Item, peer: int, size: int, turn: Turn) -> None:
    """Remember an item that is on its way to a device."""
    att.cursor = att.sent = item.q
    att.bytes += size
    att.flights.append(Flight(item.q, item.kind, peer, item.id, size, turn.mono_us))
    if len(att.flights) == 1:
        wake_by(user, turn.rewind_us)

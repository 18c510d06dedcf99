"""The user's actor: which rule answers which message. Read this first of the rules.

BEHAVIOUR is what the runtime's reload-safe table holds: functions only, no state. A message
walks submit -> deliver -> stream -> receipts; each file is one of these words.
"""

from itertools import islice

from whimbrel.domain.answers import (
    Description,
    DeviceDescription,
    Inspected,
    OpenSend,
    Rejected,
)
from whimbrel.domain.effects import Effect, Reply, Tell
from whimbrel.domain.errors import INTERNAL, Busy
from whimbrel.domain.im import (
    ArchiveGet,
    Available,
    Bind,
    BlockedGet,
    Close,
    Credentials,
    DocumentGet,
    DocumentSet,
    KeepVerifiers,
    LastGet,
    NewAccount,
    NewKey,
    PeerAvailable,
    PeerBounce,
    PeerDocument,
    PeerProbe,
    PeerRefGet,
    PeerRefIs,
    PeerRelay,
    PeerSubscription,
    PushRefused,
    PushSet,
    ReadRef,
    RefsGet,
    Relay,
    RemoveThis,
    RosterGet,
    RosterSet,
    SetKey,
    Subscription,
    TokenNew,
    TokenUse,
    Unbind,
)
from whimbrel.domain.messages import (
    Ack,
    Alarm,
    Attach,
    Block,
    BusyAck,
    Confirm,
    Deliver,
    Describe,
    Detach,
    Disconnect,
    ExpireInbox,
    ForgetArchive,
    ForgetLedger,
    Hello,
    Hide,
    InboxRead,
    Inspect,
    Link,
    MarkRead,
    PeerPresence,
    PeerTyping,
    PeerWatch,
    Prove,
    Receipt,
    ReceiptAck,
    Register,
    RemoveAccount,
    Rewind,
    Submit,
    ToActor,
    TryAgain,
    Typing,
    Unlink,
    Watch,
)
from whimbrel.domain.rows import SentForget
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER, Device, Open, User
from whimbrel.domain.wants import PairRows, PairWant, UserRows, UserWant, Want
from whimbrel.logic.contacts import (
    on_last_get,
    on_peer_available,
    on_peer_probe,
    on_peer_subscription,
    on_roster_get,
    on_roster_set,
    on_subscription,
)
from whimbrel.logic.deliver import on_deliver
from whimbrel.logic.deliver import refuse_poison as refuse_poison_deliver
from whimbrel.logic.devices import (
    on_attach,
    on_detach,
    on_disconnect,
    on_hello,
    on_link,
    on_new_account,
    on_prove,
    on_register,
    on_set_key,
    on_unlink,
)
from whimbrel.logic.documents import (
    on_archive_forget,
    on_archive_get,
    on_blocked_get,
    on_document_get,
    on_document_set,
    on_peer_document,
    on_refs_get,
)
from whimbrel.logic.pairs import fill_pair, wake_by
from whimbrel.logic.presence import (
    on_block,
    on_hide,
    on_peer_presence,
    on_peer_typing,
    on_peer_watch,
    on_typing,
    on_watch,
)
from whimbrel.logic.push import on_push_refused, on_push_set
from whimbrel.logic.receipts import (
    on_mark_read,
    on_peer_ref_get,
    on_peer_ref_is,
    on_read_ref,
    on_receipt,
    on_receipt_ack,
    retry_receipt,
    try_receipt_now,
)
from whimbrel.logic.relay import on_peer_bounce, on_peer_relay, on_relay
from whimbrel.logic.removal import on_remove, on_remove_this
from whimbrel.logic.resources import (
    on_available,
    on_bind,
    on_close,
    on_credentials,
    on_keep_verifiers,
    on_new_key,
    on_unbind,
    strays,
    unbind_strays,
)
from whimbrel.logic.stream import on_confirm, on_inbox_read, on_rewind, rewind_stale
from whimbrel.logic.submit import on_ack, on_busy, on_submit, retry, try_now
from whimbrel.logic.submit import refuse_poison as refuse_poison_submit
from whimbrel.logic.tokens import on_token_new, on_token_use
from whimbrel.logic.trimming import on_expire

SENDS_SHOWN = 50  # open messages in the description of an actor


def on_alarm(user: User, m: Alarm, turn: Turn) -> list[Effect]:
    """Everything that waits for time: retries, owed receipts, items nobody confirmed."""
    user.alarm_us = NEVER
    effects: list[Effect] = []
    for peer in sorted(user.owing):
        pair = user.pairs[peer]
        if pair.open:
            retry(user, pair, turn, effects)
        if pair.owed:
            retry_receipt(user, pair, turn, effects)
        if not pair.open and not pair.owed:
            user.owing.discard(peer)
    effects += unbind_strays(user, turn)
    return effects + rewind_stale(user, turn)


def on_try_again(user: User, m: TryAgain, turn: Turn) -> list[Effect]:
    effects: list[Effect] = []
    for peer in m.peers:
        pair = user.pairs.get(peer)
        if pair is None:
            continue
        try_now(user, pair, turn, effects)
        if pair.owed:
            try_receipt_now(user, pair, turn, effects)
    return effects


def on_forget_ledger(user: User, m: ForgetLedger, turn: Turn) -> list[Effect]:
    return [SentForget(user.number, m.before_us)]


def on_describe(user: User, m: Describe, turn: Turn) -> list[Effect]:
    devices = tuple(
        DeviceDescription(
            device.number,
            device.name,
            device.submitted,
            device.confirmed,
            device.last_seen_us,
            device.number in user.attached,
            device.kind,
            user.attached[device.number].session if device.number in user.attached else 0,
            user.attached[device.number].sent if device.number in user.attached else 0,
        )
        for device in user.devices.values()
    )
    return [
        Reply(
            m.reply,
            Description(
                user.address,
                user.exists,
                user.created_us,
                user.tail,
                user.waiting,
                user.open_count,
                user.last_seen_us,
                devices,
                _open_sends(user, turn),
                sum(pair.owed for pair in user.pairs.values()),
            ),
        )
    ]


def _open_sends(user: User, turn: Turn) -> tuple[OpenSend, ...]:
    """At most SENDS_SHOWN of each peer are looked at, so that a full window costs little."""
    found = [
        OpenSend(
            entry.id,
            pair.address,
            entry.device,
            entry.accepted_us,
            entry.attempts,
            max(0, entry.retry_us - turn.mono_us) if entry.retry_us else 0,
        )
        for peer in user.owing
        if (pair := user.pairs.get(peer)) is not None
        for entry in islice(pair.open.values(), SENDS_SHOWN)
    ]
    return tuple(sorted(found, key=lambda send: send.id)[:SENDS_SHOWN])


def on_inspect(user: User, m: Inspect, turn: Turn) -> list[Effect]:
    pair = user.pairs.get(m.peer)
    entry = pair.open.get(m.id) if pair is not None else None
    live = tuple(
        (number, user.attached[number].sent, device.confirmed)
        for number, device in user.devices.items()
        if number in user.attached
    )
    attempts, retry_us = (entry.attempts, entry.retry_us) if entry is not None else (0, 0)
    return [Reply(m.reply, Inspected(attempts, max(0, retry_us - turn.mono_us), live))]


# ---- what the runtime asks beside the messages ------------------------------------------


def new(key: int) -> User:
    return User(key)


def want(key: int, message: ToActor) -> Want:
    """What to read to wake this actor for this message."""
    if isinstance(message, Deliver):
        return UserWant(key, (message.sender,))
    peer = getattr(message, "peer", 0)
    return UserWant(key, (peer,) if peer else ())


def fill(user: User, rows: object) -> None:
    """Load the state from its rows. Open rows are due at once."""
    assert isinstance(rows, UserRows)
    account = rows.account
    if account is None:
        return
    user.exists = not account.deleted
    user.deleted = account.deleted
    user.address = account.address
    user.created_us = account.created_us
    user.tail = account.tail
    user.waiting = account.waiting
    user.last_device = account.last_device
    user.last_seen_us = account.last_seen_us
    user.contacts_hour = account.contacts_hour
    user.contacts_used = account.contacts_used
    user.hidden = account.hidden
    user.contacts = account.contacts
    user.last_id = account.last_id
    for row in rows.devices:
        device = user.devices[row.device] = Device.of(row)
        user.last_id = max(user.last_id, device.last_id)
    for peer, known in rows.pairs.items():
        pair = fill_pair(user, peer, known)
        if pair.owed:
            user.owing.add(peer)
            wake_by(user, 0)
    if strays(user):
        wake_by(user, 0)
    for sent in rows.open:
        pair = user.pairs[sent.peer]
        pair.open[sent.id] = Open(sent.id, sent.device, sent.c, sent.body or b"", sent.accepted_us)
        user.open_count += 1
        user.owing.add(sent.peer)
        wake_by(user, 0)


def attach(user: User, wanted: Want, answer: object) -> None:
    """A fact that a rule asked for with NotLoaded."""
    if isinstance(wanted, PairWant):
        assert isinstance(answer, PairRows)
        if wanted.peer not in user.pairs:
            fill_pair(user, wanted.peer, answer)
    else:
        user.loaded[wanted] = answer


def poison(user: User, message: ToActor, turn: Turn) -> list[Effect]:
    """This message killed its actor twice and is set aside: whoever waits for it is told."""
    if isinstance(message, Deliver):
        return refuse_poison_deliver(user, message)
    if isinstance(message, Submit):
        return refuse_poison_submit(user, message, turn)
    reply = getattr(message, "reply", 0)
    return [Reply(reply, Rejected(INTERNAL))] if reply else []


def busy(key: int, message: ToActor) -> list[Effect]:
    """The mailbox is full: say so, if somebody can hear it."""
    if isinstance(message, Deliver):
        return [Tell(message.sender, BusyAck(key, message.id))]
    reply = getattr(message, "reply", 0)
    return [Reply(reply, Rejected(Busy.code))] if reply else []


def idle(user: User) -> bool:
    """May this actor leave memory? Not while it has promised to retry or to show presence."""
    return not (
        user.owing
        or user.watchers
        or any(att.flights for att in user.attached.values())
        or strays(user)
    )


def migrate(user: User, came: int, goes: int) -> User:
    """Bring a state from one version to another, in both directions (docs/upgrade.md).

    Rules that raise STATE_VERSION know how to do that from and to the version before.
    """
    raise ValueError(f"no way from version {came} of the state to version {goes}")


STATE_VERSION = 1  # of the shape of the state: what its fields hold and mean

HANDLERS = {
    Submit: on_submit,
    Deliver: on_deliver,
    Ack: on_ack,
    BusyAck: on_busy,
    Confirm: on_confirm,
    InboxRead: on_inbox_read,
    Rewind: on_rewind,
    Receipt: on_receipt,
    ReceiptAck: on_receipt_ack,
    MarkRead: on_mark_read,
    Hello: on_hello,
    Attach: on_attach,
    Detach: on_detach,
    Register: on_register,
    RemoveAccount: on_remove,
    Link: on_link,
    Unlink: on_unlink,
    Block: on_block,
    Hide: on_hide,
    Typing: on_typing,
    PeerTyping: on_peer_typing,
    Watch: on_watch,
    PeerWatch: on_peer_watch,
    PeerPresence: on_peer_presence,
    Alarm: on_alarm,
    TryAgain: on_try_again,
    ExpireInbox: on_expire,
    ForgetLedger: on_forget_ledger,
    Describe: on_describe,
    Inspect: on_inspect,
    Disconnect: on_disconnect,
    Prove: on_prove,
    Credentials: on_credentials,
    TokenNew: on_token_new,
    TokenUse: on_token_use,
    Bind: on_bind,
    Unbind: on_unbind,
    Available: on_available,
    NewAccount: on_new_account,
    SetKey: on_set_key,
    RemoveThis: on_remove_this,
    NewKey: on_new_key,
    KeepVerifiers: on_keep_verifiers,
    Close: on_close,
    RosterGet: on_roster_get,
    RosterSet: on_roster_set,
    Subscription: on_subscription,
    PeerSubscription: on_peer_subscription,
    PeerProbe: on_peer_probe,
    LastGet: on_last_get,
    PeerAvailable: on_peer_available,
    Relay: on_relay,
    PeerRelay: on_peer_relay,
    PeerBounce: on_peer_bounce,
    ArchiveGet: on_archive_get,
    ForgetArchive: on_archive_forget,
    DocumentGet: on_document_get,
    DocumentSet: on_document_set,
    PeerDocument: on_peer_document,
    BlockedGet: on_blocked_get,
    RefsGet: on_refs_get,
    ReadRef: on_read_ref,
    PeerRefGet: on_peer_ref_get,
    PeerRefIs: on_peer_ref_is,
    PushSet: on_push_set,
    PushRefused: on_push_refused,
}

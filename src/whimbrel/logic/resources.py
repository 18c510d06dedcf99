"""Resources: XMPP clients bind and go; between them messages wait for the account.

An account has one OFFLINE device, where messages wait while no client is there, and a RESOURCE
for each bound client: a device of its own, so that numbers, windows and confirms are those of
every device. A confirm of any resource also counts for OFFLINE; a new one begins where OFFLINE
stands; what a resource that goes has not confirmed still waits there. decisions/0013.
"""

from hmac import compare_digest

from whimbrel.domain.answers import Gone, Rejected, Removed, UnknownSession
from whimbrel.domain.effects import Effect, Push, Reply
from whimbrel.domain.errors import CONFLICT, Busy, NotAuthorized, Replaced
from whimbrel.domain.im import (
    Available,
    Bind,
    Bound,
    Close,
    Credentials,
    Done,
    KeepVerifiers,
    KeyChanged,
    Keys,
    NewKey,
    Started,
    Unbind,
)
from whimbrel.domain.messages import RemoveAccount
from whimbrel.domain.rows import OFFLINE, OWN, RESOURCE, DeviceGone, DeviceKey
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER, Attachment, Device, User
from whimbrel.logic.contacts import arrive, broadcast, leave, need_roster
from whimbrel.logic.pairs import (
    account_row,
    device_row,
    floor_of,
    offline_of,
    wake_by,
    wipe_without,
)
from whimbrel.logic.presence import tell_watchers
from whimbrel.logic.removal import on_remove
from whimbrel.logic.stream import pump
from whimbrel.logic.tokens import serials

STRAY_ATTACHES = 3  # regular attaches that a session may miss before its resource goes


def on_credentials(user: User, m: Credentials, turn: Turn) -> list[Effect]:
    """The verifiers of an account's keys; an account that is not there has none."""
    keys = tuple(
        (each.number, each.key_hash, each.scram)
        for each in user.devices.values()
        if each.kind != RESOURCE and each.key_hash
    )
    tokens = serials(user) if m.tokens else ()
    return [Push(m.session, Keys(user.address, keys, tokens))]


def on_bind(user: User, m: Bind, turn: Turn) -> list[Effect]:
    """A resource for a session. Who bound the same name before is replaced."""
    known = next((each for each in user.devices.values() if each.ordinal == m.session), None)
    if known is not None and known.kind == RESOURCE:  # the same bind again
        return [Push(m.session, _bound(user, known, turn))]
    via = user.devices.get(m.via)
    if via is None or via.kind == RESOURCE:
        return [Push(m.session, Rejected(NotAuthorized.code))]
    need_roster(user)
    same = [each for each in user.devices.values() if _has_name(each, m.resource)]
    bound = sum(each.kind == RESOURCE for each in user.devices.values())
    if bound - len(same) >= turn.limits.resources_max:
        same += [each for each in strays(user) if each not in same]
    if bound - len(same) >= turn.limits.resources_max:
        return [Push(m.session, Rejected(Busy.code))]
    effects: list[Effect] = []
    wipe_without(user, same, turn, effects)
    for old in same:
        att = user.attached.get(old.number)
        if att is not None:
            effects.append(Push(att.session, Gone(CONFLICT)))
        effects += _drop(user, old, b"", turn)
    base = offline_of(user)
    if base is None:
        effects += _make_offline(user, via)
    user.last_device += 1
    device = Device(user.last_device, b"", m.resource, RESOURCE, m.via)
    device.confirmed = NEVER
    device.ordinal = m.session
    device.last_seen_us = turn.now_us
    user.devices[device.number] = device
    user.attached[device.number] = Attachment(
        device.number, m.session, m.session, NEVER, turn.mono_us, m.resource
    )
    return [
        *effects,
        account_row(user),
        device_row(user, device),
        Push(m.session, _bound(user, device, turn)),
    ]


def _has_name(device: Device, resource: str) -> bool:
    return device.kind == RESOURCE and device.name == resource


def _bound(user: User, device: Device, turn: Turn) -> Bound:
    return Bound(user.address, device.number, device.name, device.ordinal, turn.era)


def _make_offline(user: User, via: Device) -> list[Effect]:
    """The device whose key was shown becomes it, if no client of our own ever used that key."""
    if via.kind == OWN and not via.ordinal and not via.submitted:
        via.kind = OFFLINE
        return [device_row(user, via)]
    return new_offline(user, floor_of(user))


def new_offline(user: User, confirmed: int) -> list[Effect]:
    user.last_device += 1
    base = Device(user.last_device, b"", "", OFFLINE)
    base.confirmed = confirmed
    user.devices[base.number] = base
    return [device_row(user, base), account_row(user)]


def part_offline(user: User, device: Device) -> list[Effect]:
    """A client of our own came with the key of OFFLINE: from now on these are two."""
    device.kind = OWN
    return [*new_offline(user, device.confirmed), device_row(user, device)]


def on_available(user: User, m: Available, turn: Turn) -> list[Effect]:
    """Initial presence, a change of it, or unavailable (RFC 6121 section 4)."""
    device = user.devices.get(m.device)
    att = user.attached.get(m.device)
    if device is None:
        return [Push(m.session, Gone(Replaced.code))]
    if att is None or att.session != m.session:  # forgotten: it attaches and says it again
        return [Push(m.session, UnknownSession())]
    if m.n < att.said:
        return []  # overtaken by a newer one
    need_roster(user)
    att.said = m.n
    takes = bool(m.stanza) and m.priority >= 0
    effects: list[Effect] = []
    if not takes and device.confirmed != NEVER:
        wipe_without(user, [device], turn, effects)
    was_there = user.there
    first = not att.presence
    att.presence, att.priority = m.stanza, m.priority
    if m.stanza:
        arrive(user, att, first, effects)
    elif not first:
        leave(user, att, m.last, effects)
    if takes and device.confirmed == NEVER:
        base = offline_of(user)
        device.confirmed = start = base.confirmed if base is not None else user.tail
        att.base = att.cursor = att.sent = start
        att.ended = False
        effects += [device_row(user, device), Push(att.session, Started(start, m.n))]
        effects += pump(user, att, turn)
    elif takes:  # the answer may have been lost; a session that takes already ignores it
        effects.append(Push(att.session, Started(device.confirmed, m.n)))
    elif not takes and device.confirmed != NEVER:
        _stop(device, att)
        effects.append(device_row(user, device))
    if user.there != was_there:
        user.last_seen_us = turn.now_us
        effects.append(account_row(user))
        tell_watchers(user, turn, effects)
    return effects


def _stop(device: Device, att: Attachment) -> None:
    """It takes no messages: what it has not confirmed is for the others, or waits."""
    device.confirmed = NEVER
    att.base = att.cursor = att.sent = NEVER
    att.flights = []
    att.bytes = 0
    att.reading = False


def on_unbind(user: User, m: Unbind, turn: Turn) -> list[Effect]:
    """The session is over: its resource goes, what it had not confirmed waits."""
    device = user.devices.get(m.device)
    if device is None:  # a session that never heard that it was bound
        device = next((each for each in user.devices.values() if each.ordinal == m.session), None)
    if device is None or device.kind != RESOURCE or device.ordinal != m.session:
        return []
    need_roster(user)
    effects: list[Effect] = []
    wipe_without(user, [device], turn, effects)
    return effects + _drop(user, device, m.presence, turn)


def _drop(user: User, device: Device, presence: bytes, turn: Turn) -> list[Effect]:
    was_there = user.there
    att = user.attached.pop(device.number, None)
    del user.devices[device.number]
    effects: list[Effect] = [DeviceGone(user.number, device.number)]
    if att is not None and att.presence:
        leave(user, att, presence, effects)
    if was_there and not user.there:
        user.last_seen_us = turn.now_us
        effects.append(account_row(user))
        tell_watchers(user, turn, effects)
    return effects


# ---- resources without a session --------------------------------------------------------


def strays(user: User) -> list[Device]:
    """Left behind by a node that ended; a session that lives attaches again."""
    return [
        each
        for each in user.devices.values()
        if each.kind == RESOURCE and each.number not in user.attached
    ]


def unbind_strays(user: User, turn: Turn) -> list[Effect]:
    """Those that nobody attached to in time go. The time begins when the actor woke."""
    left = strays(user)
    if not left:
        user.strays_us = 0
        return []
    if not user.strays_us:
        patience_s = STRAY_ATTACHES * turn.limits.reattach_s
        user.strays_us = turn.mono_us + int(patience_s * 1_000_000)
    if turn.mono_us < user.strays_us:
        wake_by(user, user.strays_us)
        return []
    need_roster(user)
    effects: list[Effect] = []
    wipe_without(user, left, turn, effects)
    for device in left:
        broadcast(user, device.name, b"", effects)
        effects += _drop(user, device, b"", turn)
    user.strays_us = 0
    return effects


# ---- keys -------------------------------------------------------------------------------


def on_new_key(user: User, m: NewKey, turn: Turn) -> list[Effect]:
    """XEP-0077 section 3.3: the key that this client came in by becomes another one."""
    device = user.devices.get(m.device)
    via = user.devices.get(device.via) if device is not None else None
    if device is None or via is None:
        return [Push(m.session, Gone(Replaced.code))]
    via.key_hash, via.scram = m.key_hash, m.scram
    effects: list[Effect] = [DeviceKey(user.number, via.number, m.key_hash, m.scram)]
    att = user.attached.get(via.number)
    if att is not None:  # a device of our own with the old key
        del user.attached[via.number]
        effects.append(Push(att.session, Gone(Replaced.code)))
    return [*effects, Push(m.session, KeyChanged(m.tag))]


def on_keep_verifiers(user: User, m: KeepVerifiers, turn: Turn) -> list[Effect]:
    via = user.devices.get(m.via)
    if via is None or via.scram or not compare_digest(via.key_hash, m.key_hash):
        return []
    via.scram = m.scram
    return [DeviceKey(user.number, via.number, via.key_hash, via.scram)]


def on_close(user: User, m: Close, turn: Turn) -> list[Effect]:
    """XEP-0077 section 3.2: the account itself goes, as one of its sessions asks."""
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    effects = on_remove(user, RemoveAccount(0), turn)
    kept = [e for e in effects if not (isinstance(e, Reply) and isinstance(e.answer, Removed))]
    return [Push(m.session, Done(m.tag)), *kept]

"""Devices: hello, attach, detach; sign-up gives a key, a new sign-up takes the place of all.

DELIVERY.md "Actor -> device" and "Devices". Hello is a commit, so an owner that was fenced
out cannot log anybody in. Law: a key is worthless from the moment its row is gone.
"""

from hmac import compare_digest

from whimbrel.domain.answers import (
    Gone,
    HideDone,
    LinkDone,
    Proven,
    Registered,
    Rejected,
    Removed,
    UnlinkDone,
    Welcome,
)
from whimbrel.domain.effects import Effect, Push, Reply, Tell
from whimbrel.domain.errors import (
    Busy,
    Exists,
    NotAuthorized,
    NotFound,
    Replaced,
    ShuttingDown,
)
from whimbrel.domain.ids import HOUSE
from whimbrel.domain.im import Done, NewAccount, SetKey
from whimbrel.domain.messages import (
    Attach,
    Confirm,
    Detach,
    Disconnect,
    Hello,
    Link,
    Prove,
    Register,
    Rewind,
    Unlink,
)
from whimbrel.domain.rows import (
    OFFLINE,
    RESOURCE,
    DeviceGone,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Attachment, Device, User
from whimbrel.logic.contacts import leave, need_roster, own_there, show_device
from whimbrel.logic.pairs import account_row, device_row, floor_of, wipe_without
from whimbrel.logic.presence import tell_watchers
from whimbrel.logic.push import end_pushes
from whimbrel.logic.resources import new_offline, part_offline
from whimbrel.logic.stream import pump

NO_HASH = bytes(32)  # of no key
LOST_US = 2_000_000  # a push that a session has not seen after so long is lost


def on_hello(user: User, m: Hello, turn: Turn) -> list[Effect]:
    device = user.devices.get(m.device)
    # The same work for an account that is not there: one comparison, whatever is known.
    same = compare_digest(device.key_hash if device is not None else NO_HASH, m.key_hash)
    if device is None or not same:
        return [Push(m.session, Rejected(NotAuthorized.code))]
    need_roster(user)
    came = own_there(user)
    effects: list[Effect] = []
    if device.kind == OFFLINE:
        effects += part_offline(user, device)
    old = user.attached.get(m.device)
    if old is not None and old.session != m.session:
        effects.append(Push(old.session, Gone(Replaced.code)))
    # The session's own number where possible: a hello that is repeated changes nothing.
    if m.session != device.ordinal:
        device.ordinal = max(device.ordinal + 1, m.session)
    device.last_seen_us = turn.now_us
    start = device.confirmed
    if m.era == turn.era and start < m.last <= user.tail:
        start = m.last  # the device has these; it repeats its confirm after the welcome
    att = Attachment(m.device, m.session, device.ordinal, start, turn.mono_us)
    was_online = user.there
    user.attached[m.device] = att
    effects.append(device_row(user, device))
    effects.append(
        Push(
            m.session,
            Welcome(
                user.address,
                m.device,
                device.ordinal,
                turn.era,
                device.submitted,
                device.confirmed,
                user.tail,
            ),
        )
    )
    if user.hidden:
        effects.append(Push(m.session, HideDone(True)))
    effects += pump(user, att, turn)
    if not was_online:
        tell_watchers(user, turn, effects)
    if not came:
        show_device(user, True, effects)
    return effects


def on_prove(user: User, m: Prove, turn: Turn) -> list[Effect]:
    """A key shown over HTTP: a look only, which neither logs in nor ends a session."""
    device = user.devices.get(m.device)
    same = compare_digest(device.key_hash if device is not None else NO_HASH, m.key_hash)
    if device is None or not same:
        return [Reply(m.reply, Rejected(NotAuthorized.code))]
    return [Reply(m.reply, Proven(user.address, m.device))]


def on_attach(user: User, m: Attach, turn: Turn) -> list[Effect]:
    """The session outlived the actor's memory: it says where it stands and goes on."""
    device = user.devices.get(m.device)
    if device is None or m.ordinal < device.ordinal:
        return [Push(m.session, Gone(Replaced.code))]
    att = user.attached.get(m.device)
    if att is not None and att.session == m.session:
        att.seen_us = turn.mono_us
        if m.confirmed > device.confirmed:
            return [Tell(user.number, Confirm(m.device, m.session, m.confirmed))]
        if any(m.last < each.q and turn.mono_us > each.sent_us + LOST_US for each in att.flights):
            # Pushed long ago, and the session has not seen it: lost between two nodes.
            return [Tell(user.number, Rewind(m.device, m.session, m.last))]
        return []  # the regular repetition: nothing was lost
    start = max(device.confirmed, min(m.last, user.tail))
    resource = device.name if device.kind == RESOURCE else ""
    att = Attachment(m.device, m.session, m.ordinal, start, turn.mono_us, resource)
    user.attached[m.device] = att
    effects: list[Effect] = []
    if m.confirmed > device.confirmed:
        effects.append(Tell(user.number, Confirm(m.device, m.session, m.confirmed)))
    effects += pump(user, att, turn)
    return effects


def on_detach(user: User, m: Detach, turn: Turn) -> list[Effect]:
    att = user.attached.get(m.device)
    if att is None or att.session != m.session:
        return []
    need_roster(user)
    del user.attached[m.device]
    effects: list[Effect] = []
    device = user.devices.get(m.device)
    if device is not None:
        device.last_seen_us = user.last_seen_us = turn.now_us
        effects.append(device_row(user, device))
    if not user.there:
        tell_watchers(user, turn, effects)
    if not own_there(user):
        show_device(user, False, effects)
    return effects


def on_register(user: User, m: Register, turn: Turn) -> list[Effect]:
    """A new account, or a new key for an old one.

    The new device starts just below the lowest row that still waits and so gets all of them;
    every other device, its key and its live session end in the same commit.
    """
    created = not user.exists
    if user.address and user.address != m.address:  # two addresses, one number: decision 0005
        return [Reply(m.reply, Rejected(Exists.code))]
    if created and m.address in HOUSE and not m.house:
        return [Reply(m.reply, Rejected(Exists.code))]
    need_roster(user)
    effects: list[Effect] = []
    start = floor_of(user)
    for att in user.attached.values():
        effects.append(Push(att.session, Gone(Replaced.code)))
        if att.presence:
            leave(user, att, b"", effects)
    user.attached.clear()
    effects += [DeviceGone(user.number, number) for number in user.devices]
    user.devices.clear()
    if created:
        user.exists, user.deleted = True, False
        user.address = m.address
        user.created_us = user.last_seen_us = turn.now_us
    else:
        effects += end_pushes(user)
    user.last_device += 1
    device = Device(user.last_device, m.key_hash, m.name)
    device.scram = m.scram
    device.confirmed = start
    user.devices[device.number] = device
    effects.append(account_row(user))
    effects.append(device_row(user, device))
    effects.append(Reply(m.reply, Registered(user.address, device.number, created)))
    return effects


def on_new_account(user: User, m: NewAccount, turn: Turn) -> list[Effect]:
    """A name that nobody has, or ever had: what was removed keeps its numbers to itself."""
    if user.exists or user.deleted or m.address in HOUSE:
        return [Push(m.session, Done(m.tag, Exists.code))]
    effects = on_register(user, Register(m.address, m.key_hash, "", 0, m.scram), turn)
    kept = [effect for effect in effects if not isinstance(effect, Reply)]
    return [*kept, Push(m.session, Done(m.tag))]


def on_set_key(user: User, m: SetKey, turn: Turn) -> list[Effect]:
    if not user.exists:
        return [Push(m.session, Done(m.tag, NotFound.code))]
    effects = on_register(user, Register(user.address, m.key_hash, "", 0, m.scram), turn)
    kept = [effect for effect in effects if not isinstance(effect, Reply)]
    return [*kept, Push(m.session, Done(m.tag))]


def on_link(user: User, m: Link, turn: Turn) -> list[Effect]:
    """A further device: it gets everything that still waits for any device."""
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    if sum(each.kind != RESOURCE for each in user.devices.values()) >= turn.limits.devices_max:
        return [Push(m.session, LinkDone(m.tag, 0, Busy.code))]
    user.last_device += 1
    device = Device(user.last_device, m.key_hash, m.name)
    device.scram = m.scram
    device.confirmed = floor_of(user)
    user.devices[device.number] = device
    return [
        account_row(user),
        device_row(user, device),
        Push(m.session, LinkDone(m.tag, device.number)),
    ]


def on_disconnect(user: User, m: Disconnect, turn: Turn) -> list[Effect]:
    """An administrator ends a session. Its key stays good: whoever holds it may come back."""
    att = user.attached.get(m.device)
    if not user.exists or att is None:
        return [Reply(m.reply, Removed(NotFound.code))]
    return [Push(att.session, Gone(ShuttingDown.code)), Reply(m.reply, Removed())]


def on_unlink(user: User, m: Unlink, turn: Turn) -> list[Effect]:
    """Remove another device; what only it had not confirmed is wiped."""
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    gone = user.devices.get(m.gone)
    if gone is None or m.gone == m.device or gone.kind == RESOURCE:
        return [Push(m.session, UnlinkDone(m.gone, NotFound.code))]
    effects: list[Effect] = []
    leaving = [gone, *(each for each in user.devices.values() if each.via == m.gone)]
    heir = gone.kind == OFFLINE and any(
        each.kind == RESOURCE and each not in leaving for each in user.devices.values()
    )
    if not heir:
        wipe_without(user, leaving, turn, effects)
    for each in leaving:
        att = user.attached.pop(each.number, None)
        if att is not None:
            effects.append(Push(att.session, Gone(Replaced.code)))
        del user.devices[each.number]
        effects.append(DeviceGone(user.number, each.number))
    if heir:  # XMPP clients with another key live on
        effects += new_offline(user, gone.confirmed)
    effects.append(account_row(user))
    effects.append(Push(m.session, UnlinkDone(m.gone)))
    return effects

"""The roster: contacts, who may see whom, and presence that follows from it.

RFC 6121 sections 2 to 4; the tables of appendix A stand here as bits (domain/rows: TO, FROM,
ASK, ASKED, APPROVED, LISTED). A device of the own protocol shows as the resource "whimbrel".
Policy: a request to somebody who has no XMPP client to answer it is granted if that person has
written to the one who asks, as with presence in the own protocol.
"""

import msgspec

from whimbrel.domain.answers import Gone
from whimbrel.domain.effects import Effect, Push, Tell
from whimbrel.domain.errors import Busy, RateLimited, Replaced
from whimbrel.domain.ids import account_number
from whimbrel.domain.im import (
    Done,
    LastGet,
    LastGot,
    PeerAvailable,
    PeerProbe,
    PeerSubscription,
    PresenceCame,
    RosterChanged,
    RosterGet,
    RosterGot,
    RosterItem,
    RosterSet,
    Subscription,
    SubscriptionCame,
)
from whimbrel.domain.rows import (
    APPROVED,
    ASK,
    ASKED,
    FROM,
    LISTED,
    TO,
    RosterGone,
    RosterRow,
)
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Attachment, Contact, User
from whimbrel.domain.wants import BlockedWant, NotLoaded, RosterWant
from whimbrel.logic.components import home_of, is_component, jid_at_component, show_component
from whimbrel.logic.pairs import account_row, count_contact, offline_of, pair_of

OWN_RESOURCE = "whimbrel"
HERE = b"<presence/>"
GONE = b'<presence type="unavailable"/>'
REQUESTS_MAX = 200  # of strangers, kept until they are answered

_pack = msgspec.msgpack.Encoder().encode
_unpack_groups = msgspec.msgpack.Decoder(tuple[str, ...]).decode


# ---- the roster as a table --------------------------------------------------------------


def need_roster(user: User) -> dict[int, Contact]:
    """The roster, and who of it is blocked; or NotLoaded, only at the first call in a rule."""
    if user.roster is None:
        user.roster = _read_roster(user) if user.contacts else {}
    return user.roster


def _read_roster(user: User) -> dict[int, Contact]:
    want, blocked = RosterWant(user.number), BlockedWant(user.number)
    if want not in user.loaded:
        raise NotLoaded(want)
    rows: list[RosterRow] = user.loaded[want]  # type: ignore[assignment]
    if any(row.state & FROM for row in rows):  # else see _grant()
        if blocked not in user.loaded:
            raise NotLoaded(blocked)
        addresses: list[str] = user.loaded.pop(blocked)  # type: ignore[assignment]
        user.blocked = {account_number(each) for each in addresses}
    del user.loaded[want]
    return {row.peer: _contact(row) for row in rows}


def _sees(user: User, contact: Contact) -> bool:
    """May this contact see the account's presence now?"""
    return bool(contact.state & FROM) and home_of(contact.peer, contact.address) not in user.blocked


def _contact(row: RosterRow) -> Contact:
    contact = Contact(row.peer, row.address)
    contact.name = row.name
    contact.groups = _unpack_groups(row.groups)
    contact.state = row.state
    contact.request = row.request
    return contact


def _keep(user: User, contact: Contact, effects: list[Effect]) -> None:
    """Write the entry as it is now; one that says nothing goes."""
    roster = need_roster(user)
    before = len(roster)
    if contact.state:
        roster[contact.peer] = contact
        effects.append(
            RosterRow(
                user.number,
                contact.peer,
                contact.address,
                contact.name,
                _pack(contact.groups),
                contact.state,
                contact.request if contact.state & ASKED else b"",
            )
        )
    elif roster.pop(contact.peer, None) is not None:
        effects.append(RosterGone(user.number, contact.peer))
    if len(roster) != before:
        user.contacts = len(roster)
        effects.append(account_row(user))


def _item(contact: Contact) -> RosterItem:
    return RosterItem(contact.address, contact.name, contact.groups, contact.state)


def _show(user: User, contact: Contact, effects: list[Effect]) -> None:
    """A roster push to every client (section 2.1.6); the edge knows which of them want it."""
    changed = RosterChanged(_item(contact))
    effects += [Push(att.session, changed) for att in user.attached.values() if att.resource]


def on_roster_get(user: User, m: RosterGet, turn: Turn) -> list[Effect]:
    items = tuple(_item(each) for each in need_roster(user).values() if each.state & LISTED)
    return [Push(m.session, RosterGot(m.tag, items))]


def on_roster_set(user: User, m: RosterSet, turn: Turn) -> list[Effect]:
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    roster = need_roster(user)
    contact = roster.get(m.peer)
    if m.remove:
        if contact is None or not contact.state & LISTED:
            return [Push(m.session, Done(m.tag, "not-found"))]
        return _remove(user, m, contact)
    if contact is None:
        if len(roster) >= turn.limits.roster_items_max:
            return [Push(m.session, Done(m.tag, Busy.code))]
        contact = Contact(m.peer, m.address)
    effects: list[Effect] = []
    contact.name, contact.groups = m.name, m.groups
    contact.state |= LISTED
    _keep(user, contact, effects)
    _show(user, contact, effects)
    return [*effects, Push(m.session, Done(m.tag))]


def _remove(user: User, m: RosterSet, contact: Contact) -> list[Effect]:
    """Section 2.5.1: both subscriptions end with the entry."""
    effects: list[Effect] = []
    state, contact.state = contact.state, 0
    if state & (TO | ASK):
        _tell(user, contact, "unsubscribe", b"", effects)
    if state & (FROM | ASKED):
        _tell(user, contact, "unsubscribed", b"", effects)
    if state & FROM:
        _show_all_gone(user, contact, effects)
    _keep(user, contact, effects)
    _show(user, contact, effects)
    return [*effects, Push(m.session, Done(m.tag))]


# ---- subscriptions ----------------------------------------------------------------------


def on_subscription(user: User, m: Subscription, turn: Turn) -> list[Effect]:
    """The user asks, grants, or takes back (sections 3.1.2, 3.1.5, 3.2, 3.3; A.2)."""
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    roster = need_roster(user)
    contact = roster.get(m.peer)
    if contact is None:
        if m.kind in ("unsubscribe", "unsubscribed"):
            return [Push(m.session, Done(m.tag))]
        if len(roster) >= turn.limits.roster_items_max:
            return [Push(m.session, Done(m.tag, Busy.code))]
        contact = Contact(m.peer, m.address)
    pair = pair_of(user, m.peer)
    effects: list[Effect] = []
    if m.kind == "subscribe" and not (contact.state & ~LISTED or pair.wrote or pair.stored_id):
        if count_contact(user, turn):
            return [Push(m.session, Done(m.tag, RateLimited.code))]
        effects.append(account_row(user))
    _OUT[m.kind](user, contact, m.stanza, effects)
    return [*effects, Push(m.session, Done(m.tag))]


def _ask(user: User, contact: Contact, stanza: bytes, effects: list[Effect]) -> None:
    if not contact.state & TO:
        contact.state |= ASK | LISTED
        _keep(user, contact, effects)
        _show(user, contact, effects)
    _tell(user, contact, "subscribe", stanza, effects)


def _grant(user: User, contact: Contact, stanza: bytes, effects: list[Effect]) -> None:
    state = contact.state
    if state & FROM:
        return
    if not state & ASKED:  # section 3.4: granted before it is asked for
        contact.state = state | APPROVED | LISTED
        _keep(user, contact, effects)
        _show(user, contact, effects)
        return
    contact.state = (state & ~ASKED) | FROM | LISTED
    contact.request = b""
    _keep(user, contact, effects)
    _show(user, contact, effects)
    _tell(user, contact, "subscribed", stanza, effects)
    if pair_of(user, contact.peer).blocked:
        user.blocked.add(contact.peer)
    else:
        _show_all_here(user, contact, effects)


def _give_up(user: User, contact: Contact, stanza: bytes, effects: list[Effect]) -> None:
    state = contact.state
    _tell(user, contact, "unsubscribe", stanza, effects)
    if state & (TO | ASK):
        contact.state = state & ~(TO | ASK)
        _keep(user, contact, effects)
        _show(user, contact, effects)


def _deny(user: User, contact: Contact, stanza: bytes, effects: list[Effect]) -> None:
    state = contact.state
    if not state & (FROM | ASKED | APPROVED):
        return
    contact.state = state & ~(FROM | ASKED | APPROVED)
    contact.request = b""
    _keep(user, contact, effects)
    if state & LISTED and state & (FROM | APPROVED):
        _show(user, contact, effects)
    if state & (FROM | ASKED):
        _tell(user, contact, "unsubscribed", stanza, effects)
    if state & FROM:
        _show_all_gone(user, contact, effects)


_OUT = {"subscribe": _ask, "subscribed": _grant, "unsubscribe": _give_up, "unsubscribed": _deny}


def _tell(user: User, contact: Contact, kind: str, stanza: bytes, effects: list[Effect]) -> None:
    jid = jid_at_component(contact.address)
    told = PeerSubscription(user.number, user.address, kind, stanza, jid)
    effects.append(Tell(home_of(contact.peer, contact.address), told))


def on_peer_subscription(user: User, m: PeerSubscription, turn: Turn) -> list[Effect]:
    """What a contact's actor says (sections 3.1.3, 3.1.6, 3.2.3, 3.3.3; A.3)."""
    if not user.exists:
        return []
    if is_component(user.address):
        return show_component(user, SubscriptionCame(m.address, m.kind, m.stanza, m.jid))
    contact = need_roster(user).get(m.peer) or Contact(m.peer, m.address)
    pair = pair_of(user, m.peer)
    if pair.blocked:
        return []
    effects: list[Effect] = []
    if m.kind == "subscribe":
        granted = not user.hidden and pair.wrote and offline_of(user) is None
        _asked(user, contact, m.stanza, granted, effects)
    else:
        _IN[m.kind](user, contact, m, effects)
    return effects


def _asked(
    user: User, contact: Contact, stanza: bytes, granted: bool, effects: list[Effect]
) -> None:
    state = contact.state
    if state & FROM:
        _tell(user, contact, "subscribed", b"", effects)
    elif state & APPROVED or granted:
        contact.state = (state & ~(APPROVED | ASKED)) | FROM | LISTED
        _keep(user, contact, effects)
        _show(user, contact, effects)
        _tell(user, contact, "subscribed", b"", effects)
        _show_all_here(user, contact, effects)
    elif not state & ASKED:
        waiting = sum(each.state == ASKED for each in need_roster(user).values())
        if not state and waiting >= REQUESTS_MAX:
            return
        contact.state = state | ASKED
        contact.request = stanza
        _keep(user, contact, effects)
        _came(user, contact.address, "subscribe", stanza, effects)


def _accepted(user: User, contact: Contact, m: PeerSubscription, effects: list[Effect]) -> None:
    if contact.state & ASK:
        contact.state = (contact.state & ~ASK) | TO
        _keep(user, contact, effects)
        _came(user, m.address, m.kind, m.stanza, effects)
        _show(user, contact, effects)


def _refused(user: User, contact: Contact, m: PeerSubscription, effects: list[Effect]) -> None:
    if contact.state & (ASK | TO):
        contact.state &= ~(ASK | TO)
        _keep(user, contact, effects)
        _came(user, m.address, m.kind, m.stanza, effects)
        _show(user, contact, effects)


def _given_up(user: User, contact: Contact, m: PeerSubscription, effects: list[Effect]) -> None:
    state = contact.state
    if state & (FROM | ASKED):
        contact.state = state & ~(FROM | ASKED)
        contact.request = b""
        _keep(user, contact, effects)
        _came(user, m.address, m.kind, m.stanza, effects)
        if state & FROM:
            _show(user, contact, effects)
            _show_all_gone(user, contact, effects)


_IN = {"subscribed": _accepted, "unsubscribed": _refused, "unsubscribe": _given_up}


def _came(user: User, address: str, kind: str, stanza: bytes, effects: list[Effect]) -> None:
    came = SubscriptionCame(address, kind, stanza)
    effects += [
        Push(att.session, came) for att in user.attached.values() if att.resource and att.presence
    ]


def end_subscriptions(user: User, effects: list[Effect]) -> None:
    """The account goes: its contacts see it leave, and no subscription stays behind."""
    for contact in need_roster(user).values():
        if contact.state & FROM:
            _show_all_gone(user, contact, effects)
        if contact.state & (TO | ASK):
            _tell(user, contact, "unsubscribe", b"", effects)
        if contact.state & (FROM | ASKED):
            _tell(user, contact, "unsubscribed", b"", effects)


# ---- presence ---------------------------------------------------------------------------


def arrive(user: User, att: Attachment, first: bool, effects: list[Effect]) -> None:
    """A resource is available, or says something else (sections 4.2 and 4.4)."""
    broadcast(user, att.resource, att.presence, effects)
    _tell_own(user, att, att.presence, effects)
    if not first:
        return
    roster = need_roster(user)
    for contact in roster.values():
        if contact.state & TO:
            jid = jid_at_component(contact.address)
            probe = PeerProbe(user.number, user.address, att.resource, jid)
            effects.append(Tell(home_of(contact.peer, contact.address), probe))
        if contact.state & ASKED:
            came = SubscriptionCame(contact.address, "subscribe", contact.request)
            effects.append(Push(att.session, came))
    for other in user.attached.values():
        if other is not att and other.resource and other.presence:
            came_too = PresenceCame(user.address, other.resource, other.presence)
            effects.append(Push(att.session, came_too))


def leave(user: User, att: Attachment, stanza: bytes, effects: list[Effect]) -> None:
    """A resource went (section 4.5): also those hear it who were told directly (4.6.3)."""
    stanza = stanza or GONE
    att.presence = b""
    broadcast(user, att.resource, stanza, effects)
    _tell_own(user, att, stanza, effects)
    roster = need_roster(user)
    for jid, peer in (att.directed or {}).items():
        contact = roster.get(peer)
        if contact is not None and contact.state & FROM:
            continue  # it has just heard
        bare, _, resource = jid.partition("/")
        at = jid_at_component(bare) and jid
        told = PeerAvailable(
            user.number, user.address, att.resource, stanza, "" if at else resource, True, at
        )
        effects.append(Tell(peer, told))
    att.directed = None


def broadcast(user: User, resource: str, stanza: bytes, effects: list[Effect]) -> None:
    if user.hidden:
        return
    told = PeerAvailable(user.number, user.address, resource, stanza or GONE)
    for contact in need_roster(user).values():
        if _sees(user, contact):
            _show_to(contact, told, effects)


def _show_to(contact: Contact, told: PeerAvailable, effects: list[Effect]) -> None:
    jid = jid_at_component(contact.address)
    if jid:
        told = msgspec.structs.replace(told, jid=jid)
    effects.append(Tell(home_of(contact.peer, contact.address), told))


def _tell_own(user: User, att: Attachment, stanza: bytes, effects: list[Effect]) -> None:
    came = PresenceCame(user.address, att.resource, stanza)
    effects += [
        Push(other.session, came)
        for other in user.attached.values()
        if other.resource and (other is att or other.presence)
    ]


def _show_all_here(user: User, contact: Contact, effects: list[Effect]) -> None:
    if not user.hidden:
        for resource, stanza in _here(user):
            told = PeerAvailable(user.number, user.address, resource, stanza)
            _show_to(contact, told, effects)


def _show_all_gone(user: User, contact: Contact, effects: list[Effect]) -> None:
    if not user.hidden:
        for resource, _ in _here(user):
            told = PeerAvailable(user.number, user.address, resource, GONE, "", True)
            _show_to(contact, told, effects)


def _here(user: User) -> list[tuple[str, bytes]]:
    """Every resource that is available, and its presence."""
    here = [
        (att.resource, att.presence)
        for att in user.attached.values()
        if att.resource and att.presence
    ]
    return [*here, (OWN_RESOURCE, HERE)] if own_there(user) else here


def own_there(user: User) -> bool:
    """Is a device of the own protocol connected?"""
    return any(not att.resource for att in user.attached.values())


def show_device(user: User, here: bool, effects: list[Effect]) -> None:
    """A device of the own protocol came, or the last one went."""
    if user.contacts:
        broadcast(user, OWN_RESOURCE, HERE if here else GONE, effects)


def on_peer_probe(user: User, m: PeerProbe, turn: Turn) -> list[Effect]:
    """Section 4.3.2: only who is subscribed hears anything but "no"."""
    if not user.exists:
        return []
    if is_component(user.address):
        return show_component(user, SubscriptionCame(m.address, "probe", b"", m.jid))
    home, jid = home_of(m.peer, m.address), jid_at_component(m.address)
    contact = need_roster(user).get(m.peer)
    if contact is None or not contact.state & FROM:
        no = PeerSubscription(user.number, user.address, "unsubscribed", b"", jid)
        return [Tell(home, no)]
    if user.hidden or pair_of(user, m.peer).blocked:
        return []
    return [
        Tell(
            home, PeerAvailable(user.number, user.address, resource, stanza, m.resource, False, jid)
        )
        for resource, stanza in _here(user)
    ]


def on_last_get(user: User, m: LastGet, turn: Turn) -> list[Effect]:
    """XEP-0012: the same people may know it who see presence."""
    contact = need_roster(user).get(m.peer)
    if contact is None or not _sees(user, contact) or user.hidden:
        return [Push(m.session, LastGot(m.tag, False, 0, "forbidden"))]
    return [Push(m.session, LastGot(m.tag, user.there, user.last_seen_us))]


def on_peer_available(user: User, m: PeerAvailable, turn: Turn) -> list[Effect]:
    """Presence of a contact; of others only if it was sent to us directly (section 4.6.4)."""
    if not user.attached:
        return []
    if is_component(user.address):
        return show_component(user, PresenceCame(m.address, m.resource, m.stanza, m.jid))
    if not m.direct:
        contact = need_roster(user).get(m.peer)
        if contact is None or not contact.state & TO:
            return []
    if pair_of(user, m.peer).blocked:
        return []
    came = PresenceCame(m.address, m.resource, m.stanza)
    return [
        Push(att.session, came)
        for att in user.attached.values()
        if att.resource and att.presence and (not m.to or m.to == att.resource)
    ]


def block_presence(user: User, peer: int, on: bool, effects: list[Effect]) -> None:
    """XEP-0191 section 3.3: who is blocked sees us go, and come back when it ends."""
    contact = need_roster(user).get(peer)
    if contact is not None and contact.state & FROM:
        if on:
            _show_all_gone(user, contact, effects)
        else:
            _show_all_here(user, contact, effects)


def hide_presence(user: User, on: bool, effects: list[Effect]) -> None:
    """Hide was turned on (before it counts) or off."""
    for contact in need_roster(user).values():
        if _sees(user, contact):
            if on:
                _show_all_gone(user, contact, effects)
            else:
                _show_all_here(user, contact, effects)

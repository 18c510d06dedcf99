"""What XMPP clients say to their account's actor beside messages, and what they hear: binding,
presence, the roster, documents, and stanzas that pass through (RFC 6121).

Values like those of messages.py and answers.py. A stanza is bytes in the namespace
jabber:client, ready to be written; rules never look into it.
"""

from typing import ClassVar

import msgspec

from whimbrel.domain.answers import ToSession
from whimbrel.domain.discreet import discreet
from whimbrel.domain.messages import ToActor

# kinds of stanzas that pass through
IQ, MESSAGE, HEADLINE, PRESENCE, BOUNCE = 0, 1, 2, 3, 4
# chat states that a device of the own protocol can show
NO_STATE, PAUSED, COMPOSING = -1, 0, 1


# ---- from a session --------------------------------------------------------------------


TOKEN_LIVES_US = 21 * 86_400_000_000  # a token of FAST, from its serial: the time of its issue
PUSH_ID = "whimbrel-push-"  # how ids of notifications begin


class Credentials(ToActor, frozen=True):
    """Somebody wants to log in as this account; answered with Keys. tokens: by one of FAST."""

    request: ClassVar[bool] = True
    session: int
    tokens: bool = False


class TokenNew(ToActor, frozen=True):
    """A client that has logged in wants a token (XEP-0484); answered with TokenDone.

    agent: which client it is. Its older tokens are worth nothing any more.
    """

    request: ClassVar[bool] = True
    session: int
    agent: str


class TokenUse(ToActor, frozen=True):
    """A client has shown its token. count: how often it says to have used it, 0: it does not say.

    forget: the token is not wanted any more. renew: another one is. Answered with TokenDone.
    """

    request: ClassVar[bool] = True
    session: int
    agent: str
    serial: int
    count: int
    forget: bool
    renew: bool


class Bind(ToActor, frozen=True):
    """The session proved device `via`'s key and takes this resource. Answered with Bound,
    Rejected(not-authorized) or Rejected(busy).
    """

    request: ClassVar[bool] = True
    session: int
    via: int
    resource: str


class Unbind(ToActor, frozen=True):
    """The session is over, for good. `presence`: what contacts are told, without addresses."""

    device: int
    session: int
    presence: bytes


class Available(ToActor, frozen=True):
    """Presence without an address. stanza b"": unavailable, and `last` is what contacts hear.

    n: rises with what a session says, so that words that come late do not undo newer ones.
    """

    request: ClassVar[bool] = True
    device: int
    session: int
    priority: int
    stanza: bytes
    last: bytes = b""
    n: int = 0


class RosterGet(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int


class RosterSet(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    peer: int
    address: str
    name: str
    groups: tuple[str, ...]
    remove: bool


class Subscription(ToActor, frozen=True):
    """kind: subscribe, subscribed, unsubscribe or unsubscribed (RFC 6121 section 3)."""

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    peer: int
    address: str
    kind: str
    stanza: bytes  # for the other side, with its from and to


class Relay(ToActor, frozen=True):
    """A stanza that is not stored: iq, headline, chat state, directed presence.

    resource: of whom it is for; "" = all that are available. state: for devices of the own
    protocol. on: of directed presence, whether it says available.
    """

    request: ClassVar[bool] = True
    device: int
    session: int
    peer: int
    address: str  # of whom it is for
    resource: str
    kind: int
    stanza: bytes
    state: int = NO_STATE
    on: bool = False


class DocumentGet(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    name: str


class DocumentSet(ToActor, frozen=True):
    """body b"": remove it."""

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    name: str
    body: bytes


class PushSet(ToActor, frozen=True):
    """Notifications (XEP-0357) for this node of a component: stanza as it is sent, b"": off.

    home: the component's actor. id: of the stanza.
    """

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    jid: str
    node: str
    id: str
    home: int
    stanza: bytes


class PushRefused(ToActor, frozen=True):
    """The component `peer` answered the notification of this id with an error."""

    peer: int
    id: str


class BlockedGet(ToActor, frozen=True):
    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int


class NewAccount(ToActor, frozen=True):
    """A stranger takes this name (XEP-0077), if nobody has it. Answered with Done."""

    request: ClassVar[bool] = True
    session: int
    tag: int
    address: str
    key_hash: bytes
    scram: bytes


class SetKey(ToActor, frozen=True):
    """An administrator gives an account a new key: all its devices are gone at once."""

    request: ClassVar[bool] = True
    session: int
    tag: int
    address: str
    key_hash: bytes
    scram: bytes


class RemoveThis(ToActor, frozen=True):
    """An administrator removes this account. Answered with Done."""

    request: ClassVar[bool] = True
    session: int
    tag: int


class NewKey(ToActor, frozen=True):
    """Change the key by which this session came in."""

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    key_hash: bytes
    scram: bytes


class KeepVerifiers(ToActor, frozen=True):
    """The key of device `via` was shown: these are its verifiers, if it has none yet."""

    session: int
    via: int
    key_hash: bytes
    scram: bytes


class Close(ToActor, frozen=True):
    """Remove the account, as one of its own sessions asks."""

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int


class RefsGet(ToActor, frozen=True):
    """Which of our messages to `peer` have after < id <= upto? By the names our clients gave."""

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    peer: int
    after: int
    upto: int


class ReadRef(ToActor, frozen=True):
    """A client has shown the message to which its sender's own client gave this name. Answered
    with Done when it was looked up, be it found or not.
    """

    request: ClassVar[bool] = True
    device: int
    session: int
    peer: int
    ref: str
    tag: int = 0


class ArchiveGet(ToActor, frozen=True):
    """A page of the account's archive; fields as in wants.ArchiveWant."""

    request: ClassVar[bool] = True
    device: int
    session: int
    tag: int
    peer: int
    after: int
    before: int
    limit: int
    last: bool
    ids: tuple[int, ...]


class PeerDocument(ToActor, frozen=True):
    """A session asks for a public document of this account; answered with DocumentGot."""

    request: ClassVar[bool] = True
    session: int
    tag: int
    name: str


class LastGet(ToActor, frozen=True):
    """A session of `peer` asks when this account was here last; answered with LastGot."""

    request: ClassVar[bool] = True
    session: int
    tag: int
    peer: int


# ---- from other users' actors ----------------------------------------------------------


class PeerRefGet(ToActor, frozen=True):
    """Which of your messages to `peer` has this name? Answered with PeerRefIs.

    session, tag: who waits to hear that it was looked up.
    """

    request: ClassVar[bool] = True
    peer: int
    ref: str
    session: int = 0
    tag: int = 0


class PeerRefIs(ToActor, frozen=True):
    """A message of `peer` of which this account's client said that it was read; 0: none has the
    name. session, tag: as they were asked.
    """

    peer: int
    id: int
    session: int = 0
    tag: int = 0


class PeerSubscription(ToActor, frozen=True):
    """jid: here and below, which JID of a component is meant; "" for people."""

    request: ClassVar[bool] = True
    peer: int
    address: str
    kind: str
    stanza: bytes
    jid: str = ""


class PeerRelay(ToActor, frozen=True):
    """sender: the JID's resource; see Relay."""

    request: ClassVar[bool] = True
    peer: int
    address: str  # of the sender
    sender: str
    resource: str
    kind: int
    stanza: bytes
    state: int = NO_STATE


class PeerBounce(ToActor, frozen=True):
    """Nobody took this iq: back to the resource that sent it."""

    peer: int
    resource: str
    stanza: bytes


class PeerProbe(ToActor, frozen=True):
    """A resource of `peer` became available, or a contact was accepted: tell it who is here."""

    request: ClassVar[bool] = True
    peer: int
    address: str
    resource: str  # "": all of them
    jid: str = ""


class PeerAvailable(ToActor, frozen=True):
    """A contact's resource came, changed or went. stanza: presence without addresses."""

    request: ClassVar[bool] = True
    peer: int
    address: str
    resource: str
    stanza: bytes
    to: str = ""  # only this resource
    direct: bool = False  # also without a subscription
    jid: str = ""


# ---- what a session hears --------------------------------------------------------------


class Keys(ToSession, frozen=True):
    """(device, hash of its key, verifiers) of each; none if there is no such account.

    tokens: (client, serial) of those that were asked for and may be good.
    """

    account: str
    keys: tuple[tuple[int, bytes, bytes], ...]
    tokens: tuple[tuple[str, int], ...] = ()


class TokenDone(ToSession, frozen=True):
    """code: why the token is worth nothing (unknown, expired, replayed). serial: of a new one."""

    code: str
    serial: int = 0


class Bound(ToSession, frozen=True):
    account: str
    device: int
    resource: str
    ordinal: int
    era: int


class Started(ToSession, frozen=True):
    """The resource takes messages from now on: the first item comes after `confirmed`.

    n: of the Available that it answers.
    """

    confirmed: int
    n: int = 0


class Done(ToSession, frozen=True):
    """A command was carried out and committed, or refused by name."""

    tag: int
    code: str = ""


class RosterItem(msgspec.Struct, frozen=True):
    """state: the bits of domain/rows; without LISTED: removed."""

    address: str
    name: str
    groups: tuple[str, ...]
    state: int
    __repr__ = discreet


class RosterGot(ToSession, frozen=True):
    tag: int
    items: tuple[RosterItem, ...]


class RosterChanged(ToSession, frozen=True):
    item: RosterItem


class MarksShown(ToSession, frozen=True):
    """How far what was sent to this peer has come: ids up to `delivered`, and up to `read`."""

    address: str
    delivered: int
    read: int


class StanzaShown(ToSession, frozen=True):
    """Written as it is. `kind` as in Relay."""

    kind: int
    stanza: bytes


class Bounced(ToSession, frozen=True):
    """Nobody took this stanza of ours; or it was for somebody whom we block (code)."""

    stanza: bytes
    code: str = ""


class SubscriptionCame(ToSession, frozen=True):
    """Presence of a subscribing kind, from a bare JID; stanza b"": without any text.

    To a component also a probe, and to: which of its JIDs is meant.
    """

    address: str
    kind: str
    stanza: bytes
    to: str = ""


class PresenceCame(ToSession, frozen=True):
    """Of a contact, or of another resource of the account itself. to: as above."""

    address: str
    resource: str
    stanza: bytes
    to: str = ""


class DocumentGot(ToSession, frozen=True):
    """body None: there is none."""

    tag: int
    body: bytes | None
    code: str = ""


class LastGot(ToSession, frozen=True):
    """code: "forbidden" for who may not see presence, and for an account that is not there."""

    tag: int
    here: bool
    at_us: int
    code: str = ""


class BlockedGot(ToSession, frozen=True):
    tag: int
    addresses: tuple[str, ...]


class ArchiveGot(ToSession, frozen=True):
    """rows: (id, address of the peer, out, body), rising."""

    tag: int
    rows: tuple[tuple[int, str, bool, bytes], ...]
    count: int
    more: bool


class RefsGot(ToSession, frozen=True):
    tag: int
    refs: tuple[tuple[int, str], ...]


class KeyChanged(ToSession, frozen=True):
    tag: int

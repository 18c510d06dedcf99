"""Everything a session can be told by its actor. Each front end turns these into bytes.

On their way to another node they are arrays (cluster/packs.py): they only gain optional fields,
at their end.
"""

import msgspec

from whimbrel.domain.discreet import discreet


class ToSession(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Base of all answers and pushes. They leave only after the commit that covers them."""

    __repr__ = discreet


class Welcome(ToSession, frozen=True):
    """The hello was accepted and committed."""

    account: str
    device: int
    ordinal: int
    era: int
    submitted: int  # the highest submit number taken
    confirmed: int
    tail: int


class Rejected(ToSession, frozen=True):
    """The hello was refused ("not-authorized"), or the session may not go on ("bad-confirm")."""

    code: str


class Gone(ToSession, frozen=True):
    """This session is over: another one or a new registration took its place ("replaced")."""

    code: str


class Stored(ToSession, frozen=True):
    """One check mark: submit c is on disk as message id."""

    c: int
    id: int


class SubmitRefused(ToSession, frozen=True):
    """Submit c was not taken. `busy`, `try-again`, `gap` and `rate-limited` do not use it up."""

    c: int
    code: str
    expected: int = 0
    retry_after_s: int = 0


class Item(ToSession, frozen=True):
    """One row of the inbox, in order. prev: the item sent before it to this device."""

    prev: int
    q: int
    kind: int  # rows.MESSAGE, COPY, RECEIPT, FAILURE, TRIM
    address: str
    id: int
    device: int
    c: int
    extra: int
    code: str
    body: bytes | None


class EndOfQueue(ToSession, frozen=True):
    """All that had waited was sent; q is the last item."""

    q: int


class ReadDone(ToSession, frozen=True):
    address: str
    id: int


class TypingShown(ToSession, frozen=True):
    address: str
    on: bool


class PresenceShown(ToSession, frozen=True):
    address: str
    online: bool
    last_seen_us: int


class BlockDone(ToSession, frozen=True):
    address: str
    on: bool


class HideDone(ToSession, frozen=True):
    on: bool


class LinkDone(ToSession, frozen=True):
    tag: int
    device: int  # 0: refused
    code: str = ""


class UnlinkDone(ToSession, frozen=True):
    device: int
    code: str = ""


class CommandRefused(ToSession, frozen=True):
    """A command other than submit was refused; `about` names it ("read", "block", ...)."""

    about: str
    code: str
    retry_after_s: int = 0


class UnknownSession(ToSession, frozen=True):
    """The actor does not know this session: attach again, repeat what is unanswered."""


# ---- answers to callers that wait for a reply (HTTP, administration) ---------------------


class Registered(ToSession, frozen=True):
    account: str
    device: int
    created: bool


class Removed(ToSession, frozen=True):
    code: str = ""


class PinRequested(ToSession, frozen=True):
    """code "": a PIN is on its way (or the number may not have one: never told apart)."""

    code: str
    retry_after_s: int
    expires_s: int


class PinRefused(ToSession, frozen=True):
    code: str
    retry_after_s: int


class DeviceDescription(msgspec.Struct, frozen=True):
    """kind: rows.OWN, OFFLINE or RESOURCE. session: its live session, 0: none; then `pushed` is
    the last item that it was sent. confirmed: -1 if it takes no messages.
    """

    device: int
    name: str
    submitted: int
    confirmed: int
    last_seen_us: int
    online: bool
    kind: int = 0
    session: int = 0
    pushed: int = 0


class OpenSend(msgspec.Struct, frozen=True):
    """A message that its recipient's actor has not acknowledged. retry_in_us: 0: due, or queued."""

    id: int
    peer: str
    device: int
    accepted_us: int
    attempts: int
    retry_in_us: int


class Proven(ToSession, frozen=True):
    """The key is this device's. Nothing was changed: a session goes on beside it."""

    account: str
    device: int


class Inspected(ToSession, frozen=True):
    """What only memory knows. As sender: attempts of an open row, and when the next is due.
    As recipient: (device, last item pushed, last item confirmed) of every live session.
    """

    attempts: int
    retry_in_us: int
    live: tuple[tuple[int, int, int], ...]


class Description(ToSession, frozen=True):
    account: str
    exists: bool
    created_us: int
    tail: int
    waiting: int
    open: int
    last_seen_us: int
    devices: tuple[DeviceDescription, ...]
    sends: tuple[OpenSend, ...] = ()  # the oldest ones
    owed: int = 0  # peers who have not acknowledged a receipt


class Lock(msgspec.Struct, frozen=True):
    """Sign-up is refused for whom: a number, a client's network address, or "" for everybody.

    why: "closed" (by an administrator), "wrong" (too many wrong PINs), "pins" (too many PINs) or
    "wait" (between two PINs). until_us: when it ends by itself; 0: it does not.
    """

    whom: str
    why: str
    until_us: int
    __repr__ = discreet


class DeskDescription(ToSession, frozen=True):
    """numbers: how many are remembered; today: PINs sent and wrong tries against good PINs."""

    numbers: int
    pins_today: int
    wrong_today: int
    locks: tuple[Lock, ...]
    more: bool  # there are more locks than are listed

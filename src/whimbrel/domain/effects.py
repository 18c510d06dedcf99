"""The closed union of effects. Rules return them; node/interpreter.py performs them.

A row (domain/rows.py) is an effect too: "write this in the commit of this turn".
Read together with node/interpreter.py, this is the tour of the system.
"""

import msgspec

from whimbrel.domain.answers import ToSession
from whimbrel.domain.discreet import discreet
from whimbrel.domain.messages import ToActor
from whimbrel.domain.rows import Row


class Tell(msgspec.Struct, frozen=True, gc=False):
    """To another actor: in the same turn if it lives here, after the commit if elsewhere."""

    to: int
    message: ToActor


class Push(msgspec.Struct, frozen=True, gc=False):
    """To a session, after the commit. Its number says on which node it lives."""

    session: int
    answer: ToSession


class Reply(msgspec.Struct, frozen=True, gc=False):
    """To the caller who waits under this number, after the commit."""

    reply: int
    answer: ToSession


class ReadInbox(msgspec.Struct, frozen=True, gc=False):
    """Read rows (after, upto] of the owner's inbox; comes back as InboxRead.

    At most `limit` rows and about `bytes` bytes, but at least one row if there is one.
    Runs when everything the owner has written is committed.
    """

    owner: int
    device: int
    session: int
    after: int
    upto: int
    limit: int
    bytes: int


class SendPin(msgspec.Struct, frozen=True, gc=False):
    """Hand a PIN to the sender of text messages, after the commit."""

    number: str
    pin: str
    __repr__ = discreet


class Note(msgspec.Struct, frozen=True, gc=False):
    """Count an event by name ("submit-refused:busy"); never a body or a telephone number."""

    name: str
    times: int = 1


Effect = Row | Tell | Push | Reply | ReadInbox | SendPin | Note

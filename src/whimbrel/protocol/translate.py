"""Domain answers -> wire messages: one function a type, in one table.

Used by edge/session.py for every codec. What is not in the table (UnknownSession, answers to
other callers) is not for a device's eyes.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from whimbrel.domain import answers as a
from whimbrel.domain.rows import COPY, FAILURE, MESSAGE, RECEIPT, TRIM
from whimbrel.protocol import wire
from whimbrel.protocol.native import NULL

Raw = msgspec.Raw


def _message(i: a.Item) -> wire.Wire:
    body = NULL if i.body is None else Raw(i.body)
    return wire.Message(i.prev, i.q, i.address, i.id, i.device, i.c, body)


def _copy(i: a.Item) -> wire.Wire:
    body = NULL if i.body is None else Raw(i.body)
    return wire.Copy(i.prev, i.q, i.address, i.id, i.device, i.c, body)


def _receipt(i: a.Item) -> wire.Wire:
    return wire.Receipt(i.prev, i.q, i.address, i.id, i.extra)


def _failed(i: a.Item) -> wire.Wire:
    return wire.Failed(i.prev, i.q, i.address, i.device, i.c, i.id, i.code, i.extra)


def _trimmed(i: a.Item) -> wire.Wire:
    return wire.Trimmed(i.prev, i.q, i.device, i.id, i.extra, i.code)


_ITEMS: dict[int, Callable[[a.Item], wire.Wire]] = {
    MESSAGE: _message,
    COPY: _copy,
    RECEIPT: _receipt,
    FAILURE: _failed,
    TRIM: _trimmed,
}


def item_to_wire(item: a.Item) -> wire.Wire:
    return _ITEMS[item.kind](item)


ANSWERS: dict[type, Callable[[Any], wire.Wire]] = {
    a.Stored: lambda s: wire.Stored(s.c, s.id),
    a.SubmitRefused: lambda r: wire.Refused(r.c, r.code, r.expected, r.retry_after_s),
    a.Item: item_to_wire,
    a.EndOfQueue: lambda e: wire.EndOfQueue(e.q),
    a.ReadDone: lambda r: wire.ReadDone(r.address, r.id),
    a.TypingShown: lambda t: wire.Typing(t.address, t.on),
    a.PresenceShown: lambda p: wire.Presence(p.address, p.online, p.last_seen_us),
    a.BlockDone: lambda b: wire.Block(b.address, b.on),
    a.HideDone: lambda h: wire.Hide(h.on),
    a.CommandRefused: lambda r: wire.Error(r.code, r.about, False, r.retry_after_s),
    a.UnlinkDone: lambda u: wire.Error(u.code, "unlink") if u.code else wire.Unlink(u.device),
}


def answer_to_wire(answer: a.ToSession) -> wire.Wire | None:
    """The message for the device, or None if the session itself has to act on it."""
    make = ANSWERS.get(type(answer))
    return make(answer) if make is not None else None
